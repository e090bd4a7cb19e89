/** What was edited between two sets of manifests, piece by piece, and the manifests with only some of the pieces. */
import { readDocument } from '../manifests/documents.js';
import type { ManifestObject } from '../manifests/objects.js';
import { locate, SourceText } from '../manifests/place.js';
import { split } from '../manifests/split.js';
import type { Policy } from '../policy/rules.js';
import { SETTINGS, SETTINGS_FILE, type Settings } from '../settings.js';
import type { State } from '../state.js';
import { hunksOf, linesOf, type Hunk } from './diff-lines.js';

/** One change: a document more or less, some lines of one that changed, or another value of a setting. */
export interface Edit {
  readonly change: 'added' | 'removed' | 'changed';
  /** Where it stands now; of what is gone, where it stood. */
  readonly file: string;
  /** null for a setting, which need not stand in a file. */
  readonly line: number | null;
  /** The object that it is in; null for one that is none. A setting is of kind `Setting`. */
  readonly object: { readonly kind: string; readonly namespace: string; readonly name: string } | null;
  /** The rule that it is in: `ingress[0]`; null for any other part. */
  readonly rule: string | null;
}

/** One document of one side. */
interface Piece {
  readonly file: string;
  readonly text: string;
  /** Lines of the file above it. */
  readonly line: number;
  readonly object: Edit['object'];
}

/** A document on both sides, or on one. */
interface Slot {
  readonly old: Piece | null;
  readonly now: Piece | null;
  /** Of a document on both sides. */
  readonly hunks: readonly Hunk[];
}

/** What an edit stands for. */
type Part = Slot | Hunk | keyof Settings;

/** Edits, and the manifests and settings with some of them made. */
export interface Edits {
  readonly edits: readonly Edit[];
  readonly filesWith: (made: ReadonlySet<Edit>) => ReadonlyMap<string, string>;
  readonly settingsWith: (made: ReadonlySet<Edit>) => Settings;
}

/** Edits that are told apart, at most: beyond, those of one document are one, and then those of one file. */
const MOST = 64;

export function editsOf(before: State, after: State): Edits {
  const slots = pair(piecesOf(before), piecesOf(after));
  const settings = changedSettings(before.settings, after.settings);
  const parts = new Map<Part, Edit>();
  const edits = grouped(slots, MOST - settings.length).map((group) => {
    const edit = describe(before, after, group);
    for (const part of group.parts) parts.set(part, edit);
    return edit;
  });
  for (const key of settings) {
    const object = { kind: 'Setting', namespace: '', name: key };
    const edit: Edit = { change: 'changed', file: SETTINGS_FILE, line: null, object, rule: null };
    parts.set(key, edit);
    edits.push(edit);
  }
  const isMade = (part: Part, made: ReadonlySet<Edit>): boolean => made.has(parts.get(part)!);
  return {
    edits,
    filesWith: (made) => {
      const files = new Map<string, string[]>();
      for (const slot of slots) {
        const text = textOf(slot, (part) => isMade(part, made));
        if (text !== null) files.set(fileOf(slot), [...(files.get(fileOf(slot)) ?? []), text]);
      }
      return new Map([...files].map(([file, texts]) => [file, texts.map(ended).join('---\n')]));
    },
    settingsWith: (made) => ({
      ...before.settings,
      ...Object.fromEntries(settings.filter((key) => isMade(key, made)).map((key) => [key, after.settings[key]])),
    }),
  };
}

/** What one edit is made of, all in one file. */
interface Group {
  readonly slot: Slot;
  readonly parts: readonly Part[];
}

/** The finest groups that are not too many: each hunk that can be read alone, each document, each file. */
function grouped(slots: readonly Slot[], most: number): Group[] {
  const changed = slots.filter((slot) => partsOf(slot).length > 0);
  const ofDocuments = changed.map((slot) => ({ slot, parts: partsOf(slot) }));
  const ofHunks = ofDocuments.flatMap(({ slot, parts }) =>
    parts.length > 1 && areReadable(slot) ? parts.map((part) => ({ slot, parts: [part] })) : [{ slot, parts }],
  );
  const fine = [ofHunks, ofDocuments].find((groups) => groups.length <= most);
  if (fine) return fine;
  const byFile = new Map<string, Group>();
  for (const { slot, parts } of ofDocuments) {
    const group = byFile.get(fileOf(slot));
    byFile.set(fileOf(slot), { slot: group?.slot ?? slot, parts: [...(group?.parts ?? []), ...parts] });
  }
  return [...byFile.values()];
}

const ended = (text: string): string => (text.endsWith('\n') ? text : `${text}\n`);

const changedSettings = (before: Settings, after: Settings): (keyof Settings)[] =>
  (Object.keys(SETTINGS) as (keyof Settings)[]).filter(
    (key) => JSON.stringify(before[key]) !== JSON.stringify(after[key]),
  );

const fileOf = ({ old, now }: Slot): string => (now ?? old)!.file;

const partsOf = (slot: Slot): readonly Part[] => (slot.old && slot.now ? slot.hunks : [slot]);

/** The documents of a side, each with the object in it. */
function piecesOf({ manifests }: State): Piece[] {
  const objects = new Map<string, ManifestObject[]>();
  for (const object of manifests.objects) {
    const { file, offset } = object.at.source;
    const key = `${file}\n${offset}`;
    objects.set(key, [...(objects.get(key) ?? []), object]);
  }
  return manifests.files.flatMap((file) => {
    const text = manifests.text(file) ?? '';
    return (split(text) ?? [{ text, offset: 0, line: 0 }]).map(({ text, offset, line }) => {
      const [object, ...more] = objects.get(`${file}\n${offset}`) ?? [];
      return { file, text, line, object: object && more.length === 0 ? nameOf(object) : null };
    });
  });
}

const nameOf = (object: ManifestObject): NonNullable<Edit['object']> => ({
  kind: 'actualKind' in object ? object.actualKind : object.kind,
  namespace: object.metadata.namespace,
  name: object.metadata.name.value,
});

/** Documents of the same text are the same, wherever they stand; then those of the same object; then, in a file, the first of what is left. */
function pair(before: readonly Piece[], after: readonly Piece[]): Slot[] {
  const left = new Set(before);
  const pairs = new Map<Piece, Piece>();
  const match = (keyOf: (piece: Piece) => string | null): void => {
    const byKey = new Map<string, Piece[]>();
    for (const piece of left) {
      const key = keyOf(piece);
      if (key !== null) byKey.set(key, [...(byKey.get(key) ?? []), piece]);
    }
    for (const piece of after) {
      const key = pairs.has(piece) ? null : keyOf(piece);
      const found = key === null ? undefined : byKey.get(key)?.shift();
      if (!found) continue;
      pairs.set(piece, found);
      left.delete(found);
    }
  };
  match(({ text }) => text);
  match(({ object }) => object && JSON.stringify(object));
  match(({ file, object }) => (object ? null : file));
  const slots = after.map((now): Slot => {
    const old = pairs.get(now) ?? null;
    return { old, now, hunks: old ? hunksOf(linesOf(old.text), linesOf(now.text)) : [] };
  });
  return [...slots, ...[...left].map((old): Slot => ({ old, now: null, hunks: [] }))];
}

/** A document with some of its changes made; null while it is not there. */
function textOf(slot: Slot, isMade: (part: Part) => boolean): string | null {
  const { old, now, hunks } = slot;
  if (!old || !now) return (isMade(slot) ? now : old)?.text ?? null;
  const [before, after] = [linesOf(old.text), linesOf(now.text)];
  const lines: string[] = [];
  let next = 0;
  for (const hunk of hunks) {
    lines.push(...before.slice(next, hunk.old[0]));
    lines.push(...(isMade(hunk) ? after.slice(...hunk.now) : before.slice(...hunk.old)));
    next = hunk.old[1];
  }
  return [...lines, ...before.slice(next)].join('\n');
}

/** Whether a document can be read with each of its changes alone, and with all but each. */
function areReadable(slot: Slot): boolean {
  const reads = (isMade: (part: Part) => boolean): boolean => {
    const text = textOf(slot, isMade) ?? '';
    const { complete, unread } = readDocument(new SourceText(fileOf(slot), text));
    return complete && unread.length === 0;
  };
  return slot.hunks.every((hunk) => reads((part) => part === hunk) && reads((part) => part !== hunk));
}

/** Where an edit stands, and in which object and rule: that of its first lines, and the rule only where all are in it. */
function describe(before: State, after: State, { slot, parts }: Group): Edit {
  const { old, now } = slot;
  const places = parts.flatMap((part) => {
    if (typeof part === 'string' || !Array.isArray(part.now) || !old || !now) return [];
    const hunk = part as Hunk;
    const gone = hunk.now[0] === hunk.now[1];
    const [state, piece, [from, to]] = gone ? [before, old, hunk.old] : [after, now, hunk.now];
    const [first, last] = [piece.line + from + 1, piece.line + to];
    const rule = ruleAt(state.policies.all, piece.file, first, last);
    const change = gone ? 'removed' : hunk.old[0] === hunk.old[1] ? 'added' : 'changed';
    return [{ piece, line: first, rule, change } as const];
  });
  const [first] = places;
  const piece = first?.piece ?? (now ?? old)!;
  const isWhole = parts.some((part) => part === slot);
  const changes = new Set(isWhole ? [now ? 'added' : 'removed'] : places.map(({ change }) => change));
  const rules = new Set(places.map(({ rule }) => rule));
  return {
    change: changes.size === 1 ? ([...changes][0] as Edit['change']) : 'changed',
    file: piece.file,
    line: first?.line ?? piece.line + 1,
    object: piece.object,
    rule: rules.size === 1 ? [...rules][0]! : null,
  };
}

/** The first rule that some lines are in. */
function ruleAt(policies: readonly Policy[], file: string, first: number, last: number): string | null {
  for (const { origin } of policies.flatMap(({ rules }) => rules)) {
    if (origin.at.source.file !== file) continue;
    const { start, end } = locate(origin.at).range;
    const until = end.column === 1 ? end.line - 1 : end.line;
    if (start.line <= last && first <= until) return origin.rule;
  }
  return null;
}
