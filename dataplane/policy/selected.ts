/** Which identities of pods each selector matches: asked once, and brought from one list of identities to the next. */
import { compare } from '../hash.js';
import { difference, groupedBy } from '../kept.js';
import type { PodIdentity } from './identities.js';
import { namespaceAskedFor, selects, type EndpointSelector } from './selectors.js';

/** Where more than this part of the identities came or went, selectors are asked anew. */
const LARGEST_CHANGE = 1 / 4;

/** What a selector matches, and in which of the lists of identities that followed each other it was asked last. */
interface Matched {
  /** The only namespace that it looks at; null where it names no single one. */
  readonly namespace: string | null;
  readonly pods: readonly PodIdentity[];
  readonly numbers: readonly number[];
  generation: number;
}

export class Selected {
  /** Of all lists: what was found in the last in which a selector was asked. */
  private readonly found: WeakMap<EndpointSelector, Matched>;
  /** The list's number among them, and that of the first of those of which something may be left. */
  readonly generation: number;
  private readonly first: number;
  /** By namespace, the last list in which identities came or went. */
  private readonly touched: Map<string, number>;
  private readonly gone: readonly PodIdentity[];
  private readonly come: readonly PodIdentity[];
  private byNamespace: ReadonlyMap<string, readonly PodIdentity[]> | null = null;

  /** `pods`: in the order of their keys. `before`: the same of the list before. */
  constructor(
    private readonly pods: readonly PodIdentity[],
    before: Selected | null = null,
  ) {
    const { gone, come } = difference(before?.pods ?? [], pods);
    const former = gone.length + come.length > pods.length * LARGEST_CHANGE ? null : before;
    this.found = former?.found ?? new WeakMap<EndpointSelector, Matched>();
    this.generation = (before?.generation ?? 0) + 1;
    this.first = former?.first ?? this.generation;
    this.touched = former?.touched ?? new Map<string, number>();
    this.gone = gone;
    this.come = come;
    for (const { example } of [...gone, ...come]) this.touched.set(example.namespace, this.generation);
  }

  /** Whether what was found in an earlier list among the pods of a namespace, or with null of any, is so in this one. */
  holds(generation: number, namespace: string | null): boolean {
    if (generation === this.generation) return true;
    if (namespace === null || generation < this.first || generation > this.generation) return false;
    return (this.touched.get(namespace) ?? 0) <= generation;
  }

  /** The identities of pods that a selector matches: the very same list as before, where they are the same. */
  of(selector: EndpointSelector): readonly PodIdentity[] {
    return this.matched(selector).pods;
  }

  /** Their numbers. */
  numbersOf(selector: EndpointSelector): readonly number[] {
    return this.matched(selector).numbers;
  }

  private matched(selector: EndpointSelector): Matched {
    const found = this.found.get(selector);
    const isNext = found?.generation === this.generation - 1;
    if (found && (this.holds(found.generation, found.namespace) || (isNext && !this.isTouched(selector)))) {
      found.generation = this.generation;
      return found;
    }
    const namespace = found ? found.namespace : namespaceAskedFor(selector);
    const pods = isNext ? this.changed(selector, found.pods) : this.among(selector, namespace);
    const matched = { namespace, pods, numbers: pods.map(({ number }) => number), generation: this.generation };
    if (!found || found.generation < this.generation) this.found.set(selector, matched);
    return matched;
  }

  /** Whether it matches any that came or went. */
  private isTouched(selector: EndpointSelector): boolean {
    return this.gone.some((one) => selects(selector, one)) || this.come.some((one) => selects(selector, one));
  }

  private changed(selector: EndpointSelector, former: readonly PodIdentity[]): readonly PodIdentity[] {
    const left = former.filter((identity) => !this.gone.includes(identity));
    const fresh = this.come.filter((identity) => selects(selector, identity));
    return [...left, ...fresh].sort((a, b) => compare(a.key, b.key));
  }

  /** A selector that names a namespace looks at the pods there alone. */
  private among(selector: EndpointSelector, namespace: string | null): readonly PodIdentity[] {
    this.byNamespace ??= groupedBy(this.pods, ({ example }) => example.namespace);
    const candidates = namespace === null ? this.pods : (this.byNamespace.get(namespace) ?? []);
    return candidates.filter((identity) => selects(selector, identity));
  }
}
