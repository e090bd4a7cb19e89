/** ICMP where it is not like other traffic: past policies, through source NAT, and about what a pod sent itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DropReason, Program } from '../../assembly/abi.js';
import { formatAddress, parseAddress } from '../../dataplane/addresses.js';
import { flowOf, Lab, pod, service, TWO_NODES } from '../lab.js';
import { checksumsHold, packet } from '../packet.js';

const POD = '10.1.0.5';
const OTHER = '10.1.0.6';
const VIP = '10.96.0.10';
const LOOPBACK = '169.254.42.1';
const PODS = `${TWO_NODES}${pod('self', POD, 'n1')}${pod('other', OTHER, 'n1')}`;
const NOTHING_GETS_IN = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec: {podSelector: {matchLabels: {app: other}}, policyTypes: [Ingress]}
`;

/** The ends of the packet that an ICMP error quotes. */
const quoted = (frame: Uint8Array): string =>
  flowOf(Uint8Array.from([...frame.subarray(0, 14), ...frame.subarray(42)]));

test('"fragmentation needed" passes every policy, any other error about nothing that is known does not', () => {
  const lab = new Lab(PODS + NOTHING_GETS_IN);
  const about = packet().eth().ipv4(OTHER, '203.0.113.9').udp(1, 2).bytes().subarray(14);
  const error = (code: number) =>
    lab.send(
      'self',
      packet()
        .eth()
        .ipv4(POD, OTHER)
        .icmp(3, code)
        .payload(...about)
        .bytes(),
    );
  assert.deepEqual([error(4).verdict, error(4).program], [0, Program.DELIVERED]);
  assert.equal(error(3).verdict, -DropReason.POLICY);
});

test('an echo in pieces does not leave the cluster, with whatever address', () => {
  const lab = new Lab(PODS);
  const piece = (fragment: number) =>
    lab.send(
      'self',
      packet()
        .eth()
        .ipv4(POD, '203.0.113.9', { fragment, id: 7 })
        .icmp(8)
        .payload(...new Array<number>(8).fill(1))
        .bytes(),
    );
  assert.deepEqual(
    [piece(0x2000), piece(0x0002)].map(({ verdict, program }) => [verdict, program]),
    [
      [-DropReason.INVALID, Program.TO_NETDEV],
      [-DropReason.INVALID, Program.TO_NETDEV],
    ],
  );
});

test('an error about what a pod sent itself through a Service comes back as from the Service', () => {
  const lab = new Lab(PODS + service('self', VIP, 53, 5353).replace('port: 53,', 'port: 53, protocol: UDP,'));
  const sent = lab.send('self', packet().eth().ipv4(POD, VIP).udp(40000, 53).payload(1, 2, 3, 4).bytes());
  assert.equal(flowOf(sent.frame), `${LOOPBACK}:40000 > ${POD}:5353`);
  const refusal = packet()
    .eth()
    .ipv4(POD, LOOPBACK)
    .icmp(3, 3)
    .payload(...sent.frame.subarray(14))
    .bytes();
  const { verdict, program, frame } = lab.send('self', refusal);
  assert.deepEqual([verdict, program, quoted(frame)], [0, Program.DELIVERED, `${POD}:40000 > ${VIP}:53`]);
  assert.deepEqual(
    [26, 30].map((at) => formatAddress(parseAddress(frame.subarray(at, at + 4).join('.'))!)),
    [VIP, POD],
  );
  assert.ok(checksumsHold(frame));
});

test('quoting what it sent itself lets no pod past the policy of another', () => {
  const lab = new Lab(PODS + service('self', VIP, 80, 8080) + NOTHING_GETS_IN);
  const sent = lab.send('self', packet().eth().ipv4(POD, VIP).tcp(40000, 80).bytes());
  const forged = packet()
    .eth()
    .ipv4(POD, OTHER)
    .icmp(3, 3)
    .payload(...sent.frame.subarray(14))
    .bytes();
  assert.equal(lab.send('self', forged).verdict, -DropReason.POLICY);
});

test('an error that goes into the tunnel finds room for both headers in front of the packet', () => {
  const lab = new Lab(`${PODS}${pod('far', '10.2.0.7', 'n2')}${pod('further', '10.2.0.8', 'n2')}`);
  const { wasm } = lab.state.loader.current;
  const below = new Uint8Array(wasm.memory.buffer, wasm.frames() - 64, 64);
  below.fill(0xa5);
  const long = packet()
    .eth()
    .ipv4('10.2.0.7', '10.2.0.8')
    .udp(1, 2)
    .payload(...new Array<number>(1460).fill(0));
  const { verdict, answered, node } = lab.arrive('n1', long.bytes());
  assert.deepEqual([verdict, answered, node], [-DropReason.FRAG_NEEDED, Program.DELIVERED, 2]);
  assert.ok(below.every((byte) => byte === 0xa5));
});
