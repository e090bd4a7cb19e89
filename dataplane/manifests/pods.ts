import { readAddress } from './addresses.js';
import { Fields, isPortName, quote } from './fields.js';
import type { Header } from './kinds.js';
import { CONTAINER, CONTAINER_PORT, OBJECT, POD_SPEC } from './known-fields.js';
import type { Container, ContainerPort, Pod, PodSpec, Protocol } from './objects.js';
import type { Located } from './place.js';
import { parseQuantity } from './quantity.js';

export const PROTOCOLS: readonly Protocol[] = ['TCP', 'UDP', 'SCTP'];

/** The protocol of a port, TCP where none is given; `undefined` where it is refused. */
export function readProtocol(port: Fields): Protocol | undefined {
  const found = port.oneOf('protocol', PROTOCOLS);
  return found === null ? 'TCP' : found?.value;
}

export function readPod(object: Fields, { apiVersion, metadata, at, kindAt }: Header): Pod {
  object.unknown(OBJECT);
  const status = object.within('status');
  const ready = status.each('conditions').find((condition) => condition.text('type') === 'Ready');
  return {
    apiVersion,
    metadata,
    at,
    kindAt,
    kind: 'Pod',
    spec: readPodSpec(object),
    phase: status.text('phase'),
    podIPs: readPodIPs(status),
    reportsPodIPs: status.has('podIPs'),
    hostIP: readAddress(status, 'hostIP')?.value ?? null,
    ready: ready ? ready.text('status') === 'True' : null,
    terminating: object.within('metadata').has('deletionTimestamp'),
  };
}

function readPodIPs(status: Fields): readonly Located<string>[] {
  if (!status.has('podIPs')) return [readAddress(status, 'podIP') ?? []].flat();
  return status.each('podIPs').flatMap((entry) => readAddress(entry, 'ip') ?? []);
}

/** Of a pod, or of the template of one. */
export function readPodSpec(pod: Fields): PodSpec {
  const spec = pod.within('spec');
  spec.unknown(POD_SPEC);
  const sidecars = spec.each('initContainers').filter((container) => container.text('restartPolicy') === 'Always');
  return {
    nodeName: spec.string('nodeName') ?? null,
    hostNetwork: spec.boolean('hostNetwork'),
    containers: spec.apart(() => [...spec.each('containers'), ...sidecars].map(readContainer)),
    hostname: spec.text('hostname'),
    subdomain: spec.text('subdomain'),
    serviceAccountName: spec.text('serviceAccountName') || spec.text('serviceAccount') || 'default',
    egressBandwidth: readEgressBandwidth(pod.within('metadata').within('annotations')),
    configMaps: readConfigMaps(new Fields(spec.mapping, [])),
  };
}

const EGRESS_BANDWIDTH = 'kubernetes.io/egress-bandwidth';

/** What Kubernetes takes for a bandwidth, in bits a second. `k8s.io/kubernetes/pkg/util/bandwidth`. */
const [MIN_BANDWIDTH, MAX_BANDWIDTH] = [1e3, 1e15];

function readEgressBandwidth(annotations: Fields): Located<number> | null {
  const text = annotations.string(EGRESS_BANDWIDTH);
  if (!text) return null;
  const value = parseQuantity(text.value);
  if (value !== null && value >= MIN_BANDWIDTH && value <= MAX_BANDWIDTH) return { value, at: text.at };
  const wanted = 'a quantity of bits a second from 1k to 1P';
  annotations.apart(() => annotations.refuse('HS1010', EGRESS_BANDWIDTH, `${quote(text.value)} is not ${wanted}.`));
  return null;
}

/** What is refused here keeps no pod from being read, and the variables are reported where they are read for themselves. */
function readConfigMaps(spec: Fields): readonly string[] {
  const containers = [...spec.each('initContainers'), ...spec.each('containers')];
  const references = [
    ...containers.flatMap((container) => [
      ...container.each('envFrom').map((source) => source.within('configMapRef')),
      ...container.each('env').map((variable) => variable.within('valueFrom').within('configMapKeyRef')),
    ]),
    ...spec
      .each('volumes')
      .flatMap((volume) => [volume, ...volume.within('projected').each('sources')])
      .map((source) => source.within('configMap')),
  ];
  return [...new Set(references.flatMap((reference) => reference.text('name') ?? []))];
}

function readContainer(container: Fields): Container {
  container.unknown(CONTAINER);
  return {
    at: container.at,
    name: container.text('name') ?? '',
    ports: container.each('ports').flatMap((port) => readContainerPort(port) ?? []),
    env: container.each('env').flatMap((variable) => {
      const value = variable.string('value');
      return value ? [{ name: variable.text('name') ?? '', value }] : [];
    }),
    args: [...container.strings('command'), ...container.strings('args')],
  };
}

function readContainerPort(port: Fields): ContainerPort | undefined {
  port.unknown(CONTAINER_PORT);
  const containerPort = port.required('containerPort', port.port('containerPort'));
  const protocol = readProtocol(port);
  const name = port.string('name') ?? null;
  if (name?.value && !isPortName(name.value)) {
    port.refuse('HS1010', 'name', `${quote(name.value)} is not a valid port name.`);
  }
  const hostPort = port.portOrZero('hostPort') ?? null;
  const hostIP = port.text('hostIP');
  return containerPort && protocol && { at: port.at, containerPort, name, protocol, hostPort, hostIP };
}
