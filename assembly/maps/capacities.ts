/** Capacity of each map, by `MapId`; further the sizes that are not a map's. */
@unmanaged
export class Capacities {
  services: u32;
  backends: u32;
  reverseNat: u32;
  maglev: u32;
  conntrack: u32;
  ipcache: u32;
  policy: u32;
  lxc: u32;
  endpointConfig: u32;
  nodeConfig: u32;
  nodes: u32;
  snat: u32;
  sourceRange: u32;
  events: u32;
  /** Slots of each Maglev table, a prime. */
  maglevTableSize: u32;
  /** Backends that one Maglev table may be built from. */
  maglevBackends: u32;
  /** Bytes of the room for the host's keys, values and dumps. */
  scratch: u32;
  /** Bytes of the room for a benchmark's packet templates. */
  templates: u32;
}
