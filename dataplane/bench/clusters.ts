/** What the control plane takes, by the size of a cluster: to load it, to follow an edit, and to say who reaches whom after one. */
import { reach } from '../answers/reach.js';
import { query, type Question } from '../answers/query.js';
import { DEFAULT_SETTINGS } from '../settings.js';
import { Engine } from '../state.js';
import type { ClusterProfile } from './profiles.js';
import { clusterFiles, CLUSTER_SETTINGS, fileName, scaled, WHOLE } from './scale.js';
import { WrongAnswer, type BenchModules, type Subject } from './subject.js';

/** Of the first namespace, whose second policy lets `orders` ask `cart` at a port; edited, at another. */
const EDITED = fileName(0);
const OPENED = /(kind: NetworkPolicy[^]*?port: )8001/;
const VERDICTS = ['ALLOWED', 'DENIED'] as const;

const QUESTION: Question = {
  from: 'team-0/orders-2',
  to: 'team-0/cart-1',
  protocol: 'TCP',
  port: 8001,
  sourcePort: null,
  node: null,
  http: null,
};

class Cluster {
  private readonly files: ReadonlyMap<string, string>;
  private readonly texts: readonly string[];
  private engine: Engine | null = null;
  private edits = 0;

  constructor(
    private readonly module: WebAssembly.Module,
    pods: number,
  ) {
    this.files = clusterFiles(scaled(pods / WHOLE.pods));
    const text = this.files.get(EDITED)!;
    this.texts = [text, text.replace(OPENED, '$19001')];
  }

  /** From the texts to the answer. */
  load(): void {
    this.engine = new Engine(this.module, { ...DEFAULT_SETTINGS, ...CLUSTER_SETTINGS });
    for (const [file, text] of this.files) this.engine.manifests.set(file, text);
    this.edits = 0;
    this.ask();
  }

  get loaded(): Engine {
    if (!this.engine) this.load();
    return this.engine!;
  }

  edit(): void {
    this.loaded.manifests.set(EDITED, this.texts[++this.edits % this.texts.length]!);
  }

  ask(): void {
    const answered = query(this.loaded.current, QUESTION);
    const verdict = 'error' in answered ? answered.error : answered.answer.verdict;
    const expected = VERDICTS[this.edits % VERDICTS.length]!;
    if (verdict !== expected) throw new WrongAnswer(`${EDITED}: ${verdict} instead of ${expected}`);
  }

  reach(): void {
    const reached = reach(this.loaded.current, { from: null, to: null, protocol: null });
    if ('error' in reached || reached.connections.length === 0)
      throw new WrongAnswer(`${EDITED}: nobody reaches anybody`);
  }
}

/** What is timed, behind what goes before it. */
const WORK: Readonly<Record<ClusterProfile['what'], (cluster: Cluster) => number>> = {
  cold: (cluster) => timed(() => cluster.load()),
  edit: (cluster) =>
    timed(() => {
      cluster.edit();
      cluster.ask();
    }),
  reach(cluster) {
    cluster.edit();
    return timed(() => cluster.reach());
  },
};

function timed(work: () => void): number {
  const start = performance.now();
  work();
  return (performance.now() - start) * 1e6;
}

export function clusterSubject({ name, unit, what, pods }: ClusterProfile, { trace }: BenchModules): Subject {
  const cluster = new Cluster(trace, pods);
  WORK[what](cluster);
  return {
    name,
    unit,
    perRound: 1,
    sample: 1,
    batch: 1,
    digest: null,
    memoryBytes: () => cluster.loaded.current.loader.current.wasm.memoryUsed(),
    own: { name: 'engine', round: () => [WORK[what](cluster)] },
    baselines: [],
    // Each answer was looked at when it came.
    check: () => undefined,
  };
}
