/** Runs a benchmark in a worker of its own; cancelling ends the worker, whatever it is in the middle of. */
import { Worker } from 'node:worker_threads';
import type * as vscode from 'vscode';
import type { BenchReport } from '../dataplane/bench/bench.js';
import { readFromBench, type FromBench, type Start } from './protocol.js';

export interface BenchEngine {
  readonly script: string;
  readonly fast: Uint8Array;
  readonly trace: Uint8Array;
}

export type BenchProgress = Extract<FromBench, { type: 'progress' }>;

/** The report; null when it was cancelled. */
export function runBenchmark(
  { script, fast, trace }: BenchEngine,
  profiles: readonly string[],
  token: vscode.CancellationToken,
  onProgress: (progress: BenchProgress) => void,
): Promise<BenchReport | null> {
  const workerData: Start = { role: 'bench', fast, trace, profiles };
  const worker = new Worker(script, { workerData, name: 'Hopscope: benchmark' });
  const result = new Promise<BenchReport | null>((resolve, reject) => {
    token.onCancellationRequested(() => resolve(null));
    if (token.isCancellationRequested) resolve(null);
    worker.on('message', (received: unknown) => {
      const message = readFromBench(received);
      if (message?.type === 'progress') onProgress(message);
      else if (message?.type === 'report') resolve(message.report);
      else if (message?.type === 'fault') reject(new Error(message.message));
    });
    worker.on('error', reject);
    worker.on('exit', () => reject(new Error('The benchmark ended without a result.')));
  });
  return result.finally(() => void worker.terminate());
}
