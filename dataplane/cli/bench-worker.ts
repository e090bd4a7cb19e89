/** The benchmark's workers under Node: this program once more, in a thread. */
import { parentPort, Worker, workerData } from 'node:worker_threads';
import type { LaneStart, StartWorker } from '../bench/subject.js';
import { laneWorker, serveLane, type FromLane } from '../bench/workers.js';

export const startWorker: StartWorker = (start) =>
  laneWorker((onMessage, onError) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: start });
    worker.on('message', (message: FromLane) => onMessage(message));
    worker.on('error', onError);
    return { ask: () => worker.postMessage('round'), end: () => void worker.terminate() };
  });

/** In such a thread. */
export function serve(): void {
  const round = serveLane(workerData as LaneStart, (message) => parentPort?.postMessage(message));
  parentPort?.on('message', round);
}
