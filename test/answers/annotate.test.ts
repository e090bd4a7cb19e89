/** What the editor shows: lenses, hints and hovers, over the examples and over manifests on the screen. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { announced } from '../../dataplane/answers/announced.js';
import { Session } from '../../dataplane/session.js';
import { modules } from '../datapath.js';
import { pod, service } from '../lab.js';

function sessionOf(files: Readonly<Record<string, string>>): Session {
  const session = new Session(modules.trace);
  for (const [file, text] of Object.entries(files)) session.setFile(file, text);
  return session;
}

/** The hover at the first place where `words` stand, as lines of text. */
function hoverAt(session: Session, file: string, words: string): string[] | null {
  const text = session.state.manifests.text(file)!;
  const offset = text.indexOf(words);
  assert.ok(offset >= 0, `${words} stands in ${file}`);
  const before = text.slice(0, offset).split('\n');
  const card = session.hover(file, { line: before.length, column: before.at(-1)!.length + 1 });
  return card && card.lines.map((spans) => spans.map((span) => span.text).join(''));
}

const POLICY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: only-web
spec:
  podSelector:
    matchLabels:
      app: api
  ingress:
    - from:
        - podSelector:
            matchLabels:
              app: web
      ports:
        - port: web
`;

const FILES = {
  'm.yaml':
    pod('web', '10.1.0.5', 'n1') +
    pod('api', '10.1.0.6', 'n1') +
    pod('other', '10.1.0.7', 'n1') +
    service('api', '10.96.0.9', 80, 'web'),
  'p.yaml': POLICY,
};

test('lenses say what a policy blocks, who reaches a workload and a Service', () => {
  const session = sessionOf(FILES);
  assert.deepEqual(
    session.annotations('p.yaml').lenses.map(({ title }) => title),
    ['applies to 1 pod of 1 workload · in: 1 workload blocked, 1 allowed'],
  );
  const titles = session.annotations('m.yaml').lenses.map(({ range, title }) => `${range.start.line} ${title}`);
  assert.deepEqual(
    titles.filter((title) => !title.includes('Trace')),
    [
      '3 1 pod · ingress open, egress open · reached by 2 workloads',
      '9 1 pod · ingress isolated by 1 policy, egress open · reached by 1 workload',
      '15 1 pod · ingress open, egress open · reached by 2 workloads',
      '21 1 endpoint · reached by 1 workload',
    ],
  );
});

test('hints stand behind selectors, named ports and empty rules', () => {
  const empty = `${POLICY}---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: none}\nspec:\n  podSelector: {}\n  policyTypes: [Ingress, Egress]\n  ingress: []\n  egress:\n    - {}\n`;
  const hints = sessionOf({ ...FILES, 'p.yaml': empty })
    .annotations('p.yaml')
    .inlays.map(({ position, text }) => `${position.line}:${position.column} ${text}`);
  assert.deepEqual(hints, [
    '8:15 → 1 pod',
    '8:15 isolates ingress',
    '13:23 → 1 pod',
    '15:20 → 8080',
    '21:18 → all 3 pods',
    '23:14 denies all',
    '25:9 → allows all'.replace('→ ', ''),
  ]);
});

test('hovering a Service: verdict first, then hops, the rule with its line, the reply', () => {
  const lines = hoverAt(sessionOf(FILES), 'm.yaml', 'api}\nspec: {clusterIP')!;
  assert.match(
    lines[0]!,
    /^DENIED default\/other\[Pod\] → svc:default\/api:80 TCP: Policy denied \(133\) at ingress|^ALLOWED default\/web\[Pod\] → svc:default\/api:80 TCP/,
  );
  const text = lines.join('\n');
  assert.match(text, /picks backend default\/api 10\.1\.0\.6:8080/);
  assert.match(text, /default\/only-web.* \(p\.yaml:\d+\)/);
  assert.match(text, /Trace from…/);
});

test('a label changed in a policy turns hover and lens', () => {
  const session = sessionOf({
    ...FILES,
    'm.yaml': FILES['m.yaml'].replace(
      'containers: [{name: c,',
      'containers: [{name: c, env: [{name: API_ADDR, value: "api:80"}],',
    ),
  });
  const told = (): string =>
    `${hoverAt(session, 'm.yaml', 'api:80')![0]!} | ${session.annotations('p.yaml').lenses[0]!.title}`;
  assert.match(told(), /^ALLOWED default\/web\[Pod\] → dns:api:80.*1 allowed$/);
  session.setFile('p.yaml', POLICY.replace('app: web', 'app: wob'));
  assert.match(
    told(),
    /^DENIED default\/web\[Pod\] → dns:api:80 TCP: Policy denied \(133\) at ingress \| .*nothing gets in$/,
  );
  session.setFile('p.yaml', POLICY);
  assert.match(told(), /^ALLOWED/);
});

test('a half-typed policy keeps its last good state, and every answer says so', () => {
  const session = sessionOf(FILES);
  session.state;
  session.setFile('p.yaml', POLICY.replace('- podSelector:', '- podSel: ['));
  assert.match(session.annotations('p.yaml').lenses[0]!.title, /1 allowed \(last good state\)$/);
  const answered = session.query({
    from: 'default/web',
    to: 'default/api',
    protocol: 'TCP',
    port: 8080,
    sourcePort: null,
    node: null,
    http: null,
  });
  assert.ok('answer' in answered && answered.answer.verdict === 'ALLOWED');
  assert.match(answered.answer.assumes.join(), /p\.yaml:1: last good state of NetworkPolicy only-web/);
});

function* manifests(folder: string): Generator<string> {
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* manifests(path);
    else if (/\.ya?ml$/.test(name)) yield path.split('\\').join('/');
  }
}

test('every position of every example: at most fifteen lines, a verdict or a name first, never a throw', () => {
  for (const folder of ['examples/shop', 'examples/echo']) {
    const session = new Session(modules.trace);
    for (const file of manifests(folder)) session.setFile(file, readFileSync(file));
    let cards = 0;
    for (const file of session.state.manifests.files) {
      session.annotations(file);
      session.state.manifests
        .text(file)!
        .split('\n')
        .forEach((line, i) => {
          for (let column = 1; column <= line.length + 1; column += 4) {
            const card = session.hover(file, { line: i + 1, column });
            if (!card) continue;
            cards++;
            assert.ok(card.lines.length > 0 && card.lines.length <= 15, `${file}:${i + 1}`);
            assert.ok(
              card.lines[0]![0]!.style !== 'plain' && card.lines[0]![0]!.style !== undefined,
              `${file}:${i + 1}: ${JSON.stringify(card.lines[0])}`,
            );
          }
        });
    }
    assert.ok(cards > 100, `${folder}: ${cards} hovers`);
  }
});

test('host names: in URLs, with ports, in arguments and ConfigMaps; not every word is one', () => {
  const map =
    'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  URL: postgres://user:pw@api.default:80/db\n  LEVEL: api\n  API_HOST: api\n  VERSION: 1.2.3\n';
  const uses = `${FILES['m.yaml']}${pod('uses', '10.1.0.8', 'n1', ', volumes: [{name: v, configMap: {name: c}}]')}`;
  const session = sessionOf({ ...FILES, 'm.yaml': uses, 'c.yaml': map });
  assert.match(hoverAt(session, 'c.yaml', 'api.default:80')![0]!, /→ dns:api\.default:80 TCP/);
  assert.match(hoverAt(session, 'c.yaml', 'api\n  VERSION')![0]!, /→ dns:api TCP|→ dns:api:80/);
  assert.equal(hoverAt(session, 'c.yaml', 'api\n  API_HOST'), null);
  assert.equal(hoverAt(session, 'c.yaml', '1.2.3'), null);
});

test('a host in a ConfigMap is asked for by a workload that uses it', () => {
  const map = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  API_URL: http://api:80\n';
  const using = (name: string, ip: string): string =>
    pod(name, ip, 'n1').replace('{name: c,', '{name: c, envFrom: [{configMapRef: {name: c}}],');
  const told = (...users: readonly string[]): string[] =>
    hoverAt(sessionOf({ ...FILES, 'm.yaml': FILES['m.yaml'] + users.join(''), 'c.yaml': map }), 'c.yaml', 'api:80')!;
  assert.deepEqual(told(), [
    'api: no workload of the manifests uses this ConfigMap',
    'api is Service default/api at 10.96.0.9',
  ]);
  assert.match(told(using('user', '10.1.0.8'))[0]!, /^DENIED default\/user\[Pod\] → dns:api:80 TCP/);
  const two = told(using('user', '10.1.0.8'), using('another', '10.1.0.9'));
  assert.match(two[0]!, /^DENIED default\/another\[Pod\] →/);
  assert.ok(two.includes('asked for default/another[Pod]; 2 workloads use this ConfigMap'), two.join('\n'));
});

test('the ConfigMap of an example is asked for by its Deployment, and announces its flow', () => {
  const session = new Session(modules.trace);
  for (const file of manifests('examples/shop')) session.setFile(file, readFileSync(file));
  const [verdict] = hoverAt(session, 'examples/shop/orders.yaml', 'orders-db.shop:5432')!;
  assert.equal(verdict, 'ALLOWED shop/orders[Deployment] → dns:orders-db.shop:5432 TCP');
  assert.ok(
    announced(session.state).some(
      ({ workload, host }) => workload.ref === 'shop/orders[Deployment]' && host.name === 'orders-db.shop',
    ),
  );
});

test('a hint behind each host that a value names says whether it is reached, and turns with the policy', () => {
  const env = (name: string): string => `containers: [{name: c, env: [{name: API_ADDR, value: "${name}:80"}],`;
  const session = sessionOf({ ...FILES, 'm.yaml': FILES['m.yaml'].replace('containers: [{name: c,', env('api')) });
  const hints = (): string[] =>
    session
      .annotations('m.yaml')
      .inlays.filter(({ text }) => /ALLOWED|DENIED/.test(text))
      .map(({ position, text }) => `${position.line} ${text}`);
  assert.deepEqual(hints(), ['4 → ALLOWED']);
  session.setFile('p.yaml', POLICY.replace('app: web', 'app: wob'));
  assert.deepEqual(hints(), ['4 → DENIED']);
});

test('hovering a rule: who passes today, who is refused all the same and by what line, and the ports that nobody has', () => {
  const policy = (name: string, spec: string): string =>
    `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: ${name}}\nspec: {${spec}}\n`;
  const session = sessionOf({
    'pods.yaml': ['web', 'job', 'api'].map((name, i) => pod(name, `10.1.0.${i + 5}`, 'n1')).join(''),
    'api.yaml': policy(
      'api',
      'podSelector: {matchLabels: {app: api}}, ingress: [{from: [{podSelector: {}}], ports: [{port: 8080}, {port: 9090}]}]',
    ),
    'job.yaml': policy('job', 'podSelector: {matchLabels: {app: job}}, policyTypes: [Egress]'),
  });
  const lines = hoverAt(session, 'api.yaml', 'from: [')!;
  assert.match(lines[0]!, /^(ALLOWED|DENIED) default\/\w+\[Pod\] → default\/api\[Pod\]:8080 TCP/);
  assert.deepEqual(lines.slice(lines.indexOf('ingress[0] lets in TCP 8080, TCP 9090 from 3 pods')), [
    'ingress[0] lets in TCP 8080, TCP 9090 from 3 pods',
    'passing today: default/web[Pod]',
    'refused today: default/job[Pod] at egress, isolated by default/job (job.yaml:3)',
    'nobody listens on TCP 9090',
    'for: default/api[Pod]',
  ]);
  // Out of the pods it is the peers that listen, or not.
  session.setFile(
    'api.yaml',
    policy('api', 'podSelector: {matchLabels: {app: web}}, egress: [{to: [{podSelector: {}}], ports: [{port: api}]}]'),
  );
  assert.ok(hoverAt(session, 'api.yaml', 'to: [')!.includes('nobody listens on TCP api'));
});

test('a rule of a hover links to the line that decides', () => {
  const session = sessionOf(FILES);
  const policy = FILES['p.yaml'];
  const before = policy.slice(0, policy.indexOf('from')).split('\n');
  const card = session.hover('p.yaml', { line: before.length, column: before.at(-1)!.length + 1 })!;
  const links = card.lines.flatMap((line) =>
    line.flatMap(({ action }) => (action?.kind === 'reveal' ? action.location : [])),
  );
  assert.deepEqual(
    links.map(({ file, range }) => `${file}:${range.start.line}`),
    ['p.yaml:10'],
  );
});
