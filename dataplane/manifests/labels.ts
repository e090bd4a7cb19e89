import { problem, type Assumed, type Problem } from '../problems.js';
import { cut, quote, type Fields } from './fields.js';
import type { LabelSelector } from './objects.js';
import type { Located } from './place.js';

const NAME = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

export const isSubdomain = (text: string): boolean => text.length <= 253 && SUBDOMAIN.test(text);

const isLabelValue = (text: string): boolean => text === '' || NAME.test(text);

export function isLabelKey(text: string): boolean {
  const [name, prefix, ...more] = text.split('/').reverse();
  return more.length === 0 && NAME.test(name!) && (prefix === undefined || isSubdomain(prefix));
}

type IsKey = (text: string) => boolean;

/**
 * Labels of an object: texts that Kubernetes refuses are reported and kept, as nothing selects them by mistake. `undefined` where
 * one is no text at all: what selects the object is then not known.
 */
export function readLabels(fields: Fields, name: string): ReadonlyMap<string, Located<string>> | undefined {
  const mapping = fields.fields(name);
  if (!mapping) return mapping === null ? new Map() : undefined;
  const { labels } = checkLabels(mapping, isLabelKey, 'kept');
  return labels.size === [...mapping.names].length ? labels : undefined;
}

/** A mapping of labels, or `undefined` where a key or value can be none. */
export function readValidLabels(
  fields: Fields,
  name: string,
  isKey: IsKey = isLabelKey,
): ReadonlyMap<string, Located<string>> | null | undefined {
  const mapping = fields.fields(name);
  if (!mapping) return mapping;
  const { labels, valid } = checkLabels(mapping, isKey, null);
  return valid ? labels : undefined;
}

function checkLabels(
  mapping: Fields,
  isKey: IsKey,
  assumed: Assumed | null,
): { labels: ReadonlyMap<string, Located<string>>; valid: boolean } {
  const labels = mapping.asStrings();
  const found: Problem[] = [];
  for (const [key, { value, at }] of labels) {
    if (!isKey(key)) found.push(problem('HS1010', at, `${quote(key)} is not a valid label key.`, { assumed }));
    if (!isLabelValue(value)) {
      const message = `${quote(value)} is not a valid label value.`;
      found.push(problem('HS1010', at, message, { fixes: fixesOf(value), assumed }));
    }
  }
  mapping.problems.push(...found);
  return { labels, valid: found.length === 0 && labels.size === [...mapping.names].length };
}

/** Quotation marks that word processors make are part of the value to YAML. */
function fixesOf(value: string): string[] {
  const plain = value.replace(/[“”„«»‘’"']/g, '');
  return plain !== value && isLabelValue(plain) ? [`Use plain quotes, or none: ${cut(plain)}`] : [];
}

const OPERATORS = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const;

/** metav1.LabelSelector in a field; `undefined` where any part of it is refused, as it could then select too much. */
export function readSelector(fields: Fields, name: string, isKey?: IsKey): LabelSelector | null | undefined {
  const selector = fields.fields(name);
  return selector && readSelectorOf(selector, isKey);
}

/** The same of a mapping that is the selector itself. `isKey` says what a key may look like. */
export function readSelectorOf(selector: Fields, isKey: IsKey = isLabelKey): LabelSelector | undefined {
  const known = selector.only('matchLabels', 'matchExpressions');
  const matchLabels = readValidLabels(selector, 'matchLabels', isKey);
  const matchExpressions = readExpressions(selector, isKey);
  if (!known || matchLabels === undefined || matchExpressions === undefined) return undefined;
  return { at: selector.at, matchLabels: matchLabels ?? new Map<string, Located<string>>(), matchExpressions };
}

function readExpressions(selector: Fields, isKey: IsKey): LabelSelector['matchExpressions'] | undefined {
  const list = selector.mappings('matchExpressions');
  if (!list) return list === null ? [] : undefined;
  const expressions = list.items.map((item) => item && readExpression(item, isKey));
  const valid = expressions.filter((expression) => expression !== undefined);
  return valid.length === expressions.length ? valid : undefined;
}

function readExpression(item: Fields, isKey: IsKey): LabelSelector['matchExpressions'][number] | undefined {
  const known = item.only('key', 'operator', 'values');
  const key = item.required('key', item.string('key'));
  const operator = item.required('operator', item.oneOf('operator', OPERATORS));
  const list = item.list('values');
  const values = item.strings('values');
  if (!known || !key || !operator || list === undefined) return undefined;

  if (!isKey(key.value)) {
    item.refuse('HS1010', 'key', `${quote(key.value)} is not a valid label key.`);
    return;
  }
  const needsValues = operator.value === 'In' || operator.value === 'NotIn';
  if (needsValues && !list?.items.length) {
    item.refuse('HS1010', 'values', `${operator.value} needs values.`);
    return;
  }
  if (!needsValues && list?.items.length) {
    item.refuse('HS1010', 'values', `${operator.value} takes no values.`);
    return;
  }
  if (values.length !== (list?.items.length ?? 0)) return undefined;
  const invalid = values.find(({ value }) => !isLabelValue(value));
  if (invalid) {
    item.refuse('HS1010', 'values', `${quote(invalid.value)} is not a valid label value.`, fixesOf(invalid.value));
    return;
  }
  return { at: item.at, key: key.value, operator: operator.value, values: values.map(({ value }) => value) };
}
