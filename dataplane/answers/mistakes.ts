/** What the API server refuses of the objects that an answer rests on: without these, or with them mended, it could be another. */
import type { Address } from '../addresses.js';
import type { ClusterPod, ClusterService } from '../cluster/cluster.js';
import { keptFor } from '../kept.js';
import { kindName, type ManifestObject } from '../manifests/objects.js';
import { lineOf, type Place } from '../manifests/place.js';
import type { Problem } from '../problems.js';
import { policyOf, type State } from '../state.js';
import type { Outcome } from './probe.js';

/** The objects with mistakes, by what `ClusterPod.source` says of those that put pods into the cluster. */
const mistaken = keptFor(({ manifests }: State): ReadonlyMap<Place, ManifestObject> => {
  const found = manifests.parts.flatMap((part) => mistakenIn(part));
  return new Map(found.map((object) => ['template' in object ? object.template.at : object.at, object]));
});

const mistakenIn = keptFor((objects: readonly ManifestObject[]) => objects.filter(({ mistakes }) => mistakes));

const makerOf = (state: State, { source }: ClusterPod): ManifestObject[] => [mistaken(state).get(source) ?? []].flat();

const byAddress = keptFor(
  (services: readonly ClusterService[]): ReadonlyMap<Address, ClusterService> =>
    new Map(services.flatMap((service) => service.clusterIPs.map((address) => [address, service] as const))),
);

/** The Service that a packet is for, also where none of its ports is asked for. */
export const serviceOf = ({ cluster }: State, { frontend, probe }: Outcome): ClusterService | undefined =>
  frontend?.service ?? byAddress(cluster.services).get(probe.tuple.destination);

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

/** Whether there is a mistake in any object. */
export const hasMistakes = (state: State): boolean => mistaken(state).size > 0;

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
