/** Flows count for their connections, and tell them in time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MapId } from '../../assembly/abi.js';
import { Lane } from '../../dataplane/bench/lane.js';
import { PROFILES } from '../../dataplane/bench/profiles.js';
import { decode } from '../../dataplane/wasm.js';
import { CtEntry, CtTuple4 } from '../../pkg/structs.js';
import { compile } from '../broken/compile.js';
import { FORGETFUL } from '../broken/flows.js';
import { modules } from '../datapath.js';

/** One flow's next packets, more than it can count by itself, and what its three connections have counted of them. */
function many(module: WebAssembly.Module): [bigint, bigint][] {
  const lane = Lane.open(
    module,
    PROFILES.find(({ name }) => name === 'size-1500')!,
  );
  lane.openFlows();
  const keys = lane.datapath.keys(MapId.CT4, CtTuple4.size);
  const entries = (): { packets: bigint; bytes: bigint }[] =>
    keys.map((key) => decode(CtEntry, lane.datapath.lookup(MapId.CT4, key, CtEntry.size)!));
  const before = entries();
  lane.datapath.wasm.replay(0, MANY, 1, lane.workload.stride);
  return entries()
    .map(({ packets, bytes }, i): [bigint, bigint] => [packets - before[i]!.packets, bytes - before[i]!.bytes])
    .filter(([packets]) => packets !== 0n);
}

const MANY = 2 ** 24 + 5;

test('a flow of more packets than it can count by itself', () => {
  const counted: [bigint, bigint] = [BigInt(MANY), 1500n * BigInt(MANY)];
  assert.deepEqual(many(modules.fast), [counted, counted, counted]);
});

for (const broken of FORGETFUL)
  test(`caught: ${broken.name}`, async () => {
    const module = new WebAssembly.Module(Uint8Array.from(await compile('fast', broken)));
    const packets = BigInt(MANY);
    assert.ok(many(module).some((counted) => counted[0] !== packets || counted[1] !== 1500n * packets));
  });
