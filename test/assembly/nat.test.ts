/** Source NAT, and what it leaves alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lab, pod, TWO_NODES } from '../lab.js';
import { packet } from '../packet.js';

const [CLIENT, WORLD] = ['10.1.0.5', '203.0.113.9'];

test('an error that is quoted is no echo with the id 0: its own checksum stays', () => {
  const lab = new Lab(TWO_NODES + pod('client', CLIENT, 'n1'));
  const echo = (id: number): Uint8Array =>
    packet()
      .eth()
      .ipv4(CLIENT, WORLD)
      .icmp(8, 0, id << 16)
      .bytes();
  assert.equal(lab.send('client', echo(0)).verdict, 0);
  const inner = packet().eth().ipv4(WORLD, CLIENT).icmp(3, 7).payload(1, 2, 3, 4).bytes().subarray(14);
  const about = packet()
    .eth()
    .ipv4(CLIENT, WORLD)
    .icmp(3, 1)
    .payload(...inner)
    .bytes();
  const out = lab.send('client', about);
  assert.equal(out.verdict, 0);
  assert.deepEqual([...out.frame.subarray(62)], [...about.subarray(62)]);
});
