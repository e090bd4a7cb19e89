import { isAlias, isScalar, isSeq, type Alias, type ParsedNode, type Scalar as ScalarNode, type YAMLMap } from 'yaml';
import { problem, type Problem } from '../problems.js';
import type { UnreadDocument } from './objects.js';
import type { Place, SourceText } from './place.js';
import { isKnownTag, resolveScalar, type ScalarValue } from './scalars.js';

/** What a document says, each value with its place. An alias is the very value of its anchor, so this is a graph. */
export type Tree = Mapping | Sequence | Scalar;

export interface Mapping {
  readonly type: 'mapping';
  readonly at: Place;
  readonly entries: ReadonlyMap<string, Entry>;
}

export interface Entry {
  readonly keyAt: Place;
  readonly value: Tree;
}

export interface Sequence {
  readonly type: 'sequence';
  readonly at: Place;
  readonly items: readonly Tree[];
}

export interface Scalar {
  readonly type: 'scalar';
  readonly at: Place;
  readonly value: ScalarValue;
  /** The characters of the value, without quotes. */
  readonly text: string;
}

/** Thrown inside this folder to give up a document; never leaves it. */
export class Unreadable extends Error {
  constructor(
    readonly reason: UnreadDocument['reason'],
    readonly problem: Problem,
  ) {
    super(problem.message);
  }
}

/** Values that aliases may add to a document. Kubernetes uses a ratio; this is above what it lets small files do. */
export const ALIAS_BUDGET = 100_000;

/** The tree of a document that yaml composed without an error. Throws Unreadable. */
export function treeOf(root: ParsedNode, source: SourceText, problems: Problem[]): Tree {
  return new TreeBuilder(source, problems).read(root);
}

class TreeBuilder {
  /** Anchors read so far; `null` while the value of the anchor is being read. */
  private readonly anchors = new Map<string, { tree: Tree; size: number } | null>();
  /** Values read, with those of aliases counted at each use. */
  private size = 0;
  private aliased = 0;

  constructor(
    private readonly source: SourceText,
    private readonly problems: Problem[],
  ) {}

  read(node: ParsedNode): Tree {
    if (isAlias(node)) return this.alias(node);
    const before = this.size++;
    if (node.anchor !== undefined) this.anchors.set(node.anchor, null);
    const tree = this.value(node);
    if (node.anchor !== undefined) this.anchors.set(node.anchor, { tree, size: this.size - before });
    return tree;
  }

  private value(node: Exclude<ParsedNode, Alias.Parsed>): Tree {
    const at = this.placeOf(node);
    if (node.tag !== undefined && !isKnownTag(node.tag)) {
      this.problems.push(problem('HS1014', at, `Kubernetes gives no meaning to the tag ${node.tag.slice(0, 60)}.`));
    }
    if (isScalar(node)) return this.scalar(node, at);
    if (isSeq(node)) return { type: 'sequence', at, items: node.items.map((item) => this.read(item)) };
    return { type: 'mapping', at, entries: this.entries(node) };
  }

  private scalar(node: ScalarNode.Parsed, at: Place): Scalar {
    // Composed with the failsafe schema: a scalar is a text, or nothing.
    const text = typeof node.value === 'string' ? node.value : '';
    return { type: 'scalar', at, value: resolveScalar(text, node.type === 'PLAIN', node.tag), text };
  }

  private alias(node: Alias.Parsed): Tree {
    const anchor = this.anchors.get(node.source);
    const at = this.placeOf(node);
    if (!anchor) {
      const what = anchor === null ? 'stands inside its own anchor' : 'has no anchor above it';
      throw new Unreadable('limits', problem('HS1003', at, `The alias *${node.source.slice(0, 60)} ${what}.`));
    }
    this.size += anchor.size;
    this.aliased += anchor.size;
    if (this.aliased > ALIAS_BUDGET) {
      const message = `The aliases up to here stand for more than ${ALIAS_BUDGET} values.`;
      throw new Unreadable('limits', problem('HS1003', at, message));
    }
    return anchor.tree;
  }

  /** In order, a later entry replacing an earlier one of its key, as in the library of kubectl; so does a merge. */
  private entries(node: YAMLMap.Parsed): Map<string, Entry> {
    const entries = new Map<string, Entry>();
    const written = new Map<string, Place>();
    for (const pair of node.items) {
      const key = this.read(pair.key);
      const value = pair.value ? this.read(pair.value) : this.nothing(key.at);
      if (isScalar(pair.key) && pair.key.type === 'PLAIN' && pair.key.source === '<<') {
        this.merge(entries, value);
        continue;
      }
      const name = this.nameOf(key);
      const earlier = written.get(name);
      if (earlier) {
        const related = [{ at: earlier, message: 'The earlier one, which has no effect.' }];
        this.problems.push(
          problem('HS1007', key.at, `"${name.slice(0, 60)}" stands twice in this mapping.`, { related }),
        );
      }
      written.set(name, key.at);
      entries.set(name, { keyAt: key.at, value });
    }
    return entries;
  }

  /** `<<: *defaults` or `<<: [*first, *second]`, where the first counts most. */
  private merge(entries: Map<string, Entry>, value: Tree): void {
    const sources = value.type === 'sequence' ? [...value.items].reverse() : [value];
    for (const from of sources) {
      if (from.type !== 'mapping') {
        throw new Unreadable('syntax', problem('HS1001', from.at, 'Only mappings can be merged with <<.'));
      }
      for (const [name, entry] of from.entries) entries.set(name, entry);
    }
  }

  private nameOf(key: Tree): string {
    if (key.type !== 'scalar' || key.value === null) {
      throw new Unreadable('syntax', problem('HS1001', key.at, 'A key must be a string.'));
    }
    const name = String(key.value);
    if (name !== key.text) {
      const fixes = [`Quote it: "${key.text}"`];
      this.problems.push(problem('HS1014', key.at, `Kubernetes reads the key ${key.text} as "${name}".`, { fixes }));
    }
    return name;
  }

  private nothing(after: Place): Scalar {
    return { type: 'scalar', at: { ...after, start: after.end }, value: null, text: '' };
  }

  private placeOf(node: ParsedNode): Place {
    return { source: this.source, start: node.range[0], end: node.range[1] };
  }
}
