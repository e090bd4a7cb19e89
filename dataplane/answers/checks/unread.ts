/** What could not be read: nothing is called absent that may stand there. */
import { WORKLOAD_KINDS, type UnreadDocument } from '../../manifests/objects.js';
import type { State } from '../../state.js';

const MAKES_PODS: ReadonlySet<string> = new Set(['Pod', 'PodList', 'List', ...WORKLOAD_KINDS]);

/** Unread documents that may hold pods. */
export const unreadPods = (state: State): UnreadDocument[] =>
  state.manifests.unread.filter(({ kind }) => kind === null || MAKES_PODS.has(kind));

/** The namespaces of such documents; null stands for any, where the text does not show it. */
export const namespacesOfUnreadPods = (state: State): ReadonlySet<string | null> =>
  new Set(unreadPods(state).map(({ namespace }) => namespace));

/** Whether an unread document may be a Namespace, with labels that are asked for. */
export const mayHideNamespaces = (state: State): boolean =>
  state.manifests.unread.some(({ kind }) => kind === null || kind === 'Namespace' || kind === 'List');
