/**
 * Rules that are said not to matter, and rules that are said to: each is taken out of its manifest, and the questions are asked
 * again. HOPSCOPE_RUNS says how many clusters, HOPSCOPE_SEED and HOPSCOPE_PATH replay one failure.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MapId } from '../../assembly/abi.js';
import { formatAddress } from '../../dataplane/addresses.js';
import { Effects, type Effect } from '../../dataplane/answers/effects.js';
import { podAt, nodeAt } from '../../dataplane/answers/at.js';
import { type Outcome } from '../../dataplane/answers/probe.js';
import { query, type Question } from '../../dataplane/answers/query.js';
import { PROTOCOL_NAMES } from '../../dataplane/packet.js';
import type { Policy, RuleOrigin } from '../../dataplane/policy/rules.js';
import { DEFAULT_SETTINGS } from '../../dataplane/settings.js';
import { Engine, type State } from '../../dataplane/state.js';
import { PolicyKey } from '../../pkg/structs.js';
import { modules } from '../datapath.js';
import type { End } from './cilium.js';
import * as cilium from './generate-cilium.js';
import * as kubernetes from './generate.js';

const RUNS = Number(process.env['HOPSCOPE_RUNS'] ?? 40);
const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 20261121);
const PATH = process.env['HOPSCOPE_PATH'];
/** Asked about each rule that is said not to matter. */
const QUESTIONS = 200;

const [before, after] = [new Engine(modules.trace, DEFAULT_SETTINGS), new Engine(modules.trace, DEFAULT_SETTINGS)];

const refOf = (end: End): string =>
  'pod' in end ? `${end.pod}[Pod]` : 'ip' in end ? `ip:${end.ip}` : `node:${end.node}`;

type Asked = Pick<Question, 'from' | 'to' | 'protocol' | 'port' | 'http'>;

function verdict(state: State, asked: Asked): string {
  const icmp = asked.protocol.startsWith('ICMP');
  const answered = query(state, {
    ...asked,
    port: icmp ? null : asked.port,
    icmpType: icmp ? asked.port : null,
    sourcePort: null,
    node: null,
  });
  if ('error' in answered) throw new Error(answered.error);
  return answered.answer.verdict;
}

/** The question whose packet a witness is. */
function questionOf(state: State, { probe: { sender, tuple } }: Outcome): Asked {
  const at = (address: Outcome['tuple']['source']): string => {
    const pod = podAt(state, address);
    const node = nodeAt(state, address);
    return pod ? `${pod.namespace}/${pod.name}[Pod]` : node ? `node:${node.name}` : `ip:${formatAddress(address)}`;
  };
  return {
    from: sender.kind === 'host' ? `node:${sender.node.name}` : at(tuple.source),
    to: at(tuple.destination),
    protocol: PROTOCOL_NAMES[tuple.protocol]!,
    port: tuple.destinationPort,
    http: null,
  };
}

type Spec = Record<string, unknown[]> & { enableDefaultDeny?: unknown };
interface Written {
  kind: string;
  metadata: { name: string; namespace?: string };
  spec?: Spec;
  specs?: Spec[];
}

/** The manifests less one rule; null where the policy could not be written without it, as one that only says that it isolates. */
function withoutRule(manifests: string, { kind, namespace, name, rule }: RuleOrigin): string | null {
  const [, nth, section = '', index] = /^(?:specs\[(\d+)\]\.)?(\w+)\[(\d+)\]$/.exec(rule)!;
  const objects = manifests.split('---\n').map((text) => JSON.parse(text) as Written);
  const policy = objects.find(
    (one) => one.kind === kind && one.metadata.name === name && (one.metadata.namespace ?? '') === namespace,
  )!;
  const spec = nth === undefined ? policy.spec! : policy.specs![Number(nth)]!;
  spec[section]!.splice(Number(index), 1);
  const sections = ['ingress', 'ingressDeny', 'egress', 'egressDeny'];
  const isBare = kind !== 'NetworkPolicy' && !sections.some((one) => spec[one]?.length);
  if (isBare && spec.enableDefaultDeny) return null;
  if (isBare && nth !== undefined && policy.specs!.length > 1) policy.specs!.splice(Number(nth), 1);
  const left =
    isBare && (nth === undefined || policy.specs!.length === 1) ? objects.filter((one) => one !== policy) : objects;
  return left.map((object) => JSON.stringify(object)).join('\n---\n');
}

const rulesOf = ({ policies }: State): { policy: Policy; origin: RuleOrigin }[] =>
  policies.all.flatMap((policy) =>
    [...new Set(policy.rules.map(({ origin }) => origin))].map((origin) => ({ policy, origin })),
  );

const counted = { idle: 0, matters: 0, unknown: 0, untried: 0, questions: 0 };

/** What one rule is wrongly said to change, or not to change; null where it is rightly said. */
function wrong(
  state: State,
  manifests: string,
  verdicts: ReadonlyMap<Asked, string>,
  origin: RuleOrigin,
  effect: Effect,
): string | null {
  counted[effect.kind]++;
  const edited = effect.kind === 'unknown' || effect.kind === 'untried' ? null : withoutRule(manifests, origin);
  if (edited === null) return null;
  after.manifests.set('cluster.yaml', edited);
  const named = `${origin.namespace}/${origin.name} ${origin.rule}`;
  if (effect.kind === 'idle') {
    const found = [...verdicts].find(
      ([one, expected]) => ++counted.questions && verdict(after.current, one) !== expected,
    )?.[0];
    return found ? `${named} is said not to matter, and does: ${JSON.stringify(found)}` : null;
  }
  if (effect.kind !== 'matters' || effect.witness.redirects.length > 0) return null;
  const asked = questionOf(state, effect.witness);
  counted.questions++;
  return verdict(state, asked) !== verdict(after.current, asked)
    ? null
    : `${named} is said to matter, and does not: ${JSON.stringify(asked)}`;
}

/** Whether the policymap holds what it is meant to hold, and no more. */
function isAsLoaded({ desired, loader }: State): boolean {
  const wanted = desired.entries.filter(({ map }) => map === MapId.POLICY);
  const { current } = loader;
  return (
    current.keys(MapId.POLICY, PolicyKey.size).length === wanted.length &&
    wanted.every(({ key, value }) => current.lookup(MapId.POLICY, key, value.length) === value)
  );
}

interface Drawn {
  readonly manifests: string;
  readonly questions: readonly Asked[];
}

const drawn: fc.Arbitrary<Drawn> = fc.oneof(
  kubernetes.clusters.map((cluster) => ({
    manifests: kubernetes.toManifests(cluster),
    questions: kubernetes
      .everyProbe(cluster, QUESTIONS)
      .map(({ from, to, protocol, port }) => ({ from: refOf(from), to: refOf(to), protocol, port, http: null })),
  })),
  cilium.clusters.map((cluster) => ({
    manifests: cilium.toManifests(cluster),
    questions: cilium
      .probesOf(cluster, QUESTIONS)
      .map(({ from, to, protocol, port, http }) => ({ from: refOf(from), to: refOf(to), protocol, port, http })),
  })),
);

test(`a rule is said not to matter where no answer changes without it, over ${RUNS} random clusters (HOPSCOPE_SEED=${SEED})`, () => {
  const property = fc.property(drawn, ({ manifests, questions }) => {
    before.manifests.set('cluster.yaml', manifests);
    const state = before.current;
    const verdicts = new Map(questions.map((asked) => [asked, verdict(state, asked)]));
    const effects = new Effects(state);
    for (const { policy, origin } of rulesOf(state)) {
      const found = wrong(state, manifests, verdicts, origin, effects.of(policy, origin));
      if (found) throw new Error(`${found}\n${manifests}`);
    }
    assert.ok(isAsLoaded(state), `the policymap is another afterwards\n${manifests}`);
  });
  fc.assert(property, {
    numRuns: RUNS,
    seed: SEED,
    endOnFailure: true,
    ...(PATH === undefined ? {} : { path: PATH }),
  });
  const { idle, matters, unknown, questions } = counted;
  console.log(
    `${idle} rules without effect, ${matters} with, ${unknown} undecided; ${questions} questions asked twice`,
  );
  assert.ok(PATH !== undefined || (idle > RUNS && matters > RUNS / 2 && unknown < (idle + matters) / 4));
});
