/** The lives of connections: what each packet of a sequence leaves in conntrack, when an entry is collected, and who is assured of its place. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  BackendState,
  CtDirection,
  CtFlag,
  CtStatus,
  EventType,
  MapId,
  Program,
  Step,
  TcpFlag,
} from '../../assembly/abi.js';
import { decode, encode, type PacketOut } from '../../dataplane/wasm.js';
import { CtEntry, CtTuple4, LbBackend4, LbBackendKey, NatEntry4, TraceNotify } from '../../pkg/structs.js';
import { flowOf, Lab, pod, service, TWO_NODES } from '../lab.js';
import { packet } from '../packet.js';

const CLUSTER =
  TWO_NODES +
  pod('client', '10.1.0.5', 'n1') +
  pod('web', '10.1.0.6', 'n1') +
  pod('far', '10.2.0.7', 'n2').replace('app: far', 'app: web') +
  service('web', '10.96.0.20', 80, 8080).replace('clusterIP: 10.96.0.20', '$&, externalIPs: [198.51.100.9]');

/** Where packets of a flow between the client and the pod web enter, and whether they are the opener's. */
type Sender = 'client' | 'web';

/** `c SYN`, `w SYN|ACK`, `c UDP`: who sends what. `+60`: so many seconds pass. */
type Said = `${'c' | 'w'} ${string}` | `+${number}`;

/** A lab with a clock, and what its conntrack holds. */
class Tracked {
  readonly lab = new Lab(CLUSTER);
  private now = 0;

  get datapath(): Lab['state']['loader']['current'] {
    return this.lab.state.loader.current;
  }

  wait(seconds: number): void {
    this.now += seconds;
    this.datapath.wasm.setClock(this.now);
  }

  collect(): number {
    return this.datapath.wasm.collect(1 << 16);
  }

  /** Entries of a tuple's direction, by the tuple. */
  entries(direction: CtDirection): Map<string, Pick<CtEntry, (typeof CtEntry.fields)[number]>> {
    const found = this.datapath.keys(MapId.CT4, CtTuple4.size).flatMap((key) => {
      const { flags, sport, dport } = decode(CtTuple4, key);
      const entry = decode(CtEntry, this.datapath.lookup(MapId.CT4, key, CtEntry.size)!);
      return flags === direction ? [[`${sport} > ${dport}`, entry] as const] : [];
    });
    return new Map(found);
  }

  /** Says one thing. The status that the sender's program found on its way out, for what the table shows. */
  say(said: Said): string {
    if (said.startsWith('+')) {
      this.wait(Number(said));
      return '';
    }
    const [who, what] = said.split(' ') as ['c' | 'w', string];
    const from: Sender = who === 'c' ? 'client' : 'web';
    const { datapath } = this;
    const endpoint = [...this.lab.state.desired.endpointIds].find(([{ name }]) => name === from)![1];
    const { out, events } = datapath.traced({
      frame: frameOf(from, what),
      node: 0,
      program: Program.FROM_CONTAINER,
      endpoint,
    });
    assert.equal(out.verdict, 0, said);
    const record = events
      .map((bytes) => decode(TraceNotify, bytes))
      .find(
        ({ type, step, program }) => type === EventType.TRACE && step === Step.CT && program === Program.FROM_CONTAINER,
      )!;
    return STATUSES[record.ctStatus as CtStatus];
  }
}

const STATUSES: Readonly<Record<CtStatus, string>> = {
  [CtStatus.NEW]: 'NEW',
  [CtStatus.ESTABLISHED]: 'ESTABLISHED',
  [CtStatus.REPLY]: 'REPLY',
  [CtStatus.RELATED]: 'RELATED',
};

const FLAGS: Readonly<Record<string, number>> = {
  SYN: TcpFlag.SYN,
  ACK: TcpFlag.ACK,
  FIN: TcpFlag.FIN,
  RST: TcpFlag.RST,
};

function frameOf(from: Sender, what: string): Uint8Array {
  const [source, destination] = from === 'client' ? ['10.1.0.5', '10.1.0.6'] : ['10.1.0.6', '10.1.0.5'];
  const [sport, dport] = from === 'client' ? [40000, 8080] : [8080, 40000];
  const between = packet().eth().ipv4(source, destination);
  if (what === 'UDP') return between.udp(sport, dport).bytes();
  if (what === 'SCTP') return between.sctp(sport, dport).bytes();
  const flags = what.split('|').reduce((sum, flag) => sum | FLAGS[flag]!, 0);
  return between.tcp(sport, dport, flags).bytes();
}

const CT_FLAGS: readonly (readonly [CtFlag, string])[] = [
  [CtFlag.RX_CLOSING, 'rx'],
  [CtFlag.TX_CLOSING, 'tx'],
  [CtFlag.SEEN_NON_SYN, 'non-syn'],
];

/** `non-syn rx, 10`: the marks of the entry at the opener's side, and the second at which its lifetime ends. */
function stateOf(tracked: Tracked): string {
  const { flags, lifetime } = tracked.entries(CtDirection.EGRESS).get('40000 > 8080')!;
  const marks = CT_FLAGS.filter(([bit]) => (flags & bit) !== 0).map(([, name]) => name);
  return `${marks.join(' ')} until ${lifetime}`.trimStart();
}

/** Each packet: what its sender's program finds, and what is left in the opener's entry. Times are of Cilium's agent. */
const LIVES: readonly (readonly [what: string, said: readonly (readonly [Said, string])[]])[] = [
  [
    'a handshake lasts 60 s, a connection 8000 s from its last packet',
    [
      ['c SYN', 'NEW: until 60'],
      ['w SYN|ACK', 'REPLY: until 60'],
      ['c ACK', 'ESTABLISHED: non-syn until 8000'],
      ['+100', 'non-syn until 8000'],
      ['w ACK', 'REPLY: non-syn until 8100'],
    ],
  ],
  [
    'a SYN that comes again opens nothing anew',
    [
      ['c SYN', 'NEW: until 60'],
      ['+1', 'until 60'],
      ['c SYN', 'ESTABLISHED: until 61'],
    ],
  ],
  [
    'each FIN closes its sender’s direction; with both, 10 s are left, and only another FIN renews them',
    [
      ['c SYN', 'NEW: until 60'],
      ['w SYN|ACK', 'REPLY: until 60'],
      ['c ACK', 'ESTABLISHED: non-syn until 8000'],
      ['+1', 'non-syn until 8000'],
      ['c FIN|ACK', 'ESTABLISHED: tx non-syn until 8001'],
      ['w ACK', 'REPLY: tx non-syn until 8001'],
      ['w FIN|ACK', 'REPLY: rx tx non-syn until 11'],
      ['+5', 'rx tx non-syn until 11'],
      ['c ACK', 'ESTABLISHED: rx tx non-syn until 11'],
      ['w FIN|ACK', 'REPLY: rx tx non-syn until 16'],
    ],
  ],
  [
    'an RST before the handshake is done closes both directions',
    [
      ['c SYN', 'NEW: until 60'],
      ['w RST|ACK', 'REPLY: rx tx non-syn until 10'],
    ],
  ],
  [
    'an RST after it closes its sender’s direction only',
    [
      ['c SYN', 'NEW: until 60'],
      ['w SYN|ACK', 'REPLY: until 60'],
      ['c RST', 'ESTABLISHED: tx non-syn until 8000'],
    ],
  ],
  [
    'a SYN reopens what is closing, as a new connection; a SYN with ACK does not',
    [
      ['c SYN', 'NEW: until 60'],
      ['w SYN|ACK', 'REPLY: until 60'],
      ['c FIN|ACK', 'ESTABLISHED: tx non-syn until 8000'],
      ['+1', 'tx non-syn until 8000'],
      ['w SYN|ACK', 'REPLY: tx non-syn until 8001'],
      ['c SYN', 'NEW: until 61'],
    ],
  ],
  [
    'the first packet counts as a SYN, whatever it is',
    [
      ['c ACK', 'NEW: until 60'],
      ['c ACK', 'ESTABLISHED: non-syn until 8000'],
    ],
  ],
  [
    'what is past its lifetime is found until it is collected, and lives on',
    [
      ['c SYN', 'NEW: until 60'],
      ['+100', 'until 60'],
      ['w SYN|ACK', 'REPLY: until 160'],
    ],
  ],
  [
    'UDP lasts 60 s from its last packet',
    [
      ['c UDP', 'NEW: until 60'],
      ['+50', 'until 60'],
      ['w UDP', 'REPLY: until 110'],
      ['c UDP', 'ESTABLISHED: until 110'],
    ],
  ],
  [
    'SCTP too',
    [
      ['c SCTP', 'NEW: until 60'],
      ['+50', 'until 60'],
      ['c SCTP', 'ESTABLISHED: until 110'],
    ],
  ],
];

for (const [what, said] of LIVES) {
  test(what, () => {
    const tracked = new Tracked();
    const seen = said.map(([one]) => {
      const status = tracked.say(one);
      return [one, `${status === '' ? '' : `${status}: `}${stateOf(tracked)}`];
    });
    assert.deepEqual(seen, said);
  });
}

test('what an endpoint sends is tx in both entries of a flow, what it receives is rx', () => {
  const tracked = new Tracked();
  for (const said of ['c SYN', 'w SYN|ACK', 'c FIN|ACK'] as const) tracked.say(said);
  const seen = ([CtDirection.EGRESS, CtDirection.INGRESS] as const).map((direction) => {
    const { flags, txFlagsSeen, rxFlagsSeen, packets } = tracked.entries(direction).get('40000 > 8080')!;
    return { closing: flags & (CtFlag.RX_CLOSING | CtFlag.TX_CLOSING), txFlagsSeen, rxFlagsSeen, packets };
  });
  const [SYN, FIN] = [TcpFlag.SYN, TcpFlag.FIN] as const;
  assert.deepEqual(seen, [
    { closing: CtFlag.TX_CLOSING, txFlagsSeen: SYN | FIN, rxFlagsSeen: SYN, packets: 3n },
    { closing: CtFlag.RX_CLOSING, txFlagsSeen: SYN, rxFlagsSeen: SYN | FIN, packets: 3n },
  ]);
});

/** From the client through the Service, from port 40000 unless another is given. */
const ask = (flags: number, sport = 40000): Uint8Array =>
  packet().eth().ipv4('10.1.0.5', '10.96.0.20').tcp(sport, 80, flags).bytes();
const backendOf = ({ frame }: PacketOut): string => flowOf(frame).split(' > ')[1]!;

/** Puts the backend of this address into a state, as an agent does. */
function drain({ datapath }: Tracked, address: number, state: BackendState | null): void {
  for (const key of datapath.keys(MapId.LB4_BACKENDS, LbBackendKey.size)) {
    const value = decode(LbBackend4, datapath.lookup(MapId.LB4_BACKENDS, key, LbBackend4.size)!);
    if (value.address !== address) continue;
    if (state === null) datapath.delete(MapId.LB4_BACKENDS, key);
    else datapath.update(MapId.LB4_BACKENDS, key, encode(LbBackend4, { ...value, state }));
  }
}

/** A port from which Maglev names this backend. */
function portTo(tracked: Tracked, backend: string): number {
  for (let sport = 50000; ; sport++)
    if (backendOf(tracked.lab.send('client', ask(TcpFlag.SYN, sport))) === backend) return sport;
}

const [WEB, FAR] = ['10.1.0.6:8080', '10.2.0.7:8080'] as const;
const WEB_ADDRESS = 0x0a010006;

for (const [name, state] of [
  ['is terminating', BackendState.TERMINATING],
  ['is quarantined', BackendState.QUARANTINED],
  ['is in maintenance', BackendState.MAINTENANCE],
] as const) {
  test(`a flow stays with a backend that ${name}, and no SYN goes there`, () => {
    const tracked = new Tracked();
    const sport = portTo(tracked, WEB);
    drain(tracked, WEB_ADDRESS, state);
    assert.equal(backendOf(tracked.lab.send('client', ask(TcpFlag.ACK, sport))), WEB);
    const again = tracked.lab.send('client', ask(TcpFlag.SYN, sport));
    // Maglev's table still names it: the agent has yet to build another.
    assert.equal(backendOf(again), WEB);
    rebuild(tracked);
    assert.equal(backendOf(tracked.lab.send('client', ask(TcpFlag.SYN, sport))), FAR);
    assert.equal(backendOf(tracked.lab.send('client', ask(TcpFlag.ACK, sport))), FAR, 'and stays with the new one');
  });
}

/** The Service's Maglev table without the pod web. */
function rebuild({ lab, datapath }: Tracked): void {
  for (const { revNatIndex, backends } of lab.state.desired.maglev) {
    const left = backends.filter(({ name }) => name.includes(FAR));
    assert.equal(datapath.buildMaglev(revNatIndex, left), 0);
  }
}

test('a flow whose backend is gone goes to another, and stays there', () => {
  const tracked = new Tracked();
  const sport = portTo(tracked, WEB);
  drain(tracked, WEB_ADDRESS, null);
  rebuild(tracked);
  assert.equal(backendOf(tracked.lab.send('client', ask(TcpFlag.ACK, sport))), FAR);
  assert.equal(backendOf(tracked.lab.send('client', ask(TcpFlag.ACK, sport))), FAR);
});

test('a Service’s flow closes with the client’s FIN; the next SYN is a new one, and picks anew', () => {
  const tracked = new Tracked();
  const sport = portTo(tracked, WEB);
  const entry = (): Pick<CtEntry, 'flags' | 'lifetime' | 'packets'> => {
    const { flags, lifetime, packets } = tracked.entries(CtDirection.SERVICE).get(`${sport} > 80`)!;
    return { flags, lifetime, packets };
  };
  tracked.lab.send('client', ask(TcpFlag.ACK, sport));
  assert.deepEqual(entry(), { flags: CtFlag.SEEN_NON_SYN, lifetime: 8000, packets: 2n });
  tracked.lab.send('client', ask(TcpFlag.FIN | TcpFlag.ACK, sport));
  const closed = CtFlag.RX_CLOSING | CtFlag.TX_CLOSING | CtFlag.SEEN_NON_SYN;
  assert.deepEqual(entry(), { flags: closed, lifetime: 10, packets: 3n });
  rebuild(tracked);
  assert.equal(backendOf(tracked.lab.send('client', ask(TcpFlag.ACK, sport))), WEB, 'the rest of the old flow');
  assert.equal(backendOf(tracked.lab.send('client', ask(TcpFlag.SYN, sport))), FAR);
  assert.deepEqual(entry(), { flags: 0, lifetime: 60, packets: 1n });
});

test('the collector takes what is past its lifetime, and not a second earlier', () => {
  const tracked = new Tracked();
  tracked.say('c SYN');
  tracked.wait(60);
  assert.equal(tracked.collect(), 0);
  tracked.wait(1);
  assert.equal(tracked.collect(), 2);
  assert.deepEqual(tracked.datapath.counters(MapId.CT4), { created: 2, evicted: 0, expired: 2, deleted: 0, live: 0 });
  assert.equal(tracked.say('c ACK'), 'NEW');
});

test('the collector looks at no more places than it is told, round and round', () => {
  const tracked = new Tracked();
  for (let sport = 50000; sport < 50004; sport++) tracked.lab.send('client', ask(TcpFlag.SYN, sport));
  const before = tracked.datapath.wasm.mapCount(MapId.CT4);
  assert.equal(before, 12);
  tracked.wait(61);
  assert.deepEqual(
    [5, 5, 5, 5].map((places) => tracked.datapath.wasm.collect(places)),
    [5, 5, 2, 0],
  );
});

test('a mapping of source NAT is collected when its connection is', () => {
  const tracked = new Tracked();
  const out = tracked.lab.send('client', packet().eth().ipv4('10.1.0.5', '203.0.113.9').udp(40000, 53).bytes());
  assert.equal(out.program, Program.WORLD);
  tracked.wait(60);
  assert.deepEqual([tracked.collect(), tracked.datapath.wasm.mapCount(MapId.SNAT4)], [0, 2]);
  tracked.wait(1);
  assert.deepEqual([tracked.collect(), tracked.datapath.wasm.mapCount(MapId.SNAT4)], [3, 0]);
});

test('mappings outlive no connection that is deleted, and survive with one that another mapping shares nothing with', () => {
  const tracked = new Tracked();
  for (const sport of [40000, 40001])
    tracked.lab.send('client', packet().eth().ipv4('10.1.0.5', '203.0.113.9').udp(sport, 53).bytes());
  const { datapath } = tracked;
  const gone = datapath.keys(MapId.CT4, CtTuple4.size).find((key) => decode(CtTuple4, key).sport === 40000)!;
  assert.equal(datapath.delete(MapId.CT4, gone), 0);
  assert.equal(tracked.collect(), 2);
  const left = datapath
    .keys(MapId.SNAT4, CtTuple4.size)
    .map((key) => decode(NatEntry4, datapath.lookup(MapId.SNAT4, key, NatEntry4.size)!).port);
  assert.deepEqual(left, [40001, 40001]);
});

test('fragments are forgotten after 60 s, clients’ backends after a day', () => {
  const yaml = CLUSTER.replace('externalIPs', 'sessionAffinity: ClientIP, externalIPs');
  const lab = new Lab(yaml);
  const { current } = lab.state.loader;
  const first = packet()
    .eth()
    .ipv4('10.1.0.5', '10.96.0.20', { fragment: 0x2000, id: 7 })
    .udp(40000, 9)
    .payload(...new Array<number>(8).fill(0));
  lab.send('client', first.bytes());
  lab.send('client', ask(TcpFlag.SYN));
  const counts = (): number[] => [MapId.FRAGMENTS4, MapId.LB4_AFFINITY].map((map) => current.wasm.mapCount(map));
  const after = (seconds: number): number[] => {
    current.wasm.setClock(seconds);
    current.wasm.collect(64);
    return counts();
  };
  assert.deepEqual(
    [counts(), after(59), after(60), after(86399), after(86400)],
    [
      [1, 1],
      [1, 1],
      [0, 1],
      [0, 1],
      [0, 0],
    ],
  );
});

/** Fills the map of connections with as many others as fit twice over. */
function flood({ lab, datapath }: Tracked): void {
  for (let i = 0; i < 2 * datapath.wasm.mapCapacity(MapId.CT4); i++) {
    const frame = packet()
      .eth()
      .ipv4('10.1.0.5', `10.1.${i & 255}.${200 + ((i >> 8) % 50)}`)
      .udp(1 + (i >> 8), 1)
      .bytes();
    lab.send('client', frame);
  }
}

/** Who survives a flood: what was answered and went on, and nothing else. */
const SURVIVORS: readonly (readonly [what: string, said: readonly Said[], survives: boolean])[] = [
  ['a SYN', ['c SYN'], false],
  ['a SYN that is answered', ['c SYN', 'w SYN|ACK'], false],
  ['a handshake', ['c SYN', 'w SYN|ACK', 'c ACK'], true],
  ['many packets without an answer', ['c ACK', 'c ACK', 'c ACK', 'c ACK'], false],
  ['a refused SYN that is sent again', ['c SYN', 'w RST|ACK', 'c ACK'], false],
  ['a handshake and a FIN', ['c SYN', 'w SYN|ACK', 'c ACK', 'c FIN|ACK'], true],
  ['a handshake and both FINs', ['c SYN', 'w SYN|ACK', 'c ACK', 'c FIN|ACK', 'w FIN|ACK', 'c ACK'], false],
  ['a handshake after a reopening', ['c SYN', 'w SYN|ACK', 'c ACK', 'c FIN|ACK', 'c SYN'], false],
  ['a question by UDP', ['c UDP'], false],
  ['a question by UDP with its answer', ['c UDP', 'w UDP'], false],
  ['a talk by UDP', ['c UDP', 'w UDP', 'c UDP'], true],
];

for (const [what, said, survives] of SURVIVORS) {
  test(`${what} ${survives ? 'survives' : 'does not survive'} a flood`, () => {
    const tracked = new Tracked();
    for (const one of said) tracked.say(one);
    flood(tracked);
    const left = [CtDirection.EGRESS, CtDirection.INGRESS].map((way) => tracked.entries(way).has('40000 > 8080'));
    assert.deepEqual(left, [survives, survives]);
  });
}

test('through a Service from outside and source NAT, all entries and mappings of a connection survive a flood', () => {
  const tracked = new Tracked();
  const { lab, datapath } = tracked;
  const shop = (sport: number, flags: number): PacketOut =>
    lab.arrive('n1', packet().eth().ipv4('203.0.113.9', '198.51.100.9').tcp(sport, 80, flags).bytes());
  const flows = [WEB, FAR].map((backend) => {
    for (let sport = 40000; ; sport++) {
      const out = shop(sport, TcpFlag.SYN);
      if (backendOf(out) === backend) return { backend, sport, client: flowOf(out.frame).split(' > ')[0]!.split(':') };
    }
  });
  const talk = (): void => {
    for (const { backend, sport, client } of flows) {
      const pod = backend === WEB ? 'web' : 'far';
      const reply = packet().eth().ipv4(backend.split(':')[0]!, client[0]!).tcp(8080, Number(client[1]), 0x12);
      assert.equal(flowOf(lab.send(pod, reply.bytes()).frame), `198.51.100.9:80 > 203.0.113.9:${sport}`);
      assert.equal(backendOf(shop(sport, TcpFlag.ACK)), backend);
    }
  };
  talk();
  const created = (): number[] => [MapId.CT4, MapId.SNAT4].map((map) => datapath.counters(map).created);
  flood(tracked);
  for (let sport = 1; sport < 6000; sport++)
    lab.send('client', packet().eth().ipv4('10.1.0.5', '203.0.113.7').udp(sport, 53).bytes());
  assert.ok(datapath.counters(MapId.SNAT4).evicted > 0 && datapath.counters(MapId.CT4).evicted > 0);
  const before = created();
  talk();
  assert.deepEqual(created(), before, 'nothing had to be made again');
});
