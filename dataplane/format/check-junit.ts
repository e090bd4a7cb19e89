/** Problems as JUnit's XML, which build servers show as tests: a suite for each file, a failed test for each problem. */
import type { ProblemReport } from '../problems.js';

export function checkJunit(problems: readonly ProblemReport[]): string {
  const suites = new Map<string, ProblemReport[]>();
  for (const found of problems) {
    const others = suites.get(found.file);
    if (others) others.push(found);
    else suites.set(found.file, [found]);
  }
  const counts = countsOf(problems);
  const body = suites.size > 0 ? [...suites].flatMap(([file, found]) => suiteOf(file, found)) : NOTHING_FOUND;
  return `${['<?xml version="1.0" encoding="UTF-8"?>', `<testsuites name="hopscope check"${counts}>`, ...body, '</testsuites>'].join('\n')}\n`;
}

/** Build servers take a file without any test for a failure. */
const NOTHING_FOUND = [
  '  <testsuite name="manifests" tests="1" failures="0">',
  '    <testcase name="no problems" classname="hopscope"/>',
  '  </testsuite>',
];

/** What is merely worth knowing fails nothing. */
const fails = ({ severity }: ProblemReport): boolean => severity !== 'info';

const countsOf = (problems: readonly ProblemReport[]): string =>
  ` tests="${Math.max(1, problems.length)}" failures="${problems.filter(fails).length}"`;

function suiteOf(file: string, problems: readonly ProblemReport[]): string[] {
  return [
    `  <testsuite name="${attribute(file)}"${countsOf(problems)}>`,
    ...problems.flatMap(caseOf),
    '  </testsuite>',
  ];
}

function caseOf(found: ProblemReport): string[] {
  const { code, severity, message, file, range } = found;
  const { line, column } = range.start;
  const name = `${code} at ${line}:${column}`;
  const details = escape(detailsOf(found));
  return [
    `    <testcase name="${name}" classname="${attribute(file)}" file="${escape(file)}" line="${line}">`,
    fails(found)
      ? `      <failure type="${severity}" message="${attribute(message)}">${details}</failure>`
      : `      <system-out>${details}</system-out>`,
    '    </testcase>',
  ];
}

function detailsOf({ code, severity, message, file, range, related, fixes }: ProblemReport): string {
  const { line, column } = range.start;
  return [
    `${file}:${line}:${column} ${severity} ${code} ${message}`,
    ...related.map(
      (other) => `see ${other.file}:${other.range.start.line}:${other.range.start.column} ${other.message}`,
    ),
    ...fixes.map((fix) => `fix: ${fix}`),
  ].join('\n');
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
};

/** Characters that XML 1.0 has no way to write. */
// eslint-disable-next-line no-control-regex
const UNWRITABLE = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]|\p{Surrogate}/gu;

const escape = (text: string): string =>
  text.replace(UNWRITABLE, '\ufffd').replace(/[&<>"']/g, (character) => ENTITIES[character]!);

/** In an attribute, white space other than blanks would become blanks. */
const attribute = (text: string): string =>
  escape(text).replace(/[\t\n\r]/g, (character) => `&#${character.charCodeAt(0)};`);
