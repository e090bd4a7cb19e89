/** What a profile is about: who asks whom, how often, and what becomes of it. */
import type { Family } from '../addresses.js';

/** Where packets may end before they are forwarded, in the order in which they get there. */
export const STOPS = ['receive', 'parse', 'service', 'policy'] as const;
export type Stop = (typeof STOPS)[number];

export interface Traffic {
  readonly family: Family;
  /** Pods of the first node, which ask for ClusterIPs; or the world, which asks that node for its node ports. */
  readonly clients: 'pods' | 'world';
  /** How the world gets an answer from a backend of another node. */
  readonly mode: 'snat' | 'dsr';
  readonly services: number;
  /** Flows to Services, each with a tuple of its own and one packet template. */
  readonly flows: number;
  /** Peers that the policy of the clients names, and as many that the backends' names: entries on either side. */
  readonly peers: number;
  /** Whether the backends are on the clients' node; else the way leads through the tunnel. */
  readonly local: boolean;
  /**
   * Where every packet ends: it names no program (receive), has another pod's address (parse), asks a Service without backends, or
   * one that the clients' policy does not name. null: all are forwarded.
   */
  readonly stop: Stop | null;
  /** Bytes of each frame. */
  readonly frameLength: number;
  /** Whether each packet opens its flow (SYN) or belongs to one (ACK). */
  readonly opening: boolean;
  /** Of flows that open, every so many-th is one that was answered and goes on; it must outlive the others. 0: none is. */
  readonly survivor: number;
  /** Connections that fit. A flow takes three: the Service's, the sender's and the receiver's. */
  readonly connections: number;
  readonly maglevTableSize: number;
  /** Of so many workers, among whom the flows are spread by hash, the number of this one. */
  readonly workers: number;
  readonly worker: number;
}

export const survives = ({ survivor }: Traffic, flow: number): boolean => survivor > 0 && flow % survivor === 0;

/** Whether the template of a flow opens it. */
export const opens = (traffic: Traffic, flow: number): boolean => traffic.opening && !survives(traffic, flow);
