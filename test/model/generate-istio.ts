/** Random meshes and probes of them. Small alphabets, so that what policies ask for is often there. */
import fc from 'fast-check';
import type {
  AuthorizationPolicy,
  Cluster,
  Condition,
  Mode,
  Operation,
  PeerAuthentication,
  Pod,
  Probe,
  Request,
  Rule,
  Selector,
  Source,
} from './istio.js';

const pick = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const some = <T>(...values: readonly T[]): fc.Arbitrary<T[]> =>
  fc.uniqueArray(pick(...values), { minLength: 1, maxLength: 2 });
/** An object that has any of the fields, but at least one. */
const parts = <T extends object>(shape: { [K in keyof T]-?: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc
    .uniqueArray(pick(...(Object.keys(shape) as (keyof T & string)[])), { minLength: 1, maxLength: 2 })
    .chain((names) =>
      fc.record(Object.fromEntries(names.map((name) => [name, shape[name]])), { noNullPrototype: true }),
    )
    .map((object) => object as T);
const optional = <T extends object>(shape: { [K in keyof T]-?: fc.Arbitrary<NonNullable<T[K]>> }): fc.Arbitrary<T> =>
  fc
    .record(shape as Record<string, fc.Arbitrary<unknown>>, { requiredKeys: [], noNullPrototype: true })
    .map((object) => object as T);

const NAMESPACES = ['shop', 'bank'] as const;
const POLICY_NAMESPACES = ['shop', 'shop', 'bank', 'istio-system'] as const;
const PORTS = ['80', '8080', '9090'] as const;
const OUTSIDE = '203.0.113.9';

const principals = some(
  'cluster.local/ns/shop/sa/one',
  'cluster.local/ns/bank/sa/two',
  '*/sa/one',
  'cluster.local/ns/shop/*',
  '*',
);
const namespaces = some('shop', 'bank', 'sh*', '*nk', '*');
const accounts = some('one', 'two', 'shop/one', 'bank/two');
const blocks = some('10.244.1.0/24', '10.244.1.5', '203.0.113.0/24', '0.0.0.0/0', '10.244.2.7/32');
const issued = some('*', 'issuer/subject');
const source = parts<Source>({
  principals,
  notPrincipals: principals,
  requestPrincipals: issued,
  notRequestPrincipals: issued,
  namespaces,
  notNamespaces: namespaces,
  serviceAccounts: accounts,
  notServiceAccounts: accounts,
  ipBlocks: blocks,
  notIpBlocks: blocks,
  remoteIpBlocks: blocks,
  notRemoteIpBlocks: blocks,
});

const hosts = some('web.shop', '*.shop', 'WEB.*', '*');
const ports = some(...PORTS);
const methods = some('GET', 'POST', 'P*', '*');
const paths = some('/', '/info', '/info*', '*/end', '/a/{*}/end', '/a/{**}', '*');
const operation = parts<Operation>({
  hosts,
  notHosts: hosts,
  ports,
  notPorts: ports,
  methods,
  notMethods: methods,
  paths,
  notPaths: paths,
});

const VALUES: Readonly<Record<string, fc.Arbitrary<string[]>>> = {
  'request.headers[X-Team]': some('red', 'r*', '*'),
  'source.ip': blocks,
  'remote.ip': blocks,
  'source.namespace': namespaces,
  'source.principal': principals,
  'destination.ip': some('10.244.1.5', '10.244.0.0/16', '10.244.2.0/24'),
  'destination.port': ports,
  'request.auth.principal': issued,
  'connection.sni': some('web.shop'),
};
const condition: fc.Arbitrary<Condition> = pick(...Object.keys(VALUES)).chain((key) =>
  fc.oneof(
    VALUES[key]!.map((values) => ({ key, values })),
    VALUES[key]!.map((notValues) => ({ key, notValues })),
    fc.tuple(VALUES[key]!, VALUES[key]!).map(([values, notValues]) => ({ key, values, notValues })),
  ),
);

const few = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(one, { minLength: 1, maxLength: 2 });
const rule: fc.Arbitrary<Rule> = optional<Rule>({
  from: few(source.map((found) => ({ source: found }))),
  to: few(operation.map((found) => ({ operation: found }))),
  when: few(condition),
});

const selector: fc.Arbitrary<Selector> = pick('web', 'db').map((app) => ({ matchLabels: { app } }));

const authorization: fc.Arbitrary<Omit<AuthorizationPolicy, 'name'>> = fc
  .tuple(
    pick(...POLICY_NAMESPACES),
    optional<{ selector?: Selector; action?: 'ALLOW' | 'DENY' | 'AUDIT' | 'CUSTOM'; rules?: readonly Rule[] }>({
      selector,
      action: fc.oneof(
        { weight: 6, arbitrary: pick('ALLOW' as const) },
        { weight: 5, arbitrary: pick('DENY' as const) },
        { weight: 1, arbitrary: pick('AUDIT' as const, 'CUSTOM' as const) },
      ),
      rules: fc.array(rule, { maxLength: 2 }),
    }),
  )
  .map(([namespace, spec]) => ({ namespace, ...spec }));

const mode = pick<Mode>('STRICT', 'PERMISSIVE', 'DISABLE', 'UNSET', 'STRICT').map((one) => ({ mode: one }));
const peer: fc.Arbitrary<Omit<PeerAuthentication, 'name'>> = fc
  .tuple(
    pick(...POLICY_NAMESPACES),
    optional<Pick<PeerAuthentication, 'selector' | 'mtls' | 'portLevelMtls'>>({
      selector,
      mtls: mode,
      portLevelMtls: fc.tuple(pick(...PORTS), mode).map(([port, found]) => ({ [port]: found })),
    }),
  )
  .map(([namespace, spec]) => ({ namespace, ...spec }));

const namespaceLabels = fc.oneof(
  { weight: 6, arbitrary: fc.constant({ 'istio-injection': 'enabled' }) },
  { weight: 1, arbitrary: fc.constant({ 'istio-injection': 'disabled', 'istio.io/rev': 'canary' }) },
  { weight: 1, arbitrary: fc.constant({ 'istio.io/rev': 'canary' }) },
  { weight: 2, arbitrary: fc.constant({ 'istio.io/dataplane-mode': 'ambient' }) },
  { weight: 2, arbitrary: fc.constant({}) },
);

/** Mostly what the namespace says. */
const own = fc.oneof(
  { weight: 8, arbitrary: fc.constant({}) },
  { weight: 1, arbitrary: pick('true', 'false').map((value) => ({ 'sidecar.istio.io/inject': value })) },
);

const pods: fc.Arbitrary<Pod[]> = fc
  .array(
    fc.record({
      namespace: pick(...NAMESPACES),
      app: pick('web', 'db'),
      serviceAccount: pick('one', 'two', 'default'),
      label: own,
      mode: fc.oneof(
        { weight: 8, arbitrary: fc.constant({}) },
        { weight: 1, arbitrary: pick('ambient', 'none').map((value) => ({ 'istio.io/dataplane-mode': value })) },
      ),
      annotation: own,
      isExcluding: fc.nat({ max: 7 }).map((number) => number === 0),
      hasProxy: fc.nat({ max: 9 }).map((number) => number === 0),
    }),
    { minLength: 2, maxLength: 5 },
  )
  .map((drafts) =>
    drafts.map(({ namespace, app, serviceAccount, label, mode, annotation, isExcluding, hasProxy }, i) => ({
      namespace,
      name: `pod-${i}`,
      labels: { app, ...label, ...mode },
      annotations: {
        ...annotation,
        ...(isExcluding ? { 'traffic.sidecar.istio.io/excludeInboundPorts': '9090,7070' } : {}),
      },
      serviceAccount,
      ip: `10.244.${1 + (i % 2)}.${5 + i}`,
      hasProxy,
    })),
  );

const named = <T extends object>(prefix: string, found: readonly T[]): (T & { name: string })[] =>
  found.map((one, i) => ({ ...one, name: `${prefix}-${i}` }));

export const meshes: fc.Arbitrary<Cluster> = fc
  .record({
    shop: namespaceLabels,
    bank: fc.option(namespaceLabels, { freq: 4 }),
    pods,
    authorization: fc.array(authorization, { minLength: 1, maxLength: 4 }),
    peers: fc.array(peer, { maxLength: 2 }),
  })
  .map(({ shop, bank, pods, authorization, peers }) => ({
    namespaces: { shop, ...(bank ? { bank } : {}) },
    pods,
    authorization: named('authorization', authorization),
    peers: named('peer', peers),
  }));

const REQUESTS: readonly (Request | null)[] = [
  null,
  null,
  null,
  ...['GET', 'POST'].flatMap((method) =>
    ['/', '/info', '/info/x?y=/end', '/a/b/end', '/a'].map((path, i) => ({
      method,
      host: ['web.shop', 'Web.Shop', 'other'][i % 3]!,
      path,
      headers: [{}, { 'x-team': 'red' }, { 'x-forwarded-for': '203.0.113.9' }, { authorization: 'Bearer x' }][
        (i + method.length) % 4
      ]! as Record<string, string>,
    })),
  ),
];

/** Probes of a mesh, `count` of all that there are, from the `offset`th on. */
export function probesOf({ pods }: Cluster, count: number, offset: number): Probe[] {
  const all = [...pods, OUTSIDE].flatMap((from) =>
    pods
      .filter((to) => to !== from)
      .flatMap((to) =>
        [80, 8080, 9090, 15021].flatMap((port) => REQUESTS.map((http): Probe => ({ from, to, port, http }))),
      ),
  );
  const step = 37;
  return Array.from({ length: Math.min(count, all.length) }, (_, i) => all[(offset + i * step) % all.length]!);
}

/** JSON documents, which are YAML. */
export function toManifests({ namespaces, pods, authorization, peers }: Cluster): string {
  const documents: object[] = [
    ...Object.entries(namespaces).map(([name, labels]) => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name, labels },
    })),
    ...pods.map(({ namespace, name, labels, annotations, serviceAccount, ip, hasProxy }) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace, name, labels, annotations },
      spec: {
        serviceAccountName: serviceAccount,
        containers: [{ name: 'app' }, ...(hasProxy ? [{ name: 'istio-proxy' }] : [])],
      },
      status: { podIP: ip },
    })),
    ...authorization.map(({ namespace, name, action, ...spec }) => ({
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: { namespace, name },
      spec: { ...spec, ...(action ? { action } : {}), ...(action === 'CUSTOM' ? { provider: { name: 'own' } } : {}) },
    })),
    ...peers.map(({ namespace, name, ...spec }) => ({
      apiVersion: 'security.istio.io/v1beta1',
      kind: 'PeerAuthentication',
      metadata: { namespace, name },
      spec,
    })),
  ];
  return documents.map((document) => JSON.stringify(document)).join('\n---\n');
}
