/** A worker: holds one session and answers about it, runs one benchmark, or is one of a benchmark's own. */
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { Session } from '../dataplane/session.js';
import { serviceBackends } from './backends.js';
import { runBench, runLane } from './bench-worker.js';
import { readToWorker, type FromWorker, type Method, type Params, type Result, type Start } from './protocol.js';

const answers: { readonly [M in Method]: (session: Session, params: Params<M>) => Result<M> } = {
  problems: (session) => session.problems(),
  annotations: (session, { file }) => session.annotations(file),
  hover: (session, { file, position }) => session.hover(file, position),
  trace: (session, question) => session.trace(question),
  search: (session, options) => session.search(options),
  ends: (session) => session.ends(),
  services: (session) => serviceBackends(session.state),
};

function hold(port: MessagePort, datapath: Uint8Array): void {
  const session = new Session(new WebAssembly.Module(datapath as Uint8Array<ArrayBuffer>));
  const send = (message: FromWorker): void => port.postMessage(message);
  port.on('message', (received: unknown) => {
    const message = readToWorker(received);
    if (message?.type === 'setFiles') for (const [file, content] of message.files) session.setFile(file, content);
    else if (message?.type === 'configure') session.configure(message.settings);
    else if (message?.type === 'ask') {
      const { id, method, params } = message;
      try {
        send({ type: 'answer', id, result: answer(session, method, params) });
      } catch (error) {
        // A fault of ours in one answer; the session itself stays as good as its files.
        send({ type: 'fault', id, message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
      }
    }
  });
}

/** `params` have been checked to be those of `method`. */
const answer = <M extends Method>(session: Session, method: M, params: unknown): Result<M> =>
  answers[method](session, params as Params<M>);

const start = workerData as Start;
if (parentPort && start.role === 'session') hold(parentPort, start.datapath);
else if (parentPort && start.role === 'bench') runBench(parentPort, start);
else if (parentPort && start.role === 'lane') runLane(parentPort, start);
