/** How long a connection is known, and when a packet opens another one. Cilium `bpf/lib/conntrack.h`, `__ct_lookup`, `ct_create4`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BackendState, CtDirection, CtFlag, DropReason, MapId, Program } from '../../assembly/abi.js';
import { decode, encode } from '../../dataplane/wasm.js';
import { CtEntry, CtTuple4, LbAffinityKey4, LbAffinityValue, LbBackend4, LbService } from '../../pkg/structs.js';
import { address, Lab, pod, service, TWO_NODES } from '../lab.js';
import { packet } from '../packet.js';

const CLIENT = '10.1.0.5';
const SERVER = '10.1.0.6';
const VIP = '10.96.0.10';
const YAML = `${TWO_NODES}${pod('client', CLIENT, 'n1')}${pod('web', SERVER, 'n1')}${service('web', VIP, 80, 8080)}`;
const FIN = 0x01;
const SYN = 0x02;
const RST = 0x04;
const ACK = 0x10;

const lab = (): Lab => new Lab(YAML);
const at = ({ state }: Lab, seconds: number): void => state.loader.current.wasm.setClock(seconds);

/** The client's packet to the server, or the server's to the client. */
const ask = (lab: Lab, flags: number): number =>
  lab.send('client', packet().eth().ipv4(CLIENT, SERVER).tcp(40000, 8080, flags).bytes()).verdict;
const answer = (lab: Lab, flags: number): number =>
  lab.send('web', packet().eth().ipv4(SERVER, CLIENT).tcp(8080, 40000, flags).bytes()).verdict;

/** The client's entry, the server's, or that of the Service. */
function entry({ state }: Lab, flags: CtDirection, daddr = SERVER, dport = 8080): Pick<CtEntry, 'lifetime' | 'flags'> {
  const tuple = { daddr: address(daddr), saddr: address(CLIENT), sport: 40000, dport, nexthdr: 6, flags, node: 1 };
  const { lifetime, flags: marks } = decode(
    CtEntry,
    state.loader.current.lookup(MapId.CT4, encode(CtTuple4, tuple), CtEntry.size)!,
  );
  return { lifetime, flags: marks };
}

test('whatever packet opens a TCP connection, it counts as a SYN', () => {
  for (const flags of [SYN, ACK, FIN | ACK, RST]) {
    const one = lab();
    at(one, 100);
    assert.equal(ask(one, flags), 0);
    assert.deepEqual(entry(one, CtDirection.EGRESS), { lifetime: 160, flags: 0 });
  }
});

test('while one side may still send, each packet prolongs the connection, also the one that closes the other side', () => {
  const one = lab();
  ask(one, SYN);
  answer(one, SYN | ACK);
  at(one, 100);
  ask(one, FIN | ACK);
  assert.deepEqual(entry(one, CtDirection.EGRESS), { lifetime: 8100, flags: CtFlag.SEEN_NON_SYN | CtFlag.TX_CLOSING });
  at(one, 200);
  answer(one, ACK);
  assert.equal(entry(one, CtDirection.EGRESS).lifetime, 8200);
  at(one, 300);
  answer(one, FIN | ACK);
  const both = CtFlag.SEEN_NON_SYN | CtFlag.TX_CLOSING | CtFlag.RX_CLOSING;
  assert.deepEqual(entry(one, CtDirection.EGRESS), { lifetime: 310, flags: both });
  at(one, 305);
  ask(one, ACK);
  assert.equal(entry(one, CtDirection.EGRESS).lifetime, 310, 'what is closed is not prolonged');
});

test('what closes is told from the endpoint: the server receives what the client sends', () => {
  const one = lab();
  ask(one, SYN);
  answer(one, SYN | ACK);
  ask(one, FIN | ACK);
  assert.equal(entry(one, CtDirection.EGRESS).flags & 3, CtFlag.TX_CLOSING);
  assert.equal(entry(one, CtDirection.INGRESS).flags & 3, CtFlag.RX_CLOSING);
});

test('a reset ends both ways before both sides have said SYN, later only its own', () => {
  const refused = lab();
  ask(refused, SYN);
  at(refused, 100);
  answer(refused, RST | ACK);
  assert.deepEqual(
    [entry(refused, CtDirection.EGRESS).lifetime, entry(refused, CtDirection.EGRESS).flags & 3],
    [110, CtFlag.TX_CLOSING | CtFlag.RX_CLOSING],
  );
  const open = lab();
  ask(open, SYN);
  answer(open, SYN | ACK);
  at(open, 100);
  ask(open, RST);
  assert.deepEqual(
    [entry(open, CtDirection.EGRESS).lifetime, entry(open, CtDirection.EGRESS).flags & 3],
    [8100, CtFlag.TX_CLOSING],
  );
});

test("a Service's flow, of which only one way passes, is closed by the first FIN", () => {
  const one = lab();
  const send = (flags: number): unknown =>
    one.send('client', packet().eth().ipv4(CLIENT, VIP).tcp(40000, 80, flags).bytes());
  send(SYN);
  at(one, 100);
  send(FIN | ACK);
  assert.equal(entry(one, CtDirection.SERVICE, VIP, 80).lifetime, 110);
});

test('a SYN over a connection that was closing is no reply: the policy is asked', () => {
  const one = new Lab(`${YAML}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: quiet}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Egress]}
`);
  ask(one, SYN);
  assert.equal(answer(one, SYN | ACK), 0);
  assert.equal(answer(one, FIN | ACK), 0);
  assert.equal(answer(one, SYN), -DropReason.POLICY);
});

const AFFINITY = `${YAML}${pod('web2', '10.1.0.7', 'n1').replaceAll('app: web2', 'app: web')}${service('sticky', '10.96.0.20', 80, 8080, ', sessionAffinity: ClientIP').replace('app: sticky', 'app: web')}`;

test('every packet of a flow keeps its client with the backend', () => {
  const one = new Lab(AFFINITY);
  const datapath = one.state.loader.current;
  const lastUsed = (): number => {
    const [key] = datapath.keys(MapId.LB4_AFFINITY, LbAffinityKey4.size);
    return decode(LbAffinityValue, datapath.lookup(MapId.LB4_AFFINITY, key!, LbAffinityValue.size)!).lastUsed;
  };
  for (const [seconds, flags] of [
    [1, SYN],
    [50, ACK],
  ] as const) {
    at(one, seconds);
    one.send('client', packet().eth().ipv4(CLIENT, '10.96.0.20').tcp(40000, 80, flags).bytes());
    assert.equal(lastUsed(), seconds);
  }
});

test('the last backend comes to its end: flows go on there, and none begins', () => {
  const one = lab();
  const datapath = one.state.loader.current;
  const send = (sport: number, flags: number) =>
    one.send('client', packet().eth().ipv4(CLIENT, VIP).tcp(sport, 80, flags).bytes());
  assert.equal(send(40000, SYN).program, Program.DELIVERED);
  for (const { map, key, value } of one.state.desired.entries) {
    if (map === MapId.LB4_BACKENDS) {
      const backend = { ...decode(LbBackend4, value), state: BackendState.TERMINATING };
      datapath.update(map, key, encode(LbBackend4, backend));
    }
    if (map === MapId.LB4_SERVICES)
      datapath.update(map, key, encode(LbService, { ...decode(LbService, value), count: 0 }));
  }
  assert.equal(send(40000, ACK).program, Program.DELIVERED);
  assert.equal(send(40000, SYN).verdict, -DropReason.NO_SERVICE);
  assert.equal(send(40001, SYN).verdict, -DropReason.NO_SERVICE);
});
