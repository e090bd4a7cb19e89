/** First packets that are like one before, and must not fare like it: with and without outcomes kept, everything is the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Program } from '../../assembly/abi.js';
import { tupleOf } from '../../dataplane/packet.js';
import type { PacketOut } from '../../dataplane/wasm.js';
import { compile } from '../broken/compile.js';
import { ALIKE } from '../broken/flows.js';
import { modules } from '../datapath.js';
import { pod, service, TWO_NODES } from '../lab.js';
import { packet } from '../packet.js';
import { Twins } from './twins.js';

const SYN = 2;
const syn = (source: string, sport: number, destination: string, dport: number): Uint8Array =>
  packet().eth().ipv4(source, destination).tcp(sport, dport, SYN).bytes();

test('a connection is opened as another of its client was', () => {
  const twins = new Twins(
    `${TWO_NODES}${pod('a', '10.1.0.5', 'n1')}${pod('b', '10.1.0.6', 'n1')}${service('b', '10.96.0.1', 80, 8080)}`,
    64,
  );
  for (let i = 0; i < 40; i++) {
    const { verdict, endpoint } = twins.send(twins.from('a', syn('10.1.0.5', 40000 + i, '10.96.0.1', 80)));
    assert.equal(verdict, 0);
    assert.notEqual(endpoint, 0);
  }
  assert.equal(twins.opened, 39);
});

function hairpins(module = modules.fast): void {
  for (const connections of [1, 2, 48, 1024]) {
    const yaml = `${TWO_NODES}${pod('self', '10.1.0.5', 'n1')}${service('self', '10.96.0.1', 80, 8080)}`;
    const twins = new Twins(yaml, connections, module);
    for (let i = 0; i < 120; i++) twins.send(twins.from('self', syn('10.1.0.5', 40000 + 7 * i, '10.96.0.1', 80)));
  }
}

function mapped(module = modules.fast): void {
  const twins = new Twins(`${TWO_NODES}${pod('a', '10.1.0.5', 'n1')}${pod('b', '10.1.0.6', 'n1')}`, 1024, module);
  const outside = '203.0.113.9';
  twins.send(twins.from('a', syn('10.1.0.5', 62738, outside, 57344)));
  const { frame } = twins.send(twins.from('b', syn('10.1.0.6', 62738, outside, 57344)));
  // Both had the same port: the second has another in the node's name.
  const { sourcePort } = tupleOf(frame)!;
  assert.notEqual(sourcePort, 62738);
  const arrive = (sport: number): PacketOut =>
    twins.send({
      frame: syn(outside, sport, '192.168.0.1', sourcePort),
      node: 1,
      program: Program.FROM_NETDEV,
      endpoint: 0,
    });
  assert.equal(arrive(65000).endpoint, 0);
  assert.notEqual(arrive(57344).endpoint, 0);
}

test('a pod that a Service sends back to itself is another client then', () => hairpins());

test('a client that a mapping of source NAT is for is not asked as others are', () => mapped());

for (const broken of ALIKE)
  test(`caught: ${broken.name}`, async () => {
    const module = new WebAssembly.Module(Uint8Array.from(await compile('fast', broken)));
    assert.throws(() => {
      hairpins(module);
      mapped(module);
    }, assert.AssertionError);
  });
