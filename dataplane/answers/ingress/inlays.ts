/** Behind each backend of an Ingress: how many endpoints requests find there. */
import { countEndpoints } from '../../cluster/cluster.js';
import type { Ingress } from '../../manifests/ingress.js';
import type { Place } from '../../manifests/place.js';
import type { State } from '../../state.js';
import { count } from '../../words.js';
import { allRoutes } from './route.js';
import { backendOf } from './through.js';

export interface BackendRemark {
  readonly at: Place;
  readonly text: string;
  readonly tooltip: string;
}

export const backendRemarks = (state: State, ingress: Ingress): BackendRemark[] =>
  allRoutes(ingress).flatMap((route) => {
    const asked = route.backend.service;
    if (!asked) return [];
    const { service, port, problem } = backendOf(state, route);
    // A Service that is only assumed says nothing of its endpoints.
    if (service?.selected.some((pod) => state.cluster.assumed.has(pod))) return [];
    const text = service && port ? `→ ${count(countEndpoints(port.backends), 'endpoint')}` : '→ 503';
    return [{ at: asked.port.at, text, tooltip: service && port ? '' : problem }];
  });
