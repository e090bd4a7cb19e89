/** A datapath for tests, of the build they name. */
import { readFileSync } from 'node:fs';
import { Datapath, type Sizes } from '../dataplane/wasm.js';

export const SMALL: Sizes = {
  services: 256,
  backends: 256,
  reverseNat: 64,
  maglev: 8,
  conntrack: 256,
  ipcache: 128,
  policy: 256,
  lxc: 64,
  endpointConfig: 64,
  nodeConfig: 8,
  nodes: 8,
  snat: 64,
  sourceRange: 16,
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
