/** The control plane under a cluster of some size: read from its texts, edited, and asked who reaches whom. */
import { annotate } from '../answers/annotate.js';
import { query, type Question } from '../answers/query.js';
import { Matrix } from '../answers/reach-matrix.js';
import { Loader } from '../loader/load.js';
import { DEFAULT_SETTINGS } from '../settings.js';
import { Engine, type State } from '../state.js';
import type { ControlProfile } from './profiles.js';
import { clusterFiles, CLUSTER_SETTINGS, fileName, scaled } from './scale.js';
import { WrongAnswer, type BenchModules, type Subject } from './subject.js';

/** The file that is edited. */
const EDITED = fileName(0);

/** Edits of that file, each as it is and as it becomes. */
export const EDITS = {
  /** The port that one rule lets is another. */
  policy: (text: string) => text.replace(/(kind: NetworkPolicy[^]*?port: )8001/, '$19001'),
  /** The addresses that one rule lets are others. */
  block: (text: string) => text.replace(/(cidr: )203\.0\.113\.\d+/, '$1198.51.100.7'),
  service: (text: string) => text.replace('port: 80\n', 'port: 81\n'),
  /** Of an EndpointSlice, one address is another. */
  endpoint: (text: string) => text.replace('- 10.128.0.1\n  conditions', '- 10.128.0.60\n  conditions'),
  /** One pod has another label. */
  pod: (text: string) => text.replace('    app: cart\n', '    app: till\n'),
} as const;
export type Edit = keyof typeof EDITS;

/** What the edited policy decides: asked before and after. */
const QUESTION: Question = {
  from: 'team-0/orders-2',
  to: 'team-0/cart-1',
  protocol: 'TCP',
  port: 8001,
  sourcePort: null,
  node: null,
  http: null,
};
const VERDICTS = ['ALLOWED', 'DENIED'] as const;

export class ControlPlane {
  readonly engine: Engine;
  private readonly files: ReadonlyMap<string, string>;
  private isEdited = false;

  /** `connections`: how many fit into conntrack. */
  constructor(module: WebAssembly.Module, part: number, connections?: number) {
    this.files = clusterFiles(scaled(part));
    const loader = new Loader(module, undefined, connections);
    this.engine = new Engine(module, { ...DEFAULT_SETTINGS, ...CLUSTER_SETTINGS }, loader);
  }

  get bytes(): number {
    return [...this.files.values()].reduce((sum, { length }) => sum + length, 0);
  }

  get memoryBytes(): number {
    return this.load().loader.current.wasm.memoryUsed();
  }

  read(): void {
    for (const [file, text] of this.files) this.engine.manifests.set(file, text);
  }

  /** Makes of what was read all that questions need. */
  load(): State {
    return this.engine.current;
  }

  /** The annotations of the file that is edited: how many. */
  annotations(): number {
    const { lenses, inlays } = annotate(this.load(), EDITED);
    return lenses.length + inlays.length;
  }

  /** Makes an edit, or takes it back; whether it is there now. */
  edit(kind: Edit): boolean {
    const text = this.files.get(EDITED)!;
    this.isEdited = !this.isEdited;
    this.engine.manifests.set(EDITED, this.isEdited ? EDITS[kind](text) : text);
    return this.isEdited;
  }

  /** Throws WrongAnswer where the policy that `EDITS.policy` changes does not decide as its text says. */
  verify(): void {
    const answered = query(this.load(), QUESTION);
    const verdict = 'error' in answered ? answered.error : answered.answer.verdict;
    const expected = VERDICTS[this.isEdited ? 1 : 0];
    if (verdict !== expected) throw new WrongAnswer(`${QUESTION.from} → ${QUESTION.to}: ${verdict}, not ${expected}`);
  }

  /** Who reaches whom, all pairs: how many do. */
  reach(): number {
    const matrix = new Matrix(this.load());
    const sizes = matrix.classes.all.map(({ length }) => length);
    return matrix.bits().reduce((sum, bits, from) => sum + sizes[from]! * countIn(bits, sizes), 0);
  }
}

/** How many ends there are in the classes whose bits are set. */
function countIn(bits: Uint32Array, sizes: readonly number[]): number {
  let count = 0;
  for (let i = 0; i < bits.length; i++)
    for (let rest = bits[i]!; rest !== 0; rest &= rest - 1) count += sizes[(i << 5) + 31 - Math.clz32(rest & -rest)]!;
  return count;
}

/** Nanoseconds that something takes. */
export function timed(what: () => unknown): number {
  const start = performance.now();
  what();
  return (performance.now() - start) * 1e6;
}

const PER_ROUND = 4;

export function controlSubject({ name, unit, what, part }: ControlProfile, { trace }: BenchModules): Subject {
  let plane = new ControlPlane(trace, part);
  plane.read();
  const annotations = plane.annotations();
  const open = plane.reach();
  plane.verify();
  const look = (): void => {
    if (plane.annotations() !== annotations) throw new WrongAnswer(`${name}: other annotations than from a cold start`);
  };
  const samples = {
    cold: () => {
      plane = new ControlPlane(trace, part);
      return timed(() => {
        plane.read();
        look();
      });
    },
    edit: () => {
      const time = timed(() => {
        plane.edit('policy');
        look();
      });
      plane.verify();
      return time;
    },
    reach: () => {
      const isEdited = plane.edit('policy');
      plane.load();
      let found = 0;
      const time = timed(() => (found = plane.reach()));
      // The edit moves a port, and leaves who reaches whom at all.
      if (found !== open) throw new WrongAnswer(`${name}: ${found} pairs, not ${open} (${isEdited})`);
      return time;
    },
  };
  return {
    name,
    unit,
    perRound: PER_ROUND,
    sample: 1,
    batch: 1,
    digest: null,
    memoryBytes: () => plane.memoryBytes,
    own: { name: 'engine', round: () => Array.from({ length: PER_ROUND }, samples[what]) },
    baselines: [],
    // Each answer was looked at when it came.
    check: () => undefined,
  };
}
