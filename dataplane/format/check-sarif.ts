/** Problems as SARIF 2.1.0, which code hosts show at the lines of a change. */
import type { Location } from '../manifests/place.js';
import { PROBLEMS, severityOf, type ProblemCode, type ProblemReport, type Severity } from '../problems.js';
import { visible } from '../words.js';

const LEVELS: Readonly<Record<Severity, 'error' | 'warning' | 'note'>> = {
  error: 'error',
  warning: 'warning',
  info: 'note',
};

export function checkSarif(problems: readonly ProblemReport[]): string {
  const codes = Object.keys(PROBLEMS) as ProblemCode[];
  const run = {
    tool: { driver: { name: 'hopscope', rules: codes.map(ruleOf) } },
    columnKind: 'utf16CodeUnits',
    results: problems.map((found) => resultOf(found, codes.indexOf(found.code))),
  };
  const log = { $schema: 'https://json.schemastore.org/sarif-2.1.0.json', version: '2.1.0', runs: [run] };
  return `${JSON.stringify(log, null, 2)}\n`;
}

function ruleOf(code: ProblemCode): object {
  const text = PROBLEMS[code][1];
  return {
    id: code,
    shortDescription: { text: plain(text) },
    defaultConfiguration: { level: LEVELS[severityOf(code)] },
  };
}

function resultOf(found: ProblemReport, ruleIndex: number): object {
  const fixes = found.fixes.length > 0 ? ` Fix: ${found.fixes.join(', or ')}.` : '';
  return {
    ruleId: found.code,
    ruleIndex,
    level: LEVELS[found.severity],
    message: { text: plain(found.message + fixes) },
    locations: [locationOf(found)],
    relatedLocations: found.related.map((other, id) => ({
      id,
      ...locationOf(other),
      message: { text: plain(other.message) },
    })),
  };
}

/** SARIF's `endColumn`, like ours, is one beyond the last character. */
function locationOf({ file, range: { start, end } }: Location): object {
  return {
    physicalLocation: {
      artifactLocation: { uri: uriOf(file), uriBaseId: '%SRCROOT%' },
      region: { startLine: start.line, startColumn: start.column, endLine: end.line, endColumn: end.column },
    },
  };
}

/** A path as a URI reference. */
const uriOf = (file: string): string =>
  file
    .replace(/\p{Surrogate}/gu, '\ufffd')
    .split('/')
    .map(encodeURIComponent)
    .join('/');

/** In SARIF's messages `[text](target)` is a link and `{0}` an argument; neither comes from us (3.11.5, 3.11.6). */
const plain = (text: string): string => visible(text).replaceAll('](', '] (').replace(/[{}]/g, '$&$&');
