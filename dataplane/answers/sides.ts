/** What a search looks among: the ends that a reference or a selector stands for, those that fare alike once. */
import { formatAddress, type Address } from '../addresses.js';
import type { ClusterPod, ClusterService } from '../cluster/cluster.js';
import { compare } from '../hash.js';
import { selects, requirement, type EndpointSelector } from '../policy/selectors.js';
import { identityOf, type State } from '../state.js';
import { classes } from './cases.js';
import { externalClasses } from './outside.js';
import { resolveRef } from './refs.js';

/** One end, as a question names it. */
export interface End {
  readonly ref: string;
  /** Whose packets, or the receivers of whose packets, answer for all of it; none for an end that only a question resolves. */
  readonly pods: readonly ClusterPod[];
  /** Where it is, outside the cluster; null inside. */
  readonly outside: Address | null;
  readonly service: ClusterService | null;
}

type Ends = readonly End[] | { readonly error: string };

/**
 * A side of a search: nothing for anyone, a REF, or pods by their labels:
 *
 *   labels:app=db,tier!=back      in any namespace
 *   namespace:shop                all of a namespace
 *   namespace:shop/app=db         those of them with these labels
 *
 * `from` is the namespace that a short DNS name is looked up from.
 */
export function endsOf(state: State, side: string | null, from: string): Ends {
  const pods = state.cluster.pods;
  if (side === null) return [...endsAmong(state, pods), ...outsiders(state)];
  const [, scheme, rest = ''] = /^(labels|namespace):(.*)$/.exec(side.trim()) ?? [];
  if (scheme === undefined) return endsAt(state, side.trim(), from);
  const slash = scheme === 'labels' ? -1 : rest.indexOf('/');
  const namespace = scheme === 'labels' ? null : slash < 0 ? rest : rest.slice(0, slash);
  const selector =
    scheme === 'labels' || slash >= 0 ? readSelector(rest.slice(slash + 1)) : { requirements: [], written: null };
  if ('error' in selector) return selector;
  const found = pods.filter(
    (pod) =>
      (namespace === null || pod.namespace === namespace) &&
      selects(selector, identityOf(state, pod) ?? { source: 'k8s', labels: pod.labels }),
  );
  return found.length > 0 ? endsAmong(state, found) : { error: `no pod matches ${side}` };
}

function endsAt(state: State, ref: string, from: string): Ends {
  const target = resolveRef(state, ref, from);
  if ('error' in target) return target;
  switch (target.kind) {
    case 'pods':
      return endsAmong(state, target.pods);
    case 'service':
      return [{ ref, pods: [], outside: null, service: target.service }];
    case 'world':
      if (target.name === null) return outsiders(state);
      break;
    case 'unanswerable':
      return { error: target.why };
  }
  return [{ ref, pods: [], outside: null, service: null }];
}

/** Pods that no policy tells apart are one end: their workload, where all of it is meant; else one of them. */
function endsAmong(state: State, pods: readonly ClusterPod[]): End[] {
  const wanted = new Set(pods);
  const workloads = [...new Set(pods.map(({ workload }) => workload))].sort((a, b) => compare(a.ref, b.ref));
  return workloads.flatMap((workload) => {
    const kinds = classes(
      state,
      workload.pods.filter((pod) => wanted.has(pod)),
    );
    const isWhole = kinds.length === 1 && workload.pods.every((pod) => wanted.has(pod));
    if (isWhole) return [{ ref: workload.ref, pods: workload.pods, outside: null, service: null }];
    return kinds.map((pod) => ({
      ref: `${pod.namespace}/${pod.name}[Pod]`,
      pods: [pod],
      outside: null,
      service: null,
    }));
  });
}

const outsiders = (state: State): End[] =>
  externalClasses(state).map(({ example }) => ({
    ref: `ip:${formatAddress(example)}`,
    pods: [],
    outside: example,
    service: null,
  }));

/** Services through which clients outside may find any of these pods. */
export function entrances(state: State, pods: ReadonlySet<ClusterPod>): End[] {
  const open = state.desired.frontends.filter(({ type }) => type !== 'ClusterIP');
  const services = new Set(open.flatMap(({ service }) => service ?? []));
  return [...services]
    .filter(({ selected }) => selected.some((pod) => pods.has(pod)))
    .map((service) => ({ ref: `svc:${service.namespace}/${service.name}`, pods: [], outside: null, service }))
    .sort((a, b) => compare(a.ref, b.ref));
}

const TERM = /^(?:(!?)([\w./-]+)|([\w./-]+)\s*(==?|!=)\s*([\w.-]*)|([\w./-]+)\s+(in|notin)\s*\(([^()]*)\))$/;

/** What stands between commas, but for those in brackets. */
function termsOf(text: string): string[] {
  const terms: string[] = [];
  let start = 0;
  let isWithin = false;
  for (let i = 0; i < text.length; i++) {
    const letter = text[i];
    if (letter === '(' || letter === ')') isWithin = letter === '(';
    else if (letter === ',' && !isWithin) {
      terms.push(text.slice(start, i));
      start = i + 1;
    }
  }
  return [...terms, text.slice(start)];
}

/** A selector as kubectl takes it: `app=db,tier!=back,!old,zone in (a, b)`. */
export function readSelector(text: string): EndpointSelector | { readonly error: string } {
  const requirements = [];
  for (const part of termsOf(text)) {
    const [, not, bare, key, operator, value = '', listed, word, values = ''] = TERM.exec(part.trim()) ?? [];
    if (bare !== undefined) requirements.push(requirement(bare, not ? 'DoesNotExist' : 'Exists'));
    else if (key !== undefined) requirements.push(requirement(key, operator === '!=' ? 'NotIn' : 'In', value));
    else if (listed !== undefined) {
      const all = values.split(',').map((one) => one.trim());
      requirements.push(requirement(listed, word === 'in' ? 'In' : 'NotIn', ...all));
    } else
      return {
        error: `${part.trim() || 'nothing'} selects no labels: expected such as app=db, tier!=back, !old, zone in (a, b)`,
      };
  }
  return { requirements, written: null };
}
