/** HS2005: whether a workload's selector matches the pods that its template makes. */
import { matches } from '../../cluster/selectors.js';
import { WORKLOAD_KINDS, type ManifestObject, type Workload } from '../../manifests/objects.js';
import { valuesOf } from '../../manifests/place.js';
import { problem, type Problem } from '../../problems.js';
import type { State } from '../../state.js';
import { list, named } from '../../words.js';
import { selectorText, tellingPlace } from './shapes.js';

const isWorkload = (object: ManifestObject): object is Workload =>
  (WORKLOAD_KINDS as readonly string[]).includes(object.kind);

/** The API server refuses such a workload. Jobs get a selector of their own. */
export function checkWorkloads(state: State): Problem[] {
  return state.cluster.objects.filter(isWorkload).flatMap((workload) => {
    const { kind, metadata, selector, template } = workload;
    if (!selector || kind === 'Job' || kind === 'CronJob') return [];
    const labels = valuesOf(template.labels);
    if (matches(selector, labels)) return [];
    const own =
      list(
        [...labels].map(([key, value]) => named(`${key}: ${value}`)),
        'and',
        4,
      ) || 'none';
    const message = `${kind} ${named(metadata.name.value)} selects ${selectorText(selector)}, but the labels of its template are ${own}; Kubernetes refuses it.`;
    const related = [...template.labels.values()]
      .slice(0, 4)
      .map(({ at }) => ({ at, message: 'A label of the template.' }));
    return [problem('HS2005', tellingPlace(selector), message, { related })];
  });
}
