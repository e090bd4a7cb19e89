/** Reachability is exact: what it lists, a question about it allows; what it does not list, a question about it denies. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  contains,
  formatAddress,
  lastOf,
  parseAddress,
  parsePrefix,
  plus,
  type Address,
} from '../../dataplane/addresses.js';
import { query } from '../../dataplane/answers/query.js';
import { rangeOf } from '../../dataplane/answers/ranges.js';
import type { Range } from '../../dataplane/answers/reach-open.js';
import { reach, type Connection, type Reach } from '../../dataplane/answers/reach.js';
import { portsText, reachCsv, reachDot, reachJson, reachMarkdown, reachTable } from '../../dataplane/format/reach.js';
import { DEFAULT_SETTINGS, type Settings } from '../../dataplane/settings.js';
import { Engine, type State } from '../../dataplane/state.js';
import { modules } from '../datapath.js';
import { pod, service } from '../lab.js';
import { clusters, toManifests } from '../model/generate.js';
import { clusters as ciliumClusters, toManifests as ciliumManifests } from '../model/generate-cilium.js';
import type { Cluster } from '../model/networkpolicy.js';

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 11);

function reached(state: State, from: string | null = null, to: string | null = null): Reach {
  const found = reach(state, { from, to, protocol: null });
  if ('error' in found) throw new Error(found.error);
  return found;
}

/** The connection of two ends of questions, the ranges that hold their addresses among them. */
function between({ connections }: Reach, from: string, to: string): Connection | undefined {
  const holds = (end: string, asked: string): boolean => {
    const address = parseAddress(asked.slice('ip:'.length));
    const range = rangeOf(end);
    return address === null || range === null
      ? end === asked
      : typeof range[0] === typeof address && range[0] <= address && address <= range[1];
  };
  return connections.find((connection) => holds(connection.from, from) && holds(connection.to, to));
}

const inside = (ranges: readonly Range[], number: number): boolean =>
  ranges.some(([first, last]) => first <= number && number <= last);

/** What a reachability says of a question: depending on the request where a proxy would look at it. */
function listed(found: Reach, { from, to, protocol, number }: Asked): string {
  if (found.unknown.some(({ ref }) => ref === from || ref === to)) return 'UNKNOWN';
  const connection = between(found, from, to);
  if (protocol.startsWith('ICMP'))
    return inside(connection?.icmp?.find((one) => one.protocol === protocol)?.types ?? [], number)
      ? 'ALLOWED'
      : 'DENIED';
  const open = connection?.ports.find((one) => one.protocol === protocol);
  if (!open || !inside(open.ranges, number)) return 'DENIED';
  return (open.layer7 ?? []).some(({ ranges }) => inside(ranges, number)) ? 'CONDITIONAL' : 'ALLOWED';
}

interface Asked {
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  /** A port, or a type of ICMP. */
  readonly number: number;
}

function asked(state: State, { from, to, protocol, number }: Asked): string {
  const [port, icmpType] = protocol.startsWith('ICMP') ? [null, number] : [number, null];
  const question = { from, to, protocol, port, icmpType, sourcePort: null, node: null, http: null };
  const answered = query(state, question);
  return 'error' in answered ? answered.error : answered.answer.verdict;
}

/** Questions whose numbers and addresses come from the manifests' text, and not from the reachability that they test. */
function questionsOf(cluster: Cluster, text: string, count: number, offset: number): Asked[] {
  const pods = cluster.pods.map(({ metadata }) => `${metadata.namespace}/${metadata.name}[Pod]`);
  const edges = [...text.matchAll(/"(\d+\.\d+\.\d+\.\d+\/\d+)"/g)].flatMap(([, cidr]) => {
    const prefix = parsePrefix(cidr!)!;
    return [plus(prefix.address, -1), prefix.address, lastOf(prefix), plus(lastOf(prefix), 1)];
  });
  const own = new Set<Address | null>(cluster.pods.map(({ status }) => parseAddress(status?.podIP ?? '')));
  const outside = [...new Set([...edges, 1, 0xffffffff])].filter(
    (address) =>
      address > 0 &&
      address <= 0xffffffff &&
      !own.has(address) &&
      !NODES.includes(formatAddress(address)) &&
      !APART.some((prefix) => contains(prefix, address)),
  );
  const ranges = outside.map((address) => `ip:${formatAddress(address)}`);
  const pairs = pods.flatMap((from) => [
    ...pods.filter((to) => to !== from).map((to) => [from, to] as const),
    ...ranges.flatMap((range) => [[from, range] as const, [range, from] as const]),
  ]);
  const numbers = [...text.matchAll(/"(?:port|endPort|containerPort)": "?(\d+)/g)].map(([, digits]) => Number(digits));
  const ports = [...new Set([1, 65535, ...numbers.flatMap((port) => [port - 1, port, port + 1])])].filter(
    (port) => port >= 1 && port <= 65535,
  );
  const traffic = ['TCP', 'UDP', 'SCTP'].flatMap((protocol) => ports.map((number) => ({ protocol, number })));
  const messages = Array.from({ length: 256 }, (_, number) => ({ protocol: 'ICMP', number }));
  return Array.from({ length: count }, (_, i) => {
    const [from, to] = pairs[(offset + i * 7919) % pairs.length]!;
    const kinds = i % 4 === 0 ? messages : traffic;
    return { from, to, ...kinds[(offset * 31 + i * 104729) % kinds.length]! };
  });
}

/** Where nodes are unless the manifests say. */
const NODES = ['10.0.0.1', '10.0.0.2'];
/** Where Services of elsewhere may be, and what is said to oneself: a question about one address is answered otherwise than its range. */
const APART = [DEFAULT_SETTINGS.serviceCIDR, '127.0.0.0/8'].map((text) => parsePrefix(text)!);

/** What the generator has too little of: messages of ICMP, and requests. */
const MORE_RULES = `---
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: more}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
    - icmps: [{fields: [{family: IPv4, type: 8}, {family: IPv4, type: 13}]}]
    - toPorts: [{ports: [{port: "80", protocol: TCP, endPort: 443}], rules: {http: [{method: GET}]}}]
`;

const withCilium = ciliumClusters.map((cluster) => ({ cluster, text: ciliumManifests(cluster) + MORE_RULES }));
const ofKubernetes = clusters.map((cluster) => ({ cluster, text: toManifests(cluster) }));

test(`reach says what query says, at every boundary of random clusters (HOPSCOPE_SEED=${SEED})`, () => {
  const verdicts = new Map<string, number>();
  const engine = new Engine(modules.trace, DEFAULT_SETTINGS);
  fc.assert(
    fc.property(fc.oneof(ofKubernetes, withCilium), fc.nat(), fc.boolean(), ({ cluster, text }, pick, matches) => {
      const podCIDR = pick % 2 === 0 && !matches ? '10.244.0.0/16,fd01::/56' : DEFAULT_SETTINGS.podCIDR;
      engine.set({ ...DEFAULT_SETTINGS, ipBlockMatchesPods: matches, podCIDR });
      engine.manifests.set('cluster.yaml', text);
      const state = engine.current;
      const found = reached(state);
      for (const question of questionsOf(cluster, text, 150, pick)) {
        const verdict = asked(state, question);
        verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
        assert.equal(listed(found, question), verdict, JSON.stringify(question));
      }
    }),
    { numRuns: 100, seed: SEED },
  );
  const enough = { ALLOWED: 2000, DENIED: 2000, CONDITIONAL: 20 };
  for (const [verdict, least] of Object.entries(enough)) assert.ok((verdicts.get(verdict) ?? 0) >= least, verdict);
});

const written = (pieces: Iterable<string>): string => [...pieces].join('');

const POLICY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api}
spec: {podSelector: {matchLabels: {app: api}}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}], ports: [{port: 80, endPort: 90}]}]}
`;

function state(...documents: string[]): State {
  const engine = new Engine(modules.trace, DEFAULT_SETTINGS);
  engine.manifests.set('m.yaml', documents.join('---\n'));
  return engine.current;
}

const API = state(pod('api', '10.244.0.5', 'n1'), POLICY);

test('ranges of addresses are cut where the policies cut them, ports where the rules do', () => {
  const into = reached(API, null, 'default/api').connections.map(
    ({ from, ports }) => `${from} ${JSON.stringify(ports)}`,
  );
  assert.deepEqual(into, [
    'ip:10.0.0.0-10.0.255.255 [{"protocol":"TCP","ranges":[[80,90]]}]',
    'ip:10.2.0.0-10.255.255.255 [{"protocol":"TCP","ranges":[[80,90]]}]',
  ]);
});

test('a reference to addresses narrows the ranges to them', () => {
  const from = (ref: string): string[] => reached(API, ref, 'default/api').connections.map((one) => one.from);
  assert.deepEqual(from('ip:10.0.255.0-10.2.0.3'), ['ip:10.0.255.0-10.0.255.255', 'ip:10.2.0.0-10.2.0.3']);
  assert.deepEqual(from('ip:10.1.0.1'), []);
});

test('ranges are cut as well where settings make a difference: no masquerade, and what kube-proxy refuses', () => {
  const outside = (settings: Partial<Settings>): string[] => {
    const engine = new Engine(modules.trace, { ...DEFAULT_SETTINGS, ...settings });
    engine.manifests.set('m.yaml', pod('web', '10.244.0.1', 'n1'));
    return reached(engine.current, 'default/web').connections.map((one) => `${one.to} ${portsText(one)}`);
  };
  assert.deepEqual(outside({ 'ipMasqAgent.nonMasqueradeCIDRs': ['172.16.0.0/12'] }), [
    'ip:0.0.0.0-172.15.255.255 all ports; ICMP 0,3,8,11-12',
    'ip:172.16.0.0-172.31.255.255 all',
    'ip:172.32.0.0-255.255.255.255 all ports; ICMP 0,3,8,11-12',
  ]);
  assert.deepEqual(
    outside({ engine: 'kube-proxy-nftables' }).map((line) => line.split(' ')[0]),
    ['ip:0.0.0.0-10.95.255.255', 'ip:10.112.0.0-255.255.255.255'],
  );
});

const WEB = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
    - fromEndpoints: [{matchLabels: {app: web}}]
      toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{method: GET, path: /public}, {path: /health}]}}]
    - fromEndpoints: [{matchLabels: {app: web}}]
      icmps: [{fields: [{type: 8}]}]
`;

test('what a proxy lets stands behind its ports, and messages of ICMP beside them', () => {
  const found = reached(
    state(pod('web', '10.244.0.1', 'n1'), pod('api', '10.244.0.5', 'n1'), WEB),
    'default/web',
    'default/api',
  );
  assert.deepEqual(found.connections, [
    {
      from: 'default/web[Pod]',
      to: 'default/api[Pod]',
      ports: [
        {
          protocol: 'TCP',
          ranges: [[80, 80]],
          layer7: [{ ranges: [[80, 80]], direction: 'ingress', kind: 'http', anyOf: ['* /health', 'GET /public'] }],
        },
      ],
      icmp: [{ protocol: 'ICMP', types: [[8, 8]] }],
    },
  ]);
  assert.match(reachTable(found), /TCP 80 \(HTTP \* \/health \| GET \/public\); ICMP 8$/m);
  assert.match(
    written(reachCsv(found)),
    /,layer7\r\n.*,TCP,80,80,HTTP \* \/health \| GET \/public\r\n.*,ICMP,8,8,\r\n/,
  );
  assert.deepEqual(JSON.parse(written(reachJson(found))), found);
});

test('a Service is reached on the ports it leads to, and no other', () => {
  const one = state(
    pod('web', '10.244.0.1', 'n1'),
    pod('api', '10.244.0.5', 'n1'),
    service('api', '10.96.0.9', 80, 8080),
  );
  assert.deepEqual(reached(one, 'default/web', 'svc:default/api').connections, [
    { from: 'default/web[Pod]', to: 'default/api[Pod]', ports: [{ protocol: 'TCP', ranges: [[8080, 8080]] }] },
  ]);
});

test('a policy that cannot be read leaves its namespace unknown, neither listed nor denied', () => {
  const { connections, unknown } = reached(state(pod('web', '10.244.0.1', 'n1'), 'kind: NetworkPolicy\nmetadata: [\n'));
  assert.deepEqual(connections, []);
  assert.deepEqual(
    unknown.map(({ ref }) => ref),
    ['default/web[Pod]'],
  );
});

test('every format holds every connection, and nothing of a manifest becomes markup', () => {
  const found = reached(API, null, 'default/api');
  assert.match(reachTable(found), /ip:10\.0\.0\.0-10\.0\.255\.255\s+default\/api\[Pod\]\s+TCP 80-90/);
  assert.match(written(reachCsv(found)), /ip:10\.2\.0\.0-10\.255\.255\.255,default\/api\[Pod\],TCP,80,90\r\n/);
  assert.match(reachDot(found), /"ip:10\.0\.0\.0-10\.0\.255\.255" -> "default\/api\[Pod\]" \[label="TCP 80-90"\];/);
  assert.doesNotMatch(
    reachMarkdown({ ...found, connections: [{ ...found.connections[0]!, from: '[x](http://y) <img> |' }] }),
    /\[x\]\(|<img>|http:\/\//,
  );
});
