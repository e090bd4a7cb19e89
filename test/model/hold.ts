/** Holds the dataplane against a model, over random clusters. A disagreement is shrunk and printed with a line that replays it. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { query } from '../../dataplane/answers/query.js';
import { DEFAULT_SETTINGS } from '../../dataplane/settings.js';
import { Engine } from '../../dataplane/state.js';
import { modules } from '../datapath.js';
import type { End, Probe } from './probes.js';

/** What both say of a packet. */
export interface Told {
  readonly verdict: string;
  readonly direction: string | null;
  readonly reason: number | null;
  /** 'namespace/name', with the rule behind where one decides; null where they do not matter. */
  readonly deciders: readonly string[] | null;
}

export interface Language<Cluster> {
  readonly name: string;
  readonly clusters: fc.Arbitrary<Cluster>;
  readonly toManifests: (cluster: Cluster) => string;
  readonly probesOf: (cluster: Cluster, limit: number, offset?: number) => readonly Probe[];
  readonly decide: (cluster: Cluster, probe: never) => Told;
}

export const RUNS = Number(process.env['HOPSCOPE_RUNS'] ?? 500);
export const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 20261121);
const PATH = process.env['HOPSCOPE_PATH'];

/** Asked of each cluster; and of each while a failure shrinks. */
const PROBES = 20;
const PROBES_WHILE_SHRINKING = 1500;

const refOf = (end: End): string =>
  'pod' in end ? `${end.pod}[Pod]` : 'ip' in end ? `ip:${end.ip}` : `node:${end.node}`;

/** One engine for all clusters: each is an edit of the one before, so what an edit leaves behind is tested as well. */
const engine = new Engine(modules.trace, DEFAULT_SETTINGS);

const text = ({ verdict, direction, reason, deciders }: Told): string =>
  verdict === 'UNKNOWN'
    ? verdict
    : `${verdict} ${direction} ${reason} {${[...new Set(deciders ?? [])].sort().join(', ')}}`;

/** Deciders that the model names: what isolates where nothing allows, else the rules that deny or allow. */
const EFFECTS: Readonly<Record<number, string>> = { 133: 'isolates', 181: 'denies' };

/** What differs, a line each; `written` is what the dataplane is told of in place of the cluster. */
export function differences<Cluster>(
  { toManifests, decide }: Language<Cluster>,
  cluster: Cluster,
  probes: readonly Probe[],
  written = cluster,
): string[] {
  engine.manifests.set('cluster.yaml', toManifests(written));
  const state = engine.current;
  return probes.flatMap((probe) => {
    const { protocol, port } = probe;
    const ends = { from: refOf(probe.from), to: refOf(probe.to) };
    const answered = query(state, { ...ends, protocol, port, sourcePort: null, node: null, http: null });
    const name = `${ends.from} → ${ends.to} ${protocol} ${port}`;
    if ('error' in answered) return [`${name}: ${answered.error}`];
    const { verdict, direction, reason, deciders, depends } = answered.answer;
    const expected = decide(cluster, probe as never);
    const effect = EFFECTS[expected.reason ?? 0] ?? 'allows';
    const named = deciders
      .filter((decider) => decider.effect === effect)
      .map(({ namespace, name, rule }) => `${namespace}/${name}${rule === null ? '' : ` ${rule}`}`);
    const got = text({ verdict, direction, reason: reason?.code ?? null, deciders: expected.deciders && named });
    return got === text(expected) ? [] : [`${name}: expected ${text(expected)}, got ${got} ${depends.join('; ')}`];
  });
}

/** HOPSCOPE_RUNS says how many clusters, HOPSCOPE_SEED and HOPSCOPE_PATH replay one failure. */
export function hold<Cluster>(language: Language<Cluster>): void {
  const { name, clusters, probesOf, toManifests } = language;
  let shrinking = PATH !== undefined;
  let asked = 0;
  const property = fc.property(clusters, fc.nat({ max: 1_000_000 }), (cluster, offset) => {
    const probes = probesOf(cluster, shrinking ? PROBES_WHILE_SHRINKING : PROBES, offset);
    asked += shrinking ? 0 : probes.length;
    const agrees = differences(language, cluster, probes).length === 0;
    if (!agrees) shrinking = true;
    return agrees;
  });
  const result = fc.check(property, { numRuns: RUNS, seed: SEED, ...(PATH === undefined ? {} : { path: PATH }) });
  console.log(`${name}: ${result.numRuns} clusters, ${asked} probes, ${result.failed ? 'a mismatch' : 'no mismatch'}`);
  if (!result.failed) return;
  const [cluster, offset] = result.counterexample!;
  const lines = [PROBES, PROBES_WHILE_SHRINKING].flatMap((limit) =>
    differences(language, cluster, probesOf(cluster, limit, offset)),
  );
  const replay = `Replay: HOPSCOPE_SEED=${result.seed} HOPSCOPE_PATH=${result.counterexamplePath} and the same test`;
  assert.fail([toManifests(cluster), ...new Set(lines.slice(0, 6)), replay].join('\n'));
}

/** Whether the comparison finds out about a fault, made by telling the dataplane of other manifests than the model. */
export function findsOut<Cluster>(language: Language<Cluster>, change: (cluster: Cluster) => Cluster): boolean {
  return fc
    .sample(language.clusters, { numRuns: 200, seed: 7 })
    .some((cluster) => differences(language, cluster, language.probesOf(cluster, 60), change(cluster)).length > 0);
}
