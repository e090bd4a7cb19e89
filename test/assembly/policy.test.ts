/** Policies beyond allow and deny: audit mode, authentication, the node's own firewall, and what always passes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AuthType,
  ConfigFlag,
  CtDirection,
  DropReason,
  IpProto,
  MapId,
  Program,
  ReservedIdentity,
} from '../../assembly/abi.js';
import { AuthInfo, AuthKey, CtEntry, PolicyEntry, PolicyKey, RuntimeConfig } from '../../pkg/structs.js';
import { parseAddress } from '../../dataplane/addresses.js';
import { mapsOf } from '../../dataplane/loader/families.js';
import type { Settings } from '../../dataplane/settings.js';
import { decode, encode } from '../../dataplane/wasm.js';
import { DUAL, FAMILIES } from '../dual.js';
import { flowOf, Lab } from '../lab.js';
import { packet } from '../packet.js';

const ISOLATED = `${DUAL}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: near}
spec: {podSelector: {matchLabels: {app: near}}, policyTypes: [Ingress]}
---
`;
const WEB = { egress: 0, protocol: IpProto.TCP, dport: 8080, prefixLength: 24 };
const OUT = { ...WEB, egress: 1 };
const TYPE = 1;

/** Sets flags of the agent's configuration in place of those that the settings make. */
const configure = (lab: Lab, flags: number): void => {
  lab.state.loader.current.update(MapId.RUNTIME_CONFIG, '\0\0\0\0', encode(RuntimeConfig, { flags, mtu: 1500 }));
};

for (const { family, ip, client, near, far, nearService, n1, n2, outside } of FAMILIES) {
  const six = family === 'IPv6';

  test(`${family}: in audit mode a refused packet passes, and says what stood against it, and where`, () => {
    const frame = ip(client, nearService).tcp(40000, 80).bytes();
    assert.equal(new Lab(ISOLATED).send('client', frame).verdict, -DropReason.POLICY);
    const lab = new Lab(ISOLATED, { policyAuditMode: true });
    const ingress = lab.send('client', frame);
    assert.deepEqual(
      [ingress.verdict, ingress.program, ingress.audited],
      [0, Program.DELIVERED, DropReason.POLICY | (CtDirection.INGRESS << 8)],
    );
    lab.policy('client', OUT, { deny: 1 });
    assert.equal(
      lab.send('client', ip(client, far).tcp(40000, 8080).bytes()).audited,
      DropReason.POLICY_DENY | (CtDirection.EGRESS << 8),
    );
    assert.equal(lab.send('client', ip(client, far).tcp(40000, 8081).bytes()).audited, 0);
  });

  test(`${family}: an entry that asks for authentication lets those who have done so, until that expires`, () => {
    const lab = new Lab(DUAL);
    const { wasm } = lab.state.loader.current;
    lab.policy('client', OUT, { authType: TYPE });
    const ask = (): number => lab.send('client', ip(client, far).tcp(40000, 8080).bytes()).verdict;
    assert.equal(ask(), -DropReason.POLICY_AUTH_REQUIRED);
    const key = {
      localSecLabel: lab.identity('client'),
      remoteSecLabel: lab.identity('far'),
      remoteNodeId: 2,
      node: 1,
      authType: TYPE,
    };
    lab.state.loader.current.update(MapId.AUTH, encode(AuthKey, key), encode(AuthInfo, { expiration: 100n }));
    wasm.setClock(99);
    assert.equal(ask(), 0);
    wasm.setClock(100);
    assert.equal(ask(), -DropReason.POLICY_AUTH_REQUIRED);
    wasm.setClock(0);
    lab.state.loader.current.delete(MapId.NODES4, encode(mapsOf(0).NodeKey, { address: parseAddress('192.168.0.2')! }));
    assert.equal(ask(), -DropReason.NO_NODE_ID);
  });

  test(`${family}: a pod of the same node needs no node's name; the wildcard's way holds where the peer's entry names none`, () => {
    const lab = new Lab(DUAL);
    const { current } = lab.state.loader;
    const ask = (): number => lab.send('client', ip(client, near).tcp(40000, 8080).bytes()).verdict;
    const peer = { ...OUT, secLabel: lab.identity('near') };
    lab.policy('client', peer, {});
    lab.policy('client', OUT, { authType: TYPE });
    assert.equal(ask(), -DropReason.POLICY_AUTH_REQUIRED);
    const key = { localSecLabel: lab.identity('client'), remoteSecLabel: peer.secLabel, node: 1, authType: TYPE };
    current.update(MapId.AUTH, encode(AuthKey, key), encode(AuthInfo, { expiration: 100n }));
    assert.equal(ask(), 0);
    current.delete(MapId.AUTH, encode(AuthKey, key));
    lab.policy('client', peer, { authType: AuthType.EXPLICIT });
    assert.equal(ask(), 0);
  });

  test(`${family}: in audit mode nobody is asked whether he has authenticated, and a proxy decides all the same`, () => {
    const lab = new Lab(DUAL, { policyAuditMode: true });
    lab.policy('client', OUT, { authType: TYPE, proxyPort: 10000, proxyPortPriority: 26 });
    const out = lab.send('client', ip(client, near).tcp(40000, 8080).bytes());
    const audited = DropReason.POLICY_AUTH_REQUIRED | (CtDirection.EGRESS << 8);
    assert.deepEqual([out.verdict, out.program, out.audited], [0, Program.PROXY, audited]);
  });

  test(`${family}: who comes from nowhere that is known has not authenticated`, () => {
    const lab = new Lab(DUAL);
    const { current } = lab.state.loader;
    const { map, IpcacheKey } = mapsOf(parseAddress(outside)!);
    const key = {
      localSecLabel: lab.identity('near'),
      remoteSecLabel: ReservedIdentity.WORLD,
      node: 1,
      authType: TYPE,
    };
    current.update(MapId.AUTH, encode(AuthKey, key), encode(AuthInfo, { expiration: 100n }));
    lab.policy('near', WEB, { authType: TYPE });
    current.delete(map(MapId.IPCACHE4), encode(IpcacheKey, { address: six ? 0n : 0, prefixLength: 0 }));
    const out = lab.arrive('n1', ip(outside, near).tcp(40000, 8080).bytes());
    assert.deepEqual([out.sourceIdentity, out.verdict], [ReservedIdentity.WORLD, -DropReason.POLICY_AUTH_REQUIRED]);
  });

  test(`${family}: an ingress entry asks the one who comes to authenticate`, () => {
    const lab = new Lab(DUAL);
    lab.policy('near', WEB, { authType: TYPE });
    const out = lab.send('client', ip(client, near).tcp(40000, 8080).bytes());
    assert.deepEqual([out.verdict, out.program], [-DropReason.POLICY_AUTH_REQUIRED, Program.LXC_POLICY]);
  });

  /** A policy of node n1 alone, that lets what the entries say. */
  const guarded = (...entries: Partial<PolicyKey>[]): Lab => guardedIn({}, ...entries);
  const guardedIn = (settings: Partial<Settings>, ...entries: Partial<PolicyKey>[]): Lab => {
    const lab = new Lab(DUAL, { hostFirewall: true, ...settings });
    const { policies, cluster, loader } = lab.state;
    const { id, entries: own } = policies.ofNode.get(cluster.nodes[0]!)!;
    for (const { egress } of own)
      loader.current.delete(MapId.POLICY, encode(PolicyKey, { policyId: id, egress: egress ? 1 : 0 }));
    for (const entry of entries)
      loader.current.update(MapId.POLICY, encode(PolicyKey, { policyId: id, ...entry }), encode(PolicyEntry, {}));
    return lab;
  };
  const SSH = { egress: 0, protocol: IpProto.TCP, dport: 22, prefixLength: 24 };

  test(`${family}: nodes without a policy of their own let everything, with the firewall on as well`, () => {
    const lab = new Lab(DUAL, { hostFirewall: true });
    assert.equal(lab.arrive('n1', ip(outside, n1).tcp(40000, 22).bytes()).program, Program.HOST);
    assert.equal(lab.host('n1', ip(n1, outside).tcp(40000, 443).bytes()).program, Program.WORLD);
    assert.equal(lab.host('n1', ip(n1, far).tcp(40000, 8080).bytes()).program, Program.DELIVERED);
  });

  test(`${family}: a node's firewall lets in what its policy names, from outside, from its pods and from other nodes`, () => {
    const lab = guarded(SSH);
    const verdicts = (port: number): number[] => [
      lab.arrive('n1', ip(outside, n1).tcp(40000, port).bytes()).verdict,
      lab.send('client', ip(client, n1).tcp(40000, port).bytes()).verdict,
      lab.arrive('n1', ip(n2, n1).tcp(40000, port).bytes()).verdict,
    ];
    assert.deepEqual(verdicts(22), [0, 0, 0]);
    assert.deepEqual(verdicts(23), [-DropReason.POLICY, -DropReason.POLICY, -DropReason.POLICY]);
    const refused = lab.arrive('n1', ip(outside, n1).tcp(40000, 23).bytes());
    assert.equal(refused.program, Program.TO_HOST);
  });

  test(`${family}: a node's firewall lets out what its policy names, to pods and elsewhere, and every reply`, () => {
    const lab = guarded(SSH, { ...SSH, egress: 1, dport: 443 });
    const send = (to: string, port: number): number => lab.host('n1', ip(n1, to).tcp(40000, port).bytes()).verdict;
    assert.deepEqual([send(outside, 443), send(near, 443), send(far, 443)], [0, 0, 0]);
    assert.deepEqual(
      [send(outside, 80), send(near, 80), send(far, 80)],
      [-DropReason.POLICY, -DropReason.POLICY, -DropReason.POLICY],
    );
    assert.equal(lab.arrive('n1', ip(outside, n1).tcp(50000, 22).bytes()).verdict, 0);
    assert.equal(lab.host('n1', ip(n1, outside).tcp(22, 50000, 0x12).bytes()).verdict, 0);
    assert.equal(lab.arrive('n1', ip(outside, n1).tcp(443, 40000, 0x12).bytes()).verdict, 0);
  });

  test(`${family}: what a node's firewall knows of a connection is nothing that its pods' policies know`, () => {
    const lab = guarded(SSH, { egress: 1 });
    const { id } = lab.state.policies.ofNode.get(lab.state.cluster.nodes[0]!)!;
    const proxied = { ...SSH, protocol: IpProto.UDP, dport: 8080, policyId: id };
    lab.state.loader.current.update(
      MapId.POLICY,
      encode(PolicyKey, proxied),
      encode(PolicyEntry, { proxyPort: 10000 }),
    );
    // Of the way out of the pod nothing is remembered; of that into the node it is, with the proxy's mark.
    assert.equal(lab.arrive('n1', ip(client, n1).udp(40000, 8080).bytes()).program, Program.HOST);
    assert.equal(lab.host('n1', ip(n1, client).udp(8080, 40000).bytes()).program, Program.DELIVERED);
    const quoted = ip(client, n1).udp(40000, 8080).payload(1).bytes().subarray(14);
    const [type, code] = six ? [1, 4] : [3, 3];
    const error = lab.host(
      'n1',
      ip(outside, client)
        .icmp(type, code)
        .payload(...quoted)
        .bytes(),
    );
    assert.deepEqual([error.verdict, error.program], [0, Program.DELIVERED]);
  });

  test(`${family}: nor is what opens a connection anew a Service's reply for being one to a node's firewall`, () => {
    const lab = guarded({ egress: 1 }, { egress: 0 });
    const ask = (flags: number, ttl = 64): number =>
      lab.arrive('n1', ip(outside, n1, { ttl }).tcp(40000, 30020, flags).bytes()).verdict;
    assert.equal(ask(2), 0);
    // It is closed for the node's device, and the pod never hears of that.
    assert.equal(ask(4, 1), -DropReason.TTL_EXCEEDED);
    const out = lab.host('n1', ip(near, outside).tcp(8080, 40000).bytes());
    assert.ok(flowOf(out.frame).startsWith(`${near}:8080 `), flowOf(out.frame));
  });

  test(`${family}: a node's firewall asks once about a packet, by whatever way it leaves`, () => {
    for (const cni of ['cilium-vxlan', 'cilium-native'] as const) {
      const lab = guardedIn({ cni }, { egress: 1 });
      const { CtTuple, map } = mapsOf(parseAddress(n1)!);
      for (const to of [near, far, outside]) {
        lab.host('n1', ip(n1, to).tcp(40000, 8080).bytes());
        const ends = { saddr: parseAddress(n1)!, daddr: parseAddress(to)!, sport: 40000, dport: 8080 };
        const key = encode(CtTuple, { ...ends, nexthdr: IpProto.TCP, flags: CtDirection.EGRESS, node: 1 });
        const entry = lab.state.loader.current.lookup(map(MapId.CT4), key, CtEntry.size)!;
        assert.equal(decode(CtEntry, entry).packets, 1n, `${cni}, to ${to}`);
      }
    }
  });

  test(`${family}: a node's firewall does not ask about its pods' packets`, () => {
    const lab = guarded();
    assert.equal(lab.send('client', ip(client, outside).tcp(40000, 443).bytes()).program, Program.WORLD);
    assert.equal(lab.arrive('n1', ip(outside, near).tcp(40000, 8080).bytes()).program, Program.DELIVERED);
  });

  test(`${family}: where fragments are not tracked, one that arrives passes only rules without ports`, () => {
    const piece = six
      ? ip(outside, near, { extensions: [[44, [0, 0, 0, 1, 0, 0, 0, 7]]] })
          .udp(1, 8080)
          .bytes()
      : ip(outside, near, { fragment: 0x2000, id: 7 }).udp(1, 8080).bytes();
    const later = six
      ? ip(outside, near, { extensions: [[44, [0, 0, 0, 9, 0, 0, 0, 7]]] })
          .udp(1, 8080)
          .bytes()
      : ip(outside, near, { fragment: 0x2001, id: 7 }).udp(1, 8080).bytes();
    for (const frame of [piece, later]) {
      const lab = new Lab(ISOLATED);
      configure(lab, 0);
      lab.policy('near', { ...WEB, protocol: IpProto.UDP }, {});
      assert.equal(lab.arrive('n1', frame).verdict, -DropReason.FRAG_NOSUPPORT);
      lab.policy('near', { egress: 0, protocol: IpProto.UDP, prefixLength: 8 }, {});
      assert.equal(lab.arrive('n1', frame).verdict, 0);
      configure(lab, ConfigFlag.TRACK_FRAGMENTS);
      assert.equal(lab.arrive('n1', piece).verdict, 0);
    }
  });

  test(`${family}: a pod's own node reaches it whatever policies say, unless they alone are to say so`, () => {
    const ask = (settings: object): number =>
      new Lab(ISOLATED, settings).host('n1', ip(n1, near).tcp(40000, 8080).bytes()).verdict;
    assert.deepEqual(
      [ask({}), ask({ allowLocalhost: 'always' }), ask({ allowLocalhost: 'policy' })],
      [0, 0, -DropReason.POLICY],
    );
  });

  // ICMPv6 has a type of its own for that, which rules name.
  if (six) continue;
  test(`${family}: a policy lets ICMP say that packets are too large, where Cilium is told so`, () => {
    const quote = packet().eth().ipv4(near, outside).udp(1, 2).bytes().subarray(14);
    const error = ip(outside, near)
      .icmp(3, 4, 1400)
      .payload(...quote)
      .bytes();
    const lab = new Lab(ISOLATED);
    assert.equal(lab.arrive('n1', error).verdict, 0);
    configure(lab, ConfigFlag.TRACK_FRAGMENTS);
    assert.equal(lab.arrive('n1', error).verdict, -DropReason.POLICY);
    const other = ip(outside, near)
      .icmp(3, 1)
      .payload(...quote)
      .bytes();
    assert.equal(new Lab(ISOLATED).arrive('n1', other).verdict, -DropReason.POLICY);
  });
}
