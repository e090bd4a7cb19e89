/**
 * Scenarios: each folder of `test/scenarios` has a question, its manifests, and the trace that must come out, as a person
 * reads it. `HOPSCOPE_UPDATE=1` writes the traces anew, to be read before they are committed.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { traceText } from '../dataplane/format/trace-text.js';
import { Session } from '../dataplane/session.js';
import { modules } from './datapath.js';

interface Scenario {
  readonly about: string;
  /** A folder of manifests; the scenario's own unless given. */
  readonly manifests?: string;
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly traces: readonly {
    readonly from: string;
    readonly to: string;
    readonly port?: number;
    readonly protocol?: string;
    readonly icmpType?: number;
    readonly sourcePort?: number;
    readonly http?: string;
  }[];
}

const ROOT = 'test/scenarios';

function load(session: Session, folder: string): void {
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) load(session, path);
    else if (/\.ya?ml$/.test(name)) session.setFile(path.split('\\').join('/'), readFileSync(path));
  }
}

for (const name of readdirSync(ROOT).sort()) {
  const folder = join(ROOT, name);
  const scenario = JSON.parse(readFileSync(join(folder, 'scenario.json'), 'utf8')) as Scenario;
  test(`${name}: ${scenario.about}`, () => {
    const session = new Session(modules.trace, scenario.settings);
    load(session, scenario.manifests ?? folder);
    const told = scenario.traces.map(
      ({ from, to, port = null, icmpType = null, protocol = 'TCP', sourcePort = null, http = null }) => {
        const trace = session.trace({ from, to, port, protocol, icmpType, sourcePort, node: null, http });
        const asked = `${to}${port === null ? '' : `:${port}`} ${protocol}${icmpType === null ? '' : ` type ${icmpType}`}${http === null ? '' : ` ${http}`}`;
        return `# ${from} → ${asked}\n${'error' in trace ? trace.error : traceText(trace)}`;
      },
    );
    const expected = join(folder, 'trace.txt');
    if (process.env['HOPSCOPE_UPDATE']) writeFileSync(expected, told.join('\n'));
    assert.ok(existsSync(expected), 'HOPSCOPE_UPDATE=1 writes it');
    assert.equal(told.join('\n'), readFileSync(expected, 'utf8'));
  });
}
