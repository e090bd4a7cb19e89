/** HS1012 for what only shows when manifests are put together: labels, tiers and Services that policies ask for and nobody tells of. */
import type { Place } from '../../manifests/place.js';
import { problem, type Problem } from '../../problems.js';
import type { State } from '../../state.js';

const keyOf = ({ source, start, end }: Place): string =>
  `${source.file} ${source.offset + start} ${source.offset + end}`;

/** What policies leave open, at its line; what the reader has told of already is left to that. */
export function checkUnevaluated({ policies, manifests }: State): Problem[] {
  const told = new Set(manifests.problems.flatMap(({ code, at }) => (code === 'HS1012' ? keyOf(at) : [])));
  return policies.all.flatMap(({ unevaluated }) =>
    unevaluated.flatMap(({ at, what }) => {
      if (told.has(keyOf(at))) return [];
      told.add(keyOf(at));
      const subject = `${what[0]!.toUpperCase()}${what.slice(1)}`;
      return [problem('HS1012', at, `${subject} is not evaluated yet; verdicts it could change are UNKNOWN.`)];
    }),
  );
}
