/** Fills conntrack: packets of as many flows as it has room for, each of which takes an entry at either end. */
import { IpProto, MapId } from '../../assembly/abi.js';
import { packetOf } from '../../dataplane/answers/probe.js';
import type { State } from '../../dataplane/state.js';

const BATCH = 256;
const FIRST_PORT = 1024;
const PORTS = 65536 - FIRST_PORT;

/** How many entries there are then. */
export function established(state: State, entries: number): number {
  const { cluster, loader } = state;
  const inTeam = cluster.pods.filter(({ namespace }) => namespace === 'team-0');
  const senders = inTeam.filter(({ labels }) => labels.get('app') === 'orders');
  const receivers = inTeam.filter(({ labels }) => labels.get('app') === 'cart');
  const datapath = loader.current;
  datapath.flushConnections();
  for (let flow = 0; flow < entries / 2; flow += BATCH) {
    datapath.process(
      Array.from({ length: BATCH }, (_, i) => {
        const pair = Math.floor((flow + i) / PORTS);
        const pod = senders[pair % senders.length]!;
        const to = receivers[Math.floor(pair / senders.length) % receivers.length]!;
        const ports = { sourcePort: FIRST_PORT + ((flow + i) % PORTS), destinationPort: 8001 };
        const tuple = { source: pod.address, destination: to.address, protocol: IpProto.TCP, ...ports };
        return packetOf(state, { sender: { kind: 'pod', pod }, tuple });
      }),
    );
  }
  return datapath.counters(MapId.CT4).live;
}
