/**
 * Random clusters and probes. The alphabets are small on purpose: three namespaces, two label keys and five ports make
 * selectors hit and miss about as often, and make policies overlap. Everything the API server would refuse (an empty
 * peer, an `except` outside its `cidr`, an `endPort` below its `port` or beside a name) is never generated.
 */
import fc from 'fast-check';
import {
  cidrContains,
  idOf,
  numberOf,
  rangeOf,
  type Cluster,
  type ContainerPort,
  type End,
  type IPBlock,
  type LabelSelector,
  type LabelSelectorRequirement,
  type Labels,
  type Namespace,
  type NetworkPolicy,
  type NetworkPolicyPeer,
  type NetworkPolicyPort,
  type NetworkPolicySpec,
  type Pod,
  type Probe,
  type Protocol,
} from './networkpolicy.js';

const NAMESPACES = ['shop', 'bank', 'default'];
const PROTOCOLS: Protocol[] = ['TCP', 'UDP', 'SCTP'];
const PORTS = [80, 81, 443, 8080, 53];
const PORT_NAMES = ['http', 'dns', 'metrics'];

/** Label keys and their values. An empty value is a value: `tier: ''` exists. */
const POD_LABELS = { app: ['web', 'db'], tier: ['front', 'back', ''] };
const NAMESPACE_LABELS = { team: ['red', 'blue'], stage: ['prod', ''] };

/** What selectors of namespaces may ask for, which the control plane adds to: one of the names is of no namespace. */
const NAMESPACE_SELECTOR_LABELS = { ...NAMESPACE_LABELS, 'kubernetes.io/metadata.name': [...NAMESPACES, 'nowhere'] };

/** Blocks, and for each what may be cut out of it: holes beside one another, and holes within holes. */
const BLOCKS: Record<string, string[]> = {
  '203.0.113.0/24': ['203.0.113.0/25', '203.0.113.0/26', '203.0.113.64/26', '203.0.113.128/25', '203.0.113.7/32'],
  '203.0.113.7/24': ['203.0.113.7/32', '203.0.113.255/32'],
  '203.0.113.0/25': ['203.0.113.0/26', '203.0.113.64/27'],
  '198.51.100.0/24': ['198.51.100.20/30', '198.51.100.0/25', '198.51.100.255/32'],
  '198.51.100.20/32': [],
  '8.8.8.8/32': [],
  '0.0.0.0/0': ['203.0.113.0/24', '203.0.113.0/25', '198.51.100.0/24', '8.8.8.8/32', '128.0.0.0/1', '10.244.0.0/16'],
  '10.244.0.0/16': ['10.244.1.0/24', '10.244.1.0/25', '10.244.1.2/32', '10.244.2.0/23'],
  '10.244.1.0/24': ['10.244.1.0/30', '10.244.1.2/31', '10.244.1.3/32'],
  '10.0.0.0/8': ['10.244.0.0/16', '10.244.1.0/24', '10.96.0.0/12'],
};

/** Where the pods live: some at the edges of the blocks above. */
const POD_ADDRESSES = [
  '10.244.0.5',
  '10.244.1.1',
  '10.244.1.2',
  '10.244.1.3',
  '10.244.1.130',
  '10.244.2.2',
  '10.244.3.255',
  '10.244.255.254',
];

/** Asked about always, whatever the policies mention; 192.0.2.1 is in no block but 0.0.0.0/0. */
const OUTSIDE = ['203.0.113.7', '203.0.113.200', '198.51.100.20', '8.8.8.8', '192.0.2.1'];

/** Addresses that are never plainly outside: they may be a node's, a Service's, a loopback's or a group's. */
const NOT_OUTSIDE = ['0.0.0.0/8', '10.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.168.0.0/16'];
const LAST_UNICAST = '223.255.255.255';

const pick = <T>(values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);

/** An object that has all the fields. */
const record = <T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record<T>(fields, { noNullPrototype: true });

/** An object that has any of the fields, or none. */
const optional = <T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<Partial<T>> =>
  fc.record<T, never>(fields, { requiredKeys: [], noNullPrototype: true }).map((chosen) => chosen as Partial<T>);

function labels(alphabet: Record<string, string[]>): fc.Arbitrary<Labels> {
  return optional<Labels>(Object.fromEntries(Object.entries(alphabet).map(([key, values]) => [key, pick(values)]))).map(
    (chosen) => chosen as Labels,
  );
}

function requirement(alphabet: Record<string, string[]>): fc.Arbitrary<LabelSelectorRequirement> {
  const ofKey = ([key, values]: [string, string[]]): fc.Arbitrary<LabelSelectorRequirement> =>
    fc.oneof(
      record({
        key: fc.constant(key),
        operator: pick(['In', 'NotIn'] as const),
        values: fc.uniqueArray(pick(values), { minLength: 1, maxLength: 2 }),
      }),
      record({ key: fc.constant(key), operator: pick(['Exists', 'DoesNotExist'] as const) }),
    );
  return fc.oneof(...Object.entries(alphabet).map(ofKey));
}

function selector(alphabet: Record<string, string[]>): fc.Arbitrary<LabelSelector> {
  return fc.oneof(
    fc.constant({}),
    record({ matchLabels: labels(alphabet) }),
    record({ matchExpressions: fc.array(requirement(alphabet), { maxLength: 2 }) }),
    record({ matchLabels: labels(alphabet), matchExpressions: fc.array(requirement(alphabet), { maxLength: 2 }) }),
  );
}

/** Uneven, so that policies often share a namespace with one another and with the pods. */
const namespaceName = fc.oneof(
  { weight: 4, arbitrary: fc.constant('shop') },
  { weight: 2, arbitrary: fc.constant('bank') },
  { weight: 1, arbitrary: fc.constant('default') },
);

const podSelector = selector(POD_LABELS);
const namespaceSelector = selector(NAMESPACE_SELECTOR_LABELS);

/** The name of a port is unique in its pod (ContainerPort.name). */
const containerPorts: fc.Arbitrary<ContainerPort[]> = fc.uniqueArray(
  fc
    .tuple(record({ containerPort: pick(PORTS) }), optional({ name: pick(PORT_NAMES), protocol: pick(PROTOCOLS) }))
    .map(([number, rest]) => ({ ...number, ...rest })),
  { maxLength: 4, selector: (port) => port.name ?? `${port.containerPort}/${port.protocol ?? 'TCP'}` },
);

/** A pod still without name and address, which must differ from pod to pod. */
interface Template {
  namespace: string;
  labels: Labels | undefined;
  containers: ContainerPort[][];
  nodeName: string | undefined;
  /** Has the namespace and the labels of the pod before it, so that only its ports tell the two apart. */
  twin: boolean;
}

const template: fc.Arbitrary<Template> = record({
  namespace: namespaceName,
  labels: fc.option(labels(POD_LABELS), { nil: undefined, freq: 8 }),
  containers: fc
    .tuple(containerPorts, fc.nat({ max: 4 }))
    .map(([ports, cut]) => (cut < ports.length ? [ports.slice(0, cut), ports.slice(cut)] : [ports])),
  nodeName: fc.option(pick(['worker-1', 'worker-2']), { nil: undefined }),
  twin: fc.nat({ max: 3 }).map((n) => n === 3),
});

const pods: fc.Arbitrary<Pod[]> = fc
  .tuple(
    fc.array(template, { minLength: 2, maxLength: 6 }),
    fc.shuffledSubarray(POD_ADDRESSES, { minLength: 6, maxLength: 6 }),
  )
  .map(([templates, addresses]) =>
    templates.reduce<Pod[]>((made, from, index) => {
      const model = from.twin ? made[index - 1] : undefined;
      const podLabels = model === undefined ? from.labels : model.metadata.labels;
      const pod: Pod = {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: {
          name: `pod-${index}`,
          namespace: model?.metadata.namespace ?? from.namespace,
          ...(podLabels == null ? {} : { labels: podLabels }),
        },
        spec: {
          ...(from.nodeName === undefined ? {} : { nodeName: from.nodeName }),
          containers: from.containers.map((ports, nth) => ({ name: `container-${nth}`, image: 'image', ports })),
        },
        status: { phase: 'Running', podIP: addresses[index] },
      };
      return [...made, pod];
    }, []),
  );

/** Some namespaces have an object, and of those some have labels. */
const namespaces: fc.Arbitrary<Namespace[]> = fc
  .tuple(...NAMESPACES.map(() => fc.option(optional({ labels: labels(NAMESPACE_LABELS) }), { nil: undefined })))
  .map((metadata) =>
    NAMESPACES.flatMap((name, index): Namespace[] => {
      const rest = metadata[index];
      return rest === undefined ? [] : [{ apiVersion: 'v1', kind: 'Namespace', metadata: { name, ...rest } }];
    }),
  );

const ipBlock: fc.Arbitrary<IPBlock> = pick(Object.entries(BLOCKS)).chain(([cidr, holes]) =>
  fc.oneof(
    fc.constant({ cidr }),
    record({ cidr: fc.constant(cidr), except: fc.subarray(holes, { maxLength: Math.min(3, holes.length) }) }),
  ),
);

const peer: fc.Arbitrary<NetworkPolicyPeer> = fc.oneof(
  { weight: 2, arbitrary: record({ podSelector }) },
  { weight: 2, arbitrary: record({ namespaceSelector }) },
  { weight: 2, arbitrary: record({ podSelector, namespaceSelector }) },
  { weight: 3, arbitrary: record({ ipBlock }) },
);

/** From one port alone to all of them; the odd bounds are not of the form that a few prefixes cover. */
const range: fc.Arbitrary<{ port: number; endPort: number }> = fc.oneof(
  fc.tuple(pick(PORTS), pick([0, 1, 2, 29, 363])).map(([port, more]) => ({ port, endPort: port + more })),
  pick([
    { port: 1, endPort: 65535 },
    { port: 81, endPort: 8079 },
    { port: 1024, endPort: 65535 },
    { port: 1, endPort: 80 },
  ]),
);

const port: fc.Arbitrary<NetworkPolicyPort> = fc
  .tuple(
    optional({ protocol: pick(PROTOCOLS) }),
    fc.oneof(
      { weight: 1, arbitrary: fc.constant({}) },
      { weight: 3, arbitrary: record({ port: pick(PORTS) }) },
      { weight: 3, arbitrary: record({ port: pick(PORT_NAMES) }) },
      { weight: 2, arbitrary: range },
    ),
  )
  .map(([protocol, number]) => ({ ...protocol, ...number }));

const ports = fc.array(port, { maxLength: 3 });
const peers = fc.array(peer, { maxLength: 3 });

const spec: fc.Arbitrary<NetworkPolicySpec> = fc
  .tuple(
    record({ podSelector }),
    optional({
      policyTypes: pick([[], ['Ingress'], ['Egress'], ['Ingress', 'Egress'], ['Egress', 'Ingress']] as const).map(
        (types) => [...types],
      ),
      ingress: fc.array(optional({ from: peers, ports }), { maxLength: 3 }),
      egress: fc.array(optional({ to: peers, ports }), { maxLength: 3 }),
    }),
  )
  .map(([subject, rules]) => ({ ...subject, ...rules }));

const policies: fc.Arbitrary<NetworkPolicy[]> = fc.array(fc.tuple(namespaceName, spec), { maxLength: 6 }).map((made) =>
  made.map(([namespace, rules], index) => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: `policy-${index}`, namespace },
    spec: rules,
  })),
);

export const clusters: fc.Arbitrary<Cluster> = record({ namespaces, pods, policies });

/** The manifests of a cluster, a JSON document each, which is YAML too. */
export function toManifests(cluster: Cluster): string {
  return [...cluster.namespaces, ...cluster.pods, ...cluster.policies]
    .map((object) => `${JSON.stringify(object, null, 2)}\n`)
    .join('---\n');
}

/** A choice of probe that does not depend on the cluster, so that a cluster can shrink under it. */
export interface Choice {
  kind: number;
  from: number;
  to: number;
  protocol: Protocol;
  port: number;
}

/** Ten of them. They do not shrink: they are ten small probes already, and which they are matters little. */
export const choices: fc.Arbitrary<Choice[]> = fc.noShrink(
  fc.array(
    record({
      kind: fc.nat({ max: 9 }),
      from: fc.nat({ max: 999 }),
      to: fc.nat({ max: 999 }),
      protocol: fc.oneof(fc.constant('TCP' as const), pick(PROTOCOLS)),
      port: fc.nat({ max: 999 }),
    }),
    { minLength: 10, maxLength: 10 },
  ),
);

/** What is worth asking about a cluster: the ports and the addresses where an answer of its policies may change. */
interface Frontier {
  outside: End[];
  /** The ports that policies and pods mention. */
  mentioned: number[];
  /** Those and their neighbours. */
  ports: number[];
}

/** Of ten probes, six are between pods, one goes to a pod's address rather than its name, three have an end outside. */
export function toProbes(cluster: Cluster, chosen: Choice[]): Probe[] {
  const { outside, mentioned, ports: numbers } = frontierOf(cluster);
  const all = cluster.pods;
  const at = <T>(list: T[], index: number): T => list[index % list.length] as T;
  return chosen.map(({ kind, from, to, protocol, port: number }) => {
    const one = at(all, from);
    const other = at(
      all.filter((pod) => pod !== one),
      to,
    );
    const ends =
      kind === 0
        ? { from: toEnd(one), to: { ip: addressOf(other) } }
        : kind === 1 || kind === 2
          ? { from: toEnd(one), to: at(outside, to) }
          : kind === 3
            ? { from: at(outside, to), to: toEnd(one) }
            : { from: toEnd(one), to: toEnd(other) };
    return { ...ends, protocol, port: at(number % 2 === 0 ? mentioned : numbers, Math.floor(number / 2)) };
  });
}

/** Every probe worth asking, or `limit` of them evenly spread if they are more. */
export function everyProbe(cluster: Cluster, limit: number): Probe[] {
  const { outside, ports: numbers } = frontierOf(cluster);
  const all = cluster.pods;
  const pairs = all.flatMap((one) => [
    ...all.filter((other) => other !== one).map((other) => ({ from: toEnd(one), to: toEnd(other) })),
    ...outside.flatMap((end) => [
      { from: toEnd(one), to: end },
      { from: end, to: toEnd(one) },
    ]),
  ]);
  const total = pairs.length * PROTOCOLS.length * numbers.length;
  const probeAt = (index: number): Probe => {
    const pair = pairs[Math.floor(index / (PROTOCOLS.length * numbers.length))];
    const protocol = PROTOCOLS[Math.floor(index / numbers.length) % PROTOCOLS.length];
    const number = numbers[index % numbers.length];
    return { ...pair, protocol, port: number } as Probe;
  };
  const length = Math.min(total, limit);
  return Array.from({ length }, (_, nth) => probeAt(Math.floor((nth * total) / length)));
}

function frontierOf(cluster: Cluster): Frontier {
  const rules = cluster.policies.flatMap(({ spec: { ingress, egress } }) => [...(ingress ?? []), ...(egress ?? [])]);
  const policyPorts = rules.flatMap((rule) => rule.ports ?? []);
  const mentioned = [
    ...policyPorts.flatMap(({ port: first, endPort }) => (typeof first === 'number' ? [first, endPort ?? first] : [])),
    ...cluster.pods.flatMap((pod) => pod.spec.containers.flatMap(({ ports: open }) => (open ?? []).map(portOf))),
    80,
  ];
  const cidrs = rules
    .flatMap((rule) => ('from' in rule ? rule.from : 'to' in rule ? rule.to : null) ?? [])
    .flatMap(({ ipBlock: block }) => (block == null ? [] : [block.cidr, ...(block.except ?? [])]));
  const edges = cidrs.map(rangeOf).flatMap(({ first, last }) => [first - 1, first, last, last + 1]);
  return {
    outside: [...new Set([...OUTSIDE, ...edges.filter(isOutside).map(textOf)])].map((ip) => ({ ip })),
    mentioned,
    ports: [...new Set(mentioned.flatMap((number) => [number - 1, number, number + 1]))]
      .filter((number) => 1 <= number && number <= 65535)
      .sort((a, b) => a - b),
  };
}

function isOutside(address: number): boolean {
  if (address < 0 || address > numberOf(LAST_UNICAST)) return false;
  return !NOT_OUTSIDE.some((cidr) => cidrContains(cidr, textOf(address)));
}

function textOf(address: number): string {
  return [2 ** 24, 2 ** 16, 2 ** 8, 1].map((unit) => Math.floor(address / unit) % 256).join('.');
}

function portOf({ containerPort }: ContainerPort): number {
  return containerPort;
}

function toEnd(pod: Pod): End {
  return { pod: idOf(pod) };
}

function addressOf(pod: Pod): string {
  return pod.status?.podIP ?? '';
}
