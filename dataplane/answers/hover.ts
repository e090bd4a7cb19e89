/** What hovering a place of a manifest shows: the verdict of a real packet first, then its way, and why. */
import type { ManifestObject } from '../manifests/objects.js';
import { locate, offsetIn, type Position } from '../manifests/place.js';
import { isMeshPolicy } from '../policy/mesh.js';
import type { State } from '../state.js';
import { isPolicy, isWorkload } from './annotate.js';
import type { HoverCard } from './annotations.js';
import { hostsOf } from './announced.js';
import { MAX_LINES, text, within, type Card } from './hover/card.js';
import { configMapHostCard } from './hover/host.js';
import { ingressCard } from './hover/ingress.js';
import { meshCard } from './hover/mesh.js';
import { policyCard } from './hover/policy.js';
import { serviceCard } from './hover/service.js';
import { workloadCard } from './hover/workload.js';

/** The card for a position; null where there is nothing to say. */
export function hover(state: State, file: string, position: Position): HoverCard | null {
  for (const object of state.cluster.objects) {
    const { source } = object.at;
    if (source.file !== file) continue;
    const offset = offsetIn(source, position);
    if (offset === null || !within(object.at, offset)) continue;
    const card = cardOf(state, object, offset);
    if (!card) return null;
    const lines = state.manifests.stale.has(object)
      ? [...card.lines, [text('The document cannot be read now: this is its last good state.')]]
      : card.lines;
    return { range: locate(card.at).range, lines: lines.slice(0, MAX_LINES) };
  }
  return null;
}

function cardOf(state: State, object: ManifestObject, offset: number): Card | null {
  if (object.kind === 'Service') return serviceCard(state, object, offset);
  if (object.kind === 'Ingress') return ingressCard(state, object, offset);
  if (isPolicy(object)) return policyCard(state, object, offset);
  if (isMeshPolicy(object)) return meshCard(state, object, offset);
  if (object.kind === 'ConfigMap') {
    const host = hostsOf(object).find(({ at }) => within(at, offset));
    return host ? configMapHostCard(state, object, host) : null;
  }
  return isWorkload(object) ? workloadCard(state, object, offset) : null;
}
