/** Backends that come, drain and go under established flows: none moves while its backend is there. */
import { BackendState, TcpFlag } from '../../assembly/abi.js';
import type { Family } from '../../dataplane/addresses.js';
import { Backends } from './backends.js';
import { Batch } from './batch.js';
import { BACKENDS, SoakCluster } from './cluster.js';
import { Established } from './established.js';
import { blank, Flows } from './flows.js';
import { balances, ledgers, type Ledger } from './ledger.js';

export interface ChurnRun {
  readonly seed: number;
  readonly family: Family;
  readonly flows: number;
  readonly changes: number;
  readonly onProgress?: (done: number) => void;
}

export type Change = 'added' | 'drained' | 'returned' | 'removed';

export interface ChurnReport {
  readonly changes: Readonly<Record<Change, number>>;
  readonly tables: number;
  readonly notOpened: number;
  /** Packets of established flows. */
  readonly sent: number;
  /** Of them, those that another backend got than before, or none, while theirs was there. */
  readonly moved: number;
  /** Answers to them, and to the handshakes, that did not come back. */
  readonly unanswered: number;
  /** Flows that another backend took on because theirs was gone. */
  readonly taken: number;
  /** Of those whose backend was gone, the ones that none took on that takes new flows. */
  readonly lost: number;
  /** New flows, and those that did not reach the backend that Maglev names. */
  readonly fresh: number;
  readonly astray: number;
  readonly ledgers: readonly Ledger[];
  readonly seconds: number;
}

const SERVICES = 4;
/** Fewer backends never take new flows. */
const FEWEST = 8;
/** After each change one of so many established flows goes on, and so many are opened. */
const SHARE = 100;
const FRESH = 16;
/** Places of the maps that the collector looks at after each change. */
const PLACES = 4096;

export function churn({ seed, family, flows: count, changes, onProgress }: ChurnRun): ChurnReport {
  const cluster = new SoakCluster(family, SERVICES, 4 * count + 4096);
  const { wasm } = cluster.datapath;
  const flows = new Flows(SERVICES, seed);
  const established = new Established(cluster, flows, count);
  const backends = new Backends(cluster);
  const batch = new Batch(cluster);
  const slots = Array.from({ length: FRESH }, blank);
  const below = dice(seed);
  const start = performance.now();
  const notOpened = established.open();
  const made: Record<Change, number> = { added: 0, drained: 0, returned: 0, removed: 0 };
  let [sent, moved, taken, lost, astray, fresh] = [0, 0, 0, 0, 0, 0];
  const goOn = (packets: number): void => {
    sent += packets;
    established.goOn(packets, (before, after) => {
      if (backends.states.has(before)) moved++;
      else if (backends.states.get(after) === BackendState.ACTIVE) taken++;
      else lost++;
    });
  };
  for (let change = 1; change <= changes; change++) {
    made[next(backends, below)]++;
    wasm.setClock(change);
    for (const slot of slots) {
      flows.flood(fresh++, slot);
      batch.add(slot, TcpFlag.SYN);
    }
    const named = slots.map((slot, i) => batch.named(i, slot));
    batch.run();
    astray += named.filter((backend, i) => backend !== batch.backend(i)).length;
    goOn(Math.ceil(count / SHARE));
    wasm.collect(PLACES);
    if (change % SHARE === 0) onProgress?.(change);
  }
  goOn(count);
  const seconds = (performance.now() - start) / 1000;
  const { tables } = backends;
  const { unanswered } = established;
  const found = ledgers(cluster);
  return {
    changes: made,
    tables,
    notOpened,
    sent,
    moved,
    unanswered,
    taken,
    lost,
    fresh,
    astray,
    ledgers: found,
    seconds,
  };
}

/** Draws numbers: mulberry32. */
const dice = (seed: number) => (end: number) => {
  seed = (seed + 0x6d2b79f5) | 0;
  let word = Math.imul(seed ^ (seed >>> 15), seed | 1);
  word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
  return ((word ^ (word >>> 14)) >>> 0) % end;
};

/** One change: of a backend that is there, or of one that is not. */
function next(backends: Backends, below: (end: number) => number): Change {
  const pick = (from: readonly number[]): number => from[below(from.length)]!;
  const active = backends.inState(BackendState.ACTIVE);
  const draining = backends.inState(BackendState.TERMINATING);
  const gone = backends.inState(null);
  const turn = below(8);
  if (gone.length > 0 && (turn < 2 || gone.length > BACKENDS / 4)) {
    backends.set(pick(gone), BackendState.ACTIVE);
    return 'added';
  }
  if (draining.length > 0 && (turn < 4 || active.length <= FEWEST)) {
    backends.set(pick(draining), BackendState.ACTIVE);
    return 'returned';
  }
  if (draining.length > 0 && turn === 7) {
    backends.set(pick(draining), null);
    return 'removed';
  }
  backends.set(pick(active), BackendState.TERMINATING);
  return 'drained';
}

/** What went wrong, in words; nothing for a run that shows what it should. */
export function faults({ notOpened, moved, unanswered, lost, astray, ledgers }: ChurnReport): string[] {
  const counted = (count: number, what: string): string[] => (count > 0 ? [`${count} ${what}`] : []);
  return [
    ...counted(notOpened, 'steps of handshakes went another way'),
    ...counted(moved, 'packets of established flows left a backend that was there'),
    ...counted(unanswered, 'answers of their backends did not come back'),
    ...counted(lost, 'flows whose backend was gone found none that takes new ones'),
    ...counted(astray, 'new flows did not reach the backend that Maglev names'),
    ...ledgers.filter((ledger) => !balances(ledger)).map(({ name }) => `${name} does not balance`),
  ];
}
