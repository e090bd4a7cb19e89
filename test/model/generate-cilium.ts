/** Random clusters with policies of Cilium beside NetworkPolicies, and probes of them. Small alphabets, as in `generate.ts`. */
import fc from 'fast-check';
import type {
  CidrGroup,
  CidrRule,
  CiliumPolicy,
  Cluster,
  End,
  HttpRule,
  PortRule,
  Probe,
  Request,
  Rule,
  Spec,
} from './cilium.js';
import { clusters as kubernetesClusters } from './generate.js';
import { idOf, numberOf, rangeOf, type LabelSelector, type Protocol } from './networkpolicy.js';

const pick = <T>(values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);

/** An object that has any of the fields, or none. */
const optional = <T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<Partial<T>> =>
  fc.record<T, never>(fields, { requiredKeys: [], noNullPrototype: true }).map((chosen) => chosen as Partial<T>);
const record = <T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record<T>(fields, { noNullPrototype: true });

const NAMESPACES = ['shop', 'bank', 'default'];
const PROTOCOLS: readonly Protocol[] = ['TCP', 'UDP', 'SCTP'];
const PORTS = [80, 81, 443, 8080, 53];

/** Keys of every source and kind, and their values; a prefix is part of the key. */
const KEYS: Record<string, string[]> = {
  app: ['web', 'db'],
  'k8s:app': ['web', 'db'],
  'any:tier': ['front', 'back', ''],
  'io.cilium.k8s.policy.serviceaccount': ['one', 'default'],
  'io.cilium.k8s.policy.cluster': ['default', 'other'],
};
const PEER_KEYS: Record<string, string[]> = {
  ...KEYS,
  'k8s:io.kubernetes.pod.namespace': NAMESPACES,
  'io.kubernetes.pod.namespace': NAMESPACES,
  'io.cilium.k8s.namespace.labels.team': ['red', 'blue'],
};

function requirement(
  keys: Record<string, string[]>,
): fc.Arbitrary<NonNullable<LabelSelector['matchExpressions']>[number]> {
  return pick(Object.entries(keys)).chain(([key, values]) =>
    fc.oneof(
      record({
        key: fc.constant(key),
        operator: pick(['In', 'NotIn'] as const),
        values: fc.uniqueArray(pick(values), { minLength: 1, maxLength: 2 }),
      }),
      record({ key: fc.constant(key), operator: pick(['Exists', 'DoesNotExist'] as const) }),
    ),
  );
}

const labelsOf = (keys: Record<string, string[]>): fc.Arbitrary<Record<string, string>> =>
  pick(Object.entries(keys)).chain(([key, values]) => pick(values).map((value) => ({ [key]: value })));

const selector = (keys: Record<string, string[]>): fc.Arbitrary<LabelSelector> =>
  fc.oneof(
    { weight: 2, arbitrary: fc.constant({}) },
    { weight: 4, arbitrary: labelsOf(keys).map((matchLabels) => ({ matchLabels })) },
    {
      weight: 2,
      arbitrary: fc
        .array(requirement(keys), { minLength: 1, maxLength: 2 })
        .map((matchExpressions) => ({ matchExpressions })),
    },
  );

const reserved: fc.Arbitrary<LabelSelector> = pick(['host', 'remote-node', 'world', 'init']).chain((name) =>
  pick([
    { matchLabels: { [`reserved:${name}`]: '' } },
    { matchExpressions: [{ key: `reserved:${name}`, operator: 'DoesNotExist' as const }] },
  ]),
);

const ENTITIES = ['all', 'world', 'world-ipv4', 'cluster', 'host', 'remote-node', 'init', 'none'];

const BLOCKS: Record<string, string[]> = {
  '203.0.113.0/24': ['203.0.113.0/25', '203.0.113.64/26', '203.0.113.7/32'],
  '203.0.113.0/25': ['203.0.113.0/26'],
  '198.51.100.0/24': ['198.51.100.20/30', '198.51.100.0/25'],
  '0.0.0.0/0': ['203.0.113.0/24', '198.51.100.0/24', '10.0.0.0/8'],
  '10.0.0.0/8': ['10.244.0.0/16'],
};

const cidr: fc.Arbitrary<string> = pick([...Object.keys(BLOCKS), '203.0.113.7', '198.51.100.20/32']);

const cidrRule: fc.Arbitrary<CidrRule> = fc.oneof(
  pick(Object.entries(BLOCKS)).chain(([block, holes]) =>
    fc
      .subarray(holes, { maxLength: Math.min(2, holes.length) })
      .map((except) => (except.length > 0 ? { cidr: block, except } : { cidr: block })),
  ),
  pick([
    { cidrGroupRef: 'outer' },
    { cidrGroupRef: 'inner', except: ['203.0.113.7/32'] },
    { cidrGroupSelector: { matchLabels: { zone: 'far' } } },
    { cidrGroupSelector: {} },
  ]),
);

const groups: CidrGroup[] = [
  {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumCIDRGroup',
    metadata: { name: 'outer', labels: { zone: 'far' } },
    spec: { externalCIDRs: ['198.51.100.0/24'] },
  },
  {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumCIDRGroup',
    metadata: { name: 'inner', labels: { zone: 'near' } },
    spec: { externalCIDRs: ['203.0.113.0/26', '192.0.2.0/24'] },
  },
];

/** Whom a rule names, under the fields of ingress; `pods` says that all of them are pods. */
const peers: fc.Arbitrary<{ fields: Rule; pods: boolean }> = fc.oneof(
  { weight: 2, arbitrary: fc.constant({ fields: {}, pods: false }) },
  {
    weight: 4,
    arbitrary: fc
      .array(selector(PEER_KEYS), { maxLength: 2 })
      .map((fromEndpoints) => ({ fields: { fromEndpoints }, pods: true })),
  },
  { weight: 1, arbitrary: reserved.map((one) => ({ fields: { fromEndpoints: [one] }, pods: false })) },
  {
    weight: 3,
    arbitrary: fc
      .uniqueArray(pick(ENTITIES), { minLength: 1, maxLength: 2 })
      .map((fromEntities) => ({ fields: { fromEntities }, pods: false })),
  },
  {
    weight: 2,
    arbitrary: fc
      .array(cidr, { minLength: 1, maxLength: 2 })
      .map((fromCIDR) => ({ fields: { fromCIDR }, pods: false })),
  },
  {
    weight: 2,
    arbitrary: fc
      .array(cidrRule, { minLength: 1, maxLength: 2 })
      .map((fromCIDRSet) => ({ fields: { fromCIDRSet }, pods: false })),
  },
);

const http: fc.Arbitrary<HttpRule> = fc.oneof(
  fc.constant({}),
  pick<HttpRule>([
    { method: 'GET' },
    { method: 'GET|PUT', path: '/a' },
    { path: '/a.*' },
    { path: '/(a|b)[0-9]+', headers: ['X-Token: 1'] },
    { host: '[a-z]+\\.test', headers: ['X-Token'] },
  ]),
);

type Port = PortRule['ports'][number];

const port = (named: boolean): fc.Arbitrary<Port> =>
  fc
    .tuple(
      optional<{ protocol: Port['protocol'] }>({ protocol: pick([...PROTOCOLS, 'ANY'] as const) }),
      fc.oneof(
        { weight: 4, arbitrary: pick(PORTS).map((number) => ({ port: String(number) })) },
        {
          weight: 2,
          arbitrary: pick([
            { port: '1', endPort: 65535 },
            { port: '80', endPort: 81 },
            { port: '81', endPort: 8079 },
            { port: '50', endPort: 100 },
            { port: '0' },
          ]),
        },
        { weight: named ? 2 : 0, arbitrary: pick(['http', 'dns', 'metrics']).map((name) => ({ port: name })) },
      ),
    )
    .map(([protocol, number]) => ({ ...number, ...protocol }) as Port);

const portRule = (named: boolean, proxied: boolean): fc.Arbitrary<PortRule> =>
  fc
    .tuple(
      fc.array(port(named), { minLength: 1, maxLength: 2 }),
      fc.option(fc.array(http, { minLength: 1, maxLength: 2 }), { nil: null, freq: 3 }),
    )
    .map(([ports, rules]): PortRule => {
      if (!proxied || rules === null) return { ports };
      const open = ports.filter(({ port: number }) => number !== '0');
      const tcp = (open.length > 0 ? open : [{ port: '80' }]).map((one): Port => ({ ...one, protocol: 'TCP' }));
      return { ports: tcp, rules: { http: rules } };
    });

/** One rule, written for ingress. */
const rule = (ingress: boolean, deny: boolean): fc.Arbitrary<Rule> =>
  peers.chain(({ fields, pods }) =>
    fc
      .option(fc.array(portRule(ingress || pods, !deny), { minLength: 1, maxLength: 2 }), { nil: null, freq: 3 })
      .map((toPorts) => ({ ...fields, ...(toPorts === null ? {} : { toPorts }) })),
  );

const outward = (one: Rule): Rule =>
  Object.fromEntries(Object.entries(one).map(([key, value]) => [key.replace(/^from/, 'to'), value as unknown]));

const rules = (ingress: boolean, deny: boolean): fc.Arbitrary<Rule[]> =>
  fc.array(rule(ingress, deny), { minLength: 1, maxLength: 2 }).map((list) => (ingress ? list : list.map(outward)));

const spec: fc.Arbitrary<Spec> = fc
  .tuple(
    fc.oneof({ weight: 3, arbitrary: fc.constant({}) }, { weight: 4, arbitrary: selector(PEER_KEYS) }),
    optional({
      ingress: rules(true, false),
      ingressDeny: rules(true, true),
      egress: rules(false, false),
      egressDeny: rules(false, true),
    }),
    fc.option(optional({ ingress: fc.boolean(), egress: fc.boolean() }), { nil: null, freq: 2 }),
  )
  .map(([endpointSelector, sections, enableDefaultDeny]) => ({
    endpointSelector,
    // A policy needs a rule.
    ...(Object.keys(sections).length > 0 ? sections : { ingress: [{}] }),
    ...(enableDefaultDeny === null ? {} : { enableDefaultDeny }),
  }));

const policies: fc.Arbitrary<CiliumPolicy[]> = fc
  .array(fc.tuple(pick([...NAMESPACES, 'shop', 'shop', '']), fc.array(spec, { minLength: 1, maxLength: 2 })), {
    minLength: 1,
    maxLength: 4,
  })
  .map((made) =>
    made.map(([namespace, specs], index): CiliumPolicy => ({
      apiVersion: 'cilium.io/v2',
      kind: namespace === '' ? 'CiliumClusterwideNetworkPolicy' : 'CiliumNetworkPolicy',
      metadata: { name: `cilium-${index}`, ...(namespace === '' ? {} : { namespace }) },
      ...(specs.length === 1 ? { spec: specs[0]! } : { specs }),
    })),
  );

export const clusters: fc.Arbitrary<Cluster> = fc
  .tuple(kubernetesClusters, policies, fc.integer({ min: 0, max: 2 }))
  .map(([kubernetes, cilium, beside]) => ({
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
    policies: kubernetes.policies.slice(0, beside),
    cilium,
    groups,
  }));

/** The manifests of a cluster, a JSON document each, which is YAML too. */
export const toManifests = ({ namespaces, pods, policies: kubernetes, cilium, groups: held }: Cluster): string =>
  [...namespaces, ...pods, ...kubernetes, ...cilium, ...held]
    .map((object) => `${JSON.stringify(object, null, 1)}\n`)
    .join('---\n');

const REQUESTS: readonly (Request | null)[] = [
  null,
  { method: 'GET', path: '/', host: 'web.test', headers: {} },
  { method: 'PUT', path: '/a', host: 'web', headers: { 'x-token': '1' } },
  { method: 'POST', path: '/b12', host: 'web.test', headers: { 'x-token': '1' } },
  { method: 'GET', path: '/b12?q', host: '', headers: { 'x-token': '2' } },
];

const NODES: readonly End[] = [{ node: 'worker-1' }, { node: 'worker-2' }];

/** The addresses at which an answer of the policies may change, and their neighbours. */
function outside({ cilium }: Cluster): End[] {
  const text = JSON.stringify([cilium, groups]);
  const edges = [...text.matchAll(/"(\d+\.\d+\.\d+\.\d+\/\d+)"/g)]
    .map(([, block]) => rangeOf(block!))
    .flatMap(({ first, last }) => [first - 1, first, last, last + 1]);
  const isOutside = (address: number): boolean =>
    [
      [1, 9],
      [11, 126],
      [128, 168],
      [170, 171],
      [173, 191],
      [193, 223],
    ].some(([low, high]) => address >= low! * 2 ** 24 && address < (high! + 1) * 2 ** 24);
  const dotted = (address: number): string =>
    [2 ** 24, 2 ** 16, 2 ** 8, 1].map((unit) => Math.floor(address / unit) % 256).join('.');
  const fixed = ['203.0.113.7', '203.0.113.200', '198.51.100.20', '8.8.8.8'].map(numberOf);
  return [...new Set([...edges.filter(isOutside), ...fixed])].map((address) => ({ ip: dotted(address) }));
}

/** Every probe worth asking, or `limit` of them, evenly spread. */
export function probesOf(cluster: Cluster, limit: number, offset = 0): Probe[] {
  const pods = cluster.pods.map((pod): End => ({ pod: idOf(pod) }));
  const others = [...NODES, ...outside(cluster)];
  const pairs = pods.flatMap((one) => [
    ...pods.filter((other) => other !== one).map((other) => [one, other] as const),
    ...others.flatMap((other) => [[one, other] as const, [other, one] as const]),
  ]);
  const numbers = [53, 79, 80, 81, 82, 443, 8079, 8080, 65535];
  const total = pairs.length * PROTOCOLS.length * numbers.length * REQUESTS.length;
  const at = (index: number): Probe => {
    const [from, to] = pairs[index % pairs.length]!;
    let rest = Math.floor(index / pairs.length);
    const number = numbers[rest % numbers.length]!;
    rest = Math.floor(rest / numbers.length);
    const wanted = REQUESTS[rest % REQUESTS.length]!;
    const protocol = wanted ? 'TCP' : PROTOCOLS[Math.floor(rest / REQUESTS.length) % PROTOCOLS.length]!;
    return { from, to, protocol, port: number, http: wanted };
  };
  const count = Math.min(total, limit);
  return Array.from({ length: count }, (_, nth) => at((Math.floor((nth * total) / count) + offset) % total));
}
