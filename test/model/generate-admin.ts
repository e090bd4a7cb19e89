/** Random clusters with policies of administrators around NetworkPolicies, and probes of them. Small alphabets, as in `generate.ts`. */
import fc from 'fast-check';
import type {
  AdminPolicy,
  Cluster,
  NamespacedPods,
  Node,
  Numbers,
  Peer,
  PortMatch,
  ProtocolMatch,
  Rule,
} from './admin.js';
import { clusters as kubernetesClusters } from './generate.js';
import { type LabelSelector, type Protocol } from './networkpolicy.js';

const pick = <T>(values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);

const PROTOCOLS: readonly Protocol[] = ['TCP', 'UDP', 'SCTP'];
const PORTS = [80, 81, 443, 8080, 53];

const selector = (alphabet: Record<string, string[]>): fc.Arbitrary<LabelSelector> =>
  fc.oneof(
    { weight: 2, arbitrary: fc.constant({}) },
    {
      weight: 5,
      arbitrary: pick(Object.entries(alphabet)).chain(([key, values]) =>
        pick(values).map((value) => ({ matchLabels: { [key]: value } })),
      ),
    },
    {
      weight: 2,
      arbitrary: pick(Object.entries(alphabet)).chain(([key, values]) =>
        fc.oneof(
          pick(['In', 'NotIn'] as const).map((operator) => ({
            matchExpressions: [{ key, operator, values: values.slice(0, 1) }],
          })),
          pick(['Exists', 'DoesNotExist'] as const).map((operator) => ({ matchExpressions: [{ key, operator }] })),
        ),
      ),
    },
  );

const podSelector = selector({ app: ['web', 'db'], tier: ['front', 'back', ''] });
const namespaceSelector = selector({
  team: ['red', 'blue'],
  'kubernetes.io/metadata.name': ['shop', 'bank', 'default', 'nowhere'],
});

const namespacedPods: fc.Arbitrary<NamespacedPods> = fc.oneof(
  namespaceSelector.map((namespaces) => ({ namespaces })),
  fc.tuple(namespaceSelector, podSelector).map(([namespaces, pods]) => ({
    pods: { namespaceSelector: namespaces, podSelector: pods },
  })),
);

/** Blocks outside, blocks that hold all pods or some, and blocks that hold all nodes or one. */
const NETWORKS = [
  '0.0.0.0/0',
  '203.0.113.0/24',
  '203.0.113.64/26',
  '198.51.100.0/24',
  '10.244.0.0/16',
  '10.244.1.0/24',
  '10.244.1.2/32',
  '10.0.0.0/8',
  '10.0.0.0/24',
  '10.0.0.2/32',
];

const peer = (direction: 'ingress' | 'egress', named: boolean): fc.Arbitrary<Peer> =>
  direction === 'ingress' || named
    ? namespacedPods
    : fc.oneof(
        { weight: 4, arbitrary: namespacedPods },
        {
          weight: 3,
          arbitrary: fc.uniqueArray(pick(NETWORKS), { minLength: 1, maxLength: 2 }).map((networks) => ({ networks })),
        },
        { weight: 1, arbitrary: selector({ disk: ['ssd', 'hdd'] }).map((nodes) => ({ nodes })) },
      );

const RANGES = [
  { start: 1, end: 65535 },
  { start: 80, end: 81 },
  { start: 81, end: 8079 },
  { start: 50, end: 100 },
];

const numbers: fc.Arbitrary<Numbers> = fc.oneof(
  { weight: 3, arbitrary: pick(PORTS).map((number) => ({ number })) },
  { weight: 2, arbitrary: pick(RANGES).map((range) => ({ range })) },
);

const NAMES = ['http', 'dns', 'metrics'];

const protocolMatch = (named: boolean): fc.Arbitrary<ProtocolMatch> =>
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc
        .tuple(pick(['tcp', 'tcp', 'udp', 'sctp']), numbers)
        .map(([protocol, destinationPort]) => ({ [protocol]: { destinationPort } })),
    },
    { weight: named ? 3 : 0, arbitrary: pick(NAMES).map((destinationNamedPort) => ({ destinationNamedPort })) },
  );

const portMatch = (named: boolean): fc.Arbitrary<PortMatch> =>
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.tuple(pick([...PROTOCOLS, null]), pick(PORTS)).map(([protocol, port]) => ({
        portNumber: { port, ...(protocol ? { protocol } : {}) },
      })),
    },
    {
      weight: 2,
      arbitrary: fc.tuple(pick([...PROTOCOLS, null]), pick(RANGES)).map(([protocol, range]) => ({
        portRange: { ...range, ...(protocol ? { protocol } : {}) },
      })),
    },
    { weight: named ? 2 : 0, arbitrary: pick(NAMES).map((namedPort) => ({ namedPort })) },
  );

const ACTIONS = {
  ClusterNetworkPolicy: ['Accept', 'Deny', 'Pass'],
  AdminNetworkPolicy: ['Allow', 'Deny', 'Pass'],
  BaselineAdminNetworkPolicy: ['Allow', 'Deny'],
} as const;

const rule = (kind: AdminPolicy['kind'], direction: 'ingress' | 'egress'): fc.Arbitrary<Rule> =>
  fc.boolean().chain((named) =>
    fc
      .tuple(
        pick<Rule['action']>(ACTIONS[kind]),
        fc.array(peer(direction, named), { minLength: 1, maxLength: 2 }),
        fc.option(
          kind === 'ClusterNetworkPolicy'
            ? fc
                .array(protocolMatch(named), { minLength: 1, maxLength: 2 })
                .map((protocols): Partial<Rule> => ({ protocols }))
            : fc.array(portMatch(named), { minLength: 1, maxLength: 2 }).map((ports): Partial<Rule> => ({ ports })),
          { nil: {}, freq: 2 },
        ),
      )
      .map(([action, peers, ports]) => ({
        action,
        ...(direction === 'ingress' ? { from: peers } : { to: peers }),
        ...ports,
      })),
  );

const rules = (kind: AdminPolicy['kind']): fc.Arbitrary<Pick<AdminPolicy['spec'], 'ingress' | 'egress'>> =>
  fc
    .tuple(fc.array(rule(kind, 'ingress'), { maxLength: 3 }), fc.array(rule(kind, 'egress'), { maxLength: 3 }))
    .map(([ingress, egress]) => ({
      ...(ingress.length > 0 ? { ingress } : {}),
      ...(egress.length > 0 ? { egress } : {}),
    }));

/** Priorities meet now and then. */
const priority = fc.integer({ min: 0, max: 6 });

const policy: fc.Arbitrary<(index: number) => AdminPolicy> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .tuple(pick(['Admin', 'Admin', 'Baseline'] as const), priority, namespacedPods, rules('ClusterNetworkPolicy'))
      .map(([tier, order, subject, own]) => (index: number): AdminPolicy => ({
        apiVersion: index % 2 === 0 ? 'policy.networking.k8s.io/v1alpha2' : 'policy.networking.k8s.io/v1beta1',
        kind: 'ClusterNetworkPolicy',
        metadata: { name: `cluster-${index}` },
        spec: { tier, priority: order, subject, ...own },
      })),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(priority, namespacedPods, rules('AdminNetworkPolicy'))
      .map(([order, subject, own]) => (index: number): AdminPolicy => ({
        apiVersion: 'policy.networking.k8s.io/v1alpha1',
        kind: 'AdminNetworkPolicy',
        metadata: { name: `admin-${index}` },
        spec: { priority: order, subject, ...own },
      })),
  },
);

const baseline: fc.Arbitrary<AdminPolicy> = fc
  .tuple(namespacedPods, rules('BaselineAdminNetworkPolicy'))
  .map(([subject, own]) => ({
    apiVersion: 'policy.networking.k8s.io/v1alpha1',
    kind: 'BaselineAdminNetworkPolicy',
    metadata: { name: 'default' },
    spec: { subject, ...own },
  }));

export const NODES: readonly Node[] = ['ssd', 'hdd'].map((disk, index) => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: `worker-${index + 1}`, labels: { disk } },
  status: { addresses: [{ type: 'InternalIP', address: `10.0.0.${index + 1}` }] },
}));

export const clusters: fc.Arbitrary<Cluster> = fc
  .tuple(
    kubernetesClusters,
    fc.array(policy, { minLength: 1, maxLength: 4 }),
    fc.option(baseline, { nil: null }),
    fc.integer({ min: 0, max: 2 }),
  )
  .map(([kubernetes, made, last, beside]) => ({
    ...kubernetes,
    pods: kubernetes.pods.map((pod) => ({
      ...pod,
      // The model must know the node of each.
      spec: { ...pod.spec, nodeName: pod.spec.nodeName ?? 'worker-1' },
    })),
    nodes: [...NODES],
    policies: kubernetes.policies.slice(0, beside),
    admin: [...made.map((one, index) => one(index)), ...(last ? [last] : [])],
  }));

/** The manifests of a cluster, a JSON document each, which is YAML too. */
export const toManifests = ({ namespaces, nodes, pods, policies, admin }: Cluster): string =>
  [...namespaces, ...nodes, ...pods, ...policies, ...admin]
    .map((object) => `${JSON.stringify(object, null, 1)}\n`)
    .join('---\n');
