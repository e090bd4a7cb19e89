/** What an edit gains and loses. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { diff, isDifferent, type Change } from '../../dataplane/answers/diff.js';
import { editsOf } from '../../dataplane/answers/diff-edits.js';
import { without } from '../../dataplane/answers/diff-flows.js';
import { query } from '../../dataplane/answers/query.js';
import { diffText } from '../../dataplane/format/diff.js';
import { DEFAULT_SETTINGS } from '../../dataplane/settings.js';
import { Engine, type State } from '../../dataplane/state.js';
import { modules } from '../datapath.js';
import { pod, TWO_NODES } from '../lab.js';
import { clusters, toManifests } from '../model/generate.js';

const PODS = pod('web', '10.1.0.5', 'n1') + pod('api', '10.1.0.6', 'n1');

const policy = (from: string): string => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api}
spec:
  podSelector: {matchLabels: {app: api}}
  ingress:
    - from: [${from}]
      ports: [{port: 8080, endPort: 8090}]
`;

function state(...documents: string[]): State {
  const engine = new Engine(modules.trace, DEFAULT_SETTINGS);
  engine.manifests.set('m.yaml', documents.join('---\n'));
  return engine.current;
}

function told(before: State, after: State): string {
  return diffText(diff(before, after, modules.trace));
}

const WEB = '{podSelector: {matchLabels: {app: web}}}';

test('a label changed: the flow that is lost, and who isolates', () => {
  assert.equal(
    told(state(PODS, policy(WEB)), state(PODS, policy(WEB.replace('web', 'wob')))),
    `m.yaml:20  NetworkPolicy default/api ingress[0] changed
  LOST    default/web[Pod] → default/api[Pod]  TCP 8080-8090
          by NetworkPolicy default/api isolates  m.yaml:16:18
`,
  );
});

test('a prefix more: only its addresses are gained', () => {
  assert.equal(
    told(
      state(PODS, policy(WEB)),
      state(PODS, policy(`${WEB}, {ipBlock: {cidr: 198.51.100.0/24, except: [198.51.100.128/25]}}`)),
    ),
    `m.yaml:20  NetworkPolicy default/api ingress[0] changed
  GAINED  ip:198.51.100.0-198.51.100.127 → default/api[Pod]  TCP 8080-8090
          by NetworkPolicy default/api ingress[0] allows  m.yaml:20:7
`,
  );
});

test('a policy of prefixes only redraws the ranges: nothing is gained or lost', () => {
  const all = '{ipBlock: {cidr: 0.0.0.0/0}}';
  const halves = '{ipBlock: {cidr: 0.0.0.0/1}}, {ipBlock: {cidr: 128.0.0.0/1}}';
  assert.equal(told(state(PODS, policy(all)), state(PODS, policy(halves))), 'No flow is gained or lost.\n');
});

/** Who is let in on which ports: a rule a line. */
const rules = (name: string, ...lines: string[]): string => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: ${name}}
spec:
  podSelector: {matchLabels: {app: api}}
  policyTypes: [Ingress]
  ingress:
${lines.map((line) => `    - ${line}\n`).join('')}`;

const from = (app: string, port: number): string =>
  `{from: [{podSelector: {matchLabels: {app: ${app}}}}], ports: [{port: ${port}}]}`;

/** Without who decides: whose edit it is. */
const causes = (before: State, after: State): string =>
  told(before, after)
    .split('\n')
    .filter((line) => !line.includes(' by '))
    .join('\n');

test('each flow stands under the line that brought it, also where lines beside one another changed', () => {
  assert.equal(
    causes(
      state(PODS, rules('api', from('web', 80), from('web', 81), from('web', 82))),
      state(PODS, rules('api', from('web', 8080), from('web', 8181), from('web', 82), from('web', 83))),
    ),
    `m.yaml:21  NetworkPolicy default/api ingress[0] changed
  LOST    default/web[Pod] → default/api[Pod]  TCP 80
  GAINED  default/web[Pod] → default/api[Pod]  TCP 8080
m.yaml:22  NetworkPolicy default/api ingress[1] changed
  LOST    default/web[Pod] → default/api[Pod]  TCP 81
  GAINED  default/web[Pod] → default/api[Pod]  TCP 8181
m.yaml:24  NetworkPolicy default/api ingress[3] added
  GAINED  default/web[Pod] → default/api[Pod]  TCP 83
`,
  );
});

test('what is gone stands where it stood', () => {
  assert.equal(
    causes(
      state(PODS, rules('api', from('web', 80), from('web', 81)), rules('more', from('web', 90))),
      state(PODS, rules('api', from('web', 80))),
    ),
    `m.yaml:22  NetworkPolicy default/api ingress[1] removed
  LOST    default/web[Pod] → default/api[Pod]  TCP 81
m.yaml:24  NetworkPolicy default/more removed
  LOST    default/web[Pod] → default/api[Pod]  TCP 90
`,
  );
});

test('two edits of which either would do, and two of which only both do', () => {
  assert.equal(
    causes(state(PODS, rules('api')), state(PODS, rules('api', from('web', 80)), rules('more', from('web', 80)))),
    `m.yaml:21  NetworkPolicy default/api ingress[0] added
or m.yaml:23  NetworkPolicy default/more added
  GAINED  default/web[Pod] → default/api[Pod]  TCP 80
`,
  );
  const to = (app: string): string => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Egress]
  egress:
    - {to: [{podSelector: {matchLabels: {app: ${app}}}}]}
`;
  assert.equal(
    causes(
      state(PODS, to('wob'), rules('api', from('wob', 80))),
      state(PODS, to('api'), rules('api', from('web', 80))),
    ),
    `m.yaml:21  NetworkPolicy default/web egress[0] changed
and m.yaml:30  NetworkPolicy default/api ingress[0] changed
  GAINED  default/web[Pod] → default/api[Pod]  TCP 80
`,
  );
});

test('lines that cannot be read without one another are one edit', () => {
  const before = rules('api', from('web', 80)).replace('podSelector: {matchLabels: {app: api}}', 'podSelector: {}');
  const flow = before.replace('spec:', 'spec: {').replaceAll(/: (\[Ingress\]|\{\})$/gm, ': $1,');
  const after = flow.replace(/ingress:[^]*/, 'ingress: []\n  }\n');
  const { edits } = diff(state(PODS, before), state(PODS, after), modules.trace);
  assert.deepEqual(
    edits.map(({ line, change }) => `${line} ${change}`),
    ['17 changed'],
  );
});

test('a document that only moved to another file is no edit', () => {
  const [one, other] = [rules('api', from('web', 80)), rules('more', from('web', 81))];
  const engine = new Engine(modules.trace, DEFAULT_SETTINGS);
  engine.manifests.set('a.yaml', `${PODS}---\n${one}`);
  engine.manifests.set('b.yaml', other.replace('81', '82'));
  assert.equal(
    causes(state(PODS, other, one), engine.current),
    `b.yaml:8  NetworkPolicy default/more ingress[0] changed
  LOST    default/web[Pod] → default/api[Pod]  TCP 81
  GAINED  default/web[Pod] → default/api[Pod]  TCP 82
`,
  );
});

test('a setting is an edit', () => {
  const [text] = [[PODS, rules('api', '{from: [{ipBlock: {cidr: 10.1.0.0/16}}], ports: [{port: 80}]}')].join('---\n')];
  const engine = new Engine(modules.trace, { ...DEFAULT_SETTINGS, ipBlockMatchesPods: true });
  engine.manifests.set('m.yaml', text);
  assert.equal(
    causes(state(text), engine.current),
    `.hopscope.yaml  Setting ipBlockMatchesPods changed
  GAINED  default/web[Pod] → default/api[Pod]  TCP 80
`,
  );
});

const requests = (...methods: string[]): string => `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
    - fromEndpoints: [{matchLabels: {app: web}}]
      toPorts: [{ports: [{port: "80", protocol: TCP}]${methods.length > 0 ? `, rules: {http: [${methods.map((method) => `{method: ${method}}`).join(', ')}]}` : ''}}]
`;

test('of what a proxy lets, only what is new is gained; all of it where the proxy is gone', () => {
  const flows = (before: string, after: string): string[] =>
    causes(state(PODS, before), state(PODS, after)).trimEnd().split('\n').slice(1);
  const by = 'default/web[Pod] → default/api[Pod]  TCP 80';
  assert.deepEqual(flows(requests('GET'), requests('GET', 'PUT')), [`  GAINED  ${by} (HTTP PUT *)`]);
  assert.deepEqual(flows(requests('GET', 'PUT'), requests('PUT')), [`  LOST    ${by} (HTTP GET *)`]);
  assert.deepEqual(flows(requests('GET'), requests()), [`  GAINED  ${by}`]);
});

test('what can no longer be told is neither gained nor lost, and something all the same', () => {
  const found = diff(state(PODS), state(PODS, 'kind: NetworkPolicy\nmetadata: [\n'), modules.trace);
  assert.deepEqual([found.gained, found.lost], [[], []]);
  assert.deepEqual(found.newlyUnknown, ['default/api[Pod]', 'default/web[Pod]']);
  assert.ok(isDifferent(found));
});

/** A Service of app `api`, to clients outside by node port, and on one line what its spec has besides. */
const api = (more: string, ports = '{port: 80, targetPort: 8080}', name = 'api'): string =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec:\n  clusterIP: 10.96.0.9\n  ports: [${ports}]\n  ${more}\n`;
const API = 'selector: {app: api}';

/** What an edit of a Service does for one client, by its name. */
function gotBy(client: string, before: string, after: string): string[] {
  const lines = told(state(TWO_NODES, PODS, before), state(TWO_NODES, PODS, after))
    .trimEnd()
    .split('\n');
  const own = lines.filter((line) => new RegExp(`^ +(LOST|GAINED) +${client}.* → svc:`).test(line));
  return own.map((line) => line.trim().replace(/ +/g, ' '));
}

test('what an edit of a Service changes for its clients stands under it, by frontend', () => {
  const web = 'default/web[Pod] → svc:default/api';
  const world = 'ip:0.0.0.0-255.255.255.255 → svc:default/api';
  const nodePort = (number: number, target = 8080): string => `{port: 80, nodePort: ${number}, targetPort: ${target}}`;
  const external = `${API}\n  type: NodePort`;
  const balanced = (ranges: string): string =>
    `${API}\n  type: LoadBalancer\n  loadBalancerSourceRanges: [${ranges}]\nstatus: {loadBalancer: {ingress: [{ip: 203.0.113.9}]}}`;
  const table: [what: string, client: string, before: string, after: string, expected: string[]][] = [
    [
      'targetPort',
      'default/web',
      api(API),
      api(API, '{port: 80, targetPort: 9090}'),
      [`LOST ${web} TCP 80 → default/api[Pod]:8080`, `GAINED ${web} TCP 80 → default/api[Pod]:9090`],
    ],
    [
      'port',
      'default/web',
      api(API),
      api(API, '{port: 81, targetPort: 8080}'),
      [`LOST ${web} TCP 80 → default/api[Pod]:8080`, `GAINED ${web} TCP 81 → default/api[Pod]:8080`],
    ],
    [
      'selector',
      'default/web',
      api(API),
      api('selector: {app: web}'),
      [`LOST ${web} TCP 80 → default/api[Pod]:8080`, `GAINED ${web} TCP 80 → default/web[Pod]:8080`],
    ],
    ['deletion', 'default/web', api(API), '', [`LOST ${web} TCP 80 → default/api[Pod]:8080`]],
    [
      'type',
      'ip:0',
      api(API, nodePort(30080)),
      api(external, nodePort(30080)),
      [`GAINED ${world} TCP 30080 at NodePort → default/api[Pod]:8080`],
    ],
    [
      'nodePort',
      'ip:0',
      api(external, nodePort(30080)),
      api(external, nodePort(30081)),
      [
        `LOST ${world} TCP 30080 at NodePort → default/api[Pod]:8080`,
        `GAINED ${world} TCP 30081 at NodePort → default/api[Pod]:8080`,
      ],
    ],
    [
      'externalTrafficPolicy',
      'ip:0',
      api(external, nodePort(30080)),
      api(`${external}\n  externalTrafficPolicy: Local`, nodePort(30080)),
      [`LOST ${world} TCP 30080 at NodePort → default/api[Pod]:8080, by node n2`],
    ],
    [
      'source ranges',
      'ip:8',
      api(balanced('8.0.0.0/8')),
      api(balanced('9.0.0.0/8')),
      ['LOST ip:8.0.0.0-8.255.255.255 → svc:default/api TCP 80 at 203.0.113.9 → default/api[Pod]:8080'],
    ],
    ['a label of its own', 'default/web', api(API), api(API).replace('name: api', 'name: api, labels: {a: b}'), []],
  ];
  for (const [what, client, before, after, expected] of table)
    assert.deepEqual(gotBy(client, before, after), expected, what);
});

test('of two Services, each has its own edit; who decides is told for those inside', () => {
  const two = (port: number): [string, string] => [
    api(API),
    api(API, `{port: ${port}, targetPort: 8080}`, 'other').replace('0.9', '0.8'),
  ];
  assert.equal(
    told(state(PODS, policy(WEB), ...two(80)), state(PODS, policy(WEB), ...two(81)))
      .split('\n')
      .filter((line) => !line.includes('default/api[Pod] → svc:'))
      .join('\n'),
    `m.yaml:36  Service default/other changed
  LOST    default/web[Pod] → svc:default/other  TCP 80 → default/api[Pod]:8080
  GAINED  default/web[Pod] → svc:default/other  TCP 81 → default/api[Pod]:8080
          by NetworkPolicy default/api ingress[0] allows  m.yaml:20:7
`,
  );
});

test('a pod behind the Service that it asks gets another of its workload, by whatever port it asks', () => {
  const both = `apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec: {replicas: 3, selector: {matchLabels: {app: api}}, template: {metadata: {labels: {app: api}}, spec: {containers: [{name: c}]}}}
`;
  for (const port of [8081, 8082, 8083, 8084]) {
    const now = state(both, rules('api'), api(API, `{port: 80, targetPort: ${port}}`));
    assert.equal(told(state(both, rules('api'), api(API)), now), 'No flow is gained or lost.\n');
  }
});

test('a Service that clients outside cannot be told to find is something to tell', () => {
  const found = diff(state(PODS, api(API)), state(PODS, api(`${API}\n  type: LoadBalancer`)), modules.trace);
  assert.deepEqual([found.gained, found.lost, found.newlyUnknown], [[], [], ['world → svc:default/api']]);
});

test('what pods of one workload may say to each other', () => {
  const both = `apiVersion: apps/v1
kind: Deployment
metadata: {name: db}
spec: {replicas: 2, selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c}]}}}
`;
  const isolated = rules('db').replace('{app: api}', '{app: db}');
  assert.match(
    causes(state(both), state(both, isolated)),
    /LOST {4}default\/db\[Deployment\] → default\/db\[Deployment\] {2}all/,
  );
});

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 5);

test(`of random edits, each change is one that packets show, and each edit does what it is said to (HOPSCOPE_SEED=${SEED})`, () => {
  let checked = 0;
  const engine = new Engine(modules.trace, DEFAULT_SETTINGS);
  const trial = (files: ReadonlyMap<string, string>): State => {
    for (const [file, content] of files) engine.manifests.set(file, content);
    return engine.current;
  };
  const two = fc.tuple(clusters, clusters, fc.nat({ max: 3 }));
  fc.assert(
    fc.property(two, ([one, other, kept]) => {
      const policies = [...one.policies.slice(0, kept), ...other.policies.slice(kept)];
      const [before, after] = [one, { ...one, policies }].map((cluster) => state(toManifests(cluster)));
      const found = diff(before!, after!, modules.trace);
      const { edits, filesWith } = editsOf(before!, after!);
      assert.deepEqual(found.edits, found.gained.length + found.lost.length > 0 ? edits : []);
      const lets = (state: State, { from: source, to, ports }: Change): boolean => {
        const [{ protocol, ranges }] = ports as readonly [Change['ports'][number]];
        const question = { from: source, to, protocol, port: ranges[0]![0], sourcePort: null, node: null, http: null };
        const answered = query(state, question);
        return !('error' in answered) && answered.answer.verdict === 'ALLOWED';
      };
      for (const [kind, changes] of [
        ['gained', found.gained],
        ['lost', found.lost],
      ] as const) {
        for (const change of changes.filter(({ ports }) => ports.length > 0).slice(0, 3)) {
          const was = kind === 'lost';
          assert.deepEqual([lets(before!, change), lets(after!, change)], [was, !was]);
          assert.ok(change.edits.length > 0);
          for (const number of change.edits) {
            const edit = edits[number]!;
            const alone = lets(trial(filesWith(new Set([edit]))), change) !== was;
            const without = lets(trial(filesWith(new Set(edits.filter((one) => one !== edit)))), change) === was;
            assert.ok(change.together ? without || !alone : alone || without, JSON.stringify([edit, change]));
            checked++;
          }
        }
      }
    }),
    { numRuns: 20, seed: SEED },
  );
  assert.ok(checked > 40, `${checked} edits`);
});

test('ports of one list that are not in another, as with sets', () => {
  const ranges = fc
    .uniqueArray(fc.integer({ min: 0, max: 40 }), { maxLength: 10 })
    .map((ports) => ports.sort((a, b) => a - b).map((port) => [port, port] as const));
  const set = (list: readonly (readonly [number, number])[]): number[] =>
    list.flatMap(([a, b]) => Array.from({ length: b - a + 1 }, (_, i) => a + i));
  fc.assert(
    fc.property(ranges, ranges, (a, b) => {
      const gone = new Set(set(b));
      assert.deepEqual(
        set(without(a, b)),
        set(a).filter((port) => !gone.has(port)),
      );
      assert.deepEqual(
        set(without([[0, 40]], b)),
        set([[0, 40]]).filter((port) => !gone.has(port)),
      );
    }),
    { seed: Number(process.env['HOPSCOPE_SEED'] ?? 5) },
  );
});
