/** The benchmark's own worker, in which nothing else runs, and those that it starts. */
import { cpus } from 'node:os';
import { Worker, type MessagePort } from 'node:worker_threads';
import { bench, machineOf } from '../dataplane/bench/bench.js';
import type { LaneStart, StartWorker } from '../dataplane/bench/subject.js';
import { laneWorker, serveLane, type FromLane } from '../dataplane/bench/workers.js';
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
      startWorker,
      onProgress: (done, total, what) => send({ type: 'progress', done, total, what }),
    },
  ).then(
    (report) => send({ type: 'report', report }),
    (error: unknown) => send({ type: 'fault', message: error instanceof Error ? error.message : String(error) }),
  );
}

/** This script once more, in a thread that ends with this one. */
const startWorker: StartWorker = (start) =>
  laneWorker((onMessage, onError) => {
    const worker = new Worker(__filename, { workerData: start, name: 'Hopscope: benchmark lane' });
    worker.on('message', (message: FromLane) => onMessage(message));
    worker.on('error', onError);
    return { ask: () => worker.postMessage('round'), end: () => void worker.terminate() };
  });

export function runLane(port: MessagePort, start: LaneStart): void {
  port.on(
    'message',
    serveLane(start, (message) => port.postMessage(message)),
  );
}
