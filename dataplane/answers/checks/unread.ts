/** What could not be read: nothing is called absent that may stand there. */
import { WORKLOAD_KINDS } from '../../manifests/objects.js';
import type { State } from '../../state.js';

const MAKES_PODS: ReadonlySet<string> = new Set(['Pod', 'PodList', 'List', ...WORKLOAD_KINDS]);

/** The namespaces of unread documents that may hold pods; null stands for any, where the text does not show it. */
export function namespacesOfUnreadPods(state: State): ReadonlySet<string | null> {
  const found = state.manifests.unread.filter(({ kind }) => kind === null || MAKES_PODS.has(kind));
  return new Set(found.map(({ namespace }) => namespace));
}

/** Whether an unread document may be a Namespace, with labels that are asked for. */
export const mayHideNamespaces = (state: State): boolean =>
  state.manifests.unread.some(({ kind }) => kind === null || kind === 'Namespace' || kind === 'List');
