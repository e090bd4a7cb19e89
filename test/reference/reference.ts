/**
 * The datapath once more, written to be read: Maps and linear search, packets that are never changed but made anew, checksums
 * summed up from the first byte. It imports nothing from `assembly/` nor `dataplane/`, and says what the WebAssembly must do.
 */
import * as device from './device.js';
import { Journey, State } from './journey.js';
import { DROP, MAX_PROGRAMS, PROGRAM } from './numbers.js';
import * as overlay from './overlay.js';
import * as pod from './pod.js';
import * as sockets from './socket.js';
import { Loaded, type Tables } from './tables.js';
import * as wireguard from './wireguard.js';

export interface Arrival {
  readonly frame: Uint8Array;
  readonly program: number;
  readonly node: number;
  /** The pod that sends it; 0 for a packet from elsewhere. */
  readonly endpoint: number;
  /** Of what a proxy sends. */
  readonly mark: number;
}

/** What became of a packet, as the datapath's record tells it. */
export interface Outcome {
  /** 0, or a negated drop reason. */
  readonly verdict: number;
  /** Where it ended: the program that dropped it, or an end. */
  readonly program: number;
  readonly node: number;
  readonly endpoint: number;
  readonly sourceIdentity: number;
  readonly destinationIdentity: number;
  readonly backendId: number;
  readonly revNatIndex: number;
  /** Where the error ended that told the sender, which then is the frame. */
  readonly answered: number;
  /** Of what goes to a proxy. */
  readonly mark: number;
  /** The reason in spite of which it passed a policy, and above it the direction; 0 for none. */
  readonly audited: number;
  /** Microseconds that it waited for its time to leave a node. */
  readonly delay: number;
  readonly frame: Uint8Array;
}

const PROGRAMS: Readonly<Record<number, (journey: Journey) => number>> = {
  [PROGRAM.fromContainer]: pod.fromContainer,
  [PROGRAM.lxcPolicy]: pod.ingressPolicy,
  [PROGRAM.fromNetdev]: device.fromNetdev,
  [PROGRAM.toNetdev]: device.toNetdev,
  [PROGRAM.fromOverlay]: overlay.fromOverlay,
  [PROGRAM.fromHost]: device.fromHost,
  [PROGRAM.wire]: device.wire,
  [PROGRAM.fromProxy]: device.fromProxy,
  [PROGRAM.toHost]: device.toHost,
  [PROGRAM.sockConnect]: sockets.connect,
  [PROGRAM.sockRecvmsg]: sockets.receive,
  [PROGRAM.toWireguard]: wireguard.toWireguard,
  [PROGRAM.fromWireguard]: wireguard.fromWireguard,
};

export class Reference {
  private readonly tables: Loaded;

  constructor(
    tables: Tables,
    readonly state = new State(),
  ) {
    this.tables = new Loaded(tables);
  }

  run({ frame, program, node, endpoint, mark }: Arrival): Outcome {
    const journey = new Journey(this.tables, this.state, frame, program, node, endpoint, mark);
    let next = program;
    for (let passed = 0; next > 0 && next < PROGRAM.delivered && passed < MAX_PROGRAMS; passed++) {
      journey.program = next;
      next = PROGRAMS[next]!(journey);
    }
    return outcomeOf(journey, next > 0 && next < PROGRAM.delivered ? -DROP.unroutable : next);
  }
}

/** A packet whose sender was told counts as dropped, unless the error was dropped itself. */
function outcomeOf(journey: Journey, end: number): Outcome {
  const { answered, answeredBy, sourceIdentity, destinationIdentity, backendId, revNatIndex, socket } = journey;
  const isTold = end > 0 && answered !== 0;
  return {
    verdict: end < 0 ? end : answered === 0 ? 0 : -answered,
    program: end < 0 ? journey.program : isTold ? answeredBy : end,
    node: journey.node,
    endpoint: end === PROGRAM.delivered || end === PROGRAM.proxy ? journey.endpoint : 0,
    sourceIdentity,
    destinationIdentity,
    backendId: socket?.backendId || backendId,
    revNatIndex: socket?.revNatIndex || revNatIndex,
    answered: isTold ? end : 0,
    mark: end === PROGRAM.proxy ? journey.mark : 0,
    audited: journey.audited,
    delay: journey.delay,
    frame: journey.bytes,
  };
}
