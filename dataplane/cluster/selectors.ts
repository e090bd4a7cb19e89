/** Label selectors. metav1.LabelSelector: all terms must hold; no terms match everything. */
import type { LabelSelector } from '../manifests/objects.js';

/** Whether labels match. NotIn and DoesNotExist hold where the key is absent. */
export function matches(selector: LabelSelector, labels: ReadonlyMap<string, string>): boolean {
  for (const [key, { value }] of selector.matchLabels) if (labels.get(key) !== value) return false;
  for (const { key, operator, values } of selector.matchExpressions) {
    const value = labels.get(key);
    const holds =
      operator === 'In'
        ? value !== undefined && values.includes(value)
        : operator === 'NotIn'
          ? value === undefined || !values.includes(value)
          : operator === 'Exists'
            ? value !== undefined
            : value === undefined;
    if (!holds) return false;
  }
  return true;
}

/** Whether a selector has no terms, and so matches everything. */
export const matchesAll = (selector: LabelSelector): boolean =>
  selector.matchLabels.size === 0 && selector.matchExpressions.length === 0;
