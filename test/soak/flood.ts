/** A flood of new flows, from pods and from outside, over established ones: it may evict none of them. */
import { BATCH_SIZE, MapId, TcpFlag } from '../../assembly/abi.js';
import type { Family } from '../../dataplane/addresses.js';
import { Batch } from './batch.js';
import { SoakCluster } from './cluster.js';
import { Established } from './established.js';
import { blank, Flows } from './flows.js';
import { balances, ledgers, type Ledger } from './ledger.js';

export interface FloodRun {
  readonly seed: number;
  readonly family: Family;
  /** Established flows. */
  readonly flows: number;
  /** Flows of the flood, each of one packet. */
  readonly fresh: number;
  readonly onProgress?: (done: number) => void;
}

export interface FloodReport {
  /** Steps of handshakes that went another way than Maglev says, or nowhere. */
  readonly notOpened: number;
  /** Packets of established flows, sent between those of the flood. */
  readonly kept: number;
  /** Of them, those that another backend got, or none. */
  readonly moved: number;
  /** Answers to them, and to the handshakes, that did not come back. */
  readonly unanswered: number;
  /** Entries made anew for them: the ones before had been evicted. */
  readonly remade: number;
  /** Packets of the flood that did not reach the backend that Maglev names. */
  readonly astray: number;
  /** Entries that all flows together must have made, in the order of `ledgers`. */
  readonly expected: readonly number[];
  readonly ledgers: readonly Ledger[];
  /** Bytes of the datapath's memory before the first packet, and after the last. */
  readonly memory: readonly [number, number];
  readonly seconds: number;
}

const SERVICES = 16;
/** Flows of the flood a second of the datapath's clock. */
const RATE = 5000;
/** Seconds of a pause in the flood, after as many flows as the map has room for entries: longer than a SYN is remembered. */
const PAUSE = 61;
/** Times that the established flows go on. They are idle for less than their lifetime between. */
const ROUNDS = 10;
/** Places of the maps that the collector looks at with each batch, and with each call in a pause. */
const PLACES = 512;
const MANY_PLACES = 1 << 16;

export function flood({ seed, family, flows: count, fresh, onProgress }: FloodRun): FloodReport {
  // Three for each established flow, a third more, and a little.
  const room = 4 * count + 4096;
  const cluster = new SoakCluster(family, SERVICES, room);
  const { datapath, maps, far } = cluster;
  const { wasm } = datapath;
  const flows = new Flows(SERVICES, seed);
  const established = new Established(cluster, flows, count);
  const memoryBefore = wasm.memory.buffer.byteLength;
  const start = performance.now();
  const notOpened = established.open();
  const opened = ledgers(cluster);
  const batch = new Batch(cluster);
  const slots = Array.from({ length: BATCH_SIZE }, blank);
  const named = new Uint32Array(BATCH_SIZE);
  const created = (): number =>
    datapath.counters(maps.map(MapId.CT4)).created + datapath.counters(maps.map(MapId.SNAT4)).created;
  let [clock, nextPause, nextRound] = [0, room, fresh / ROUNDS];
  let [kept, moved, remade, astray, mapped] = [0, 0, 0, 0, 0];
  for (let sent = 0; sent < fresh;) {
    const now = Math.min(BATCH_SIZE, fresh - sent);
    for (let i = 0; i < now; i++) {
      flows.flood(sent + i, slots[i]!);
      batch.add(slots[i]!, TcpFlag.SYN);
      named[i] = batch.named(i, slots[i]!);
    }
    batch.run();
    for (let i = 0; i < now; i++) {
      if (batch.backend(i) !== named[i]) astray++;
      if (slots[i]!.outside && far.has(named[i]!)) mapped++;
    }
    sent += now;
    clock += now / RATE;
    wasm.setClock(Math.floor(clock));
    wasm.collect(PLACES);
    if (sent >= nextPause) {
      nextPause += room;
      clock += PAUSE;
      wasm.setClock(Math.floor(clock));
      for (let seen = 0; seen < room; seen += MANY_PLACES) wasm.collect(MANY_PLACES);
    }
    if (sent >= nextRound || sent === fresh) {
      nextRound += fresh / ROUNDS;
      const before = created();
      established.goOn(count, () => moved++);
      kept += count;
      remade += created() - before;
      onProgress?.(sent);
    }
  }
  return {
    notOpened,
    kept,
    moved,
    unanswered: established.unanswered,
    remade,
    astray,
    expected: [opened[0].created + 3 * fresh, opened[1].created + 2 * mapped],
    ledgers: ledgers(cluster),
    memory: [memoryBefore, wasm.memory.buffer.byteLength],
    seconds: (performance.now() - start) / 1000,
  };
}

/** What went wrong, in words; nothing for a run that shows what it should. */
export function faults({
  notOpened,
  moved,
  unanswered,
  remade,
  astray,
  expected,
  ledgers,
  memory,
}: FloodReport): string[] {
  const counted = (count: number, what: string): string[] => (count > 0 ? [`${count} ${what}`] : []);
  return [
    ...counted(notOpened, 'steps of handshakes went another way'),
    ...counted(moved, 'packets of established flows went another way'),
    ...counted(unanswered, 'answers of their backends did not come back'),
    ...counted(remade, 'entries of established flows had been evicted'),
    ...counted(astray, 'new flows did not reach the backend that Maglev names'),
    ...ledgers.flatMap(({ name, created }, i) =>
      created === expected[i] ? [] : [`${name}: ${created} entries were created instead of ${expected[i]}`],
    ),
    ...ledgers.filter((ledger) => !balances(ledger)).map(({ name }) => `${name} does not balance`),
    ...(memory[0] === memory[1] ? [] : [`memory grew from ${memory[0]} to ${memory[1]} bytes`]),
  ];
}
