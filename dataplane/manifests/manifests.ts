import { joined, kept, keptFor } from '../kept.js';
import { problem, type Problem } from '../problems.js';
import { align } from './align.js';
import { decode, type Refusal } from './decode.js';
import { readDocument, unreadable, type Reading } from './documents.js';
import { kindName, type ManifestObject, type UnreadDocument } from './objects.js';
import { SourceText } from './place.js';
import { MAX_DOCUMENTS, split, type Piece } from './split.js';

/** One document of a file, with the last good reading where the present one is not complete. */
interface ManifestDocument {
  readonly source: SourceText;
  readonly reading: Reading;
  readonly lastGood: { readonly source: SourceText; readonly reading: Reading } | null;
}

interface ManifestFile {
  readonly text: string;
  readonly undecodable: boolean;
  /** While the file is refused as a whole: those before it was. */
  readonly documents: readonly ManifestDocument[];
  /** The one document that a refused file is. */
  readonly refused: ManifestDocument | null;
}

/** What all files together give; made once per generation. */
interface Summary {
  readonly problems: readonly Problem[];
  readonly unread: readonly UnreadDocument[];
  readonly stale: ReadonlySet<ManifestObject>;
  readonly parts: readonly (readonly ManifestObject[])[];
}

/** What one file gives. */
interface FileSummary {
  readonly objects: readonly ManifestObject[];
  readonly problems: readonly Problem[];
  readonly unread: readonly UnreadDocument[];
  readonly stale: readonly ManifestObject[];
}

/**
 * The manifests of a workspace. Files come and go by `set`; a document whose text did not change keeps its objects
 * (===), so what is computed from them can be kept too.
 */
export class Manifests {
  private readonly read = new Map<string, ManifestFile>();
  /** In order; null until they are asked for. */
  private names: readonly string[] | null = null;
  /** How often each object is declared, and how many are more than once. */
  private readonly declared = new Map<string, number>();
  private repeated = 0;
  private current: Summary | null = null;
  private readonly all = kept((parts: readonly (readonly ManifestObject[])[]) => joined(parts));
  private changes = 0;

  /** Sets or (null) removes the content of a file; only documents whose text changed are read again. */
  set(file: string, content: string | Uint8Array | null): void {
    const before = this.read.get(file);
    if (content === null) {
      if (before) this.put(file, before, null);
      return;
    }
    const { text, refusal } = decode(content);
    if (before && before.text === text && before.undecodable === (refusal !== null)) return;
    const pieces = refusal ? null : split(text);
    const documents = before?.documents ?? [];
    const reading: Pick<ManifestFile, 'documents' | 'refused'> = pieces
      ? { documents: readDocuments(file, pieces, documents), refused: null }
      : { documents, refused: refusedDocument(file, text, refusal ?? tooManyDocuments(text), documents) };
    this.put(file, before ?? null, { text, undecodable: refusal !== null, ...reading });
  }

  /** All objects, files in name order, documents in text order. */
  get objects(): readonly ManifestObject[] {
    return this.all(this.summary.parts);
  }

  get problems(): readonly Problem[] {
    return this.summary.problems;
  }

  /** Documents that cannot be read and have no last good state. */
  get unread(): readonly UnreadDocument[] {
    return this.summary.unread;
  }

  /** Objects shown from the last good state of a document which cannot be read now. */
  get stale(): ReadonlySet<ManifestObject> {
    return this.summary.stale;
  }

  /** The same objects, in parts; one in which nothing changed is the very same. */
  get parts(): readonly (readonly ManifestObject[])[] {
    return this.summary.parts;
  }

  /** Those of one file. */
  objectsIn(file: string): readonly ManifestObject[] {
    const read = this.read.get(file);
    if (this.repeated > 0) return this.objects.filter(({ at }) => at.source.file === file);
    return read ? summaryOf(read).objects : [];
  }

  get files(): readonly string[] {
    return (this.names ??= [...this.read.keys()].sort());
  }

  text(file: string): string | null {
    return this.read.get(file)?.text ?? null;
  }

  /** Increments with each effective change. */
  get generation(): number {
    return this.changes;
  }

  private put(file: string, before: ManifestFile | null, after: ManifestFile | null): void {
    if (!before || !after) this.names = null;
    if (before) for (const object of summaryOf(before).objects) this.count(object, -1);
    if (after) this.read.set(file, after);
    else this.read.delete(file);
    if (after) for (const object of summaryOf(after).objects) this.count(object, 1);
    this.changes++;
    this.current = null;
  }

  private count(object: ManifestObject, change: 1 | -1): void {
    const identity = identityOf(object);
    const before = this.declared.get(identity) ?? 0;
    if (before + change === 0) this.declared.delete(identity);
    else this.declared.set(identity, before + change);
    if (Math.max(before, before + change) === 2) this.repeated += change;
  }

  private get summary(): Summary {
    return (this.current ??= this.summarize());
  }

  private summarize(): Summary {
    const summaries = this.files.map((file) => summaryOf(this.read.get(file)!));
    const problems = summaries.flatMap((one) => one.problems);
    const unread = summaries.flatMap((one) => one.unread);
    const stale = new Set(summaries.flatMap((one) => one.stale));
    const parts = summaries.map((one) => one.objects);
    if (this.repeated === 0) return { problems, unread, stale, parts };
    const distinct = lastOfEach(joined(parts), problems);
    const isLeft = new Set(distinct);
    return {
      problems,
      unread,
      stale: new Set([...stale].filter((object) => isLeft.has(object))),
      parts: [distinct],
    };
  }
}

function tooManyDocuments(text: string): Refusal {
  const message = `The file has more than ${MAX_DOCUMENTS} documents.`;
  return { code: 'HS1006', message, start: 0, end: Math.min(1, text.length) };
}

/** A file of which nothing can be read is one document that cannot; its last good state is that of all its documents. */
function refusedDocument(
  file: string,
  text: string,
  { code, message, start, end }: Refusal,
  before: readonly ManifestDocument[],
): ManifestDocument {
  const source = sourceOf(file, { text, offset: 0, line: 0 });
  const reason = code === 'HS1006' ? 'limits' : 'syntax';
  const reading = unreadable(source, reason, [problem(code, { source, start, end }, message)]);
  const objects = before.flatMap((document) => goodOf(document)?.reading.objects ?? []);
  const lastGood = { source, reading: { objects, problems: [], unread: [], complete: true } };
  return { source, reading, lastGood: objects.length > 0 ? lastGood : null };
}

function readDocuments(
  file: string,
  pieces: readonly Piece[],
  before: readonly ManifestDocument[],
): readonly ManifestDocument[] {
  const alignment = align(
    before,
    pieces.map(({ text }) => text),
  );
  return pieces.map((piece, index) => {
    const { same, former } = alignment[index]!;
    if (same) return moved(same, piece);
    const source = sourceOf(file, piece);
    const reading = readDocument(source);
    const lastGood = reading.complete || !former ? null : goodOf(former);
    return moved({ source, reading, lastGood }, piece);
  });
}

/** The state an incomplete document falls back on. */
function goodOf({ source, reading, lastGood }: ManifestDocument): ManifestDocument['lastGood'] {
  return reading.complete && reading.objects.length > 0 ? { source, reading } : lastGood;
}

function sourceOf(file: string, { text, offset, line }: Piece): SourceText {
  return new SourceText(file, text, offset, line);
}

/** Places in the document, and in its last good state, now count from where the piece starts. */
function moved(document: ManifestDocument, { offset, line }: Piece): ManifestDocument {
  for (const source of [document.source, document.lastGood?.source]) {
    if (!source) continue;
    source.offset = offset;
    source.line = line;
  }
  return document;
}

const summaryOf = keptFor(({ documents, refused }: ManifestFile): FileSummary => {
  const objects: ManifestObject[] = [];
  const problems: Problem[] = [];
  const unread: UnreadDocument[] = [];
  const stale: ManifestObject[] = [];
  let templates = 0;
  for (const { source, reading, lastGood } of refused ? [refused] : documents) {
    for (const found of reading.problems) {
      // One report says that the file is a template; more would only repeat it.
      if (found.code !== 'HS1004' || templates++ === 0) problems.push(found);
    }
    if (lastGood) {
      problems.push(staleness(source));
      stale.push(...lastGood.reading.objects);
    } else unread.push(...reading.unread);
    objects.push(...(lastGood ?? { reading }).reading.objects);
  }
  return { objects, problems, unread, stale };
});

/** At the first line of the document. */
function staleness(source: SourceText): Problem {
  const at = { source, start: 0, end: source.text.slice(0, source.lineStarts[1]).trimEnd().length };
  return problem('HS1011', at, 'The document cannot be read now; its last good state is used.');
}

/** Kubernetes keeps one object of a kind and name, here the one declared last. */
function lastOfEach(objects: readonly ManifestObject[], problems: Problem[]): readonly ManifestObject[] {
  const last = new Map<string, ManifestObject>();
  for (const object of objects) {
    const identity = identityOf(object);
    const earlier = last.get(identity);
    if (earlier) {
      const { name, namespace } = object.metadata;
      const message = `${kindName(object)} ${namespace && `${namespace}/`}${name.value.slice(0, 60)} is declared twice; this one counts.`;
      const related = [{ at: earlier.metadata.name.at, message: 'The earlier one, which has no effect.' }];
      problems.push(problem('HS1013', name.at, message, { related }));
      last.delete(identity);
    }
    last.set(identity, object);
  }
  return last.size === objects.length ? objects : [...last.values()];
}

/** Group, kind, namespace and name; the version of an apiVersion does not make another object. */
function identityOf(object: ManifestObject): string {
  const { apiVersion, metadata } = object;
  const group = apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
  return [group, kindName(object), metadata.namespace, metadata.name.value].join('\n');
}
