import { isRefusal, problem, type Problem } from '../problems.js';
import { Fields, quote } from './fields.js';
import { isBeginningOfKind, isKindName, isKindVersion, kindOf, type Header, type Kind } from './kinds.js';
import { OBJECT } from './known-fields.js';
import { readMetadata } from './metadata.js';
import type { ManifestObject, UnreadDocument } from './objects.js';
import type { Place, SourceText } from './place.js';
import { parse } from './syntax.js';
import { Unreadable, type Mapping, type Tree } from './tree.js';

/** All that one document gives. */
export interface Reading {
  readonly objects: readonly ManifestObject[];
  readonly problems: readonly Problem[];
  /** The document itself where it cannot be read, or the objects in it that are refused. */
  readonly unread: readonly UnreadDocument[];
  /**
   * False where the text cannot be read, where an object in it is refused, and where it is no object at all. If it was
   * a complete one before an edit, then it is probably being typed, and that last good state still stands.
   */
  readonly complete: boolean;
}

/** Never throws. */
export function readDocument(source: SourceText): Reading {
  const problems: Problem[] = [];
  try {
    const tree = parse(source, problems);
    const reader = new DocumentReader(problems);
    if (tree) reader.read(tree, null);
    return { objects: reader.objects, problems, unread: reader.unread, complete: tree !== null && reader.complete };
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    return unreadable(source, error.reason, [...problems, error.problem]);
  }
}

export function unreadable(
  source: SourceText,
  reason: UnreadDocument['reason'],
  problems: readonly Problem[],
): Reading {
  const at = { source, start: 0, end: source.text.length };
  return { objects: [], problems, unread: [{ at, ...legible(source), reason }], complete: false };
}

/** The type of the items of a list, which need not repeat it. */
interface Inherited {
  readonly apiVersion: string;
  readonly kind: string;
  readonly kindAt: Place;
}

/** Kinds that decide about traffic, in any spelling and of any version; staged ones decide nothing. */
const MEANT_AS_POLICY =
  /^(global|admin|baselineadmin|cluster|cilium|ciliumclusterwide)?networkpolicy$|^(authorizationpolicy|peerauthentication)$/i;

class DocumentReader {
  readonly objects: ManifestObject[] = [];
  readonly unread: UnreadDocument[] = [];
  complete = true;

  constructor(private readonly problems: Problem[]) {}

  read(tree: Tree, inherited: Inherited | null): void {
    const type = tree.type === 'mapping' ? typeOf(tree, inherited) : null;
    if (tree.type !== 'mapping' || !type) {
      this.complete = false;
      this.suspect(tree);
      this.missType(tree);
      return;
    }
    const object = new Fields(tree, this.problems);
    const known = kindOf(type.apiVersion, type.kind);
    if (known) {
      const reported = this.problems.length;
      // Cilium's policies may be several in one.
      if (known.isPolicy) object.only(...OBJECT, ...(type.apiVersion.startsWith('cilium.io/') ? ['specs'] : []));
      const metadata = readMetadata(object, known.namespaced);
      const header: Header | undefined = metadata && {
        apiVersion: type.apiVersion,
        metadata,
        at: tree.at,
        kindAt: type.kindAt,
      };
      const read = header && known.read(object, header);
      const mistakes = this.problems.slice(reported).filter(isRefusal);
      const isWhole = known.isPolicy || type.kind === 'Namespace';
      if (!read || (isWhole && mistakes.some(({ assumed }) => assumed === null))) this.refuse(object, known);
      else this.objects.push(mistakes.length > 0 ? { ...read, mistakes } : read);
    } else if (isList(type)) this.readList(object, type);
    else {
      if (isBeginningOfKind(type.apiVersion, type.kind)) this.complete = false;
      this.suspect(tree);
    }
  }

  /** What is no object that is known, but by its kind is, or holds, a policy that was meant: it must not be passed over. */
  private suspect(tree: Tree): void {
    if (tree.type === 'sequence') for (const item of tree.items) this.suspect(item);
    if (tree.type !== 'mapping') return;
    const kind = tree.entries.get('kind')?.value;
    const text = kind?.type === 'scalar' ? kind.text : '';
    const items = tree.entries.get('items')?.value;
    if (items)
      this.suspect(
        items.type === 'mapping'
          ? { ...items, type: 'sequence', items: [...items.entries.values()].map(({ value }) => value) }
          : items,
      );
    if (!MEANT_AS_POLICY.test(text)) return;
    const at = kind?.at ?? tree.at;
    this.problems.push(
      problem(
        'HS1012',
        at,
        `${quote(text)} with this apiVersion is no policy that is evaluated; verdicts it could change are UNKNOWN.`,
      ),
    );
    this.unread.push({ at: tree.at, kind: text, ...namesOf(tree, false), reason: 'syntax' });
  }

  /** What has the metadata of an object and lacks its kind may be any of its apiVersion; what lacks that, is none. */
  private missType(tree: Tree): void {
    if (tree.type !== 'mapping') return;
    const object = new Fields(tree, this.problems);
    const [apiVersion, kind] = [object.scalar('apiVersion'), object.scalar('kind')];
    if (!object.has('metadata') || MEANT_AS_POLICY.test(`${kind}`)) return;
    const isKindless = typeof apiVersion === 'string' && isKindVersion(apiVersion) && !object.has('kind');
    const isVersionless = typeof kind === 'string' && isKindName(kind) && !object.has('apiVersion');
    if (!isKindless && !isVersionless) return;
    const [missing, given] = isKindless ? ['kind', 'apiVersion'] : ['apiVersion', 'kind'];
    this.problems.push(problem('HS1009', object.keyAt(given), `${missing} is missing.`));
    const known = isKindless ? null : (kind as string);
    this.unread.push({ at: tree.at, kind: known, ...namesOf(tree, false), reason: 'syntax' });
  }

  /** Items of `kind: List` name their own kind; those of a `PodList` need not. */
  private readList(object: Fields, type: Inherited): void {
    const items = object.list('items');
    if (items === undefined) {
      this.complete = false;
      this.suspect(object.mapping);
    }
    const inherited = type.kind === 'List' ? null : { ...type, kind: type.kind.slice(0, -'List'.length) };
    for (const item of items?.items ?? []) this.read(item, inherited);
  }

  private refuse({ at, mapping }: Fields, { kind, namespaced }: Kind): void {
    this.complete = false;
    this.unread.push({ at, kind, ...namesOf(mapping, namespaced), reason: 'syntax' });
  }
}

/** What can be read of the names of an object that cannot. */
function namesOf(tree: Mapping, namespaced: boolean): Pick<UnreadDocument, 'namespace' | 'name'> {
  const metadata = new Fields(tree, []).within('metadata');
  const isDefault = namespaced && !metadata.has('namespace');
  return { namespace: isDefault ? 'default' : metadata.text('namespace'), name: metadata.text('name') };
}

function typeOf(tree: Tree & { type: 'mapping' }, inherited: Inherited | null): Inherited | null {
  const apiVersion = tree.entries.get('apiVersion')?.value;
  const kind = tree.entries.get('kind')?.value;
  if (!apiVersion && !kind) return inherited;
  if (apiVersion?.type !== 'scalar' || kind?.type !== 'scalar') return null;
  if (typeof apiVersion.value !== 'string' || typeof kind.value !== 'string') return null;
  return { apiVersion: apiVersion.value, kind: kind.value, kindAt: kind.at };
}

function isList({ apiVersion, kind }: Inherited): boolean {
  if (!kind.endsWith('List')) return false;
  return kind === 'List' ? apiVersion === 'v1' : kindOf(apiVersion, kind.slice(0, -'List'.length)) !== null;
}

const NAME_LINE = /^(name|namespace):[ \t]+["']?([-.a-z0-9]+)["']?\s*(?:#|$)/;

/** What lines at the left margin, and those right below `metadata:`, show of a document that cannot be parsed. */
function legible(source: SourceText): Pick<UnreadDocument, 'kind' | 'namespace' | 'name'> {
  let kind: string | null = null;
  const names = new Map<string, string>();
  let inMetadata = false;
  let indent: string | null = null;
  source.lineStarts.forEach((start, index) => {
    const line = source.text.slice(start, source.lineStarts[index + 1]);
    if (/^[^\s#]/.test(line)) {
      inMetadata = line.startsWith('metadata:');
      indent = null;
    } else if (inMetadata && /\S/.test(line)) indent ??= /^[ \t]*/.exec(line)![0];
    kind ??= /^kind:[ \t]+["']?([A-Za-z]+)["']?\s*(?:#|$)/.exec(line)?.[1] ?? null;
    // Deeper lines are of labels, annotations or texts, which may say `namespace:` too.
    if (!inMetadata || indent === null || !line.startsWith(indent)) return;
    const [, key, name] = NAME_LINE.exec(line.slice(indent.length)) ?? [];
    if (key !== undefined && name !== undefined && !names.has(key)) names.set(key, name);
  });
  return { kind, namespace: names.get('namespace') ?? null, name: names.get('name') ?? null };
}
