/** Random clusters with policies of Calico beside NetworkPolicies, and probes of them. Small alphabets, as in `generate.ts`. */
import fc from 'fast-check';
import {
  textOf,
  type CalicoPolicy,
  type Cluster,
  type Entity,
  type Expression,
  type NetworkSet,
  type Node,
  type Port,
  type Rule,
  type Tier,
} from './calico.js';
import { clusters as kubernetesClusters } from './generate.js';

const pick = <T>(values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);

/** An object that has any of the fields, or none. */
const optional = <T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<Partial<T>> =>
  fc.record<T, never>(fields, { requiredKeys: [], noNullPrototype: true }).map((chosen) => chosen as Partial<T>);

const PORTS = [80, 81, 443, 8080, 53];
const NAMESPACES = ['shop', 'bank', 'default'];
const VERSIONS = ['projectcalico.org/v3', 'crd.projectcalico.org/v1'];

const POD_KEYS: Record<string, string[]> = {
  app: ['web', 'db'],
  tier: ['front', 'back', ''],
  'projectcalico.org/namespace': NAMESPACES,
  'projectcalico.org/serviceaccount': ['one', 'default'],
};
const NAMESPACE_KEYS: Record<string, string[]> = {
  team: ['red', 'blue'],
  'projectcalico.org/name': NAMESPACES,
  'kubernetes.io/metadata.name': NAMESPACES,
};

/** A term about a label; of its values, whole ones and parts. */
const term = (keys: Record<string, string[]>): fc.Arbitrary<Expression> =>
  pick(Object.entries(keys)).chain(([key, values]) =>
    fc.oneof(
      {
        weight: 4,
        arbitrary: fc.tuple(pick(['==', '!='] as const), pick(values)).map(([op, text]) => ({ op, key, text })),
      },
      {
        weight: 2,
        arbitrary: fc
          .tuple(pick(['in', 'not in'] as const), fc.uniqueArray(pick(values), { maxLength: 2 }))
          .map(([op, texts]) => ({ op, key, texts })),
      },
      {
        weight: 2,
        arbitrary: fc
          .tuple(pick(['contains', 'starts with', 'ends with'] as const), pick(['b', 'f', 'nt', 'd', 'an', '']))
          .map(([op, text]) => ({ op, key, text })),
      },
      { weight: 1, arbitrary: fc.constant<Expression>({ op: 'has', key }) },
    ),
  );

const expression = (keys: Record<string, string[]>): fc.Arbitrary<Expression> => {
  const leaf = fc.oneof(
    { weight: 8, arbitrary: term(keys) },
    { weight: 1, arbitrary: pick<Expression>([{ op: 'all' }, { op: 'global' }]) },
  );
  const nested = fc.oneof(
    { weight: 4, arbitrary: leaf },
    { weight: 1, arbitrary: leaf.map((of): Expression => ({ op: '!', of })) },
    {
      weight: 2,
      arbitrary: fc
        .tuple(pick(['&&', '||'] as const), leaf, leaf)
        .map(([op, left, right]): Expression => ({ op, left, right })),
    },
  );
  return fc.oneof(
    { weight: 4, arbitrary: nested },
    { weight: 1, arbitrary: nested.map((of): Expression => ({ op: '!', of })) },
    {
      weight: 1,
      arbitrary: fc
        .tuple(pick(['&&', '||'] as const), nested, leaf)
        .map(([op, left, right]): Expression => ({ op, left, right })),
    },
  );
};

const ofPods = expression(POD_KEYS);
const ofNamespaces = expression(NAMESPACE_KEYS);

/** Blocks outside, blocks that hold all pods or some, and blocks that hold all nodes or one. */
const NETS = [
  '0.0.0.0/0',
  '203.0.113.0/24',
  '203.0.113.64/26',
  '198.51.100.7',
  '10.244.0.0/16',
  '10.244.1.0/24',
  '10.244.1.2/32',
  '10.0.0.0/8',
  '10.0.0.2',
];
const nets = fc.uniqueArray(pick(NETS), { minLength: 1, maxLength: 2 });

const port: fc.Arbitrary<Port> = fc.oneof(
  { weight: 4, arbitrary: pick<Port>(PORTS) },
  { weight: 2, arbitrary: pick<Port>(['80:81', '81:8079', '1:65535', '50:100']) },
  { weight: 1, arbitrary: pick<Port>(['http', 'dns', 'metrics']) },
);

/** Names are not taken out of others: which number they are differs from pod to pod. */
const ports: fc.Arbitrary<Pick<Entity, 'ports' | 'notPorts'>> = fc.oneof(
  { weight: 3, arbitrary: fc.array(port, { minLength: 1, maxLength: 2 }).map((some) => ({ ports: some })) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(
        fc.option(pick<Port>(['1:65535', '50:100', 80]), { nil: null }),
        fc.array(pick<Port>([...PORTS, '81:8079']), { minLength: 1, maxLength: 2 }),
      )
      .map(([some, notPorts]) => ({ ...(some === null ? {} : { ports: [some] }), notPorts })),
  },
);

const entity: fc.Arbitrary<Entity> = fc.oneof(
  { weight: 3, arbitrary: fc.constant({}) },
  { weight: 4, arbitrary: ofPods.map((selector) => ({ selector })) },
  {
    weight: 2,
    arbitrary: fc.tuple(ofPods, ofNamespaces).map(([selector, namespaceSelector]) => ({ selector, namespaceSelector })),
  },
  { weight: 2, arbitrary: nets.map((some) => ({ nets: some })) },
  {
    weight: 3,
    arbitrary: optional<Entity>({
      nets,
      notNets: nets,
      selector: ofPods,
      notSelector: ofPods,
      namespaceSelector: ofNamespaces,
      serviceAccounts: fc.uniqueArray(pick(['one', 'default']), { minLength: 1 }).map((names) => ({ names })),
    }),
  },
);

/** Rules are mostly about the other end. */
const rule = (direction: 'ingress' | 'egress'): fc.Arbitrary<Rule> =>
  fc
    .tuple(
      pick<Rule['action']>(['Allow', 'Allow', 'Allow', 'Deny', 'Deny', 'Pass', 'Log']),
      entity,
      fc.option(entity, { nil: {}, freq: 4 }),
      fc.oneof(
        { weight: 3, arbitrary: fc.constant<{ rule: Partial<Rule>; ports: Partial<Entity> }>({ rule: {}, ports: {} }) },
        {
          weight: 1,
          arbitrary: pick(['TCP', 'UDP', 'ICMP']).map((protocol) => ({ rule: { protocol }, ports: {} })),
        },
        {
          weight: 1,
          arbitrary: pick(['TCP', 'SCTP', 'ICMP']).map((notProtocol) => ({ rule: { notProtocol }, ports: {} })),
        },
        {
          weight: 4,
          arbitrary: fc
            .tuple(pick(['TCP', 'TCP', 'UDP', 'SCTP']), ports)
            .map(([protocol, some]) => ({ rule: { protocol }, ports: some })),
        },
      ),
    )
    .map(([action, other, self, traffic]) => {
      const [source, destination] = direction === 'ingress' ? [other, self] : [self, other];
      return { action, ...traffic.rule, source, destination: { ...destination, ...traffic.ports } };
    });

const rules = (direction: 'ingress' | 'egress'): fc.Arbitrary<Rule[]> =>
  fc.array(rule(direction), { minLength: 1, maxLength: 3 });

/** Orders meet, and are before and after those of NetworkPolicies, but never theirs. */
const order = fc.option(pick([-1, 1, 1, 2.5, 10, 999, 2000, 2000]), { nil: undefined });

const TIERS = ['first', 'second', 'last'];

const policy: fc.Arbitrary<(index: number) => CalicoPolicy> = fc
  .tuple(
    pick([...NAMESPACES, 'shop', 'shop', '', '', '']),
    pick(['default', 'default', undefined, undefined, ...TIERS]),
    order,
    optional({ selector: ofPods, namespaceSelector: ofNamespaces }),
    fc.option(pick<('Ingress' | 'Egress')[]>([['Ingress'], ['Egress'], ['Ingress', 'Egress'], ['Egress', 'Ingress']]), {
      nil: undefined,
    }),
    optional({ ingress: rules('ingress'), egress: rules('egress') }),
  )
  .map(([namespace, tier, own, { selector, namespaceSelector }, types, lists]) => (index): CalicoPolicy => {
    const global = namespace === '';
    return {
      apiVersion: VERSIONS[index % 2]!,
      kind: global ? 'GlobalNetworkPolicy' : 'NetworkPolicy',
      metadata: { name: `calico-${(index * 5) % 7}`, ...(global ? {} : { namespace }) },
      spec: {
        ...(tier === undefined ? {} : { tier }),
        ...(own === undefined ? {} : { order: own }),
        ...(selector ? { selector } : {}),
        ...(global && namespaceSelector ? { namespaceSelector } : {}),
        ...(types ? { types } : {}),
        ...lists,
      },
    };
  });

const tiers: fc.Arbitrary<Tier[]> = fc
  .tuple(
    ...TIERS.map((name) =>
      optional<Tier['spec']>({
        order: name === 'last' ? pick([2_000_000, 5]) : pick([1, 2, 10]),
        defaultAction: pick(['Deny', 'Pass'] as const),
      }).map((spec): Tier => ({ apiVersion: VERSIONS[0]!, kind: 'Tier', metadata: { name }, spec })),
    ),
  )
  .map((made) => [...made]);

const sets: fc.Arbitrary<NetworkSet[]> = fc
  .array(
    fc.tuple(
      pick(['', '', 'shop', 'bank']),
      optional<Record<string, string>>({ app: pick(POD_KEYS['app']!), tier: pick(POD_KEYS['tier']!) }),
      fc.uniqueArray(pick(['203.0.113.0/25', '198.51.100.0/24', '10.244.1.0/24', '10.0.0.0/8', '0.0.0.0/0']), {
        minLength: 1,
        maxLength: 2,
      }),
    ),
    { maxLength: 2 },
  )
  .map((made) =>
    made.map(([namespace, labels, blocks], index): NetworkSet => ({
      apiVersion: VERSIONS[0]!,
      kind: namespace === '' ? 'GlobalNetworkSet' : 'NetworkSet',
      metadata: {
        name: `set-${index}`,
        ...(namespace === '' ? {} : { namespace }),
        labels: labels as Record<string, string>,
      },
      spec: { nets: blocks },
    })),
  );

const NODES: readonly Node[] = ['10.0.0.1', '10.0.0.2'].map((address, index) => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: `worker-${index + 1}` },
  status: { addresses: [{ type: 'InternalIP', address }] },
}));

export const clusters: fc.Arbitrary<Cluster> = fc
  .tuple(
    kubernetesClusters,
    fc.array(policy, { minLength: 1, maxLength: 7 }),
    tiers,
    sets,
    fc.integer({ min: 0, max: 2 }),
  )
  .map(([kubernetes, made, ranked, held, beside]) => {
    const calico = made.map((one, index) => one(index));
    const id = ({ kind, metadata }: CalicoPolicy): string => `${kind} ${metadata.namespace} ${metadata.name}`;
    return {
      ...kubernetes,
      pods: kubernetes.pods.map((pod, index) => ({
        ...pod,
        spec: {
          ...pod.spec,
          // The model must know the node of each.
          nodeName: pod.spec.nodeName ?? 'worker-1',
          ...(index % 3 === 0 ? { serviceAccountName: 'one' } : {}),
        },
      })),
      nodes: [...NODES],
      policies: kubernetes.policies.slice(0, beside),
      tiers: ranked,
      sets: held,
      calico: calico.filter((one, index) => calico.findIndex((other) => id(other) === id(one)) === index),
    };
  });

const isExpression = (value: unknown): value is Expression =>
  typeof value === 'object' && value !== null && 'op' in value;

/** The manifests of a cluster, a JSON document each, which is YAML too; selectors as Calico writes them. */
export const toManifests = ({
  namespaces,
  nodes,
  pods,
  policies,
  tiers: ranked,
  sets: held,
  calico,
}: Cluster): string =>
  [...namespaces, ...nodes, ...pods, ...policies, ...ranked, ...held, ...calico]
    .map((object) => JSON.stringify(object, (_, value: unknown) => (isExpression(value) ? textOf(value) : value), 1))
    .join('\n---\n');
