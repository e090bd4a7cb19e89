/** The ways that the dataplane has for a batch. Both give the same verdicts and bytes. */
import type { Dataplane } from '../../pkg/dataplane.js';

export type Path = 'fast' | 'plain';

interface Calls {
  readonly process: (wasm: Dataplane, count: number) => void;
  readonly replay: (wasm: Dataplane, first: number, count: number, total: number, stride: number) => number;
}

/** Packet by packet, program by program: what says what is right. A dataplane that knows one way only goes that. */
interface Plain {
  processPlain?: Dataplane['process'];
  replayPlain?: Dataplane['replay'];
}

export const PATHS: Readonly<Record<Path, Calls>> = {
  fast: {
    process: (wasm, count) => wasm.process(count),
    replay: (wasm, first, count, total, stride) => wasm.replay(first, count, total, stride),
  },
  plain: {
    process: (wasm: Dataplane & Plain, count) => (wasm.processPlain ?? wasm.process)(count),
    replay: (wasm: Dataplane & Plain, first, count, total, stride) =>
      (wasm.replayPlain ?? wasm.replay)(first, count, total, stride),
  },
};
