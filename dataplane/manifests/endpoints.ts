import { familyOf, parseAddress, type Family } from '../addresses.js';
import { joined } from '../kept.js';
import { problem } from '../problems.js';
import { readAddress } from './addresses.js';
import { quote, type Fields } from './fields.js';
import type { Header } from './kinds.js';
import type { EndpointAddress, Endpoints, EndpointSubset } from './objects.js';
import { readProtocol } from './pods.js';

const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';

/** v1 Endpoints: each subset has addresses that are ready and others that are not. */
export function readEndpoints(object: Fields, header: Header): Endpoints {
  return {
    ...header,
    kind: 'Endpoints',
    service: header.metadata.name.value,
    subsets: object.each('subsets').map((subset) => ({
      endpoints: [
        ...subset.each('addresses').flatMap((address) => readEndpointAddress(address, true)),
        ...subset.each('notReadyAddresses').flatMap((address) => readEndpointAddress(address, false)),
      ],
      ports: readPorts(subset),
    })),
  };
}

function readEndpointAddress(address: Fields, ready: boolean): EndpointAddress[] {
  const ip = address.required('ip', readAddress(address, 'ip'));
  if (!ip) return [];
  const nodeName = address.text('nodeName');
  const conditions = { ready, serving: ready, terminating: false };
  return [{ at: address.at, address: parseAddress(ip.value)!, nodeName, ...conditions, ...NO_HINTS }];
}

/** discovery.k8s.io/v1 EndpointSlice. */
export function readEndpointSlice(object: Fields, header: Header): Endpoints {
  return {
    ...header,
    kind: 'EndpointSlice',
    service: header.metadata.labels.get(SERVICE_NAME_LABEL)?.value ?? null,
    subsets: [{ endpoints: readSliceEndpoints(object), ports: readPorts(object) }],
  };
}

/** Few endpoints have hints: all others share a list of none. */
const NONE: readonly string[] = [];
const NO_HINTS = { forZones: NONE, forNodes: NONE };

const ADDRESS_TYPES = ['IPv4', 'IPv6', 'FQDN'] as const;

/** Endpoints of the slice's `addressType`. Names, its type FQDN, are for others than Services to read. */
function readSliceEndpoints(slice: Fields): EndpointAddress[] {
  const type = slice.oneOf('addressType', ADDRESS_TYPES)?.value ?? null;
  if (type === 'FQDN') return [];
  return joined(slice.each('endpoints').map((endpoint) => readEndpoint(endpoint, type)));
}

function readEndpoint(endpoint: Fields, type: Family | null): EndpointAddress[] {
  const conditions = endpoint.within('conditions');
  const ready = !conditions.has('ready') || conditions.boolean('ready');
  const listed = endpoint.strings('addresses').filter((found) => {
    const address = parseAddress(found.value);
    if (address !== null && (type === null || familyOf(address) === type)) return true;
    const message = `${quote(found.value)} is not ${type === null ? 'an IP address' : `an ${type} address`}.`;
    endpoint.problems.push(problem('HS1010', found.at, message));
    return false;
  });
  const { at } = endpoint;
  const nodeName = endpoint.text('nodeName');
  const serving = conditions.has('serving') ? conditions.boolean('serving') : ready;
  const terminating = conditions.boolean('terminating');
  const { forZones, forNodes } = endpoint.has('hints') ? readHints(endpoint.within('hints')) : NO_HINTS;
  return listed.map(({ value }) => {
    const address = parseAddress(value)!;
    return { at, address, nodeName, ready, serving, terminating, forZones, forNodes };
  });
}

/** EndpointHints: names in mappings, since others may come to stand beside them. */
function readHints(hints: Fields): Pick<EndpointAddress, 'forZones' | 'forNodes'> {
  const named = (name: string): string[] => hints.each(name).flatMap((hint) => hint.text('name') ?? []);
  return { forZones: named('forZones'), forNodes: named('forNodes') };
}

/** A port without a number, which Kubernetes allows for other uses than Services, leads nowhere. */
function readPorts(fields: Fields): EndpointSubset['ports'] {
  return fields.each('ports').flatMap((port) => {
    const number = port.port('port');
    const protocol = readProtocol(port);
    return number && protocol ? [{ at: port.at, name: port.text('name'), protocol, port: number.value }] : [];
  });
}
