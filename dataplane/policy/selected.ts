/** Which identities of pods each selector matches: asked once, and brought from one list of identities to the next. */
import { compare } from '../hash.js';
import { difference } from '../kept.js';
import type { PodIdentity } from './identities.js';
import { namespaceAskedFor, selects, type EndpointSelector } from './selectors.js';

/** Where more than this part of the identities came or went, selectors are asked anew. */
const LARGEST_CHANGE = 1 / 4;

export class Selected {
  private readonly found = new WeakMap<EndpointSelector, readonly PodIdentity[]>();
  private readonly byNamespace = new Map<string, PodIdentity[]>();
  private readonly gone: readonly PodIdentity[];
  private readonly come: readonly PodIdentity[];

  /** `pods`: in the order of their keys. `before` is what was found among those of before, whose own `before` nobody needs any more. */
  constructor(
    private readonly pods: readonly PodIdentity[],
    private before: Selected | null = null,
  ) {
    for (const identity of pods) {
      const { namespace } = identity.example;
      const group = this.byNamespace.get(namespace);
      if (group) group.push(identity);
      else this.byNamespace.set(namespace, [identity]);
    }
    const { gone, come } = difference(before?.pods ?? [], pods);
    this.gone = gone;
    this.come = come;
    if (before) before.before = null;
    if (gone.length + come.length > pods.length * LARGEST_CHANGE) this.before = null;
  }

  /** The identities of pods that a selector matches: the very same list as before, where they are the same. */
  of(selector: EndpointSelector): readonly PodIdentity[] {
    let found = this.found.get(selector);
    if (!found) this.found.set(selector, (found = this.changed(selector) ?? this.among(selector)));
    return found;
  }

  /** What was found before, with what changed since. */
  private changed(selector: EndpointSelector): readonly PodIdentity[] | null {
    const former = this.before?.found.get(selector);
    if (!former) return null;
    const isMatched = (identity: PodIdentity): boolean => selects(selector, identity);
    const fresh = this.come.filter(isMatched);
    if (fresh.length === 0 && !this.gone.some(isMatched)) return former;
    const left = former.filter((identity) => !this.gone.includes(identity));
    return [...left, ...fresh].sort((a, b) => compare(a.key, b.key));
  }

  /** A selector that names a namespace looks at the pods there alone. */
  private among(selector: EndpointSelector): readonly PodIdentity[] {
    const namespace = namespaceAskedFor(selector);
    const candidates = namespace === null ? this.pods : (this.byNamespace.get(namespace) ?? []);
    return candidates.filter((identity) => selects(selector, identity));
  }
}
