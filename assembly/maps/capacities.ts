/** Capacity of each map, by `MapId`; further the sizes that are not a map's. */
@unmanaged
export class Capacities {
  services4: u32;
  services6: u32;
  backends4: u32;
  backends6: u32;
  reverseNat4: u32;
  reverseNat6: u32;
  maglev4: u32;
  maglev6: u32;
  affinity4: u32;
  affinity6: u32;
  sourceRange4: u32;
  sourceRange6: u32;
  conntrack4: u32;
  conntrack6: u32;
  snat4: u32;
  snat6: u32;
  fragments4: u32;
  fragments6: u32;
  ipcache4: u32;
  ipcache6: u32;
  lxc4: u32;
  lxc6: u32;
  nodes4: u32;
  nodes6: u32;
  ipmasq4: u32;
  ipmasq6: u32;
  reverseSk4: u32;
  reverseSk6: u32;
  affinityMatch: u32;
  policy: u32;
  auth: u32;
  throttle: u32;
  endpointConfig: u32;
  nodeConfig: u32;
  runtimeConfig: u32;
  metrics: u32;
  events: u32;
  /** Flows of a family whose answer is kept, 0 for none. */
  flows4: u32;
  flows6: u32;
  /** Likewise openings. */
  openings4: u32;
  openings6: u32;
  /** Slots of each Maglev table, a prime. */
  maglevTableSize: u32;
  /** Backends that one Maglev table may be built from. */
  maglevBackends: u32;
  /** Bytes of the room for the host's keys, values and dumps. */
  scratch: u32;
  /** Bytes of the room for a benchmark's packet templates. */
  templates: u32;
}
