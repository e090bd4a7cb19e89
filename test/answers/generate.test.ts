/** Generated policies let what they are for, and nothing else: asked of the dataplane with them in place. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { announcedFlows, endText, flowText, type Flow } from '../../dataplane/answers/generate-flows.js';
import { recordedFlows } from '../../dataplane/answers/generate-hubble.js';
import { mergeRanges } from '../../dataplane/answers/ranges.js';
import { hubbleJson } from '../../dataplane/format/hubble-json.js';
import { policiesYaml } from '../../dataplane/format/policies-yaml.js';
import { Session } from '../../dataplane/session.js';
import { modules } from '../datapath.js';

type Files = Readonly<Record<string, string>>;

function sessionOf(files: Files): Session {
  const session = new Session(modules.trace);
  for (const [file, text] of Object.entries(files)) session.setFile(file, text);
  return session;
}

/** The workloads of namespaces that policies are generated for. */
const covered = (session: Session): Set<string> =>
  new Set(
    session.state.cluster.workloads
      .filter(({ namespace, pods }) => !namespace.startsWith('kube-') && pods.some((pod) => !pod.hostNetwork))
      .map(({ ref }) => ref),
  );

/** What passes to or from the covered workloads: `a → b TCP 80`, a range of ports in full, all that is outside as one. */
function passing(session: Session): string[] {
  const reached = session.reach({ from: null, to: null, protocol: null });
  assert.ok(!('error' in reached));
  assert.deepEqual(reached.unknown, []);
  const own = covered(session);
  const flows = reached.connections
    .filter(({ from, to }) => own.has(from) || own.has(to))
    .flatMap(({ from, to, ports }) =>
      ports.flatMap(({ protocol, ranges }) =>
        ranges.map(([first, last]) => ({
          from,
          to,
          traffic: `${protocol} ${first === last ? first : `${first}-${last}`}`,
        })),
      ),
    );
  const byTraffic = new Map<string, typeof flows>();
  for (const flow of flows) byTraffic.set(flow.traffic, [...(byTraffic.get(flow.traffic) ?? []), flow]);
  return [...byTraffic.values()]
    .flatMap((alike) => mergeRanges(alike, () => true))
    .map(({ from, to, traffic }) => `${named(from)} → ${named(to)} ${traffic}`)
    .sort();
}

const named = (end: string): string =>
  end.replace(/^ip:0\.0\.0\.0-255\.255\.255\.255$/, 'outside').replace(/^(ip:([\d.]+))-\2$/, '$1/32');

/** The same of flows. */
function asked(flows: readonly Flow[]): string[] {
  const isHere = ({ from, to }: Flow): boolean =>
    [from, to].every(({ kind }) => kind !== 'pods') && endText(from) !== endText(to);
  return [...new Set(flows.filter(isHere).map((flow) => flowText(flow).replaceAll('ip:0.0.0.0/0', 'outside')))].sort();
}

/** The policies for a session's flows, and a session with them. */
function withPolicies(
  files: Files,
  recorded: string | null = null,
): { session: Session; yaml: string; skipped: readonly string[] } {
  const { policies, skipped } = sessionOf(files).generate(recorded);
  const yaml = policiesYaml(policies);
  return { session: sessionOf({ ...files, 'generated.yaml': yaml }), yaml, skipped };
}

function shop(): Files {
  const files: Record<string, string> = {};
  for (const name of readdirSync('examples/shop')) {
    const path = join('examples/shop', name);
    if (statSync(path).isFile() && name.endsWith('.yaml')) files[path] = readFileSync(path, 'utf8');
  }
  return files;
}

test('of the shop exactly what it announces passes', () => {
  const flows = announcedFlows(sessionOf(shop()).state);
  const { session, yaml } = withPolicies(shop());
  assert.ok(flows.length > 20);
  assert.deepEqual(passing(session), asked(flows));
  assert.equal(yaml, withPolicies(shop()).yaml);
});

const BOUTIQUE = join(
  process.env['HOPSCOPE_SHARED'] ?? '',
  'corpus/manifests/online-boutique/manifests/kubernetes-manifests.yaml',
);

test('the flows that a real shop needs', { skip: existsSync(BOUTIQUE) ? false : 'HOPSCOPE_SHARED is not set' }, () => {
  const files = { 'shop.yaml': readFileSync(BOUTIQUE, 'utf8') };
  const { session } = withPolicies(files);
  assert.deepEqual(passing(session), asked(announcedFlows(sessionOf(files).state)));
  const verdict = (from: string, to: string, port: number): string => {
    const answered = session.query({ from, to, protocol: 'TCP', port, sourcePort: null, node: null, http: null });
    assert.ok(!('error' in answered));
    return answered.answer.verdict;
  };
  assert.equal(verdict('default/frontend', 'svc:default/cartservice', 7070), 'ALLOWED');
  assert.equal(verdict('default/checkoutservice', 'svc:default/paymentservice', 50051), 'ALLOWED');
  assert.equal(verdict('default/cartservice', 'svc:default/redis-cart', 6379), 'ALLOWED');
  assert.equal(verdict('default/adservice', 'svc:default/redis-cart', 6379), 'DENIED');
});

const deployment = (namespace: string, name: string, labels: string, env: string): string => `apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}, namespace: ${namespace}}
spec:
  selector: {matchLabels: {app: ${name}}}
  template:
    metadata: {labels: {app: ${name}${labels}}}
    spec: {containers: [{name: c, ports: [{containerPort: 8080}, {containerPort: 9090}], env: [${env}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: ${namespace}}
spec: {selector: {app: ${name}}, ports: [{name: web, port: 80, targetPort: 8080}, {name: more, port: 9090}]}
`;

const NAMES = ['a', 'b', 'c', 'd'].flatMap((name) => ['shop', 'bank'].map((namespace) => ({ namespace, name })));
const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 20261121);
const PATH = process.env['HOPSCOPE_PATH'];

test(`exactly what variables announce passes, over random workloads (HOPSCOPE_SEED=${SEED})`, () => {
  const call = fc.record({
    from: fc.nat(7),
    to: fc.nat(7),
    port: fc.constantFrom(null, 80, 9090),
    isFull: fc.boolean(),
  });
  const property = fc.property(
    fc.array(call, { maxLength: 10 }),
    fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
    (calls, extra) => {
      const env = (from: number): string =>
        calls
          .filter((one) => one.from === from)
          .map(({ to, port, isFull }, i) => {
            const { namespace, name } = NAMES[to]!;
            const host = `${name}.${namespace}${isFull ? '.svc.cluster.local' : ''}`;
            return `{name: ADDR_${i}, value: "${host}${port === null ? '' : `:${port}`}"}`;
          })
          .join(', ');
      const manifests = NAMES.map(({ namespace, name }, i) =>
        deployment(namespace, name, extra[i] ? ', tier: x' : '', env(i)),
      );
      const refOf = ({ namespace, name }: (typeof NAMES)[number]): string => `${namespace}/${name}[Deployment]`;
      const wanted = calls
        .filter(({ from, to }) => from !== to)
        .flatMap(({ from, to, port }) =>
          (port === null ? [8080, 9090] : [port === 80 ? 8080 : port]).map(
            (one) => `${refOf(NAMES[from]!)} → ${refOf(NAMES[to]!)} TCP ${one}`,
          ),
        );
      const { session } = withPolicies({ 'm.yaml': manifests.join('---\n') });
      assert.deepEqual(passing(session), [...new Set(wanted)].sort());
    },
  );
  fc.assert(property, { numRuns: 40, seed: SEED, ...(PATH === undefined ? {} : { path: PATH }) });
});

const PAIR = [
  deployment('shop', 'web', '', '{name: API_ADDR, value: "http://api:80"}'),
  deployment('shop', 'api', '', '{name: BANK, value: "https://bank.example.com/pay"}'),
].join('---\n');

test('names need the DNS, and what is outside is let at the port that is named', () => {
  const flows = announcedFlows(sessionOf({ 'm.yaml': PAIR }).state).map(flowText);
  const dns = 'kube-system/k8s-app=kube-dns';
  assert.deepEqual(
    flows,
    [
      'shop/api[Deployment] → ip:0.0.0.0/0 TCP 443',
      `shop/api[Deployment] → ${dns} TCP 53`,
      `shop/api[Deployment] → ${dns} UDP 53`,
      'shop/web[Deployment] → shop/api[Deployment] TCP 8080',
      `shop/web[Deployment] → ${dns} TCP 53`,
      `shop/web[Deployment] → ${dns} UDP 53`,
    ].sort(),
  );
});

test('what Hubble recorded passes, and no more: no reply, and nothing that was dropped', () => {
  const files = { 'm.yaml': PAIR };
  const session = sessionOf(files);
  const observed = (from: string, to: string, port: number): string => {
    const captured = session.capture({ from, to, protocol: 'TCP', port, sourcePort: null, node: null, http: null });
    assert.ok(!('error' in captured));
    return hubbleJson(session.observe(captured).flows);
  };
  const lines = [observed('shop/api', 'svc:shop/web', 80), observed('shop/web', 'ip:203.0.113.9', 443)].join('');
  const dropped = lines.split('\n')[0]!.replace('"FORWARDED"', '"DROPPED"').replaceAll('8080', '9090');
  const recorded = `${lines}${dropped}\nnot a flow\n`;
  const read = recordedFlows(session.state, recorded);
  assert.equal(read.unread, 1);
  assert.deepEqual(read.flows.map(flowText), [
    'shop/api[Deployment] → shop/web[Deployment] TCP 8080',
    'shop/web[Deployment] → ip:203.0.113.9/32 TCP 443',
  ]);
  const { session: closed, skipped } = withPolicies(files, recorded);
  assert.deepEqual(skipped, ['1 line that is no flow']);
  assert.deepEqual(passing(closed), [
    'shop/api[Deployment] → shop/web[Deployment] TCP 8080',
    'shop/web[Deployment] → ip:203.0.113.9/32 TCP 443',
  ]);
});

test('lines of Hubble that are none, or that say what cannot be', () => {
  const { state } = sessionOf({ 'm.yaml': PAIR });
  const flow = (l4: object, more = {}): string =>
    JSON.stringify({
      flow: {
        verdict: 'FORWARDED',
        is_reply: false,
        IP: { source: '198.51.100.7', destination: '10.9.9.9' },
        source: { labels: ['reserved:world'] },
        destination: { namespace: 'shop', labels: ['k8s:app=api', 'k8s:io.kubernetes.pod.namespace=shop'] },
        l4,
        ...more,
      },
    });
  const table: [string, number, string[]][] = [
    // a line, how many are unread, the flows
    [flow({ TCP: { destination_port: 8080 } }), 0, ['ip:198.51.100.7/32 → shop/api[Deployment] TCP 8080']],
    [flow({ TCP: { destination_port: 8080 } }, { is_reply: null }), 0, []],
    [flow({ TCP: { destination_port: 8080 } }, { source: { labels: ['reserved:host'] } }), 0, []],
    [flow({ TCP: { destination_port: 1e9 } }), 0, []],
    [flow({ ICMPv4: { type: 8 } }), 0, []],
    ['{"node_status": {}}', 0, []],
    ['{"other": 1}', 1, []],
    ['17', 1, []],
    ['{"flow": ', 1, []],
  ];
  for (const [line, unread, flows] of table) {
    const read = recordedFlows(state, line);
    assert.deepEqual([read.unread, read.flows.map(flowText)], [unread, flows], line);
  }
});

test('a policy of the manifests keeps its name, and what cannot be said is left out and told', () => {
  const taken =
    'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web, namespace: shop}\nspec: {podSelector: {}}\n';
  const pod = (name: string, spec: string): string =>
    `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, namespace: shop}\nspec: {${spec}containers: [{name: c, env: [{name: API_ADDR, value: "http://api:80"}]}]}\n`;
  const files = { 'm.yaml': [PAIR, taken, pod('node', 'hostNetwork: true, '), pod('bare', '')].join('---\n') };
  const { policies, skipped } = sessionOf(files).generate(null);
  assert.deepEqual(
    policies.map(({ metadata }) => metadata.name),
    ['default-deny', 'api', 'web-2'],
  );
  assert.deepEqual([...new Set(skipped.map((line) => line.replace(/^.*: /, '')))].sort(), [
    'shop/bare[Pod] has no labels to select it by',
    'shop/node[Pod] is on the network of its node, which no NetworkPolicy selects',
  ]);
});
