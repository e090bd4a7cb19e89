import { parseCidr } from './addresses.js';
import { quote, type Fields } from './fields.js';
import type { Header } from './kinds.js';
import type { ConfigMap, Namespace, Node } from './objects.js';
import { problem } from '../problems.js';

export function readNamespace(_object: Fields, header: Header): Namespace {
  return { ...header, kind: 'Namespace' };
}

export function readConfigMap(object: Fields, header: Header): ConfigMap {
  return { ...header, kind: 'ConfigMap', data: object.within('data').asStrings() };
}

export function readNode(object: Fields, header: Header): Node {
  return {
    ...header,
    kind: 'Node',
    podCIDRs: readPodCIDRs(object.within('spec')),
    internalIPs: readAddresses(object.within('status'), 'InternalIP'),
    externalIPs: readAddresses(object.within('status'), 'ExternalIP'),
    zone: header.metadata.labels.get('topology.kubernetes.io/zone')?.value ?? null,
  };
}

const readAddresses = (status: Fields, type: string): Node['internalIPs'] =>
  status
    .each('addresses')
    .filter((address) => address.text('type') === type)
    .flatMap((address) => address.string('address') ?? []);

function readPodCIDRs(spec: Fields): Node['podCIDRs'] {
  const listed = spec.strings('podCIDRs');
  const written = listed.length > 0 ? listed : [spec.string('podCIDR') ?? []].flat();
  return written.filter(({ value, at }) => {
    const valid = parseCidr(value) !== null;
    if (!valid) spec.problems.push(problem('HS1010', at, `${quote(value)} is not an address block.`));
    return valid;
  });
}
