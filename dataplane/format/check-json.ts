/** Problems as the contract has them, schema `hopscope.check/1`. */
import type { ProblemReport } from '../problems.js';

export function checkJson(problems: readonly ProblemReport[]): string {
  return `${JSON.stringify({ schema: 'hopscope.check/1', problems }, null, 2)}\n`;
}
