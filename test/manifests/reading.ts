import { Manifests } from '../../dataplane/manifests/manifests.js';
import type { NetworkPolicy } from '../../dataplane/manifests/objects.js';
import { locate, type Place } from '../../dataplane/manifests/place.js';
import type { Problem } from '../../dataplane/problems.js';

/** Manifests of one file. */
export function load(content: string | Uint8Array, file = 'a.yaml'): Manifests {
  const manifests = new Manifests();
  manifests.set(file, content);
  return manifests;
}

export const shown = ({ source, start, end }: Place): string => source.text.slice(start, end);

/** `HS1010 3:9 "80"`: the code, where the editor shows it and what it underlines, shortened. */
export function line({ code, at }: Problem): string {
  const { start } = locate(at).range;
  return `${code} ${start.line}:${start.column} ${shown(at).slice(0, 24).split('\n')[0]}`;
}

export const problemsOf = (content: string | Uint8Array): string[] => load(content).problems.map(line);

/** The names of objects as `Kind namespace/name`. */
export const namesOf = (manifests: Manifests): string[] =>
  manifests.objects.map(({ kind, metadata }) => `${kind} ${metadata.namespace}/${metadata.name.value}`);

/** A NetworkPolicy with this spec (block or flow YAML), as far as it can be read. */
export function policyOf(spec: string): { policy: NetworkPolicy | null; problems: string[]; unread: string[] } {
  const indented = spec.replace(/^/gm, '  ');
  const manifests = load(
    `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec:\n${indented}\n`,
  );
  const [object] = manifests.objects;
  return {
    policy: object?.kind === 'NetworkPolicy' ? object : null,
    problems: manifests.problems.map(line),
    unread: manifests.unread.map(({ kind, namespace, reason }) => `${kind} ${namespace} ${reason}`),
  };
}

export const pod = (name: string, rest = ''): string =>
  `apiVersion: v1\nkind: Pod\nmetadata:\n  name: ${name}\n${rest}`;
