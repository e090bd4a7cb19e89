/** Where Services, and pods with hostPorts, listen: frontends, with the numbers of theirs and of their backends. */
import { LbScope } from '../../assembly/abi.js';
import {
  contains,
  familyOf,
  formatEndpoint,
  isIpv6,
  parseAddress,
  parsePrefix,
  UNSPECIFIED,
  type Address,
  type Family,
} from '../addresses.js';
import { addressIn, allAddresses, serving } from '../cluster/cluster.js';
import type { Cluster, ClusterBackend, ClusterService, ClusterServicePort } from '../cluster/cluster.js';
import { Numbers } from '../hash.js';
import { difference, joined, kept, keptEach } from '../kept.js';
import type { Protocol } from '../manifests/objects.js';
import { PROTOCOLS } from '../manifests/pods.js';
import { PROTOCOL_NUMBERS } from '../policy/networkpolicy.js';
import { isKubeProxy, type Settings } from '../settings.js';
import { firstOfEach, hostPortsOf } from './host-ports.js';
import { scopesOf } from './scopes.js';

/** What makes a Service listen somewhere. Cilium `loadbalancer.SVCType`. */
export type FrontendType = 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalIP' | 'HostPort';

/** Where a Service, or a pod with a hostPort, listens: a frontend of Cilium's. */
export interface Frontend {
  readonly type: FrontendType;
  /** null for a hostPort, which is its pod's alone: its only endpoint. */
  readonly service: ClusterService | null;
  readonly port: ClusterServicePort;
  readonly address: Address;
  /** The port that clients ask for: the Service's, or the node port. */
  readonly number: number;
  readonly protocol: number;
  readonly revNatIndex: number;
  /** An `LbScope` and the number of a node, where the entry is for the clients of that node; else both 0. */
  readonly scope: LbScope;
  readonly node: number;
  /** Those of its port's endpoints that have an address of its family. */
  readonly endpoints: readonly ClusterBackend[];
  readonly backends: readonly { readonly id: number; readonly backend: ClusterBackend }[];
  /** Those that get no new connection here: what is established with them may finish. */
  readonly draining: Frontend['backends'];
}

/** A frontend before it has its numbers. */
export type Listening = Omit<Frontend, 'protocol' | 'revNatIndex' | 'backends' | 'draining'> & {
  readonly backends: readonly ClusterBackend[];
};

/** The frontends of Services and of pods with hostPorts; those of a Service stay the very same while it does. */
export class Frontends {
  private readonly revNatNumbers = new Numbers();
  private readonly backendNumbers = new Numbers(backendName);
  private readonly ofServices = keptEach(
    (service: ClusterService, nodes: Cluster['nodes'], settings: Settings): readonly Listening[] =>
      service.ports
        .flatMap((port) => listening(nodes, service, port, settings))
        .flatMap((one) => [one, ...scopesOf(nodes, one, settings)]),
  );
  private readonly ofPods = keptEach(hostPortsOf);
  private readonly ofHosts = kept((all: readonly Listening[], nodes: Cluster['nodes'], settings: Settings) =>
    firstOfEach(all).flatMap((one) => [one, ...scopesOf(nodes, one, settings)]),
  );
  /** What listens, group by group. */
  private groups: readonly (readonly Listening[])[] = [];
  private readonly numbered = keptEach((group: readonly Listening[]) => group.map((one) => this.number(one)));
  private readonly listed = kept((ofServices: readonly (readonly Listening[])[], ofHosts: readonly Listening[]) =>
    this.list([...ofServices, ofHosts]),
  );

  of(
    services: Cluster['services'],
    pods: Cluster['pods'],
    nodes: Cluster['nodes'],
    settings: Settings,
  ): readonly Frontend[] {
    const ofHosts = this.ofHosts(joined(this.ofPods(pods)), nodes, settings);
    return this.listed(this.ofServices(services, nodes, settings), ofHosts);
  }

  private list(groups: readonly (readonly Listening[])[]): readonly Frontend[] {
    const before = difference(this.groups, groups);
    const [gone, come] = [joined(before.gone), joined(before.come)];
    this.revNatNumbers.change(gone.map(frontendName), come.map(frontendName));
    this.backendNumbers.change(joined(gone.map(backendKeys)), joined(come.map(backendKeys)));
    this.groups = groups;
    return joined(this.numbered(groups));
  }

  private number(one: Listening): Frontend {
    const { protocol } = one.port.source;
    const numbered = (backend: ClusterBackend): Frontend['backends'][number] => ({
      id: this.backendNumbers.get(backendKey(backend, protocol))!,
      backend,
    });
    return {
      ...one,
      protocol: PROTOCOL_NUMBERS[protocol],
      revNatIndex: this.revNatNumbers.get(frontendName(one))!,
      backends: one.backends.map(numbered),
      draining: besides(one.endpoints, one.backends).map(numbered),
    };
  }
}

const frontendName = ({ address, number, port, scope, node }: Listening): string =>
  `${formatEndpoint(address, number)}/${port.source.protocol}${node === 0 ? '' : ` ${scope} ${node}`}`;

/** What tells one backend from another: its name, or for IPv4 all that this says in one number. */
type BackendKey = string | number;

const backendKey = ({ address, port }: ClusterBackend, protocol: Protocol): BackendKey =>
  isIpv6(address)
    ? `${formatEndpoint(address, port)}/${protocol}`
    : (address * 2 ** 16 + port) * PROTOCOLS.length + PROTOCOLS.indexOf(protocol);

function backendName(key: BackendKey): string {
  if (typeof key === 'string') return key;
  const endpoint = Math.floor(key / PROTOCOLS.length);
  return `${formatEndpoint(Math.floor(endpoint / 2 ** 16), endpoint % 2 ** 16)}/${PROTOCOLS[key % PROTOCOLS.length]!}`;
}

const backendKeys = ({ port, endpoints }: Listening): BackendKey[] =>
  endpoints.map((backend) => backendKey(backend, port.source.protocol));

/** Of some backends those that are not among others, which are some of them. */
function besides(all: readonly ClusterBackend[], some: readonly ClusterBackend[]): readonly ClusterBackend[] {
  if (all.length === some.length) return [];
  const found = new Set(some);
  return all.filter((backend) => !found.has(backend));
}

/**
 * Every address at which one port of a Service listens, each with the endpoints of its family. Service v1: type, externalIPs,
 * status; `service.cilium.io/type`.
 */
function listening(
  nodes: Cluster['nodes'],
  service: ClusterService,
  port: ClusterServicePort,
  settings: Settings,
): Listening[] {
  const { source, clusterIPs } = service;
  if (clusterIPs.length === 0) return [];
  const found = new Map<string, Listening>();
  const only = isKubeProxy(settings) ? null : source.cilium.type;
  const add = (type: FrontendType, address: Address | null, number = port.source.port.value): void => {
    if (address === null || (only !== null && only !== type) || found.has(formatEndpoint(address, number))) return;
    const isLike = (backend: ClusterBackend): boolean => familyOf(backend.address) === familyOf(address);
    const endpoints = port.endpoints.every(isLike) ? port.endpoints : port.endpoints.filter(isLike);
    const whole = { scope: LbScope.EXTERNAL, node: 0, endpoints, backends: serving(endpoints) };
    found.set(formatEndpoint(address, number), { ...whole, type, service, port, address, number });
  };
  for (const address of clusterIPs) add('ClusterIP', address);
  const nodePort = source.type === 'ClusterIP' ? null : port.source.nodePort;
  // Cilium keeps the node port once for no address and once for each node's.
  if (nodePort)
    for (const family of clusterIPs.map(familyOf))
      for (const address of [UNSPECIFIED[family], ...nodePortAddresses(nodes, family, settings)])
        add('NodePort', address, nodePort.value);
  const given =
    source.ingressIPs.length > 0
      ? source.ingressIPs.filter(({ ipMode }) => ipMode !== 'Proxy').map(({ ip }) => ip)
      : source.loadBalancerIP
        ? [source.loadBalancerIP]
        : [];
  if (source.type === 'LoadBalancer') for (const ip of given) add('LoadBalancer', parseAddress(ip.value));
  for (const ip of source.externalIPs) add('ExternalIP', parseAddress(ip.value));
  return [...found.values()];
}

/**
 * The addresses of nodes on which node ports of a family are open. Where only prefixes of the other one are set, Cilium opens
 * none, and kube-proxy takes this family as if nothing were set.
 */
function nodePortAddresses(nodes: Cluster['nodes'], family: Family, settings: Settings): Address[] {
  const prefixes = settings.nodePortAddresses.flatMap((text) => parsePrefix(text) ?? []);
  const all = nodes.flatMap(allAddresses).filter((address) => familyOf(address) === family);
  const isSet = isKubeProxy(settings) ? prefixes.some((one) => familyOf(one.address) === family) : prefixes.length > 0;
  if (isSet) return all.filter((address) => prefixes.some((prefix) => contains(prefix, address)));
  return settings.engine === 'kube-proxy-iptables' ? all : nodes.flatMap((node) => addressIn(node, family) ?? []);
}
