/**
 * Where requests through Ingresses go, against a model that shares no code: hosts and paths as regular expressions. HOPSCOPE_RUNS says
 * how many sets of Ingresses, each with twelve requests; HOPSCOPE_SEED and HOPSCOPE_PATH replay one failure.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { query } from '../../dataplane/answers/query.js';
import { DEFAULT_SETTINGS } from '../../dataplane/settings.js';
import { Engine } from '../../dataplane/state.js';
import { modules } from '../datapath.js';

const RUNS = Number(process.env['HOPSCOPE_RUNS'] ?? 150);
const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 20261121);
const PATH = process.env['HOPSCOPE_PATH'];

interface Path {
  readonly path: string;
  readonly pathType: 'Exact' | 'Prefix';
  readonly service: string;
}
interface Ingress {
  readonly rules: readonly { readonly host: string | null; readonly paths: readonly Path[] }[];
  readonly defaultService: string | null;
}

const SERVICES = ['a', 'b', 'c'];
const PATHS = ['/', '/foo', '/foo/', '/foo/bar', '/foobar', '/foo/bar/'];
const HOSTS = [null, 'foo.com', '*.foo.com', 'x.foo.com', '*.com'];
const ASKED = ['foo.com', 'x.foo.com', 'y.foo.com', 'y.x.foo.com', 'else.org'];

const pick = <T>(values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const path: fc.Arbitrary<Path> = fc.record({
  path: pick(PATHS),
  pathType: pick(['Exact', 'Prefix'] as const),
  service: pick(SERVICES),
});
const ingress: fc.Arbitrary<Ingress> = fc
  .record({
    rules: fc.array(fc.record({ host: pick(HOSTS), paths: fc.array(path, { minLength: 1, maxLength: 3 }) }), {
      maxLength: 3,
    }),
    defaultService: fc.option(pick(SERVICES), { freq: 2 }),
  })
  .filter(({ rules, defaultService }) => rules.length > 0 || defaultService !== null);

const closeness = (host: string | null, asked: string): number => {
  if (host === null) return 1;
  if (host === asked) return 3;
  return host.startsWith('*') && new RegExp(`^[^.]+${host.slice(1).replaceAll('.', '\\.')}$`).test(asked) ? 2 : 0;
};

const stem = (text: string): string => text.replace(/\/$/, '');
const takes = ({ path: own, pathType }: Path, asked: string): boolean =>
  pathType === 'Exact' ? own === asked : new RegExp(`^${stem(own)}(/.*)?$`).test(asked);

/** The Services that have the same, best right to a request. */
function expected(ingresses: readonly Ingress[], host: string, asked: string): Set<string> {
  const rules = ingresses.flatMap((from) =>
    from.rules.map((rule) => ({ from, ...rule, close: closeness(rule.host, host) })),
  );
  const closest = Math.max(0, ...rules.map(({ close }) => close));
  const met = closest === 0 ? [] : rules.filter(({ close }) => close === closest);
  const matching = met.flatMap(({ paths }) => paths).filter((one) => takes(one, asked));
  const rank = ({ path: own, pathType }: Path): number => 2 * stem(own).length + (pathType === 'Exact' ? 1 : 0);
  const best = Math.max(...matching.map(rank));
  if (matching.length > 0) return new Set(matching.filter((one) => rank(one) === best).map(({ service }) => service));
  const services = (of: readonly Ingress[]): Set<string> =>
    new Set(of.flatMap(({ defaultService }) => defaultService ?? []));
  const own = services(met.map(({ from }) => from));
  return own.size > 0 ? own : services(ingresses);
}

const engine = new Engine(modules.trace, DEFAULT_SETTINGS);
const objects = SERVICES.flatMap((name) => [
  { apiVersion: 'v1', kind: 'Service', metadata: { name }, spec: { selector: { app: name }, ports: [{ port: 80 }] } },
  { apiVersion: 'v1', kind: 'Pod', metadata: { name, labels: { app: name } }, spec: { containers: [{ name: 'c' }] } },
]);

const backend = (name: string): object => ({ service: { name, port: { number: 80 } } });
const toManifests = (ingresses: readonly Ingress[]): string =>
  [
    ...objects,
    ...ingresses.map(({ rules, defaultService }, i) => ({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'Ingress',
      metadata: { name: `i-${i}` },
      spec: {
        ...(defaultService ? { defaultBackend: backend(defaultService) } : {}),
        rules: rules.map(({ host, paths }) => ({
          ...(host ? { host } : {}),
          http: {
            paths: paths.map(({ path: own, pathType, service }) => ({
              path: own,
              pathType,
              backend: backend(service),
            })),
          },
        })),
      },
    })),
  ]
    .map((object) => JSON.stringify(object))
    .join('\n---\n');

function differences(ingresses: readonly Ingress[], offset: number): string[] {
  engine.manifests.set('ingress.yaml', toManifests(ingresses));
  const paths = [...PATHS, '/foo/bar/baz', '/other'];
  return Array.from({ length: 12 }, (_, i) => offset + 7 * i).flatMap((number) => {
    const host = ASKED[number % ASKED.length]!;
    const asked = paths[Math.floor(number / ASKED.length) % paths.length]!;
    const question = { from: 'world', to: 'ingress:*', protocol: 'TCP', port: null, sourcePort: null, node: null };
    const answered = query(engine.current, { ...question, http: { host, path: asked } });
    if ('error' in answered) return [answered.error];
    const { verdict, http } = answered.answer;
    const services = [...expected(ingresses, host, asked)];
    const wanted =
      services.length === 0
        ? 'DENIED 404 null'
        : services.length === 1
          ? `ALLOWED 200 svc:default/${services[0]}`
          : 'CONDITIONAL';
    const got = http ? `${verdict} ${http.status} ${http.backend}` : verdict;
    return got === wanted ? [] : [`${host}${asked}: expected ${wanted}, got ${got}`];
  });
}

test(`requests go where the model sends them, through ${RUNS} random sets of Ingresses (HOPSCOPE_SEED=${SEED})`, () => {
  const sets = fc.array(ingress, { minLength: 1, maxLength: 2 });
  const property = fc.property(
    sets,
    fc.nat({ max: 1000 }),
    (ingresses, offset) => differences(ingresses, offset).length === 0,
  );
  const result = fc.check(property, { numRuns: RUNS, seed: SEED, ...(PATH === undefined ? {} : { path: PATH }) });
  console.log(
    `ingress model: ${result.numRuns} sets, ${12 * result.numRuns} requests, ${result.failed ? 'a mismatch' : 'no mismatch'}`,
  );
  if (!result.failed) return;
  const [ingresses, offset] = result.counterexample!;
  const replay = `Replay: HOPSCOPE_SEED=${result.seed} HOPSCOPE_PATH=${result.counterexamplePath} and the same test`;
  assert.fail([JSON.stringify(ingresses, null, 1), ...differences(ingresses, offset), replay].join('\n'));
});
