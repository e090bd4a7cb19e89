/** What the API server refuses of the objects that an answer rests on: without these, or with them mended, it could be another. */
import type { Address } from '../addresses.js';
import type { ClusterPod, ClusterService } from '../cluster/cluster.js';
import { kindName, type ManifestObject } from '../manifests/objects.js';
import { lineOf, type Place } from '../manifests/place.js';
import type { Problem } from '../problems.js';
import { policyOf, type State } from '../state.js';
import type { Outcome } from './probe.js';

const made = new WeakMap<State, ReadonlyMap<Place, ManifestObject>>();

/** The objects with mistakes, by what `ClusterPod.source` says of those that put pods into the cluster. */
function mistaken(state: State): ReadonlyMap<Place, ManifestObject> {
  const known = made.get(state);
  if (known) return known;
  const found = new Map<Place, ManifestObject>();
  for (const object of state.cluster.objects)
    if (object.mistakes) found.set('template' in object ? object.template.at : object.at, object);
  made.set(state, found);
  return found;
}

const makerOf = (state: State, { source }: ClusterPod): ManifestObject[] => [mistaken(state).get(source) ?? []].flat();

const byAddress = new WeakMap<State, ReadonlyMap<Address, ClusterService>>();

/** The Service that a packet is for, also where none of its ports is asked for. */
export function serviceOf(state: State, { frontend, probe }: Outcome): ClusterService | undefined {
  if (frontend?.service) return frontend.service;
  let known = byAddress.get(state);
  if (!known) {
    const { services } = state.cluster;
    known = new Map(services.flatMap((service) => service.clusterIPs.map((address) => [address, service] as const)));
    byAddress.set(state, known);
  }
  return known.get(probe.tuple.destination);
}

/** A Service, and what names its endpoints, where there is a mistake in them. */
function servedBy(state: State, outcome: Outcome): ManifestObject[] {
  const service = serviceOf(state, outcome);
  if (!service) return [];
  const own = [...mistaken(state).values()].filter(
    (one) =>
      (one.kind === 'Endpoints' || one.kind === 'EndpointSlice') &&
      one.service === service.name &&
      one.metadata.namespace === service.namespace,
  );
  return [service.source, ...own];
}

/** Mistakes that leave open what was meant, one line each. */
const refusals = (object: ManifestObject): string[] =>
  (object.mistakes ?? [])
    .filter(({ assumed }) => assumed === null)
    .map(({ at, message }) => {
      const { namespace, name } = object.metadata;
      const full = `${kindName(object)} ${namespace && `${namespace}/`}${name.value}`;
      return `${lineOf(at)}: Kubernetes refuses ${full}: ${sentence(message)}`;
    });

/** Why it is not known whether a pod is there as its manifest has it. */
export const refusedPod = (state: State, pod: ClusterPod): string[] => makerOf(state, pod).flatMap(refusals);

/** The same of the Services of these packets. */
export const refusedServices = (state: State, outcomes: readonly Outcome[]): string[] =>
  outcomes.flatMap((outcome) => servedBy(state, outcome)).flatMap(refusals);

/** What the answers make of mistakes with which it is plain what was meant, one line each. */
export function mistakesAssumed(state: State, pods: readonly ClusterPod[], outcomes: readonly Outcome[]): string[] {
  const objects = [
    ...pods.flatMap((pod) => makerOf(state, pod)),
    ...outcomes.flatMap((outcome) => servedBy(state, outcome)),
    ...pods.flatMap((pod) => policyOf(state, pod)?.applied ?? []).map(({ source }) => source),
  ];
  return [...new Set(objects)].flatMap(({ mistakes }) => mistakes ?? []).flatMap(assumption);
}

function assumption({ at: { source, start, end }, at, message, assumed }: Problem): string[] {
  const written = source.text.slice(start, end);
  switch (assumed) {
    case 'text':
      return [`${lineOf(at)}: ${written} is taken for text: Kubernetes refuses it without quotes`];
    case 'kept':
      return [`${lineOf(at)}: ${written} is kept as it stands: Kubernetes refuses it`];
    case 'rest':
      return [`${lineOf(at)}: what can be read of the rest counts: ${sentence(message)}`];
    case null:
      return [];
  }
}

const sentence = (message: string): string => message.replace(/\.$/, '');
