/**
 * Holds an answerer of questions against the model, over random clusters. A disagreement is shrunk to a cluster that
 * fits a screen and printed with a line that replays it.
 */
import fc from 'fast-check';
import { choices, clusters, everyProbe, toManifests, toProbes, type Choice } from './generate.js';
import { decide, type Cluster, type End, type Expectation, type Options, type Probe } from './networkpolicy.js';

/** As `hopscope query` answers (contract.md), of which only these fields are looked at. */
export interface Answer {
  verdict: string;
  direction: string | null;
  deciders: { namespace: string; name: string; rule: string | null; effect: string }[];
}

/** Answers the probes in their order. */
export type Ask = (manifests: string, probes: Probe[], options: Options) => Promise<Answer[]>;

export interface Mismatch {
  probe: Probe;
  options: Options;
  expected: Expectation;
  answer: Answer;
  /** What differs, a line each. */
  differences: string[];
}

/** While shrinking, a cluster is asked about this many probes, so that any of them may keep the disagreement alive. */
const PROBES_WHILE_SHRINKING = 1500;

interface Scenario {
  cluster: Cluster;
  chosen: Choice[];
  options: Options;
}

const scenarios: fc.Arbitrary<Scenario> = fc
  .tuple(clusters, choices, fc.boolean())
  .map(([cluster, chosen, ipBlockMatchesPods]) => ({ cluster, chosen, options: { ipBlockMatchesPods } }));

/**
 * Asks about `runs` clusters, ten probes each, and stops at the first cluster with a mismatch.
 * HOPSCOPE_SEED replaces `seed`; with HOPSCOPE_PATH it replays one failure, shrunk as it was.
 *
 * Returns how many clusters and probes were compared (those of shrinking not counted) and the mismatches of the
 * smallest failing cluster: empty if all agree. Throws what `ask` throws, for the smallest cluster it does so for.
 */
export async function compare(
  runs: number,
  seed: number,
  ask: Ask,
): Promise<{ clusters: number; probes: number; mismatches: Mismatch[] }> {
  const path = process.env['HOPSCOPE_PATH'];
  const counted = { clusters: 0, probes: 0 };
  // A replay begins where shrinking ended, so it asks as shrinking did.
  let shrinking = path !== undefined;

  const property = fc.asyncProperty(scenarios, async (scenario) => {
    const probes = toProbes(scenario.cluster, scenario.chosen);
    if (shrinking) probes.push(...everyProbe(scenario.cluster, PROBES_WHILE_SHRINKING));
    else {
      counted.clusters += 1;
      counted.probes += probes.length;
    }
    const agrees = await mismatchesOf(scenario, probes, ask).then(
      (mismatches) => mismatches.length === 0,
      () => false,
    );
    if (!agrees) shrinking = true;
    return agrees;
  });

  const result = await fc.check(property, {
    numRuns: runs,
    seed: Number(process.env['HOPSCOPE_SEED'] ?? seed),
    ...(path === undefined ? {} : { path }),
  });
  if (!result.failed) return { ...counted, mismatches: [] };
  if (result.counterexample === null) throw new Error('fast-check failed without a counterexample', { cause: result });

  const [scenario] = result.counterexample;
  const probes = [
    ...toProbes(scenario.cluster, scenario.chosen),
    ...everyProbe(scenario.cluster, PROBES_WHILE_SHRINKING),
  ];
  const mismatches = await mismatchesOf(scenario, probes, ask).catch((error: unknown) => {
    console.log(report(scenario, [], result.seed, result.counterexamplePath));
    throw error;
  });
  console.log(report(scenario, mismatches, result.seed, result.counterexamplePath));
  if (mismatches.length === 0) throw new Error('the disagreement does not repeat: the answers depend on their past');
  return { ...counted, mismatches };
}

async function mismatchesOf({ cluster, options }: Scenario, probes: Probe[], ask: Ask): Promise<Mismatch[]> {
  const answers = await ask(toManifests(cluster), probes, options);
  if (answers.length !== probes.length) throw new Error(`${probes.length} probes got ${answers.length} answers`);
  return probes.flatMap((probe, index): Mismatch[] => {
    const answer = answers[index] as Answer;
    const expected = decide(cluster, probe, options);
    const differences = differencesOf(expected, answer);
    return differences.length === 0 ? [] : [{ probe, options, expected, answer, differences }];
  });
}

/** Compares the verdict; where that agrees the direction of a denial; and the policies and rules named for it. */
export function differencesOf(expected: Expectation, answer: Answer): string[] {
  const verdict = expected.allowed ? 'ALLOWED' : 'DENIED';
  if (answer.verdict !== verdict) return [`verdict: expected ${verdict}, got ${answer.verdict}`];

  const named = (effect: string): string[] =>
    answer.deciders
      .filter((decider) => decider.effect === effect)
      .map(({ namespace, name, rule }) => `${namespace}/${name}${effect === 'allows' ? ` ${rule}` : ''}`);
  const lists = expected.allowed
    ? { effect: 'allows', wanted: [...expected.allowedBy.egress, ...expected.allowedBy.ingress] }
    : { effect: 'isolates', wanted: expected.isolatedBy };
  const wanted = setOf(lists.wanted);
  const got = setOf(named(lists.effect));
  return [
    ...(answer.direction === expected.refusedAt
      ? []
      : [`direction: expected ${expected.refusedAt}, got ${answer.direction}`]),
    ...(wanted === got ? [] : [`${lists.effect}: expected ${wanted}, got ${got}`]),
  ];
}

function setOf(names: string[]): string {
  return `{${[...new Set(names)].sort().join(', ')}}`;
}

function report({ cluster, options }: Scenario, mismatches: Mismatch[], seed: number, path: string | null): string {
  const lines = [
    ...new Set(mismatches.map(({ probe, differences }) => `  ${probeText(probe)}: ${differences.join('; ')}`)),
  ];
  return [
    'The product disagrees with the model on',
    toManifests(cluster),
    `with ipBlockMatchesPods ${options.ipBlockMatchesPods}:`,
    ...lines.slice(0, 5),
    ...(lines.length > 5 ? [`  and ${lines.length - 5} more`] : []),
    `Replay: HOPSCOPE_SEED=${seed} HOPSCOPE_PATH=${path ?? ''} and the same test`,
  ].join('\n');
}

function probeText({ from, to, protocol, port }: Probe): string {
  const text = (end: End): string => ('pod' in end ? end.pod : `ip:${end.ip}`);
  return `${text(from)} -> ${text(to)} ${protocol} ${port}`;
}
