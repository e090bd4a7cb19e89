/** Flows by number: who asks, from which port, which Service. No two share a tuple, nor do they once a backend is picked. */
import { CLIENTS } from './cluster.js';

export interface Flow {
  outside: boolean;
  /** A pod's number, or an outside host's. */
  client: number;
  port: number;
  service: number;
}

export const blank = (): Flow => ({ outside: false, client: 0, port: 0, service: 0 });

/** Hosts outside that established flows come from, and as many others that the flood comes from. */
const HOSTS = 1 << 23;
const FIRST_PORT = 1024;
/** The pods' flood uses ports from here on, their established flows those below. */
const FLOOD_PORT = 16384;
const SPREAD = 60000;
/** Of so many flows of a flood, one is a pod's. */
const PODS_SHARE = 16;

export class Flows {
  /** Odd, so that multiplying by it gives each host once. */
  private readonly stride: number;

  constructor(
    private readonly services: number,
    seed: number,
  ) {
    this.stride = (Math.imul(seed, 0x9e3779b1) | 1) >>> 0;
  }

  private host(number: number): number {
    return Math.imul(number, this.stride) & (HOSTS - 1);
  }

  /** Every other one is a pod's. */
  established(number: number, flow: Flow): void {
    const turn = number >>> 1;
    if ((number & 1) === 0) return this.pod(turn, FIRST_PORT, FLOOD_PORT, flow);
    flow.outside = true;
    flow.client = this.host(turn);
    flow.port = FIRST_PORT + (flow.client % SPREAD);
    flow.service = turn % this.services;
  }

  flood(number: number, flow: Flow): void {
    const turn = Math.floor(number / PODS_SHARE);
    if (number % PODS_SHARE === 0) return this.pod(turn, FLOOD_PORT, 65536, flow);
    const other = number - turn - 1;
    flow.outside = true;
    flow.client = HOSTS + this.host(other % HOSTS);
    flow.port = FIRST_PORT + (flow.client % SPREAD) + Math.floor(other / HOSTS);
    flow.service = other % this.services;
  }

  private pod(turn: number, first: number, end: number, flow: Flow): void {
    const rest = Math.floor(turn / CLIENTS);
    flow.outside = false;
    flow.client = turn % CLIENTS;
    flow.service = rest % this.services;
    flow.port = first + rest;
    if (flow.port >= end) throw new RangeError('the pods have no more ports');
  }
}
