/** The benchmark's own worker: nothing else runs in it. */
import { cpus } from 'node:os';
import type { MessagePort } from 'node:worker_threads';
import { bench, machineOf } from '../dataplane/bench/bench.js';
import type { FromBench, Start } from './protocol.js';

/** Rounds of each profile: enough for a median, few enough to wait for. */
const ROUNDS = 5;

const compiled = (bytes: Uint8Array): WebAssembly.Module => new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>);

export function runBench(port: MessagePort, { fast, trace, profiles }: Extract<Start, { role: 'bench' }>): void {
  const send = (message: FromBench): void => port.postMessage(message);
  bench(
    { fast: compiled(fast), trace: compiled(trace) },
    {
      profiles,
      rounds: ROUNDS,
      machine: machineOf(cpus(), process.version),
      onProgress: (done, total, what) => send({ type: 'progress', done, total, what }),
    },
  ).then(
    (report) => send({ type: 'report', report }),
    (error: unknown) => send({ type: 'fault', message: error instanceof Error ? error.message : String(error) }),
  );
}
