/** HS3001 in the policies of Calico: a selector that no pod matches. */
import { keysOf } from '../../manifests/selector-expressions.js';
import { problem, type Problem } from '../../problems.js';
import type { Policy } from '../../policy/rules.js';
import { labelsOf, selects } from '../../policy/selectors.js';
import type { State } from '../../state.js';
import { named } from '../../words.js';
import { workloadsOf, type Shapes } from './shapes.js';

export function checkCalico(state: State, shapes: Shapes): Problem[] {
  // What may be in a document that could not be read is not called absent.
  if (shapes.mayLack(null)) return [];
  return state.policies.all.flatMap((policy) => checkSubject(state, policy, shapes));
}

/** Labels that every pod has show no slip. */
function checkSubject(state: State, { source, subject }: Policy, shapes: Shapes): Problem[] {
  if (source.kind !== 'CalicoPolicy') return [];
  const { selectors, metadata } = source;
  const { own } = selectors;
  const local = metadata.namespace === '' ? shapes.all : shapes.in(metadata.namespace);
  if (!own || local.length === 0 || keysOf(own.expression).every((key) => key.startsWith('projectcalico.org/')))
    return [];
  const selected = local.filter((shape) => selects(subject, labelsOf(state.cluster, shape)));
  if (selected.some(({ hostNetwork }) => !hostNetwork)) return [];
  const where = metadata.namespace === '' ? '' : ` in namespace ${named(metadata.namespace)}`;
  const text = own.at.source.text.slice(own.at.start, own.at.end);
  const why =
    selected.length > 0
      ? `only pods of ${workloadsOf(selected)}, and these are on the network of their node, where no policy of pods applies`
      : `no pod: none${where} matches ${named(text)}`;
  return [problem('HS3001', own.at, `Policy ${named(metadata.name.value)} selects ${why}.`)];
}
