/** Searches: whether there is a packet that fares as asked, and one that does. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Search, SearchOptions } from '../../dataplane/answers/search.js';
import { readSelector } from '../../dataplane/answers/sides.js';
import { searchText } from '../../dataplane/format/search.js';
import { Session } from '../../dataplane/session.js';
import { modules } from '../datapath.js';
import { pod, service } from '../lab.js';

const policy = (name: string, spec: string): string =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: ${name}}\nspec: {${spec}}\n---\n`;

const PODS = pod('web', '10.1.0.5', 'n1') + pod('api', '10.1.0.6', 'n1') + pod('db', '10.1.0.7', 'n1');
const DB = 'podSelector: {matchLabels: {app: db}}';
const FROM_API = policy(
  'db',
  `${DB}, ingress: [{from: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: 5432}]}]`,
);

function sessionOf(manifests: string): Session {
  const session = new Session(modules.trace);
  session.setFile('m.yaml', manifests);
  return session;
}

const ANY: SearchOptions = { from: null, to: null, protocol: null, port: null, verdict: 'ALLOWED', limit: 1 };

function searched(session: Session, options: Partial<SearchOptions>): Search {
  const found = session.search({ ...ANY, ...options });
  if ('error' in found) throw new Error(found.error);
  return found;
}

const lines = (manifests: string, options: Partial<SearchOptions>): string[] =>
  searched(sessionOf(manifests), options).witnesses.map(
    ({ verdict, from, to, protocol, port }) => `${verdict} ${from} → ${to} ${protocol} ${port}`,
  );

test('who reaches a pod by its labels, and from where outside', () => {
  const to = 'labels:app=db';
  assert.deepEqual(lines(PODS + FROM_API, { to, limit: 9 }), ['ALLOWED default/api[Pod] → default/db[Pod] TCP 5432']);
  assert.deepEqual(lines(PODS + FROM_API, { from: 'world', to }), []);
  assert.deepEqual(lines(PODS + FROM_API, { to, port: 8080 }), []);
  assert.deepEqual(lines(PODS + FROM_API, { to, from: 'labels:app notin (api)', verdict: 'DENIED', limit: 9 }), [
    'DENIED default/web[Pod] → default/db[Pod] TCP 8080',
  ]);
  const office = policy(
    'office',
    `${DB}, ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.0/28]}}]}]`,
  );
  assert.deepEqual(lines(PODS + FROM_API + office, { from: 'world', to }), [
    'ALLOWED ip:203.0.113.16 → default/db[Pod] TCP 8080',
  ]);
});

test('a client outside may come in by a Service too', () => {
  const open = service('db', '10.96.0.9', 80, 8080, ', externalIPs: [198.51.100.9]');
  const inward = policy('db', `${DB}, ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: 8080}]}]`);
  assert.deepEqual(lines(PODS + open + inward, { from: 'world', to: 'labels:app=db', limit: 9 }), [
    'ALLOWED ip:203.0.113.0 → default/db[Pod] TCP 8080',
    // At the other node its packet gets that node's address.
    'CONDITIONAL ip:203.0.113.0 → svc:default/db TCP 80',
  ]);
});

test('a witness is answered like any question: who decided, and where the packet went', () => {
  const session = sessionOf(PODS + FROM_API + service('db', '10.96.0.9', 80, 5432));
  const found = searched(session, { from: 'default/api', to: 'svc:default/db' });
  assert.deepEqual(searchText(found).split('\n'), [
    'ALLOWED  default/api[Pod] → svc:default/db  TCP 80',
    '  to default/db 10.1.0.7:5432',
    '  NetworkPolicy default/db ingress[0] allows  m.yaml:22:57',
    '',
  ]);
});

test('a name is looked up by whoever sends, and leads to the port of its Service', () => {
  const manifests = PODS + FROM_API + service('db', '10.96.0.9', 80, 5432);
  assert.deepEqual(lines(manifests, { from: 'default/api', to: 'dns:db' }), [
    'ALLOWED default/api[Pod] → dns:db TCP 80',
  ]);
  const moved = manifests.replaceAll(/metadata: \{name/g, 'metadata: {namespace: shop, name');
  assert.deepEqual(lines(moved, { from: 'labels:app!=db', to: 'dns:db', limit: 9 }), [
    'ALLOWED shop/api[Pod] → dns:db TCP 80',
  ]);
});

test('what could not be read may hide one', () => {
  const hidden =
    'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: x}\nspec: {{ .Values.spec }}\n';
  const found = searched(sessionOf(PODS + FROM_API + hidden), { from: 'default/web', to: 'default/db' });
  assert.deepEqual(found.witnesses, []);
  assert.deepEqual(
    found.unknown.map(({ from, to }) => `${from} → ${to}`),
    ['default/web[Pod] → default/db[Pod]'],
  );
});

test('a side that is none is told', () => {
  const session = sessionOf(PODS);
  const errorOf = (options: Partial<SearchOptions>): string => {
    const found = session.search({ ...ANY, ...options });
    return 'error' in found ? found.error : '';
  };
  assert.equal(errorOf({ to: 'labels:app=dp' }), 'no pod matches labels:app=dp');
  assert.match(errorOf({ to: 'labels:app=(' }), /selects no labels/);
  assert.match(errorOf({ from: 'default/nobody' }), /nothing matches default\/nobody/);
  assert.match(errorOf({ to: 'namespace:elsewhere' }), /no pod matches/);
});

test('selectors as kubectl takes them', () => {
  const requirements = (text: string): string[] => {
    const selector = readSelector(text);
    if ('error' in selector) return [selector.error];
    return selector.requirements.map(({ key, operator, values }) => `${key} ${operator} ${values.join()}`.trim());
  };
  assert.deepEqual(requirements('app=db,tier!=back, !old,new,zone in (a, b),x/y notin (c)'), [
    'app In db',
    'tier NotIn back',
    'old DoesNotExist',
    'new Exists',
    'zone In a,b',
    'x/y NotIn c',
  ]);
  assert.match(requirements('app=db,')[0]!, /^nothing selects no labels/);
  const long = Array.from({ length: 100_000 }, (_, i) => `a${i}`).join();
  const start = performance.now();
  assert.equal(requirements(`${long},b in (x`).length, 1);
  assert.equal(requirements(long).length, 100_000);
  assert.ok(performance.now() - start < 5_000);
});

function* manifestsIn(folder: string): Generator<string> {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* manifestsIn(path);
    else if (path.endsWith('.yaml')) yield path;
  }
}

test('over the shop a search finds what reach lists, and the rest is denied', () => {
  const session = new Session(modules.trace);
  for (const file of manifestsIn('examples/shop')) session.setFile(file, readFileSync(file));
  const reached = session.reach({ from: null, to: null, protocol: null });
  assert.ok(!('error' in reached));
  const open = new Map(reached.connections.map(({ from, to, ports }) => [`${from} ${to}`, ports]));
  const inside = reached.endpoints.filter(({ kind }) => kind !== 'external').map(({ ref }) => ref);
  let compared = 0;
  for (const from of inside) {
    for (const to of inside.filter((ref) => ref !== from)) {
      const ports = open.get(`${from} ${to}`) ?? [];
      const isAll = ports.length === 3 && ports.every(({ ranges }) => ranges.length === 1 && ranges[0]![1] === 65535);
      const found = (verdict: SearchOptions['verdict']): boolean =>
        searched(session, { from, to, verdict }).witnesses.length > 0;
      assert.deepEqual([found('ALLOWED'), found('DENIED')], [ports.length > 0, !isAll], `${from} → ${to}`);
      compared++;
    }
  }
  assert.ok(compared > 100);
});
