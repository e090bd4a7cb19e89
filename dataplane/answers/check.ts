/** Everything wrong with the manifests: what the reader found, and what only shows when they are put together. */
import { compare } from '../hash.js';
import { locate } from '../manifests/place.js';
import type { Problem } from '../problems.js';
import type { State } from '../state.js';
import { checkCalico } from './checks/calico.js';
import { checkCilium } from './checks/cilium.js';
import { checkDns } from './checks/dns.js';
import { checkIngresses } from './checks/ingress.js';
import { checkMesh } from './checks/mesh.js';
import { checkPolicies } from './checks/policies.js';
import { checkPorts } from './checks/ports.js';
import { checkPressure } from './checks/pressure.js';
import { checkRules } from './checks/rules.js';
import { checkServices } from './checks/services.js';
import { Shapes } from './checks/shapes.js';
import { checkComments, withoutIgnored } from './checks/suppress.js';
import { checkUnevaluated } from './checks/unevaluated.js';
import { checkWorkloads } from './checks/workloads.js';

const analysed = new WeakMap<State, readonly Problem[]>();

/** All problems that no comment silences, by file, position and code. */
export function check(state: State, settingsProblems: readonly Problem[]): Problem[] {
  let found = analysed.get(state);
  if (!found) analysed.set(state, (found = analyse(state)));
  const all = [...state.manifests.problems, ...settingsProblems, ...checkComments(state), ...found];
  return sorted(withoutIgnored(state, all));
}

function analyse(state: State): Problem[] {
  const shapes = new Shapes(state);
  const found = [
    ...checkServices(state, shapes),
    ...checkWorkloads(state),
    ...checkPolicies(state, shapes),
    ...checkPorts(state, shapes),
    ...checkCilium(state, shapes),
    ...checkCalico(state, shapes),
    ...checkDns(state),
    ...checkIngresses(state),
    ...checkMesh(state, shapes),
    ...checkPressure(state),
    ...checkUnevaluated(state),
  ];
  return [...found, ...checkRules(state, shapes, found)];
}

function sorted(problems: readonly Problem[]): Problem[] {
  return problems
    .map((found) => ({ found, ...locate(found.at) }))
    .sort(
      (a, b) =>
        compare(a.file, b.file) ||
        a.range.start.line - b.range.start.line ||
        a.range.start.column - b.range.start.column ||
        compare(a.found.code, b.found.code) ||
        compare(a.found.message, b.found.message),
    )
    .map(({ found }) => found);
}
