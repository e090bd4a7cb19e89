/** The cluster whose maps the packets meet: every kind of Service and policy that puts something of its own into them. */
import type { Desired } from '../../dataplane/loader/entries.js';
import { DEFAULT_SETTINGS, type Settings } from '../../dataplane/settings.js';
import { Engine } from '../../dataplane/state.js';
import type { Sizes } from '../../dataplane/wasm.js';
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
] as const;

interface Offer {
  readonly name: string;
  readonly app: string;
  readonly v4: string;
  readonly v6: string;
  /** Further fields of the spec. */
  readonly more?: string;
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
metadata: {name: ${name}, labels: {app: ${app}}}
spec: {nodeName: ${node}, containers: [{name: c, ports: [{containerPort: 8080, name: web}]}]}
status: {podIP: ${v4}, podIPs: [{ip: ${v4}}, {ip: '${v6}'}]}
`;

const service = ({ name, app, v4, v6, more }: Offer, i: number): string => `apiVersion: v1
kind: Service
metadata: {name: ${name}}
spec:
  {clusterIP: ${v4}, clusterIPs: [${v4}, '${v6}'], ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv4, IPv6], selector: {app: ${app}}, ${more ? `${more}, ` : ''}ports: [
    {name: a, port: 80, targetPort: web${more?.includes('LoadBalancer') ? `, nodePort: ${nodePort(i)}` : ''}},
    {name: b, port: 53, targetPort: 5353, protocol: UDP},
    {name: c, port: 9, targetPort: 9, protocol: SCTP}]}
`;

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
`;

const YAML = [...NODES.map(node), ...PODS.map(pod), ...SERVICES.map(service), POLICIES].join('---\n');

/** What the maps must hold, and where the pods and nodes are in them. */
export interface Loaded {
  readonly desired: Desired;
  readonly sizes: Readonly<Sizes>;
  readonly endpoint: ReadonlyMap<string, number>;
  readonly node: ReadonlyMap<string, number>;
}

/** Maps that the datapath fills: so small that they run full, or so small that hardly anything stays in them, if at all. */
const SMALL = both({ conntrack: 512, snat: 128, affinity: 4, fragments: 16 });
const TINY = { ...both({ conntrack: 32, affinity: 0, fragments: 0 }), snat4: 3, snat6: 0 };

/** The product's own control plane says what goes into the maps. */
function loaded(settings: Partial<Settings>, flows: Partial<Sizes>): Loaded {
  const engine = new Engine(modules.fast, { ...DEFAULT_SETTINGS, 'maglev.tableSize': 251, ...settings });
  engine.manifests.set('cluster.yaml', YAML);
  const { cluster, desired, loader } = engine.current;
  return {
    desired,
    sizes: { ...loader.current.sizes, ...flows, events: 512, templates: 4096 },
    endpoint: new Map([...desired.endpointIds].map(([{ name }, id]) => [name, id])),
    node: new Map(cluster.nodes.map(({ name, index }) => [name, index])),
  };
}

/** Once for each way to pick a backend. */
export const clusters = (): readonly Loaded[] => [
  loaded({ 'loadBalancer.algorithm': 'maglev' }, SMALL),
  loaded({ 'loadBalancer.algorithm': 'random' }, TINY),
];
