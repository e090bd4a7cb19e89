/** What an Ingress needs and manifests seldom hold: its controller, and, where they hold it alone, its Services. */
import { CLASS_ANNOTATION, type Ingress, type IngressBackend } from '../manifests/ingress.js';
import type { Metadata, Pod, PodSpec, Service } from '../manifests/objects.js';
import type { Place } from '../manifests/place.js';
import type { Cluster, ClusterPod } from './cluster.js';

/** The namespace of the controller that is assumed: no object's name has braces. As np-guard's analyzer writes it. */
export const CONTROLLER_NAMESPACE = '{ingress-controller}';
const CONTROLLER = 'ingress-controller';

export interface Assumed {
  readonly pods: readonly Pod[];
  readonly services: readonly Service[];
}

/**
 * A controller pod without labels, in a namespace of its own, wherever there is an Ingress. Where there is nothing but
 * Ingresses, which is no whole cluster, the Services that they lead to as well, each with a pod.
 */
export function assumedFor(ingresses: readonly Ingress[], isAll: boolean): Assumed {
  const [first] = ingresses;
  if (!first) return { pods: [], services: [] };
  const controller = podOf(CONTROLLER_NAMESPACE, CONTROLLER, first.metadata.name.at, new Map());
  const behind = isAll ? servicesOf(ingresses) : [];
  const pods = behind.map(({ at, metadata, selector }) =>
    podOf(metadata.namespace, metadata.name.value, at, selector!.labels),
  );
  return { pods: [controller, ...pods], services: behind };
}

/** The backends of an Ingress, its default one last. */
export const backendsOf = ({ rules, defaultBackend }: Ingress): IngressBackend[] => [
  ...rules.flatMap(({ paths }) => paths.map(({ backend }) => backend)),
  ...(defaultBackend ? [defaultBackend] : []),
];

const SELECTED_BY = 'app.kubernetes.io/name';
/** The number of a port that an Ingress knows by its name. */
const NAMED_PORT = 80;

function servicesOf(ingresses: readonly Ingress[]): Service[] {
  const services = new Map<string, Service & { ports: Service['ports'][number][] }>();
  for (const ingress of ingresses) {
    const { namespace } = ingress.metadata;
    for (const { at, service } of backendsOf(ingress)) {
      if (!service) continue;
      const key = `${namespace}/${service.name.value}`;
      const found = services.get(key) ?? { ...serviceOf(namespace, service.name.value, at), ports: [] };
      services.set(key, found);
      const { value } = service.port;
      const [name, number] = typeof value === 'string' ? [value, NAMED_PORT] : [null, value];
      if (found.ports.some((port) => port.name === name && port.port.value === number)) continue;
      const port = { value: number, at: service.port.at };
      found.ports.push({ at, name, protocol: 'TCP', port, targetPort: null, nodePort: null });
    }
  }
  return [...services.values()];
}

const metadataOf = (namespace: string, name: string, at: Place, labels: Metadata['labels']): Metadata => ({
  name: { value: name, at },
  namespace,
  labels,
  annotations: new Map(),
  ownerReferences: [],
});

function podOf(namespace: string, name: string, at: Place, labels: Metadata['labels']): Pod {
  const spec: PodSpec = {
    nodeName: null,
    hostNetwork: false,
    containers: [],
    hostname: null,
    subdomain: null,
    serviceAccountName: 'default',
    egressBandwidth: null,
    configMaps: [],
  };
  return {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: metadataOf(namespace, name, at, labels),
    at,
    kindAt: at,
    spec,
    phase: null,
    podIPs: [],
    reportsPodIPs: false,
    hostIP: null,
    ready: true,
    terminating: false,
  };
}

function serviceOf(namespace: string, name: string, at: Place): Service {
  const labels = new Map([[SELECTED_BY, { value: name, at }]]);
  return {
    kind: 'Service',
    apiVersion: 'v1',
    metadata: metadataOf(namespace, name, at, new Map()),
    at,
    kindAt: at,
    type: 'ClusterIP',
    selector: { at, labels },
    clusterIPs: [],
    headless: false,
    ipFamilies: [],
    ipFamilyPolicy: null,
    ports: [],
    externalName: null,
    externalIPs: [],
    loadBalancerIP: null,
    loadBalancerSourceRanges: [],
    ingressIPs: [],
    affinitySeconds: null,
    externalTrafficPolicy: 'Cluster',
    internalTrafficPolicy: 'Cluster',
    trafficDistribution: null,
    publishNotReadyAddresses: false,
    cilium: { type: null, algorithm: null, forwardingMode: null, sourceRangesPolicy: 'allow' },
    unknown: [],
  };
}

/** Controllers by the name that their charts give their pods: `spec.controller` of their class, and the name it has by default. */
const CONTROLLERS = [
  { app: 'ingress-nginx', controller: 'k8s.io/ingress-nginx', className: 'nginx' },
  { app: 'nginx-ingress', controller: 'nginx.org/ingress-controller', className: 'nginx' },
  { app: 'traefik', controller: 'traefik.io/ingress-controller', className: 'traefik' },
  { app: 'haproxy-ingress', controller: 'haproxy-ingress.github.io/controller', className: 'haproxy' },
  { app: 'kubernetes-ingress', controller: 'haproxy.org/ingress-controller', className: 'haproxy' },
  { app: 'kong', controller: 'ingress-controllers.konghq.com/kong', className: 'kong' },
] as const;

/** Parts of a controller's chart that take no requests. */
const ASIDE = ['admission-webhook', 'default-backend', 'defaultbackend'];

/** The name of the class that an Ingress is of: its own, else that of the class which is the default; null for none. */
export const classOf = ({ ingressClasses }: Cluster, { className }: Ingress): string | null =>
  className?.value ?? ingressClasses.find(({ isDefault }) => isDefault)?.metadata.name.value ?? null;

/**
 * Why no controller takes an Ingress; null where one may. Classes are often installed apart from the manifests: none is missing
 * where these hold none at all. Kubernetes documentation, "Ingress class".
 */
export function untakenSince(cluster: Cluster, ingress: Ingress): string | null {
  const names = cluster.ingressClasses.map(({ metadata }) => metadata.name.value);
  const className = classOf(cluster, ingress);
  if (names.length === 0 || ingress.metadata.annotations.has(CLASS_ANNOTATION)) return null;
  if (className === null) return 'it names no class, and no IngressClass is the default';
  return names.includes(className) ? null : `there is no IngressClass ${className}, only ${names.join(', ')}`;
}

/** The pods that take the requests of a class: those of its controller where the manifests hold it, else the one that is assumed. */
export function controllersOf(cluster: Cluster, className: string | null): readonly ClusterPod[] {
  const declared = cluster.ingressClasses.find(({ metadata }) => metadata.name.value === className);
  const apps = CONTROLLERS.filter((one) =>
    declared ? declared.controller?.startsWith(one.controller) : className === null || className === one.className,
  ).map(({ app }): string => app);
  const own = cluster.pods.filter(
    ({ labels }) =>
      apps.includes(labels.get(SELECTED_BY) ?? '') && !ASIDE.includes(labels.get('app.kubernetes.io/component') ?? ''),
  );
  return own.length > 0 ? own : cluster.pods.filter(({ namespace }) => namespace === CONTROLLER_NAMESPACE);
}

/** Whether Cilium's own Envoy serves a class: it sends as the reserved identity `ingress`, and is no pod. */
export const isCilium = ({ ingressClasses }: Cluster, className: string | null): boolean =>
  (ingressClasses.find(({ metadata }) => metadata.name.value === className)?.controller ??
    (className === 'cilium' ? CILIUM : null)) === CILIUM;

const CILIUM = 'cilium.io/ingress-controller';

export const isAssumedController = ({ namespace }: ClusterPod): boolean => namespace === CONTROLLER_NAMESPACE;
