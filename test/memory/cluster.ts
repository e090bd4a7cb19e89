/** The cluster whose maps the packets meet: every kind of Service and policy that puts something of its own into them. */
import { MapId } from '../../assembly/abi.js';
import type { Desired } from '../../dataplane/loader/entries.js';
import type { MapEntry } from '../../dataplane/loader/entry.js';
import { DEFAULT_SETTINGS, type Settings } from '../../dataplane/settings.js';
import { Engine } from '../../dataplane/state.js';
import { decode, encode, type Sizes } from '../../dataplane/wasm.js';
import { AuthInfo, AuthKey, EndpointConfig, IpcacheKey4, IpcacheKey6 } from '../../pkg/structs.js';
import { both, modules } from '../datapath.js';

export const NODES = [
  { name: 'n1', v4: '192.168.0.1', v6: 'fd00:c0::1', range: '10.1.0.0/24' },
  { name: 'n2', v4: '192.168.0.2', v6: 'fd00:c0::2', range: '10.2.0.0/24' },
] as const;

export const PODS = [
  { name: 'client', app: 'client', node: 'n1', v4: '10.1.0.5', v6: 'fd00:1::5' },
  { name: 'near', app: 'web', node: 'n1', v4: '10.1.0.6', v6: 'fd00:1::6' },
  { name: 'far', app: 'web', node: 'n2', v4: '10.2.0.7', v6: 'fd00:2::7' },
  { name: 'alone', app: 'alone', node: 'n1', v4: '10.1.0.8', v6: 'fd00:1::8' },
  { name: 'guarded', app: 'guarded', node: 'n2', v4: '10.2.0.9', v6: 'fd00:2::9' },
  { name: 'proxied', app: 'proxied', node: 'n1', v4: '10.1.0.10', v6: 'fd00:1::10' },
  { name: 'trusted', app: 'trusted', node: 'n2', v4: '10.2.0.11', v6: 'fd00:2::11' },
] as const;

interface Offer {
  readonly name: string;
  /** Whose pods are its backends; of none, `ABROAD` are. */
  readonly app?: string;
  readonly v4: string;
  readonly v6: string;
  /** Further fields of the spec. */
  readonly more?: string;
  /** Backends have other ports than the Service, unless they have the same. */
  readonly samePorts?: boolean;
}

/** Each offers TCP 80, UDP 53 and SCTP 9. */
export const SERVICES: readonly Offer[] = [
  { name: 'web', app: 'web', v4: '10.96.0.10', v6: 'fd00:96::10' },
  { name: 'alone', app: 'alone', v4: '10.96.0.11', v6: 'fd00:96::11' },
  { name: 'guarded', app: 'guarded', v4: '10.96.0.12', v6: 'fd00:96::12', more: 'sessionAffinity: ClientIP' },
  { name: 'nobody', app: 'nobody', v4: '10.96.0.13', v6: 'fd00:96::13' },
  { name: 'here', app: 'web', v4: '10.96.0.14', v6: 'fd00:96::14', more: 'internalTrafficPolicy: Local' },
  {
    name: 'outside',
    app: 'web',
    v4: '10.96.0.15',
    v6: 'fd00:96::15',
    more: 'type: LoadBalancer, loadBalancerIP: 198.51.100.1, externalIPs: [198.51.100.9]',
  },
  {
    name: 'friends',
    app: 'web',
    v4: '10.96.0.16',
    v6: 'fd00:96::16',
    more: 'type: LoadBalancer, loadBalancerIP: 198.51.100.2, loadBalancerSourceRanges: [203.0.113.0/24, 10.0.0.0/8]',
  },
  {
    name: 'sticky',
    app: 'web',
    v4: '10.96.0.18',
    v6: 'fd00:96::18',
    more: 'type: LoadBalancer, loadBalancerIP: 198.51.100.4, sessionAffinity: ClientIP, externalIPs: ["2001:db8:99::9"]',
  },
  {
    name: 'local',
    app: 'web',
    v4: '10.96.0.17',
    v6: 'fd00:96::17',
    more: 'type: LoadBalancer, loadBalancerIP: 198.51.100.3, externalTrafficPolicy: Local',
  },
  {
    name: 'same',
    app: 'web',
    v4: '10.96.0.19',
    v6: 'fd00:96::19',
    more: 'type: LoadBalancer, loadBalancerIP: 198.51.100.5, externalIPs: ["2001:db8:99::5"]',
    samePorts: true,
  },
  {
    name: 'abroad',
    v4: '10.96.0.22',
    v6: 'fd00:96::22',
    more: 'type: LoadBalancer, loadBalancerIP: 198.51.100.6, externalIPs: ["2001:db8:99::6"]',
    samePorts: true,
  },
  { name: 'proxied', app: 'proxied', v4: '10.96.0.20', v6: 'fd00:96::20' },
  { name: 'trusted', app: 'trusted', v4: '10.96.0.21', v6: 'fd00:96::21' },
];

/** TCP port of a node under which Service number `i` is had. */
export const nodePort = (i: number): number => 30000 + i;

const node = ({ name, v4, v6, range }: (typeof NODES)[number]): string => `apiVersion: v1
kind: Node
metadata: {name: ${name}}
spec: {podCIDR: ${range}}
status: {addresses: [{type: InternalIP, address: ${v4}}, {type: InternalIP, address: '${v6}'}]}
`;

const pod = ({ name, app, node, v4, v6 }: (typeof PODS)[number]): string => `apiVersion: v1
kind: Pod
metadata: {name: ${name}, labels: {app: ${app}}${app === 'web' ? ', annotations: {kubernetes.io/egress-bandwidth: 80k}' : ''}}
spec: {nodeName: ${node}, containers: [{name: c, ports: [{containerPort: 8080, name: web}]}]}
status: {podIP: ${v4}, podIPs: [{ip: ${v4}}, {ip: '${v6}'}]}
`;

const service = ({ name, app, v4, v6, more, samePorts }: Offer, i: number): string => `apiVersion: v1
kind: Service
metadata: {name: ${name}}
spec:
  {clusterIP: ${v4}, clusterIPs: [${v4}, '${v6}'], ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv4, IPv6], ${app ? `selector: {app: ${app}}, ` : ''}${more ? `${more}, ` : ''}ports: [
    {name: a, port: 80, targetPort: ${samePorts ? 80 : 'web'}${more?.includes('LoadBalancer') ? `, nodePort: ${nodePort(i)}` : ''}},
    {name: b, port: 53, targetPort: ${samePorts ? 53 : 5353}, protocol: UDP},
    {name: c, port: 9, targetPort: 9, protocol: SCTP}]}
`;

/** Where a Service's traffic leaves the cluster. */
const ABROAD = [
  { family: 'IPv4', address: '203.0.113.77' },
  { family: 'IPv6', address: '2001:db8::77' },
].map(
  ({ family, address }) => `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: abroad-${family.toLowerCase()}, labels: {kubernetes.io/service-name: abroad}}
addressType: ${family}
endpoints: [{addresses: ['${address}']}]
ports: [{name: a, port: 80}, {name: b, port: 53, protocol: UDP}, {name: c, port: 9, protocol: SCTP}]
`,
);

const POLICIES = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: guarded}
spec:
  podSelector: {matchLabels: {app: guarded}}
  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: 8080}, {port: 5353, protocol: UDP}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: client}
spec:
  podSelector: {matchLabels: {app: client}}
  policyTypes: [Egress]
  egress:
    - to: [{podSelector: {}}]
    - to: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.128/25]}}]
      ports: [{port: 8000, endPort: 8999}, {port: 443}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: proxied}
spec:
  endpointSelector: {matchLabels: {app: proxied}}
  ingress: [{fromEntities: [all], toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{method: GET}]}}]}]
  egress:
    - toEntities: [all]
      toPorts: [{ports: [{port: "8080", protocol: TCP}, {port: "80", protocol: TCP}], rules: {http: [{method: GET}]}}]
    - toEntities: [all]
      toPorts: [{ports: [{port: "5353", protocol: UDP}, {port: "53", protocol: UDP}], rules: {dns: [{matchPattern: "*"}]}}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: trusted}
spec:
  endpointSelector: {matchLabels: {app: trusted}}
  ingress: [{fromEntities: [all], authentication: {mode: required}}]
  egress: [{toEntities: [all], authentication: {mode: required}}]
---
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: nodes}
spec:
  nodeSelector: {}
  ingress: [{fromEntities: [all], toPorts: [{ports: [{port: "80", protocol: TCP}, {port: "8472", protocol: UDP}]}]}]
  egress: [{toEntities: [all], toPorts: [{ports: [{port: "80", protocol: TCP}, {port: "53", protocol: UDP}]}]}]
`;

const YAML = [...NODES.map(node), ...PODS.map(pod), ...SERVICES.map(service), ...ABROAD, POLICIES].join('---\n');

/** What the maps must hold, and where the pods and nodes are in them. */
export interface Loaded {
  readonly desired: Desired;
  readonly sizes: Readonly<Sizes>;
  readonly endpoint: ReadonlyMap<string, number>;
  readonly node: ReadonlyMap<string, number>;
}

/** Maps that the datapath fills: so small that they run full, or so small that hardly anything stays in them, if at all. */
const SMALL = both({ conntrack: 512, snat: 128, affinity: 4, fragments: 16, reverseSk: 512 });
const TINY = { ...both({ conntrack: 32, affinity: 0, fragments: 0, reverseSk: 3 }), snat4: 3, snat6: 0, reverseSk6: 0 };

/** `authentication.mode: required`, as the policymap numbers it. */
const REQUIRED = 1;
/** Seconds after which both ends would have to authenticate again. */
const AUTHENTICATED = 1000;

/** That the pod which asks for it and every other have authenticated, as Cilium's agent notes it. */
function authentications(desired: Desired): MapEntry[] {
  const configs = new Map(
    desired.entries
      .filter(({ map }) => map === MapId.ENDPOINT_CONFIG)
      .map(({ key, value }) => [key.charCodeAt(0), decode(EndpointConfig, value)]),
  );
  const named = new Map([...desired.endpointIds].map(([{ name }, id]) => [name, configs.get(id)!]));
  const local = named.get('trusted')!;
  return [...named.values()].map(({ secId, node }) => ({
    map: MapId.AUTH,
    key: encode(AuthKey, {
      localSecLabel: local.secId,
      remoteSecLabel: secId,
      remoteNodeId: node === local.node ? 0 : node,
      node: local.node,
      authType: REQUIRED,
    }),
    value: encode(AuthInfo, { expiration: BigInt(AUTHENTICATED) }),
    origin: [],
  }));
}

/** Whether an entry of the ipcache is for the whole world: in a cluster of one family there is none. */
function isWorld({ map, key }: MapEntry): boolean {
  if (map === MapId.IPCACHE4) return decode(IpcacheKey4, key).prefixLength === 0;
  return map === MapId.IPCACHE6 && decode(IpcacheKey6, key).prefixLength === 0;
}

/** The product's own control plane says what goes into the maps. */
function loaded(settings: Partial<Settings>, flows: Partial<Sizes>, isWorldKnown = false): Loaded {
  const engine = new Engine(modules.fast, { ...DEFAULT_SETTINGS, 'maglev.tableSize': 251, ...settings });
  engine.manifests.set('cluster.yaml', YAML);
  const { cluster, desired, loader } = engine.current;
  const entries = [...desired.entries.filter((entry) => isWorldKnown || !isWorld(entry)), ...authentications(desired)];
  return {
    desired: { ...desired, entries },
    sizes: {
      ...loader.current.sizes,
      ...flows,
      flows4: 256,
      flows6: 256,
      openings4: 256,
      openings6: 256,
      events: 512,
      templates: 4096,
    },
    endpoint: new Map([...desired.endpointIds].map(([{ name }, id]) => [name, id])),
    node: new Map(cluster.nodes.map(({ name, index }) => [name, index])),
  };
}

/** Once for each way to pick a backend, to get to another node, to let a client in from outside, and to translate and refuse. */
export const clusters = (): readonly Loaded[] => [
  loaded({}, SMALL, true),
  loaded({ 'loadBalancer.algorithm': 'random' }, TINY),
  loaded(
    {
      cni: 'cilium-geneve',
      'loadBalancer.mode': 'dsr',
      socketLB: true,
      hostFirewall: true,
      'encryption.type': 'wireguard',
      bandwidthManager: true,
    },
    SMALL,
  ),
  loaded(
    {
      cni: 'cilium-native',
      'loadBalancer.mode': 'dsr',
      socketLB: 'hostNamespaceOnly',
      policyAuditMode: true,
      nativeRoutingCIDR: '10.0.0.0/8,fd00::/16',
    },
    SMALL,
  ),
  loaded(
    {
      cni: 'cilium-native',
      'loadBalancer.mode': 'dsr',
      'loadBalancer.dsrDispatch': 'ipip',
      'ipMasqAgent.nonMasqueradeCIDRs': ['203.0.113.0/24', '2001:db8::/48'],
      'encryption.type': 'wireguard',
      'encryption.strictCIDR': '10.0.0.0/8',
    },
    SMALL,
  ),
  loaded(
    {
      cni: 'cilium-native',
      'loadBalancer.algorithm': 'random',
      'loadBalancer.mode': 'hybrid',
      'loadBalancer.dsrDispatch': 'geneve',
      socketLB: true,
      hostFirewall: true,
      policyAuditMode: true,
    },
    TINY,
  ),
  loaded({ 'loadBalancer.mode': 'hybrid', hostFirewall: true, 'encryption.type': 'wireguard' }, SMALL),
  loaded({ engine: 'kube-proxy-iptables', cni: 'flannel-host-gw', masqueradeAll: true }, SMALL),
];
