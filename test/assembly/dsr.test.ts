/** Direct server return and Services asked from outside, where somebody lies or has lied before. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MapId, Program } from '../../assembly/abi.js';
import type { Settings } from '../../dataplane/settings.js';
import { flowOf, Lab, pod, service, TWO_NODES } from '../lab.js';
import { packet } from '../packet.js';

const CLUSTER = [
  TWO_NODES,
  pod('far', '10.2.0.7', 'n2'),
  service('far', '10.96.0.30', 80, 8080, '').replace(
    'spec: {',
    'spec: {type: LoadBalancer, externalIPs: [198.51.100.30], ',
  ),
].join('');
const WORLD = '203.0.113.9';
const VIP = '198.51.100.30';
const POD = '10.2.0.7';
const DSR: Partial<Settings> = { cni: 'cilium-native', 'loadBalancer.mode': 'dsr' };
/** 198.51.100.30:80, lowest bytes first. */
const OPTION = [0x9a, 8, 80, 0, 30, 100, 51, 198];
const SYN_ACK = 0x12;

/** Whom a client hears from that sent this to n2, and was answered from port 8080. */
function hears(lab: Lab, asked: Uint8Array, reply: Uint8Array): string {
  assert.equal(lab.arrive('n2', asked).verdict, 0);
  return flowOf(lab.send('far', reply).frame).split(' ')[0]!;
}

test('what the header of one Geneve packet told holds for no other packet', () => {
  const lab = new Lab(CLUSTER, { ...DSR, cni: 'cilium-geneve', 'loadBalancer.dsrDispatch': 'geneve' });
  lab.arrive('n1', packet().eth().ipv4(WORLD, VIP).tcp(50000, 80).bytes());
  const plain = packet().eth().ipv4(WORLD, POD).tcp(50001, 8080).bytes();
  const reply = packet().eth().ipv4(POD, WORLD).tcp(8080, 50001, SYN_ACK).bytes();
  assert.equal(hears(lab, plain, reply), `${POD}:8080`);
});

test('an IPv4 header that came with a wrong checksum leaves with one, with the option in it too', () => {
  const frame = packet().eth().ipv4(WORLD, VIP).tcp(50000, 80).bytes();
  const sum = (bytes: Uint8Array): number => {
    let all = 0;
    for (let at = 14; at < 14 + (bytes[14]! & 15) * 4; at += 2) all += (bytes[at]! << 8) | bytes[at + 1]!;
    return all % 0xffff;
  };
  const sent = new Lab(CLUSTER, DSR).arrive('n1', frame);
  frame[25]! ^= 0x40;
  const wrong = sum(frame);
  const out = new Lab(CLUSTER, DSR).arrive('n1', frame);
  assert.deepEqual([sent.frame.length, sum(sent.frame)], [frame.length + 8, 0]);
  assert.deepEqual([out.frame.length, sum(out.frame), wrong !== 0], [frame.length + 8, wrong, true]);
});

test('a message without ports tells of no Service', () => {
  const lab = new Lab(CLUSTER, DSR);
  const echo = packet().eth().ipv4(WORLD, POD, { options: OPTION }).icmp(8, 0, 0x10001).bytes();
  assert.equal(lab.arrive('n2', echo).verdict, 0);
  const { wasm } = lab.state.loader.current;
  assert.deepEqual([wasm.mapCount(MapId.CT4), wasm.mapCount(MapId.SNAT4)], [1, 0], 'the pod’s own entry');
});

for (const node of ['n1', 'n2'])
  test(`a client with its backend's address is looped nowhere by ${node}, and hears from the Service`, () => {
    const lab = new Lab(CLUSTER);
    const out = lab.arrive(node, packet().eth().ipv4(POD, VIP).tcp(50000, 80).bytes());
    const source = node === 'n1' ? '192.168.0.1' : POD;
    assert.deepEqual(
      [out.verdict, out.program, flowOf(out.frame)],
      [0, Program.DELIVERED, `${source}:50000 > ${POD}:8080`],
    );
    if (node === 'n2') return;
    const back = lab.send('far', packet().eth().ipv4(POD, source).tcp(8080, 50000, SYN_ACK).bytes());
    assert.deepEqual([back.verdict, flowOf(back.frame)], [0, `${VIP}:80 > ${POD}:50000`]);
  });
