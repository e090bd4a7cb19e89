/** What could not be read: nothing is called absent that may stand there. */
import { WORKLOAD_KINDS } from '../../manifests/objects.js';
import type { State } from '../../state.js';

const MAKES_PODS: ReadonlySet<string> = new Set(['Pod', 'PodList', 'List', ...WORKLOAD_KINDS]);

/** Whether an unread document may hold pods. A template may put them into any namespace, so all count. */
export const mayHidePods = (state: State): boolean =>
  state.manifests.unread.some(({ kind }) => kind === null || MAKES_PODS.has(kind));

/** Whether an unread document may be a Namespace, with labels that are asked for. */
export const mayHideNamespaces = (state: State): boolean =>
  state.manifests.unread.some(({ kind }) => kind === null || kind === 'Namespace' || kind === 'List');
