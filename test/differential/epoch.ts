/** Packets that depend on one another, through both sides: an epoch starts with a cluster of its own and without connections. */
import { Reference, type Arrival, type Outcome } from '../reference/reference.js';
import { drawCluster, evolve } from './cluster.js';
import { Random } from './random.js';
import { compareStates } from './states.js';
import { Subject } from './subject.js';
import { Traffic } from './traffic.js';

export const EPOCH = 20_000;
/** Packets made before any of them is run; none of them answers another. */
export const BLOCK = 64;
/** Blocks between two changes of the cluster. */
export const EVOLVED = 100;

export interface Difference {
  readonly epoch: number;
  /** Counted from the epoch's first. */
  readonly packet: number;
  readonly text: string;
}

export interface Run {
  readonly seed: number;
  readonly epoch: number;
  readonly packets: number;
  /** Looks at the maps after each packet: slow, and exact about which one it was. */
  readonly exact: boolean;
  /** Of a hundred openings, those that are alike; see `Traffic`. */
  readonly alike?: number;
  readonly onEnd?: (outcome: Outcome, arrival: Arrival) => void;
}

const FIELDS = [
  'verdict',
  'program',
  'node',
  'endpoint',
  'sourceIdentity',
  'destinationIdentity',
  'backendId',
  'revNatIndex',
  'answered',
  'mark',
  'audited',
  'delay',
] as const satisfies readonly (keyof Outcome)[];

const hexOf = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

const isSame = (a: Uint8Array, b: Uint8Array): boolean => {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
};

export function compareOutcomes(wasm: Outcome, reference: Outcome): string | null {
  const fields = FIELDS.filter((field) => wasm[field] !== reference[field]);
  if (fields.length === 0 && isSame(wasm.frame, reference.frame)) return null;
  const lines = fields.map((field) => `    ${field}: wasm ${wasm[field]}, reference ${reference[field]}`);
  const ends = FIELDS.slice(0, 4).map((field) => `${field} ${reference[field]}`);
  const first = wasm.frame.findIndex((byte, i) => byte !== reference.frame[i]);
  const at = first < 0 ? Math.min(wasm.frame.length, reference.frame.length) : first;
  const where = isSame(wasm.frame, reference.frame) ? 'the same bytes' : `bytes differ from ${at} on`;
  return [
    `reference: ${ends.join(', ')}; ${where}`,
    ...lines,
    `    wasm      ${hexOf(wasm.frame)}`,
    `    reference ${hexOf(reference.frame)}`,
  ].join('\n');
}

/** Runs one epoch. The first difference, or null. */
export function runEpoch(subject: Subject, { seed, epoch, packets, exact, alike, onEnd }: Run): Difference | null {
  const random = new Random(seed, epoch);
  const cluster = drawCluster(random);
  subject.forget();
  let reference = new Reference(subject.load(cluster));
  const traffic = new Traffic(cluster, random, alike);
  const differs = (packet: number, arrival: Arrival, text: string): Difference => {
    const { program, node, endpoint, mark, frame } = arrival;
    const sent = `packet ${packet} of epoch ${epoch}, at second ${reference.state.clock}: program ${program}, node ${node}, endpoint ${endpoint}, mark ${mark}`;
    return { epoch, packet, text: `${sent}\n    in        ${hexOf(frame)}\n${text}` };
  };
  for (let block = 0; block * BLOCK < packets; block++) {
    if (block % EVOLVED === EVOLVED - 1) {
      const changed = evolve(cluster, random);
      reference = new Reference(subject.load(changed), reference.state);
      traffic.use(changed);
    }
    reference.state.clock += random.pick([0, 0, 0, 1, 1, 5, 9, 70]);
    subject.datapath.wasm.setClock(reference.state.clock);
    const first = block * BLOCK;
    const arrivals = Array.from({ length: Math.min(BLOCK, packets - first) }, () => traffic.next());
    const batches = exact ? arrivals.map((arrival) => [arrival]) : [arrivals];
    let packet = first;
    for (const batch of batches) {
      const outcomes = subject.run(batch);
      for (const [i, arrival] of batch.entries()) {
        const outcome = reference.run(arrival);
        const text = compareOutcomes(outcomes[i]!, outcome);
        if (text !== null) return differs(packet, arrival, text);
        onEnd?.(outcome, arrival);
        traffic.learn(arrival, outcome);
        packet++;
      }
      const text = compareStates(subject, reference.state, false);
      if (text !== null) return differs(packet - 1, batch.at(-1)!, text);
    }
  }
  const text = compareStates(subject, reference.state, true);
  return text === null ? null : { epoch, packet: packets, text: `at the end of epoch ${epoch}:\n${text}` };
}

/** Finds the packet of an epoch that is known to differ, and tells it. */
export const explain = (module: WebAssembly.Module, run: Run): Difference | null =>
  runEpoch(new Subject(module), { ...run, exact: true });
