import { FAMILIES } from '../addresses.js';
import { isAddress, parseCidr, readAddress } from './addresses.js';
import { quote, type Fields } from './fields.js';
import type { Header } from './kinds.js';
import { OBJECT, SERVICE_PORT, SERVICE_SPEC } from './known-fields.js';
import { readLabels } from './labels.js';
import type { CiliumAnnotations, Service, ServicePort } from './objects.js';
import type { Located } from './place.js';
import { problem } from '../problems.js';
import { readProtocol } from './pods.js';

const TYPES = ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'] as const;
const FAMILY_POLICIES = ['SingleStack', 'PreferDualStack', 'RequireDualStack'] as const;
const TRAFFIC_POLICIES = ['Cluster', 'Local'] as const;

const DISTRIBUTIONS = ['PreferClose', 'PreferSameZone', 'PreferSameNode'] as const;

/** corev1.DefaultClientIPServiceAffinitySeconds and the most that Kubernetes accepts. */
const DEFAULT_AFFINITY_SECONDS = 10_800;
const MAX_AFFINITY_SECONDS = 86_400;

/** The label that keeps kube-proxy away from a Service. */
const HEADLESS_LABEL = 'service.kubernetes.io/headless';

/** `undefined` with a selector that cannot be read: whom it selects is not known. */
export function readService(object: Fields, { apiVersion, metadata, at, kindAt }: Header): Service | undefined {
  const spec = object.within('spec');
  const assigned = readClusterIPs(spec);
  const headless = assigned.some(isNone) || metadata.labels.has(HEADLESS_LABEL);
  const selector = readLabels(spec, 'selector');
  const ports = spec.each('ports');
  const read = ports.map(readServicePort);
  const unknown = [
    ...object.unknown(OBJECT),
    ...spec.unknown(SERVICE_SPEC),
    ...ports.flatMap((port) => port.unknown(SERVICE_PORT)),
    ...unknownAnnotations(object),
  ];
  if (ports.length === 0 && !headless && spec.text('type') !== 'ExternalName')
    unknown.push({ value: 'a Service without ports', at: metadata.name.at });
  checkNames(ports.filter((_, i) => read[i]));
  const isNameless = spec.text('type') === 'ExternalName' && !spec.text('externalName');
  if (isNameless) spec.refuse('HS1009', 'externalName', 'externalName is missing.');
  spec.integer('healthCheckNodePort', 0, 65535);
  if (!selector) return undefined;
  return {
    apiVersion,
    metadata,
    at,
    kindAt,
    kind: 'Service',
    type: spec.oneOf('type', TYPES)?.value ?? 'ClusterIP',
    selector: selector.size > 0 ? { at: spec.placeOf('selector'), labels: selector } : null,
    clusterIPs: headless ? [] : assigned,
    headless,
    ipFamilies: readFamilies(spec),
    ipFamilyPolicy: spec.oneOf('ipFamilyPolicy', FAMILY_POLICIES)?.value ?? null,
    ports: read.flatMap((port) => port ?? []),
    externalName: spec.string('externalName') ?? null,
    externalIPs: spec.strings('externalIPs').filter((ip) => checked(spec, ip, isAddress, 'an IP address')),
    loadBalancerIP: readAddress(spec, 'loadBalancerIP') ?? null,
    loadBalancerSourceRanges: readSourceRanges(spec),
    ingressIPs: object
      .within('status')
      .within('loadBalancer')
      .each('ingress')
      .flatMap((entry) => {
        const ip = readAddress(entry, 'ip');
        return ip ? [{ ip, ipMode: entry.text('ipMode') }] : [];
      }),
    affinitySeconds: readAffinity(spec),
    externalTrafficPolicy: spec.oneOf('externalTrafficPolicy', TRAFFIC_POLICIES)?.value ?? 'Cluster',
    internalTrafficPolicy: spec.oneOf('internalTrafficPolicy', TRAFFIC_POLICIES)?.value ?? 'Cluster',
    trafficDistribution: spec.oneOf('trafficDistribution', DISTRIBUTIONS)?.value ?? null,
    publishNotReadyAddresses: spec.boolean('publishNotReadyAddresses'),
    cilium: readAnnotations(object),
    unknown,
  };
}

const PREFIX = 'service.cilium.io/';

/** Annotations that are read here, and those that ask for something only with other clusters, where there are none. */
const ANNOTATIONS = ['type', 'lb-algorithm', 'forwarding-mode', 'src-ranges-policy', 'affinity', 'shared'];

/** The older name of `service.cilium.io/global`. */
const GLOBAL = 'io.cilium/global-service';

function unknownAnnotations(object: Fields): Located<string>[] {
  const annotations = object.within('metadata').within('annotations');
  return [...annotations.names]
    .filter((name) => (name.startsWith(PREFIX) && !ANNOTATIONS.includes(name.slice(PREFIX.length))) || name === GLOBAL)
    .map((name) => {
      const at = annotations.keyAt(name);
      object.problems.push(
        problem('HS1012', at, `${name} is not evaluated yet; verdicts it could change are UNKNOWN.`),
      );
      return { value: name, at };
    });
}

function readAnnotations(object: Fields): CiliumAnnotations {
  const annotations = object.within('metadata').within('annotations');
  const word = <Word extends string>(name: string, words: readonly Word[]): Word | null =>
    annotations.oneOf(PREFIX + name, words)?.value ?? null;
  return {
    type: word('type', ['ClusterIP', 'NodePort', 'LoadBalancer']),
    algorithm: word('lb-algorithm', ['maglev', 'random']),
    forwardingMode: word('forwarding-mode', ['snat', 'dsr']),
    sourceRangesPolicy: word('src-ranges-policy', ['allow', 'deny']) ?? 'allow',
  };
}

const isNone = ({ value }: Located<string>): boolean => value.toLowerCase() === 'none';

function checked(spec: Fields, found: Located<string>, isValid: (text: string) => boolean, what: string): boolean {
  if (isValid(found.value)) return true;
  spec.problems.push(problem('HS1010', found.at, `${quote(found.value)} is not ${what}.`));
  return false;
}

/** spec.clusterIPs, else spec.clusterIP; an empty string asks for one to be assigned. */
function readClusterIPs(spec: Fields): readonly Located<string>[] {
  const single = spec.string('clusterIP');
  const listed = spec.strings('clusterIPs');
  const written = listed.length > 0 ? listed : single ? [single] : [];
  return written
    .filter(({ value }) => value !== '')
    .filter((ip) => isNone(ip) || checked(spec, ip, isAddress, 'an IP address or None'));
}

function readFamilies(spec: Fields): Service['ipFamilies'] {
  return spec.strings('ipFamilies').flatMap((found) => {
    const family = FAMILIES.find((one) => one === found.value);
    if (!family)
      spec.problems.push(problem('HS1010', found.at, `ipFamilies are IPv4 and IPv6, not ${quote(found.value)}.`));
    return family ?? [];
  });
}

/** Ranges that are none stay in the list: without them it could be empty, and an empty list admits every source. */
function readSourceRanges(spec: Fields): readonly Located<string>[] {
  const ranges = spec.strings('loadBalancerSourceRanges');
  for (const range of ranges) checked(spec, range, (text) => parseCidr(text.trim()) !== null, 'an address block');
  return ranges;
}

/** Of several ports each needs a name of its own; by their numbers they are told apart all the same. */
function checkNames(ports: readonly Fields[]): void {
  const names = new Set<string>();
  for (const port of ports.length > 1 ? ports : []) {
    const name = port.string('name');
    const isFree = name && !names.has(name.value);
    if (isFree) names.add(name.value);
    else if (name)
      port.problems.push(problem('HS1010', name.at, `Two ports have the name ${quote(name.value)}.`, KEPT));
    else port.problems.push(problem('HS1009', port.at, 'name is missing: of several ports each needs one.', KEPT));
  }
}

const KEPT = { assumed: 'kept' } as const;

function readServicePort(port: Fields): ServicePort | undefined {
  const number = port.required('port', port.port('port'));
  const protocol = readProtocol(port);
  const targetPort = readTargetPort(port);
  const nodePort = port.portOrZero('nodePort') ?? null;
  const name = port.text('name');
  if (!number || !protocol || targetPort === undefined) return undefined;
  return { at: port.at, name, protocol, port: number, targetPort, nodePort };
}

/** 0 and an empty string stand for `port`, as the API server fills them in. */
function readTargetPort(port: Fields): Located<number | string> | null | undefined {
  const isUnset = port.scalar('targetPort') === 0 || port.scalar('targetPort') === '';
  return isUnset ? null : port.portOrName('targetPort');
}

function readAffinity(spec: Fields): number | null {
  if (spec.oneOf('sessionAffinity', ['None', 'ClientIP'])?.value !== 'ClientIP') {
    if (spec.has('sessionAffinityConfig'))
      spec.refuse('HS1010', 'sessionAffinityConfig', 'sessionAffinityConfig is for sessionAffinity: ClientIP only.');
    return null;
  }
  const clientIP = spec.within('sessionAffinityConfig').within('clientIP');
  return clientIP.integer('timeoutSeconds', 1, MAX_AFFINITY_SECONDS)?.value ?? DEFAULT_AFFINITY_SECONDS;
}
