/** NetworkPolicies as manifests. */
import { stringify } from 'yaml';
import type { Written } from '../answers/generate.js';

export const policiesYaml = (policies: readonly Written[]): string =>
  policies.map((policy) => stringify(policy, { aliasDuplicateObjects: false })).join('---\n');
