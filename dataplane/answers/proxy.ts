/** Proxies between the two ends of a connection: which one a packet was handed to, and how it goes on from there. */
import { Mark, Program } from '../../assembly/abi.js';
import type { ClusterNode, ClusterPod } from '../cluster/cluster.js';
import { frameOf, tupleOf, type Tuple } from '../packet.js';
import type { Grant } from '../policy/mapstate.js';
import type { Direction } from '../policy/rules.js';
import type { State } from '../state.js';
import type { Decider } from './decide.js';
import type { PacketIn, PacketOut } from '../wasm.js';

/** A packet that a policy handed to a proxy, or a reply that found its way back to one. */
export interface Redirect {
  /** Of the policy that named the proxy. */
  readonly direction: Direction;
  /** Whose policy that is; null for a node's. */
  readonly pod: ClusterPod | null;
  readonly node: ClusterNode;
  /** Where it listens; 0 for a reply. */
  readonly port: number;
  readonly tuple: Tuple;
  readonly sourceIdentity: number;
  readonly destinationIdentity: number;
  /** For a proxy of the mesh, in the pod or before it: who opened the connection; null for whoever is no pod. */
  readonly client?: ClusterPod | null;
}

/** What a proxy says of the request that a connection is for; it may depend on what was not told of that. */
export interface Ruling {
  readonly fate: 'let' | 'refused' | 'untold' | 'unread';
  /** What the rules that let the connection say of it; none of a reply. */
  readonly grants: readonly Grant[];
  /** What a proxy of the mesh goes by instead. */
  readonly mesh?: MeshRuling;
}

/** What policies of the mesh say of a connection. */
export interface MeshRuling {
  readonly deciders: readonly Decider[];
  /** For what is open: on what it depends, one line each. */
  readonly depends: readonly string[];
  /** In words, for a hop. */
  readonly text: string;
  /** Whether who asked is told, by a status: a connection may end without. */
  readonly isAnswered: boolean;
}

/** What becomes of a packet at a proxy: what that decides about requests is in no map. */
export type Decision = (redirect: Redirect) => Ruling;

/** A packet at a proxy, and what became of it there. */
export type Ruled = Redirect & Ruling;

/** A proxy that lets every request. */
export const LETS: Decision = () => ({ fate: 'let', grants: [] });

const portOf = (mark: number): number => ((mark >>> 24) & 0xff) | (((mark >>> 16) & 0xff) << 8);

/** What a packet was handed to; null for one that went elsewhere. */
export function redirectOf(state: State, out: PacketOut): Redirect | null {
  const tuple = out.program === (Program.PROXY as number) ? tupleOf(out.frame) : null;
  if (out.verdict !== 0 || !tuple) return null;
  const pod = state.desired.endpointIds.podOf(out.endpoint) ?? null;
  const port = portOf(out.mark);
  // The proxy of whoever opened the connection is that of its egress: the sender's, and of a reply the receiver's.
  const sends = pod === null || pod.addresses.includes(tuple.source);
  return {
    direction: sends === (port !== 0) ? 'egress' : 'ingress',
    pod,
    node: state.cluster.nodes.find(({ index }) => index === out.node)!,
    port,
    tuple,
    sourceIdentity: out.sourceIdentity,
    destinationIdentity: out.destinationIdentity,
  };
}

/** The packet with which a proxy goes on: in the sender's name, from its address and port, and marked with its identity. */
export function upstreamOf({ direction, node, tuple, port, sourceIdentity }: Redirect): PacketIn {
  const magic = direction === 'egress' ? Mark.PROXY_EGRESS : Mark.PROXY_INGRESS;
  return {
    frame: frameOf(tuple, port === 0),
    node: node.index,
    program: Program.FROM_PROXY,
    endpoint: 0,
    mark: (((sourceIdentity & 0xffff) << 16) | magic | ((sourceIdentity >>> 16) & 0xff)) >>> 0,
  };
}
