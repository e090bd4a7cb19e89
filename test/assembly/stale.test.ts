/** Connections that are known already, but as another's: what is remembered of them is made anew. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IpProto, Mark, Program } from '../../assembly/abi.js';
import { flowOf, Lab, pod, service, TWO_NODES } from '../lab.js';
import { packet } from '../packet.js';

const CLUSTER = [
  TWO_NODES,
  pod('client', '10.1.0.5', 'n1'),
  pod('near', '10.1.0.6', 'n1'),
  service('near', '10.96.0.20', 80, 8080).replace(
    'spec: {',
    'spec: {type: LoadBalancer, externalIPs: [198.51.100.20, 198.51.100.21], ',
  ),
].join('');
const [CLIENT, NEAR, WORLD] = ['10.1.0.5', '10.1.0.6', '203.0.113.9'];
const SYN_ACK = 0x12;
const from = (source: string, sport: number, destination: string, dport: number, flags = 2): Uint8Array =>
  packet().eth().ipv4(source, destination).tcp(sport, dport, flags).bytes();
const reply = (lab: Lab, to: string, port: number): string =>
  flowOf(lab.send('near', from(NEAR, 8080, to, port, SYN_ACK)).frame);

test('a pod asks a Service from the port from which it spoke to that backend: it hears from the Service', () => {
  const lab = new Lab(CLUSTER);
  lab.send('client', from(CLIENT, 40000, NEAR, 8080));
  assert.equal(reply(lab, CLIENT, 40000), `${NEAR}:8080 > ${CLIENT}:40000`);
  lab.send('client', from(CLIENT, 40000, '10.96.0.20', 80));
  assert.equal(reply(lab, CLIENT, 40000), `10.96.0.20:80 > ${CLIENT}:40000`);
  lab.send('client', from(CLIENT, 40000, NEAR, 8080));
  assert.equal(reply(lab, CLIENT, 40000), `${NEAR}:8080 > ${CLIENT}:40000`);
});

test('a client outside asks one address from the port from which it asked another: it hears from whom it asked last', () => {
  const lab = new Lab(CLUSTER);
  for (const address of ['198.51.100.20', '198.51.100.21']) {
    lab.arrive('n1', from(WORLD, 50000, address, 80));
    assert.equal(flowOf(lab.arrive('n1', from(WORLD, 50000, address, 80, 16)).frame), `${WORLD}:50000 > ${NEAR}:8080`);
  }
  lab.state.loader.current.flushConnections();
  lab.arrive('n2', from(WORLD, 50000, '198.51.100.20', 80));
  const out = lab.arrive('n2', from(WORLD, 50000, '198.51.100.21', 80));
  const port = Number(flowOf(out.frame).split(' ')[0]!.split(':')[1]);
  assert.equal(reply(lab, '192.168.0.2', port), `198.51.100.21:80 > ${WORLD}:50000`);
});

test('a rule for a proxy comes while the connection is there: its replies go to the proxy', () => {
  const lab = new Lab(CLUSTER);
  lab.send('client', from(CLIENT, 40000, NEAR, 8080));
  assert.equal(lab.send('near', from(NEAR, 8080, CLIENT, 40000, SYN_ACK)).program, Program.DELIVERED);
  const rule = { egress: 1, protocol: IpProto.TCP, dport: 8080, prefixLength: 24 };
  lab.policy('client', rule, { proxyPort: 10000, proxyPortPriority: 26 });
  assert.equal(lab.send('client', from(CLIENT, 40000, NEAR, 8080, 16)).program, Program.PROXY);
  assert.equal(lab.send('near', from(NEAR, 8080, CLIENT, 40000, 16)).program, Program.PROXY);
});

for (const [what, asked, heard] of [
  ['the pod', NEAR, `${NEAR}:8080`],
  ['a Service', '198.51.100.20', '198.51.100.20:80'],
] as const)
  test(`a client outside that asked ${what} hears from it, with a proxy in between`, () => {
    const lab = new Lab(CLUSTER);
    const rule = { egress: 0, protocol: IpProto.TCP, dport: 8080, prefixLength: 24 };
    lab.policy('near', rule, { proxyPort: 10000, proxyPortPriority: 26 });
    const request = lab.arrive('n1', from(WORLD, 50000, asked, asked === NEAR ? 8080 : 80));
    assert.equal(request.program, Program.PROXY);
    const mark = ((lab.identity('near') << 16) | Mark.PROXY_INGRESS) >>> 0;
    const back = lab.proxy('n1', from(NEAR, 8080, WORLD, 50000, SYN_ACK), mark);
    assert.deepEqual([back.verdict, back.program, flowOf(back.frame)], [0, Program.WORLD, `${heard} > ${WORLD}:50000`]);
  });
