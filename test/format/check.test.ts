import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkJson } from '../../dataplane/format/check-json.js';
import { checkJunit } from '../../dataplane/format/check-junit.js';
import { checkMarkdown } from '../../dataplane/format/check-md.js';
import { checkSarif } from '../../dataplane/format/check-sarif.js';
import { checkText } from '../../dataplane/format/check-text.js';
import type { Range } from '../../dataplane/manifests/place.js';
import { PROBLEMS, type ProblemReport } from '../../dataplane/problems.js';

const range = (line: number, column: number, endLine: number, endColumn: number): Range => ({
  start: { line, column },
  end: { line: endLine, column: endColumn },
});

const PORT: ProblemReport = {
  code: 'HS3004',
  severity: 'warning',
  message: '80 is the port of Service `s`.',
  file: 'policies/web.yaml',
  range: range(2, 9, 2, 11),
  related: [{ file: 'web.yaml', range: range(7, 3, 7, 5), message: 'The port.' }],
  fixes: ['use 8080', 'use 9090'],
};
const INFO: ProblemReport = {
  code: 'HS1004',
  severity: 'info',
  message: 'A template.',
  file: 'web.yaml',
  range: range(1, 1, 3, 4),
  related: [],
  fixes: [],
};
const FILES: Readonly<Record<string, string>> = {
  'policies/web.yaml': 'ports:\n\t- port: 80 # web\r\n',
  'web.yaml': 'a: {{\n\n}}x',
};

test('text: by file, with the line and what of it is meant', () => {
  assert.equal(
    checkText([PORT, INFO], (file) => FILES[file] ?? null),
    `policies/web.yaml:2:9 warning HS3004 80 is the port of Service \`s\`.
    2 |  - port: 80 # web
      |         ^^
    see web.yaml:7:3 The port.
    fix: use 8080, or use 9090

web.yaml:1:1 info HS1004 A template.
    1 | a: {{
      | ^^^^^

1 warning and 1 info.
`,
  );
  assert.equal(
    checkText([], () => null),
    'No problems found.\n',
  );
});

test('text: a long line is cut around the range, an unknown file has no lines, nothing reaches the terminal raw', () => {
  const long = { ...INFO, range: range(1, 1001, 1, 1004) };
  const shown = checkText([long], () => `${'x'.repeat(1000)}abc${'y'.repeat(1000)}`).split('\n');
  assert.equal(shown[1], `    1 | ${'x'.repeat(40)}abc${'y'.repeat(77)}`);
  assert.equal(shown[2], `      | ${' '.repeat(40)}^^^`);
  assert.equal(
    checkText([INFO], () => null),
    'web.yaml:1:1 info HS1004 A template.\n\n1 info.\n',
  );
  const raw = { ...INFO, file: 'a\u001b]0;x.yaml', message: 'a\u001b[31m\nb\u202ec', fixes: ['\u0007'] };
  // eslint-disable-next-line no-control-regex
  assert.doesNotMatch(checkText([raw], () => '\u001b[31m\u009b').replaceAll('\n', ''), /[\0-\x1f\x7f-\x9f\u202e]/);
});

test('json: the contract, as it stands', () => {
  assert.deepEqual(JSON.parse(checkJson([PORT, INFO])), { schema: 'hopscope.check/1', problems: [PORT, INFO] });
  assert.match(checkJson([]), /\}\n$/);
});

interface SarifLog {
  version: string;
  runs: {
    tool: { driver: { rules: { id: string }[] } };
    columnKind: string;
    results: {
      ruleIndex: number;
      level: string;
      message: { text: string };
      locations: { physicalLocation: { artifactLocation: { uri: string } } }[];
    }[];
  }[];
}

test('sarif: rules, regions in UTF-16 units, related places', () => {
  const hostile = { ...INFO, file: 'a b/ü:#%.yaml', message: '[x](http://evil) {0}' };
  const log = JSON.parse(checkSarif([PORT, hostile])) as SarifLog;
  const run = log.runs[0]!;
  assert.equal(log.version, '2.1.0');
  assert.equal(run.columnKind, 'utf16CodeUnits');
  assert.deepEqual(
    run.tool.driver.rules.map(({ id }) => id),
    Object.keys(PROBLEMS),
  );
  const [port, template] = run.results;
  assert.equal(run.tool.driver.rules[port!.ruleIndex]!.id, 'HS3004');
  assert.deepEqual(port, {
    ruleId: 'HS3004',
    ruleIndex: port!.ruleIndex,
    level: 'warning',
    message: { text: '80 is the port of Service `s`. Fix: use 8080, or use 9090.' },
    locations: [place('policies/web.yaml', 2, 9, 2, 11)],
    relatedLocations: [{ id: 0, ...place('web.yaml', 7, 3, 7, 5), message: { text: 'The port.' } }],
  });
  assert.equal(template!.level, 'note');
  assert.equal(template!.message.text, '[x] (http://evil) {{0}}');
  assert.equal(template!.locations[0]!.physicalLocation.artifactLocation.uri, 'a%20b/%C3%BC%3A%23%25.yaml');
});

function place(uri: string, startLine: number, startColumn: number, endLine: number, endColumn: number): object {
  const region = { startLine, startColumn, endLine, endColumn };
  return { physicalLocation: { artifactLocation: { uri, uriBaseId: '%SRCROOT%' }, region } };
}

test('junit: a suite for each file; only warnings and errors fail', () => {
  assert.equal(
    checkJunit([{ ...PORT, message: 'a <b> & "c"\n\u0001', related: [], fixes: [] }, INFO]),
    `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="hopscope check" tests="2" failures="1">
  <testsuite name="policies/web.yaml" tests="1" failures="1">
    <testcase name="HS3004 at 2:9" classname="policies/web.yaml" file="policies/web.yaml" line="2">
      <failure type="warning" message="a &lt;b&gt; &amp; &quot;c&quot;&#10;\ufffd">policies/web.yaml:2:9 warning HS3004 a &lt;b&gt; &amp; &quot;c&quot;
\ufffd</failure>
    </testcase>
  </testsuite>
  <testsuite name="web.yaml" tests="1" failures="0">
    <testcase name="HS1004 at 1:1" classname="web.yaml" file="web.yaml" line="1">
      <system-out>web.yaml:1:1 info HS1004 A template.</system-out>
    </testcase>
  </testsuite>
</testsuites>
`,
  );
  assert.match(checkJunit([]), /tests="1" failures="0"[^]*<testcase name="no problems"/);
});

test('junit: every character of a message is one that XML can have', () => {
  // Apart, so that no two halves make a pair.
  const message = Array.from({ length: 0x10000 }, (_, unit) => String.fromCharCode(unit)).join(' ');
  const xml = checkJunit([{ ...INFO, severity: 'error', message }]);

  assert.equal(/[^\t\n\r\x20-\ud7ff\ue000-\ufffd]/.exec(xml), null);
  assert.equal(/[<&](?![a-z/?#])/.exec(xml), null);
});

test('markdown: one row a problem, in which nothing from a manifest is more than text', () => {
  assert.equal(
    checkMarkdown([{ ...PORT, message: '80 is.' }]),
    `Hopscope found 1 problem.

| Where | | Problem |
| --- | --- | --- |
| <code>policies/web.yaml&#58;2&#58;9</code> | warning HS3004 | The policy lists the Service's port, but the container listens on another.<br><code>80 is.</code><br>Fix: <code>use 8080, or use 9090</code> |
`,
  );
  const hostile =
    '@team #12 [x](https://evil.example) ![i](x) <img src=x onerror=y> `a` | b \\| c &lt; **d** _e_ ~~f~~ www.evil.example a@b.example\n# g\r- h $x$ :smile:';
  const row = checkMarkdown([{ ...INFO, message: hostile }]).split('\n')[4]!;
  const message = /<br><code>(.*)<\/code> \|$/.exec(row)![1]!;
  assert.doesNotMatch(message.replace(/&#\d+;/g, ''), /[@#[\]!<>`|\\*_~:$&]|www\./);
  const decoded = message.replace(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)));
  assert.equal(decoded, hostile.replace(/[\n\r]/g, '\ufffd'));
  assert.equal(checkMarkdown([]), 'Hopscope found no problems.\n');
});

test('markdown: stays below what a comment may hold', () => {
  const many = checkMarkdown(Array.from({ length: 5000 }, () => PORT));
  assert.ok(many.length < 65_000);
  assert.match(many, /\n\nAnd \d+ more\.\n$/);
});
