/** A datapath for tests, of the build they name. */
import { readFileSync } from 'node:fs';
import { Datapath, type Sizes } from '../dataplane/wasm.js';

const FLOWS = { conntrack: 256, snat: 64, affinity: 64, fragments: 64, reverseSk: 64 };
const LOADED = {
  services: 256,
  backends: 256,
  reverseNat: 64,
  maglev: 8,
  sourceRange: 16,
  ipcache: 128,
  lxc: 64,
  nodes: 8,
  ipmasq: 16,
};

/** The same for either family. */
export const both = <Name extends string>(sizes: Record<Name, number>): Record<`${Name}${4 | 6}`, number> =>
  Object.fromEntries(
    Object.entries<number>(sizes).flatMap(([name, size]) => [
      [`${name}4`, size],
      [`${name}6`, size],
    ]),
  ) as Record<`${Name}${4 | 6}`, number>;

export const SMALL: Sizes = {
  ...both(FLOWS),
  ...both(LOADED),
  ...both({ flows: 256, openings: 256 }),
  affinityMatch: 64,
  policy: 256,
  auth: 16,
  throttle: 16,
  endpointConfig: 64,
  nodeConfig: 8,
  runtimeConfig: 1,
  metrics: 512,
  events: 256,
  maglevTableSize: 251,
  maglevBackends: 2048,
  scratch: 1 << 18,
  templates: 64,
};

export const modules = {
  fast: new WebAssembly.Module(readFileSync('pkg/dataplane.wasm')),
  trace: new WebAssembly.Module(readFileSync('pkg/dataplane.trace.wasm')),
};

export const datapath = (sizes: Partial<Sizes> = {}, build: keyof typeof modules = 'trace'): Datapath =>
  Datapath.create(modules[build], { ...SMALL, ...sizes });
