/** The acceptance cases of other projects, through `query`. Their place comes from HOPSCOPE_SHARED; see its README for the format. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { parseAddress } from '../../dataplane/addresses.js';
import { maps } from '../../dataplane/answers/maps.js';
import { query } from '../../dataplane/answers/query.js';
import { rangeOf } from '../../dataplane/answers/ranges.js';
import { reach } from '../../dataplane/answers/reach.js';
import type { Direction } from '../../dataplane/policy/rules.js';
import { DEFAULT_SETTINGS, type Given, type Settings } from '../../dataplane/settings.js';
import { Engine, type State } from '../../dataplane/state.js';
import { modules } from '../datapath.js';

interface Case {
  readonly id: string;
  readonly corpus: string;
  readonly flags: readonly string[];
  readonly manifests: readonly string[];
  readonly bulk?: readonly (readonly [string, string, string, number, 0 | 1, string?])[];
  readonly queries?: readonly {
    readonly from: string;
    readonly to: string;
    readonly protocol: string;
    readonly port: number;
    readonly expect: 'allow' | 'deny';
    readonly backend?: string;
    readonly backendPort?: number;
  }[];
}

const shared = process.env['HOPSCOPE_SHARED'];
const folder = shared && join(shared, 'corpus');
const skip = folder && existsSync(folder) ? false : 'SKIP: HOPSCOPE_SHARED does not lead to the corpus';

function readCases(corpus: string): Case[] {
  const lines = gunzipSync(readFileSync(join(folder!, 'vectors.jsonl.gz')))
    .toString('utf8')
    .trim()
    .split('\n');
  return lines.map((line) => JSON.parse(line) as Case).filter((set) => set.corpus === corpus);
}

/** The setting under which rows with a flag agree; unflagged rows agree as it stands. */
const UNDER: Readonly<Record<string, Partial<Settings>>> = {
  'ipblock-vs-pod-ip': { ipBlockMatchesPods: true },
  'has-ipblock-vs-pod-ip': { ipBlockMatchesPods: true },
  hostNetwork: { hostNetworkPods: 'pod' },
};

const loadedWith = (set: Pick<Case, 'manifests'>, settings: Partial<Settings>): State => {
  const engine = new Engine(modules.trace, { ...DEFAULT_SETTINGS, ...settings });
  for (const file of set.manifests) engine.manifests.set(file, readFileSync(join(folder!, 'manifests', file)));
  return engine.current;
};

/** Whether reachability lists a flow; null for ends that it does not have: Services, and workloads that are their nodes. */
function listing(state: State): (from: string, to: string, protocol: string, port: number) => boolean | null {
  const found = reach(state, { from: null, to: null, protocol: null });
  if ('error' in found) throw new Error(found.error);
  const open = new Map(
    found.connections.map((connection) => [`${connection.from} ${connection.to}`, connection.ports]),
  );
  const ranges = found.endpoints.flatMap(({ ref }) => {
    const range = rangeOf(ref);
    return range ? [{ ref, range }] : [];
  });
  const workloads = new Map(
    found.endpoints.flatMap(({ ref }) => [
      [ref, ref],
      [ref.replace(/\[\w+\]$/, ''), ref],
    ]),
  );
  const endOf = (ref: string): string | undefined => {
    const address = parseAddress(ref.replace(/^ip:/, ''));
    if (address === null) return workloads.get(ref);
    return ranges.find(({ range: [first, last] }) => first <= address && address <= last)?.ref;
  };
  return (from, to, protocol, port) => {
    const [source, target] = [endOf(from), endOf(to)];
    if (source === undefined || target === undefined || source === target) return null;
    const ports = open.get(`${source} ${target}`)?.find((one) => one.protocol === protocol);
    return (ports?.ranges ?? []).some(([first, last]) => first <= port && port <= last);
  };
}

/** Asks every question of a set, each row under the setting of its flag; what did not agree, one line each. */
function disagreements(set: Case): { asked: number; listed: number; lines: string[] } {
  const ofRows = new Set((set.bulk ?? []).map((row) => row[5] ?? ''));
  // Where rows have flags, they say which of them the set's flag is about.
  const ofSet = ofRows.size > 1 ? '' : (set.flags.find((flag) => flag in UNDER) ?? '');
  const rows = [
    ...(set.bulk ?? []).map(([from, to, protocol, port, allowed, flag = ofSet]) => ({
      from,
      to,
      protocol,
      port,
      flag,
      expect: allowed ? 'allow' : 'deny',
      backend: undefined,
      backendPort: undefined,
    })),
    ...(set.queries ?? []).map((row) => ({ ...row, flag: ofSet })),
  ];
  const lines: string[] = [];
  const states = new Map<string, State>();
  const listings = new Map<string, ReturnType<typeof listing>>();
  let listed = 0;
  for (const { from, to, protocol, port, flag, expect, backend, backendPort } of rows) {
    if (!states.has(flag)) states.set(flag, loadedWith(set, UNDER[flag] ?? {}));
    if (!listings.has(flag)) listings.set(flag, listing(states.get(flag)!));
    const question = { from, to, protocol, port, sourcePort: null, node: null, http: null };
    const answered = query(states.get(flag)!, question);
    const got = 'error' in answered ? answered.error : answered.answer.verdict;
    if (got !== (expect === 'allow' ? 'ALLOWED' : 'DENIED'))
      lines.push(`${set.id}: ${from} → ${to} ${protocol} ${port} ${flag}: ${got}, not ${expect}`);
    else if (backend !== undefined && !('error' in answered)) {
      const { workload, port: at } = answered.answer.backend ?? {};
      if (workload !== backend || at !== backendPort)
        lines.push(`${set.id}: ${from} → ${to}: backend ${workload}:${at}, not ${backend}:${backendPort}`);
    }
    const isListed = listings.get(flag)!(from, to, protocol, port);
    if (isListed !== null) listed++;
    if (isListed !== null && isListed !== (expect === 'allow'))
      lines.push(`${set.id}: ${from} → ${to} ${protocol} ${port} ${flag}: reach lists it: ${isListed}, not ${expect}`);
  }
  return { asked: rows.length, listed, lines };
}

const EXPECTED: Readonly<Record<string, number>> = {
  'k8s-e2e-netpol': 506,
  'online-boutique': 16,
  cyclonus: 30492,
  npguard: 114000,
};

for (const [corpus, least] of Object.entries(EXPECTED)) {
  test(`query and reach agree with ${corpus}`, { skip }, () => {
    const results = readCases(corpus).map(disagreements);
    const asked = results.reduce((sum, result) => sum + result.asked, 0);
    const lines = results.flatMap((result) => result.lines);
    const listed = results.reduce((sum, result) => sum + result.listed, 0);
    console.log(`${corpus}: ${asked - lines.length} of ${asked} agree; reach lists the same for ${listed} of them`);
    assert.deepEqual(lines.slice(0, 20), []);
    assert.ok(asked >= least, `only ${asked} rows`);
  });
}

/** A question of npguard-explain: a set of ports, and which policies decide about it on which side. */
interface ExplainRow {
  readonly from: string;
  readonly to: string;
  readonly conn: string;
  readonly expect: 'allow' | 'deny';
  readonly direction?: readonly Direction[];
  readonly policies: readonly { readonly direction: Direction; readonly kind: string; readonly name: string }[];
}

/** `0.0.0.0-9.255.255.255[External]` as a reference. */
const referenceOf = (end: string): string => end.replace(/^(.*)\[External\]$/, 'ip:$1');

/** The ends of each stretch of `TCP, UDP:[1-52,54-65535]`. */
function boundariesOf(conn: string): { protocol: string; port: number }[] {
  return [...conn.matchAll(/([A-Z]+)(?::\[([\d,-]+)\])?/g)].flatMap(([, protocol, ports = '1-65535']) => {
    const ends = new Set(ports.split(/[,-]/).map(Number));
    return [...ends].map((port) => ({ protocol: protocol!, port }));
  });
}

/** A packet that both sides would refuse is refused by its sender's: of the expected sides, that which the answer names decided. */
function explain(set: Case & { readonly queries: readonly unknown[] }): { asked: number; lines: string[] } {
  const state = loadedWith(set, UNDER['hostNetwork']!);
  const lines: string[] = [];
  for (const { from, to, conn, expect, direction = [], policies } of set.queries as readonly ExplainRow[]) {
    const wrong = boundariesOf(conn).flatMap(({ protocol, port }) => {
      const question = { from: referenceOf(from), to: referenceOf(to), protocol, port };
      const answered = query(state, { ...question, sourcePort: null, node: null, http: null });
      if ('error' in answered) return [answered.error];
      const { answer } = answered;
      const wanted = policies.filter((one) => expect === 'allow' || one.direction === answer.direction);
      const sides = direction.includes('egress') ? 'egress' : (direction[0] ?? null);
      const expected = [expect === 'allow' ? 'ALLOWED' : 'DENIED', sides, ...namesOf(wanted.map(({ name }) => name))];
      const deciders = answer.deciders.map(({ namespace, name }) => `${namespace}/${name}`);
      const got = [answer.verdict, answer.direction, ...namesOf(deciders)];
      return got.join(' ') === expected.join(' ')
        ? []
        : [`${protocol} ${port}: ${got.join(' ')}, not ${expected.join(' ')}`];
    });
    if (wrong.length > 0) lines.push(`${set.id}: ${from} → ${to} ${conn}: ${wrong[0]}`);
  }
  return { asked: set.queries.length, lines };
}

const namesOf = (names: readonly string[]): string[] => [...new Set(names)].sort();

test('query agrees with npguard-explain, to the side and the policies that decide', { skip }, () => {
  const results = readCases('npguard-explain').map((set) => explain({ ...set, queries: set.queries ?? [] }));
  const asked = results.reduce((sum, result) => sum + result.asked, 0);
  const lines = results.flatMap((result) => result.lines);
  console.log(`npguard-explain: ${asked - lines.length} of ${asked} agree`);
  assert.deepEqual(lines.slice(0, 20), []);
  assert.ok(asked >= 294, `only ${asked} rows`);
});

/** A question of cilium-connectivity: the side that refuses it, and why. */
interface ConnectivityRow {
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  readonly port?: number;
  readonly icmpType?: number;
  readonly l7?: object;
  readonly expect: 'allow' | 'deny';
  readonly direction?: string;
  readonly reason?: 'default-deny' | 'policy-deny' | 'l7-http-403';
}

const REASONS = { 'default-deny': 133, 'policy-deny': 181, 'l7-http-403': 133 } as const;

/** What did not agree of one set, a line each; what waits for the datapath to carry its protocol, likewise. */
function connectivity(set: Case): { asked: number; lines: string[]; waiting: string[] } {
  const engine = new Engine(modules.trace, DEFAULT_SETTINGS);
  for (const file of set.manifests) {
    const text = readFileSync(join(folder!, 'manifests', file), 'utf8');
    // The policies name no namespace: the tests they are from apply them to the pods' own.
    const placed = text.replace(/^metadata:$/gm, 'metadata:\n  namespace: cilium-test');
    engine.manifests.set(file, file.includes('/policies/') ? placed : text);
  }
  const rows = set.queries as unknown as readonly ConnectivityRow[];
  const lines: string[] = [];
  const waiting: string[] = [];
  for (const row of rows) {
    const { from, to, protocol, port = null, icmpType, l7 = null, expect, direction = null, reason } = row;
    const question = {
      from,
      to,
      protocol,
      port,
      sourcePort: null,
      node: null,
      http: l7,
      ...(icmpType === undefined ? {} : { icmpType }),
    };
    const answered = query(engine.current, question);
    const name = `${set.id}: ${from} → ${to} ${protocol} ${port ?? icmpType}${l7 ? ` ${JSON.stringify(l7)}` : ''}`;
    if (
      protocol === 'ICMP' &&
      !('error' in answered) &&
      answered.answer.depends[0]?.startsWith('ICMP: the dataplane')
    ) {
      waiting.push(name);
      continue;
    }
    if ('error' in answered) {
      lines.push(`${name}: ${answered.error}`);
      continue;
    }
    const { answer } = answered;
    const got = [answer.verdict, answer.direction, answer.reason?.code ?? null, answer.http?.status ?? null];
    const status = l7 === null ? null : expect === 'allow' ? 200 : reason === 'l7-http-403' ? 403 : null;
    const wanted = [expect === 'allow' ? 'ALLOWED' : 'DENIED', direction, reason ? REASONS[reason] : null, status];
    if (JSON.stringify(got) !== JSON.stringify(wanted))
      lines.push(`${name}: ${got.join(' ')}, not ${wanted.join(' ')}; ${answer.depends.join('; ')}`);
  }
  return { asked: rows.length, lines, waiting };
}

test('query agrees with cilium-connectivity, to the side and the reason', { skip }, () => {
  const results = readCases('cilium-connectivity').map(connectivity);
  const asked = results.reduce((sum, result) => sum + result.asked, 0);
  const lines = results.flatMap((result) => result.lines);
  const waiting = results.flatMap((result) => result.waiting);
  console.log(
    `cilium-connectivity: ${asked - lines.length - waiting.length} of ${asked} agree in ${results.length} sets`,
  );
  for (const name of waiting) console.log(`  waits for ICMP in the datapath: ${name}`);
  assert.deepEqual(lines.slice(0, 20), []);
  assert.ok(asked >= 233 && results.length >= 28, `only ${asked} rows in ${results.length} sets`);
});

interface LbCase {
  readonly id: string;
  readonly env: { readonly nodeAddresses?: readonly string[] };
  readonly manifests: readonly string[];
  readonly frontends: readonly {
    readonly address: string;
    readonly backends: readonly string[];
    readonly alsoOn?: readonly string[];
  }[];
}

/** Frontends and their backends as the dataplane's maps have them: `10.96.0.1:80/TCP` to the addresses of its slots. */
function frontendsOf(set: LbCase): Map<string, string[]> {
  const nodes = (set.env.nodeAddresses ?? []).map((address, i) => ({ name: `node-${i + 1}`, address }));
  const engine = new Engine(modules.trace, { ...DEFAULT_SETTINGS, nodes });
  for (const file of set.manifests) engine.manifests.set(file, readFileSync(join(folder!, 'manifests', file)));
  const dumped = maps(engine.current, null, null);
  if ('error' in dumped) throw new Error(dumped.error);
  const rows = (name: string): Record<string, unknown>[] =>
    dumped.maps[name]!.map(({ key, value }) => ({ ...value, ...key }));
  const named = (row: Record<string, unknown>, port: unknown): string =>
    `${String(row['address'])}:${String(port)}/${{ 6: 'TCP', 17: 'UDP', 132: 'SCTP' }[row['proto'] as number]}`;
  const backends = new Map(
    dumped.maps['cilium_lb4_backends_v3']!.map(({ key, value }) => [key['backendId'], named(value, value['port'])]),
  );
  const found = new Map<string, string[]>();
  for (const row of rows('cilium_lb4_services_v2')) {
    if (row['proto'] === 0) continue;
    const name = named(row, row['dport']);
    if (row['backendSlot'] === 0) found.set(name, found.get(name) ?? []);
  }
  for (const { key, value } of dumped.maps['cilium_lb4_services_v2']!) {
    if (key['backendSlot'] !== 0) found.get(named(key, key['dport']))!.push(backends.get(value['backendId'])!);
  }
  return found;
}

test('maps agree with cilium-lb', { skip }, () => {
  const sets = readCases('cilium-lb') as unknown as LbCase[];
  for (const set of sets) {
    const found = frontendsOf(set);
    for (const { address, backends, alsoOn = [] } of set.frontends) {
      for (const one of [address, ...alsoOn]) {
        assert.deepEqual(found.get(one)?.sort(), [...backends].sort(), `${set.id} ${one}`);
        found.delete(one);
      }
    }
    // Node ports stand on each node, also where a case names none.
    assert.deepEqual(
      [...found.keys()].filter((name) => !name.endsWith(':30781/TCP')),
      [],
      set.id,
    );
  }
  console.log(`cilium-lb: ${sets.length} of ${sets.length} sets agree`);
});

interface Flow {
  readonly name: string;
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  readonly port: number;
  readonly expect: 'FORWARD' | 'REJECT' | 'DROP' | 'PASS';
  readonly backends?: readonly string[];
  readonly masquerade?: boolean;
}

interface ProxyCase {
  readonly id: string;
  readonly env: Partial<Pick<Settings, 'localDetector' | 'masqueradeAll' | 'serviceCIDR' | 'nodePortAddresses'>>;
  readonly manifests: readonly string[];
  readonly queries: readonly Flow[];
}

/** The node of kube-proxy's tests, the ranges they write about, and the engine that their expectations are of. */
const TEST_NODE: Given = {
  ...DEFAULT_SETTINGS,
  engine: 'kube-proxy-nftables',
  podCIDR: '10.0.0.0/8',
  serviceCIDR: '172.30.0.0/16',
  nodes: [{ name: 'test-node', address: '192.168.0.2', addresses: ['192.168.1.2'] }],
};

/** Source ports asked with: enough that each of a few backends is picked. */
const SOURCE_PORTS = Array.from({ length: 64 }, (_, i) => 40000 + 7 * i);

/** What became of a flow, in the words of its row. */
function flowOf(state: State, { from, to, protocol, port }: Flow): Pick<Flow, 'expect' | 'backends' | 'masquerade'> {
  const answers = SOURCE_PORTS.map((sourcePort) => {
    const answered = query(state, { from, to, protocol, port, sourcePort, node: null, http: null });
    if ('error' in answered) throw new Error(answered.error);
    return answered.answer;
  });
  const hints = answers.flatMap((answer) => answer.hints).join();
  if (answers.every(({ verdict }) => verdict === 'DENIED'))
    return { expect: hints.includes('drops it') ? 'DROP' : hints.includes('rejects it') ? 'REJECT' : 'FORWARD' };
  assert.deepEqual([...new Set(answers.map(({ verdict }) => verdict))], ['ALLOWED']);
  const masquerade = answers.every(({ snat }) => snat !== null);
  if (answers.every(({ service, backend }) => service === null && backend === null)) return { expect: 'PASS' };
  const backends = new Set(answers.map(({ backend }) => `${backend?.ip}:${backend?.port}`));
  return { expect: 'FORWARD', backends: [...backends].sort(), masquerade };
}

test('query agrees with kube-proxy', { skip }, () => {
  const sets = readCases('kube-proxy') as unknown as ProxyCase[];
  const lines: string[] = [];
  let asked = 0;
  for (const { id, env, manifests, queries } of sets) {
    const engine = new Engine(modules.trace, { ...TEST_NODE, ...env });
    for (const file of manifests) engine.manifests.set(file, readFileSync(join(folder!, 'manifests', file)));
    for (const flow of queries) {
      asked++;
      const got = flowOf(engine.current, flow);
      const { expect, backends, masquerade } = flow;
      const wanted = expect === 'FORWARD' ? { expect, backends: [...backends!].sort(), masquerade } : { expect };
      if (JSON.stringify(got) !== JSON.stringify(wanted))
        lines.push(`${id}: ${flow.name}: ${JSON.stringify(got)}, not ${JSON.stringify(wanted)}`);
    }
  }
  console.log(`kube-proxy: ${asked - lines.length} of ${asked} agree`);
  assert.deepEqual(lines, []);
  assert.ok(asked >= 42, `only ${asked} rows`);
});

/** A request of ingress-conformance: its status, and who serves it. */
interface RequestRow {
  readonly from: string;
  readonly http: { readonly host: string; readonly path: string };
  readonly expect: number;
  readonly service?: string;
}

test('query agrees with ingress-conformance, to the status and the backend', { skip }, () => {
  const sets = readCases('ingress-conformance');
  const lines: string[] = [];
  let asked = 0;
  for (const set of sets) {
    const engine = new Engine(modules.trace, DEFAULT_SETTINGS);
    for (const file of set.manifests) engine.manifests.set(file, readFileSync(join(folder!, 'manifests', file)));
    for (const { from, http, expect, service } of set.queries as unknown as readonly RequestRow[]) {
      asked++;
      const question = { from, to: 'ingress:*', protocol: 'TCP', port: null, sourcePort: null, node: null, http };
      const answered = query(engine.current, question);
      if ('error' in answered) throw new Error(answered.error);
      const { verdict, http: seen, depends } = answered.answer;
      const wanted = [expect === 200 ? 'ALLOWED' : 'DENIED', expect, service ? `svc:default/${service}` : null];
      const got = [verdict, seen?.status ?? null, seen?.backend ?? null];
      if (JSON.stringify(got) !== JSON.stringify(wanted))
        lines.push(
          `${set.id}: ${http.host}${http.path}: ${got.join(' ')}, not ${wanted.join(' ')}; ${depends.join('; ')}`,
        );
    }
  }
  console.log(`ingress-conformance: ${asked - lines.length} of ${asked} agree in ${sets.length} sets`);
  assert.deepEqual(lines, []);
  assert.ok(sets.length >= 10, `only ${sets.length} sets`);
});
