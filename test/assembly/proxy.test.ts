/** Redirects to proxies, by entries put into the policymap by hand, and what the proxies send on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DropReason, IpProto, Mark, Program } from '../../assembly/abi.js';
import { DUAL, FAMILIES } from '../dual.js';
import { flowOf, Lab } from '../lab.js';
import { checksumsHold } from '../packet.js';

const PORT = 10000;
const WEB = { egress: 0, protocol: IpProto.TCP, dport: 8080, prefixLength: 24 };
const OUT = { ...WEB, egress: 1 };
const SYN_ACK = 0x12;

/** As the datapath marks what goes to a proxy: the port in network order, in the upper half. */
const toProxy = (port: number): number => (Mark.TO_PROXY | ((port >> 8) << 16) | ((port & 255) << 24)) >>> 0;
const from = (magic: Mark, identity: number): number => ((identity << 16) | magic) >>> 0;

for (const { family, ip, client, near, far, nearService, outside } of FAMILIES) {
  test(`${family}: an egress rule hands a pod's packet to the proxy, which goes on with the pod's identity; the reply takes the same way back`, () => {
    const lab = new Lab(DUAL);
    lab.policy('client', OUT, { proxyPort: PORT, proxyPortPriority: 26 });
    const asked = lab.send('client', ip(client, nearService).tcp(40000, 80).bytes());
    assert.deepEqual(
      [asked.verdict, asked.program, asked.mark, flowOf(asked.frame)],
      [0, Program.PROXY, toProxy(PORT), `${client}:40000 > ${near}:8080`],
    );
    const identity = lab.identity('client');
    const on = lab.proxy('n1', ip(client, near).tcp(40000, 8080).bytes(), from(Mark.PROXY_EGRESS, identity));
    assert.deepEqual([on.verdict, on.program, on.sourceIdentity], [0, Program.DELIVERED, identity]);
    const reply = lab.send('near', ip(near, client).tcp(8080, 40000, SYN_ACK).bytes());
    assert.deepEqual([reply.verdict, reply.program, reply.mark], [0, Program.PROXY, toProxy(0)]);
    const back = lab.proxy(
      'n1',
      ip(near, client).tcp(8080, 40000, SYN_ACK).bytes(),
      from(Mark.PROXY_EGRESS, lab.identity('near')),
    );
    assert.deepEqual(
      [back.verdict, back.program, flowOf(back.frame)],
      [0, Program.DELIVERED, `${nearService}:80 > ${client}:40000`],
    );
    assert.ok(checksumsHold(back.frame));
  });

  test(`${family}: an ingress rule hands it to the proxy of the receiver's node, whose own packet is not asked again`, () => {
    const lab = new Lab(DUAL);
    lab.policy('far', { ...WEB, secLabel: lab.identity('client') }, { proxyPort: PORT, proxyPortPriority: 26 });
    const asked = lab.send('client', ip(client, far).tcp(40000, 8080).bytes());
    assert.deepEqual([asked.verdict, asked.program, asked.node, asked.mark], [0, Program.PROXY, 2, toProxy(PORT)]);
    const mark = from(Mark.PROXY_INGRESS, lab.identity('client'));
    const on = lab.proxy('n2', ip(client, far).tcp(40000, 8080).bytes(), mark);
    assert.deepEqual([on.verdict, on.program, on.node], [0, Program.DELIVERED, 2]);
    const reply = lab.send('far', ip(far, client).tcp(8080, 40000, SYN_ACK).bytes());
    assert.deepEqual([reply.verdict, reply.program, reply.node], [0, Program.PROXY, 2]);
    const back = lab.proxy(
      'n2',
      ip(far, client).tcp(8080, 40000, SYN_ACK).bytes(),
      from(Mark.PROXY_INGRESS, lab.identity('far')),
    );
    assert.deepEqual(
      [back.verdict, back.program, back.node, flowOf(back.frame)],
      [0, Program.DELIVERED, 1, `${far}:8080 > ${client}:40000`],
    );
  });

  test(`${family}: an established connection goes to the proxy packet by packet`, () => {
    const lab = new Lab(DUAL);
    lab.policy('client', OUT, { proxyPort: PORT, proxyPortPriority: 26 });
    for (const flags of [2, 16, 16])
      assert.equal(lab.send('client', ip(client, near).tcp(40000, 8080, flags).bytes()).program, Program.PROXY);
  });

  test(`${family}: the entry with the higher proxy port priority decides, then the longer one, then that of the peer`, () => {
    const redirected = (entries: (lab: Lab) => void): number => {
      const lab = new Lab(DUAL);
      entries(lab);
      const { program, mark } = lab.send('client', ip(client, near).tcp(40000, 8080).bytes());
      return program === Program.PROXY ? ((mark >>> 24) & 255) | ((mark >>> 8) & 0xff00) : 0;
    };
    const peer = (lab: Lab): { secLabel: number } => ({ secLabel: lab.identity('near') });
    // A wildcard's redirect goes before a peer's plain entry, and before its redirect of a lower priority.
    assert.equal(
      redirected((lab) => {
        lab.policy('client', { ...OUT, ...peer(lab) }, {});
        lab.policy('client', OUT, { proxyPort: 10001, proxyPortPriority: 6 });
      }),
      10001,
    );
    assert.equal(
      redirected((lab) => {
        lab.policy('client', { ...OUT, ...peer(lab) }, { proxyPort: 10001, proxyPortPriority: 6 });
        lab.policy('client', OUT, { proxyPort: 10000, proxyPortPriority: 26 });
      }),
      10000,
    );
    const whole = { egress: 1, prefixLength: 0 };
    assert.equal(
      redirected((lab) => {
        lab.policy('client', { ...whole, ...peer(lab) }, { proxyPort: 10002, proxyPortPriority: 26 });
        lab.policy('client', OUT, { proxyPort: 10003, proxyPortPriority: 26 });
      }),
      10003,
    );
    assert.equal(
      redirected((lab) => {
        lab.policy('client', { ...OUT, ...peer(lab) }, { proxyPort: 10004, proxyPortPriority: 26 });
        lab.policy('client', OUT, { proxyPort: 10005, proxyPortPriority: 26 });
      }),
      10004,
    );
  });

  test(`${family}: a protocol without sockets for a proxy is dropped`, () => {
    const lab = new Lab(DUAL);
    lab.policy('client', { egress: 1, prefixLength: 0 }, { proxyPort: PORT });
    const sctp = lab.send('client', ip(client, near).sctp(40000, 8080).bytes());
    assert.deepEqual([sctp.verdict, sctp.program], [-DropReason.PROXY_UNKNOWN_PROTO, Program.FROM_CONTAINER]);
  });

  test(`${family}: a prefix outside keeps the identity that it has, for which a mark has no room`, () => {
    const prefix = family === 'IPv6' ? '2001:db8::/32' : '203.0.113.0/24';
    const lab = new Lab(`${DUAL}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: near}
spec: {podSelector: {matchLabels: {app: near}}, ingress: [{from: [{ipBlock: {cidr: "${prefix}"}}]}]}
`);
    const secLabel = lab.arrive('n1', ip(outside, near).tcp(40000, 8080).bytes()).sourceIdentity;
    assert.ok(secLabel > 0xffffff, `${secLabel}`);
    lab.policy('near', { ...WEB, secLabel }, { proxyPort: PORT, proxyPortPriority: 26 });
    const mark = from(Mark.PROXY_INGRESS, secLabel & 0xffff) | ((secLabel >>> 16) & 0xff);
    const on = lab.proxy('n1', ip(outside, near).tcp(40001, 8080).bytes(), mark >>> 0);
    assert.deepEqual([on.program, on.sourceIdentity], [Program.DELIVERED, secLabel]);
  });

  test(`${family}: an identity beyond 16 bits is kept in the mark`, () => {
    const lab = new Lab(DUAL);
    const mark = (0x0005 << 16) | Mark.PROXY_EGRESS | 0x01;
    assert.equal(lab.proxy('n1', ip(client, near).tcp(40000, 8080).bytes(), mark).sourceIdentity, 0x010005);
  });
}
