/** The endpoints of pods, with their numbers in the datapath. */
import type { Cluster, ClusterPod } from '../cluster/cluster.js';
import { Numbers } from '../hash.js';
import { indexed } from '../indexed.js';
import { difference, kept, keptEach } from '../kept.js';

export interface EndpointIds extends Iterable<readonly [ClusterPod, number]> {
  get(pod: ClusterPod): number | undefined;
  podOf(id: number): ClusterPod | undefined;
  /** The highest of them; 0 where there are none. */
  readonly highest: number;
}

interface Endpoint {
  readonly pod: ClusterPod;
  readonly id: number;
}

export class Endpoints {
  private readonly numbers = new Numbers();
  private pods: Cluster['pods'] = [];
  private readonly each = keptEach((pod: ClusterPod): Endpoint | null =>
    pod.hostNetwork ? null : { pod, id: this.idOf(pod) },
  );
  private readonly byPod = indexed((endpoint: Endpoint | null) => (endpoint ? [endpoint.pod] : []));
  private readonly byId = indexed((endpoint: Endpoint | null) => (endpoint ? [endpoint.id] : []));
  private readonly listed = kept((endpoints: readonly (Endpoint | null)[]): EndpointIds => {
    const [byPod, byId] = [this.byPod(endpoints), this.byId(endpoints)];
    return {
      get: (pod) => byPod.get(pod)?.id,
      podOf: (id) => byId.get(id)?.pod,
      highest: endpoints.reduce((highest, endpoint) => Math.max(highest, endpoint?.id ?? 0), 0),
      *[Symbol.iterator]() {
        for (const endpoint of endpoints) if (endpoint) yield [endpoint.pod, endpoint.id];
      },
    };
  });

  of(pods: Cluster['pods']): EndpointIds {
    const { gone, come } = difference(this.pods, pods);
    const namesOf = (some: Cluster['pods']): string[] => some.filter((pod) => !pod.hostNetwork).map(({ key }) => key);
    this.numbers.change(namesOf(gone), namesOf(come));
    this.pods = pods;
    return this.listed(this.each(pods));
  }

  idOf(pod: ClusterPod): number {
    return this.numbers.get(pod.key)!;
  }
}
