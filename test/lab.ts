/** A small cluster from YAML on the screen, and packets into it. */
import { parseAddress } from '../dataplane/addresses.js';
import { tupleOf, type Tuple } from '../dataplane/packet.js';
import { formatAddress } from '../dataplane/addresses.js';
import { MapId, Program } from '../assembly/abi.js';
import { PolicyEntry, PolicyKey } from '../pkg/structs.js';
import { DEFAULT_SETTINGS, type Settings } from '../dataplane/settings.js';
import { Engine, type State } from '../dataplane/state.js';
import { encode, type PacketIn, type PacketOut } from '../dataplane/wasm.js';
import { modules } from './datapath.js';

export const TWO_NODES = `
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDR: 10.1.0.0/24}
status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
spec: {podCIDR: 10.2.0.0/24}
status: {addresses: [{type: InternalIP, address: 192.168.0.2}]}
---
`;

/** A pod on one line. */
export const pod = (name: string, ip: string, node: string, more = ''): string =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, labels: {app: ${name}}}\nspec: {nodeName: ${node}, containers: [{name: c, ports: [{containerPort: 8080, name: web}]}]${more}}\nstatus: {podIP: ${ip}}\n---\n`;

export const service = (name: string, ip: string, port: number, target: number | string, more = ''): string =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {clusterIP: ${ip}, selector: {app: ${name}}, ports: [{port: ${port}, targetPort: ${target}}]${more}}\n---\n`;

export class Lab {
  readonly engine: Engine;

  constructor(yaml: string, settings: Partial<Settings> = {}) {
    this.engine = new Engine(modules.trace, { ...DEFAULT_SETTINGS, ...settings });
    this.engine.manifests.set('lab.yaml', yaml);
  }

  get state(): State {
    return this.engine.current;
  }

  /** Sends a frame from a pod, without forgetting what was sent before. */
  send(from: string, frame: Uint8Array): PacketOut {
    return this.state.loader.current.process([this.packet(from, frame)])[0]!;
  }

  /** A frame of a pod's, as it goes into the dataplane. */
  packet(from: string, frame: Uint8Array): PacketIn {
    const { cluster, desired } = this.state;
    const sender = cluster.pods.find(({ name }) => name === from)!;
    return { frame, node: 0, program: Program.FROM_CONTAINER, endpoint: desired.endpointIds.get(sender)! };
  }

  /** A socket is connected, of a pod or of a node's own; `frame` stands for the first packet that it is going to send. */
  connect(from: string, frame: Uint8Array): PacketOut {
    const { cluster, desired, loader } = this.state;
    const sender = cluster.pods.find(({ name }) => name === from);
    const endpoint = sender ? desired.endpointIds.get(sender)! : 0;
    const node = cluster.nodes.find(({ name }) => name === from)?.index ?? 0;
    return loader.current.process([{ frame, node, program: Program.SOCK_CONNECT, endpoint }])[0]!;
  }

  /** A node's own process sends a frame. */
  host(node: string, frame: Uint8Array): PacketOut {
    const { index } = this.state.cluster.nodes.find(({ name }) => name === node)!;
    return this.state.loader.current.process([{ frame, node: index, program: Program.FROM_HOST, endpoint: 0 }])[0]!;
  }

  /** The proxy of a node sends a frame, with a mark. */
  proxy(node: string, frame: Uint8Array, mark: number): PacketOut {
    const { index } = this.state.cluster.nodes.find(({ name }) => name === node)!;
    const packet = { frame, node: index, program: Program.FROM_PROXY, endpoint: 0, mark };
    return this.state.loader.current.process([packet])[0]!;
  }

  /** An entry of a pod's policy, put there by hand. */
  policy(of: string, key: Partial<PolicyKey>, entry: Partial<PolicyEntry>): void {
    const { cluster, identities, policies, loader } = this.state;
    const identity = identities.ofPod.get(cluster.pods.find(({ name }) => name === of)!)!;
    const policyId = policies.ofIdentity.get(identity)!.id;
    loader.current.update(MapId.POLICY, encode(PolicyKey, { policyId, ...key }), encode(PolicyEntry, entry));
  }

  identity(of: string): number {
    const { cluster, identities } = this.state;
    return identities.ofPod.get(cluster.pods.find(({ name }) => name === of)!)!.number;
  }

  /** A frame arrives at a node from outside. */
  arrive(node: string, frame: Uint8Array): PacketOut {
    const { index } = this.state.cluster.nodes.find(({ name }) => name === node)!;
    return this.state.loader.current.process([{ frame, node: index, program: Program.FROM_NETDEV, endpoint: 0 }])[0]!;
  }
}

/** `10.0.0.1:40000 > 10.0.0.2:80` of a frame. */
export const flowOf = (frame: Uint8Array): string => {
  const { source, sourcePort, destination, destinationPort } = tupleOf(frame) as Tuple;
  return `${formatAddress(source)}:${sourcePort} > ${formatAddress(destination)}:${destinationPort}`;
};

export const address = (text: string): number => parseAddress(text) as number;
