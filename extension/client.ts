/** The editor's side of a session: what it holds is kept here too, so that a lost worker is only a delay. */
import { Worker } from 'node:worker_threads';
import {
  readFromWorker,
  type Content,
  type EngineOverrides,
  type Method,
  type Params,
  type Result,
  type Start,
  type ToWorker,
} from './protocol.js';

/** Where a client writes what happens to it. */
export interface Log {
  debug(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

/** What a worker runs: the script's path, and the tracing build of the datapath. */
export interface Engine {
  readonly script: string;
  readonly datapath: Uint8Array;
}

interface Pending {
  readonly method: Method;
  readonly params: unknown;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
  /** Workers that were lost over it. */
  losses: number;
}

/** A worker that was lost this often within the time (in ms) is not started again by itself. */
const MAX_LOSSES = 3;
const LOSSES_WITHIN = 60_000;
/** A runaway heap ends the worker, not the extension host. */
const MAX_HEAP_MB = 2048;

export class Client {
  private readonly files = new Map<string, Content>();
  private settings: EngineOverrides = {};
  private worker: Worker | null = null;
  private readonly pending = new Map<number, Pending>();
  private lastId = 0;
  private losses: number[] = [];
  private disposed = false;

  constructor(
    private readonly name: string,
    private readonly engine: Engine,
    private readonly log: Log,
    /** Called when workers were lost too often: nothing is answered any more. */
    private readonly onGaveUp: () => void,
  ) {}

  setFile(file: string, content: Content | null): void {
    if (content === null) this.files.delete(file);
    else this.files.set(file, content);
    this.post({ type: 'setFiles', files: [[file, content]] });
  }

  configure(settings: EngineOverrides): void {
    this.settings = settings;
    this.post({ type: 'configure', settings });
  }

  /** Asks about the files as they were set when this is called. Starts the worker when there is none. */
  ask<M extends Method>(method: M, params: Params<M>): Promise<Result<M>> {
    return new Promise((resolve, reject) => {
      if (this.disposed) return reject(new Error('The session is closed.'));
      if (this.gaveUp) return reject(new Error('The engine stopped too often; "Hopscope: Reload" starts it again.'));
      const id = ++this.lastId;
      this.pending.set(id, { method, params, resolve: resolve as (result: unknown) => void, reject, losses: 0 });
      if (this.worker) this.post({ type: 'ask', id, method, params });
      else this.start();
    });
  }

  dispose(): void {
    this.disposed = true;
    void this.worker?.terminate();
    this.worker = null;
    for (const { reject } of this.pending.values()) reject(new Error('The session is closed.'));
    this.pending.clear();
  }

  private get gaveUp(): boolean {
    return this.losses.length > MAX_LOSSES;
  }

  private post(message: ToWorker): void {
    this.worker?.postMessage(message);
  }

  private start(): void {
    const workerData: Start = { role: 'session', datapath: this.engine.datapath };
    const worker = new Worker(this.engine.script, {
      workerData,
      name: `Hopscope: ${this.name}`,
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
    });
    let cause = 'it ended';
    worker.on('message', (message: unknown) => this.receive(message));
    worker.on('error', (error) => (cause = error.stack ?? error.message));
    worker.on('exit', () => this.worker === worker && this.lost(cause));
    this.worker = worker;
    this.log.debug(`${this.name}: started a worker with ${this.files.size} files`);
    this.post({ type: 'configure', settings: this.settings });
    this.post({ type: 'setFiles', files: [...this.files] });
    for (const [id, { method, params }] of this.pending) this.post({ type: 'ask', id, method, params });
  }

  private receive(received: unknown): void {
    const message = readFromWorker(received);
    const asked = message && this.pending.get(message.id);
    if (!message || !asked) return;
    this.pending.delete(message.id);
    if (message.type === 'answer') return asked.resolve(message.result);
    this.log.error(`${this.name}: ${asked.method}: ${message.message}`);
    asked.reject(new Error(message.message.split('\n')[0]));
  }

  /** What was asked is asked once more, for it may not be the cause; a second loss over it is enough. */
  private lost(cause: string): void {
    this.worker = null;
    const now = Date.now();
    this.losses = [...this.losses.filter((time) => now - time < LOSSES_WITHIN), now];
    this.log.warn(`${this.name}: lost the worker: ${cause}`);
    for (const [id, asked] of this.pending) {
      if (++asked.losses < 2 && !this.gaveUp) continue;
      this.pending.delete(id);
      asked.reject(new Error(`The engine stopped over "${asked.method}".`));
    }
    if (this.gaveUp) {
      this.log.error(`${this.name}: gave up after ${this.losses.length} lost workers`);
      this.onGaveUp();
    } else if (this.pending.size > 0) this.start();
  }
}
