/** Which entries of the policymap are left when rules overlap: the datapath takes the longest prefix, and must not be misled by it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MapState, type PolicymapEntry } from '../../dataplane/policy/mapstate.js';
import { prefixesOf, type TrafficPrefix } from '../../dataplane/policy/rules.js';

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 20261121);
const TCP = 6;

/** A rule as one line of the table: who, which ports of TCP (none: any traffic), and whether it denies. */
interface Line {
  readonly identity: number;
  readonly ports: readonly [first: number, last: number] | null;
  readonly deny: boolean;
}

function stateOf(lines: readonly Line[]): PolicymapEntry[] {
  const state = new MapState();
  for (const { identity, ports, deny } of lines) {
    const prefixes: TrafficPrefix[] = ports
      ? prefixesOf(...ports).map((prefix) => ({ protocol: TCP, ...prefix }))
      : [{ protocol: 0, port: 0, length: 0 }];
    for (const prefix of prefixes) state.add(identity, false, prefix, deny, []);
  }
  return state.list();
}

const holds = ({ protocol, port, length }: TrafficPrefix, asked: number): boolean =>
  length === 0 || (protocol === TCP && (length === 8 || (port ^ asked) >>> (24 - length) === 0));

/** As the datapath does: the longest of the identity and the longest of any, and one that denies before one that does not. */
function lookUp(entries: readonly PolicymapEntry[], identity: number, port: number): 'allow' | 'deny' | 'none' {
  const best = [identity, 0].flatMap((one) =>
    entries
      .filter((entry) => entry.identity === one && holds(entry, port))
      .sort((a, b) => b.length - a.length)
      .slice(0, 1),
  );
  if (best.length === 0) return 'none';
  return best.some(({ deny }) => deny) ? 'deny' : 'allow';
}

test('a broader rule that denies wins over a narrower one that allows', () => {
  const narrow = { identity: 300, ports: [80, 80], deny: false } as const;
  for (const broad of [
    { identity: 300, ports: null, deny: true },
    { identity: 300, ports: [0, 65535], deny: true },
    { identity: 300, ports: [64, 127], deny: true },
    { identity: 0, ports: null, deny: true },
  ] as const) {
    assert.equal(lookUp(stateOf([narrow, broad]), 300, 80), 'deny');
    assert.equal(lookUp(stateOf([broad, narrow]), 300, 80), 'deny');
  }
});

test(`the look-up finds what the rules say together (HOPSCOPE_SEED=${SEED})`, () => {
  const port = fc.constantFrom(0, 1, 79, 80, 81, 127, 128, 8080, 65535);
  const line: fc.Arbitrary<Line> = fc.record({
    identity: fc.constantFrom(0, 300, 400),
    ports: fc.option(
      fc.tuple(port, port).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const),
      { nil: null },
    ),
    deny: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(line, { maxLength: 6 }), fc.constantFrom(300, 400, 500), port, (lines, identity, asked) => {
      const matching = lines.filter(
        (one) =>
          (one.identity === 0 || one.identity === identity) &&
          (one.ports === null || (one.ports[0] <= asked && asked <= one.ports[1])),
      );
      const wanted = matching.some(({ deny }) => deny) ? 'deny' : matching.length > 0 ? 'allow' : 'none';
      assert.equal(lookUp(stateOf(lines), identity, asked), wanted);
    }),
    { numRuns: 20_000, seed: SEED },
  );
});
