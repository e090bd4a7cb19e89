/** Programs on sockets: Services translated before any packet, and back once the last has come. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DropReason, MapId, Program } from '../../assembly/abi.js';
import { LbBackendKey, LbService, MetricsValue } from '../../pkg/structs.js';
import { parseAddress } from '../../dataplane/addresses.js';
import { mapsOf } from '../../dataplane/loader/families.js';
import { decode, encode } from '../../dataplane/wasm.js';
import { datapath } from '../datapath.js';
import { DUAL, FAMILIES } from '../dual.js';
import { flowOf, Lab } from '../lab.js';
import { checksumsHold } from '../packet.js';

const SYN_ACK = 0x12;

for (const at of FAMILIES) {
  const { family, ip } = at;
  const lab = (settings = {}): Lab => new Lab(DUAL, { socketLB: true, ...settings });

  test(`${family}: a pod's socket speaks to a backend of the same node; the reply comes from the Service`, () => {
    const one = lab();
    const out = one.connect('client', ip(at.client, at.nearService).tcp(40000, 80).bytes());
    assert.deepEqual(
      [out.verdict, out.program, flowOf(out.frame)],
      [0, Program.DELIVERED, `${at.client}:40000 > ${at.near}:8080`],
    );
    assert.notEqual(out.backendId, 0);
    const back = one.send('near', ip(at.near, at.client).tcp(8080, 40000, SYN_ACK).bytes());
    assert.deepEqual(
      [back.verdict, back.program, flowOf(back.frame)],
      [0, Program.DELIVERED, `${at.nearService}:80 > ${at.client}:40000`],
    );
    assert.ok(checksumsHold(out.frame) && checksumsHold(back.frame));
  });

  test(`${family}: so does one of the node itself, by the Service's address, by a node port and by its loopback`, () => {
    for (const [asked, port] of [
      [at.farService, 53],
      [at.n2, 30130],
      [at.loopback, 30130],
    ] as const) {
      const one = lab();
      const out = one.connect('n1', ip(at.n1, asked).udp(40000, port).bytes());
      assert.deepEqual(
        [out.verdict, out.program, out.node, flowOf(out.frame)],
        [0, Program.DELIVERED, 2, `${at.n1}:40000 > ${at.far}:8053`],
      );
      const back = one.send('far', ip(at.far, at.n1).udp(8053, 40000).bytes());
      assert.deepEqual(
        [back.verdict, back.program, flowOf(back.frame)],
        [0, Program.HOST, `${asked}:${port} > ${at.n1}:40000`],
      );
    }
  });

  test(`${family}: with hostNamespaceOnly a pod's socket keeps the Service's address, a node's does not`, () => {
    const one = lab({ socketLB: 'hostNamespaceOnly' });
    const state = one.state.loader.current;
    one.connect('client', ip(at.client, at.nearService).tcp(40000, 80).bytes());
    assert.equal(state.wasm.mapCount(mapsOf(parseAddress(at.client)!).map(MapId.LB4_REVERSE_SK)), 0);
    one.connect('n1', ip(at.n1, at.nearService).tcp(40000, 80).bytes());
    assert.equal(state.wasm.mapCount(mapsOf(parseAddress(at.client)!).map(MapId.LB4_REVERSE_SK)), 1);
  });

  test(`${family}: a pod that its own Service picks speaks to itself, without a packet; and hears from the Service`, () => {
    const one = lab();
    const out = one.connect('client', ip(at.client, at.clientService).tcp(40000, 80).bytes());
    assert.deepEqual(
      [out.verdict, out.program, flowOf(out.frame)],
      [0, Program.DELIVERED, `${at.client}:40000 > ${at.client}:8080`],
    );
    const back = one.connect('client', ip(at.client, at.client).tcp(8080, 40000, SYN_ACK).bytes());
    assert.equal(flowOf(back.frame), `${at.clientService}:80 > ${at.client}:40000`);
  });

  test(`${family}: what is no Service's, or neither TCP nor UDP, is left to its packets`, () => {
    const one = lab();
    const direct = one.connect('client', ip(at.client, at.near).tcp(40000, 8080).bytes());
    assert.deepEqual([direct.verdict, flowOf(direct.frame)], [0, `${at.client}:40000 > ${at.near}:8080`]);
    const port = one.connect('client', ip(at.client, at.nearService).tcp(40000, 81).bytes());
    assert.deepEqual([port.verdict, port.program], [-DropReason.NO_SERVICE, Program.FROM_CONTAINER]);
    const sctp = one.connect('client', ip(at.client, at.nearService).sctp(40000, 80).bytes());
    assert.deepEqual([sctp.verdict, sctp.program], [-DropReason.NO_SERVICE, Program.FROM_CONTAINER]);
  });

  test(`${family}: without a backend, its slot or room to remember it, there is no connection`, () => {
    const none = lab().connect('client', ip(at.client, at.nobody).tcp(40000, 80).bytes());
    assert.deepEqual([none.verdict, none.program], [-DropReason.LB_NO_BACKEND, Program.SOCK_CONNECT]);

    const maps = mapsOf(parseAddress(at.client)!);
    const key = (backendSlot: number) =>
      encode(maps.LbKey, { address: parseAddress(at.nearService)!, dport: 80, backendSlot, proto: 6 });
    const ask = (one: Lab): number =>
      one.connect('client', ip(at.client, at.nearService).tcp(40000, 80).bytes()).verdict;
    const slotless = lab({ 'loadBalancer.algorithm': 'random' });
    slotless.state.loader.current.delete(maps.map(MapId.LB4_SERVICES), key(1));
    assert.equal(ask(slotless), -DropReason.LB_NO_BACKEND_SLOT);

    const gone = lab();
    const { current } = gone.state.loader;
    const { backendId } = decode(LbService, current.lookup(maps.map(MapId.LB4_SERVICES), key(1), LbService.size)!);
    current.delete(maps.map(MapId.LB4_BACKENDS), encode(LbBackendKey, { backendId }));
    assert.equal(ask(gone), -DropReason.LB_NO_BACKEND);
  });

  test(`${family}: a client of a Service that keeps its clients is known by its network namespace`, () => {
    const sticky = DUAL.replaceAll(
      'selector: {app: far}',
      'sessionAffinity: ClientIP\n  selector: {role: any}',
    ).replaceAll(/labels: \{app: (near|far)\}/g, 'labels: {role: any}');
    const one = new Lab(sticky, { socketLB: true });
    const picked = new Set<string>();
    for (let sport = 40000; sport < 40016; sport++)
      picked.add(
        flowOf(one.connect('client', ip(at.client, at.farService).tcp(sport, 80).bytes()).frame).split(' > ')[1]!,
      );
    assert.equal(picked.size, 1);
    const maps = mapsOf(parseAddress(at.client)!);
    const keys = one.state.loader.current.keys(maps.map(MapId.LB4_AFFINITY), maps.LbAffinityKey.size);
    assert.deepEqual(
      keys.map((key) => decode(maps.LbAffinityKey, key).netnsCookie),
      [1],
    );
  });

  test(`${family}: a Service that has lost its last backend is not named any more, and that is counted`, () => {
    const one = lab();
    one.connect('client', ip(at.client, at.nearService).tcp(40000, 80).bytes());
    const maps = mapsOf(parseAddress(at.client)!);
    const { current } = one.state.loader;
    const key = encode(maps.LbKey, { address: parseAddress(at.nearService)!, dport: 80, proto: 6 });
    const master = decode(LbService, current.lookup(maps.map(MapId.LB4_SERVICES), key, LbService.size)!);
    current.update(maps.map(MapId.LB4_SERVICES), key, encode(LbService, { ...master, count: 0 }));
    const back = one.send('near', ip(at.near, at.client).tcp(8080, 40000, SYN_ACK).bytes());
    assert.deepEqual([back.verdict, flowOf(back.frame)], [0, `${at.near}:8080 > ${at.client}:40000`]);
    const index = String.fromCharCode(DropReason.LB_REVNAT_STALE << 1, 0, 0, 0);
    assert.equal(decode(MetricsValue, current.lookup(MapId.METRICS, index, MetricsValue.size)!).count, 1n);
    assert.equal(current.wasm.mapCount(maps.map(MapId.LB4_REVERSE_SK)), 0);
  });
}

test('where nothing can be remembered of sockets, none is connected to a Service', () => {
  const { desired, loader } = new Lab(DUAL, { socketLB: true }).state;
  const { sizes } = loader.current;
  const small = datapath({ ...sizes, reverseSk4: 0, reverseSk6: 0 });
  for (const { map, key, value } of desired.entries) assert.equal(small.update(map, key, value), 0);
  for (const { revNatIndex, backends, map } of desired.maglev) small.buildMaglev(revNatIndex, backends, map);
  const [endpoint] = [...desired.endpointIds].find(([{ name }]) => name === 'client')!.slice(1) as [number];
  for (const { ip, client, nearService } of FAMILIES) {
    const frame = ip(client, nearService).tcp(40000, 80).bytes();
    const [out] = small.process([{ frame, node: 0, program: Program.SOCK_CONNECT, endpoint }]);
    assert.equal(out!.verdict, -DropReason.LB_REVNAT_UPDATE);
  }
});
