/** `.hopscope.yaml`: the settings that come with the manifests, their keys dotted (`maglev.tableSize: 251`) or nested. */
import { resolved } from './cluster/shown.js';
import { decode } from './manifests/decode.js';
import { refusedModes } from './loader/modes.js';
import { SourceText, type Place } from './manifests/place.js';
import { parse } from './manifests/syntax.js';
import { Unreadable, type Entry, type Mapping, type Tree } from './manifests/tree.js';
import { nearest } from './nearest.js';
import { problem, type Problem } from './problems.js';
import { DEFAULT_SETTINGS, SETTINGS, isSetting, withSetting, type Given } from './settings.js';
import { list, named } from './words.js';

/** Never throws: what cannot be read is reported and keeps its default. */
export function readSettingsFile(file: string, content: string | Uint8Array): { settings: Given; problems: Problem[] } {
  const { text, refusal } = decode(content);
  const source = new SourceText(file, text);
  const reader = new SettingsReader();
  if (refusal) {
    const { code, message, start, end } = refusal;
    reader.problems.push(problem(code, { source, start, end }, message));
  } else {
    try {
      const tree = parse(source, reader.problems);
      if (tree) reader.read(tree);
      reader.compare();
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      reader.problems.push(error.problem);
    }
  }
  return { settings: reader.settings, problems: reader.problems };
}

const KEYS = Object.keys(SETTINGS);
/** What stands before the dots. */
const GROUPS = [...new Set(KEYS.filter((key) => key.includes('.')).map((key) => key.slice(0, key.indexOf('.'))))];

class SettingsReader {
  settings: Given = DEFAULT_SETTINGS;
  readonly problems: Problem[] = [];
  /** Where each key was first written, dotted or nested. */
  private readonly written = new Map<string, Place>();

  read(tree: Tree): void {
    if (tree.type === 'mapping') this.readGroup(tree, '');
    else if (tree.type === 'sequence' || tree.value !== null) {
      this.problems.push(problem('HS4001', tree.at, 'Settings are written as `key: value`, one a line.'));
    }
  }

  /** Whether what is written goes together; a setting left to its default contradicts nobody. */
  compare(): void {
    const at = this.written.get('loadBalancer.mode');
    const cni = this.written.get('cni');
    const refused = at && cni ? refusedModes(resolved(this.settings, [])) : null;
    if (!at || !cni || !refused) return;
    const related = [{ at: cni, message: 'The network plug-in.' }];
    this.problems.push(problem('HS4003', at, `${refused.why}. Answers take it that ${refused.instead}.`, { related }));
  }

  /** The entries of a mapping; `group` is what their keys stand under, with its dot. */
  private readGroup(mapping: Mapping, group: string): void {
    for (const [name, entry] of mapping.entries) {
      const key = group + name;
      if (isSetting(key)) this.readValue(key, entry);
      else if (GROUPS.includes(key)) this.readNested(key, entry);
      else this.unknown(key, name, entry);
    }
  }

  private readNested(key: string, { value }: Entry): void {
    if (value.type === 'mapping') this.readGroup(value, `${key}.`);
    else if (value.type === 'sequence' || value.value !== null) {
      const names = KEYS.filter((known) => known.startsWith(`${key}.`)).map((known) =>
        named(known.slice(key.length + 1)),
      );
      this.problems.push(
        problem('HS4001', value.at, `${named(key)} is not a setting itself, it holds ${list(names)}.`),
      );
    }
  }

  private readValue(key: keyof Given, { keyAt, value }: Entry): void {
    const earlier = this.written.get(key);
    if (earlier) {
      const related = [{ at: earlier, message: 'The earlier one, which has no effect.' }];
      this.problems.push(problem('HS1007', keyAt, `${named(key)} is set twice; this one counts.`, { related }));
    }
    this.written.set(key, keyAt);
    // Nothing after the colon leaves the setting unset.
    if (value.type === 'scalar' && value.value === null) return;
    const settings = withSetting(this.settings, key, plain(value));
    if (settings) this.settings = settings;
    else this.problems.push(problem('HS4001', value.at, `${named(key)} must be ${allowed(key)}${instead(value)}.`));
  }

  private unknown(key: string, name: string, { keyAt }: Entry): void {
    const group = key.slice(0, key.length - name.length);
    const meant =
      KEYS.find((known) => known.toLowerCase() === key.toLowerCase()) ??
      nearest(key, [...KEYS, ...GROUPS]) ??
      KEYS.find((known) => known.endsWith(`.${name}`));
    const hint = meant === undefined ? '`hopscope reach --help` lists them.' : `did you mean ${named(meant)}?`;
    const fixes = meant?.startsWith(group) ? [`change to ${named(meant.slice(group.length))}`] : [];
    this.problems.push(problem('HS4002', keyAt, `There is no setting ${named(key)}; ${hint}`, { fixes }));
  }
}

/** A value as JSON has it. Aliases were counted when the tree was made, so it stays within bounds. */
function plain(tree: Tree): unknown {
  if (tree.type === 'scalar') return tree.value;
  if (tree.type === 'sequence') return tree.items.map(plain);
  return Object.fromEntries([...tree.entries].map(([name, { value }]) => [name, plain(value)]));
}

/** What a setting takes, from its schema. */
export function allowed(key: keyof Given): string {
  const { schema, default: unlessSet } = SETTINGS[key];
  const words: unknown = schema['enum'];
  if (Array.isArray(words))
    return list(
      words.map((word) => named(String(word))),
      'or',
    );
  if (schema['type'] === 'boolean') return '`true` or `false`';
  if (key === 'ipMasqAgent.nonMasqueradeCIDRs') return 'a list of prefixes such as `172.16.0.0/12`';
  if (key === 'nodes') return 'a list of nodes, each with a `name` of its own and an `address`';
  const such = named(typeof unlessSet === 'string' && unlessSet !== '' ? unlessSet : '10.0.0.0/8');
  return 'pattern' in schema ? `a prefix such as ${such}, or one of each family` : `a DNS name such as ${such}`;
}

const instead = (value: Tree): string => (value.type === 'scalar' ? `, not ${named(value.text)}` : '');
