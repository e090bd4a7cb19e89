/** The profiles of the benchmark: each one name for what is held, what is sent and what must come out. */
import type { Traffic } from './traffic.js';

/** What is counted, and what nanoseconds are given per. */
export const UNITS = ['packet', 'build', 'load', 'edit'] as const;
export type Unit = (typeof UNITS)[number];

export interface Listed {
  readonly name: string;
  readonly description: string;
  readonly unit: Unit;
}

export interface Profile extends Listed {
  readonly traffic: Traffic;
}

const TABLE: Traffic = {
  family: 'IPv4',
  clients: 'pods',
  mode: 'snat',
  services: 1000,
  flows: 1000,
  peers: 100,
  local: true,
  stop: null,
  frameLength: 64,
  opening: false,
  survivor: 0,
  connections: 4096,
  maglevTableSize: 1021,
  workers: 1,
  worker: 0,
};

/** Room for the three entries of each flow, and none evicted. */
const established = (flows: number, traffic: Partial<Traffic> = {}): Traffic => ({
  ...TABLE,
  flows,
  connections: 3 * flows,
  ...traffic,
});

/** From a client outside to a node port whose backend is on the other node. */
const outside = (mode: Traffic['mode']): Traffic => established(1000, { clients: 'world', local: false, mode });

const profile = (name: string, description: string, traffic: Traffic): Profile => ({
  name,
  description,
  unit: 'packet',
  traffic,
});

/** What the dataplane does with packets. */
export const PROFILES: readonly Profile[] = [
  profile(
    'established-1k',
    '1,000 flows to 1,000 Services, all in conntrack, from pod to pod of one node',
    established(1000),
  ),
  profile('established-100k', 'the same with 100,000 flows', established(100_000)),
  profile('established-1m', 'the same with a million flows', established(1_000_000)),
  profile(
    'new-flows',
    'every packet opens a flow, and evicts the oldest from a conntrack table of a million entries',
    // Each flow takes three entries, so when a template comes round again all of its flow has long been evicted.
    { ...TABLE, flows: 1 << 19, connections: 1 << 20, opening: true, maglevTableSize: 16381 },
  ),
  profile('new-flows-2k', 'the same from a table of 4,096 entries, which stays near the processor', {
    ...TABLE,
    flows: 1 << 11,
    connections: 1 << 12,
    opening: true,
  }),
  profile(
    'flood',
    'as new-flows in a table of half a million, but every 256th packet is of one of 1,024 established flows, and none of those may go',
    { ...TABLE, flows: 1 << 18, connections: 1 << 19, opening: true, survivor: 256 },
  ),
  profile('drops', '100,000 flows that the sender’s policy does not allow', established(100_000, { stop: 'policy' })),
  profile('services-10', '100,000 established flows to 10 Services', established(100_000, { services: 10 })),
  profile('services-1k', 'the same to 1,000 Services', established(100_000)),
  profile('services-10k', 'the same to 10,000 Services', established(100_000, { services: 10_000 })),
  profile('policy-10', '1,000 established flows under policies with 10 entries', established(1000, { peers: 10 })),
  profile('policy-100', 'the same with 100 entries', established(1000, { peers: 100 })),
  profile('policy-1000', 'the same with 1,000 entries', established(1000, { peers: 1000 })),
  profile('ipv6-1k', '1,000 established flows over IPv6', established(1000, { family: 'IPv6', frameLength: 74 })),
  profile('ipv6-100k', 'the same with 100,000 flows', established(100_000, { family: 'IPv6', frameLength: 74 })),
  profile(
    'overlay-1k',
    '1,000 established flows through the VXLAN tunnel to the other node',
    established(1000, { local: false }),
  ),
  profile('snat-1k', '1,000 clients’ flows to node ports, in the node’s name to a backend of another', outside('snat')),
  profile('dsr-1k', 'the same by direct server return', outside('dsr')),
  profile('size-64', '1,000 established flows of 64-byte frames', established(1000)),
  profile('size-1500', 'the same with frames of 1,500 bytes', established(1000, { frameLength: 1500 })),
  profile(
    'stop-receive',
    'the same, but each packet is refused when it is received',
    established(1000, { stop: 'receive' }),
  ),
  profile('stop-parse', 'the same, but refused once it is parsed', established(1000, { stop: 'parse' })),
  profile('stop-service', 'the same, but its Service has no backend', established(1000, { stop: 'service' })),
  profile('stop-policy', 'the same, but the sender’s policy does not allow it', established(1000, { stop: 'policy' })),
];

/** Whose measure is taken against JavaScript and against the floor too, beside the plain path. */
export const COMPARED: ReadonlySet<string> = new Set([
  'established-1k',
  'established-100k',
  'established-1m',
  'new-flows',
  'drops',
]);

export interface MaglevProfile extends Listed {
  /** Entries of the table. */
  readonly size: number;
  readonly backends: number;
}

const MAGLEV_SIZES = [251, 1021, 16381, 65537];
const MAGLEV_BACKENDS = [3, 100, 1000];

/** How long a Service's table takes to build. */
export const MAGLEV_PROFILES: readonly MaglevProfile[] = MAGLEV_SIZES.flatMap((size) =>
  MAGLEV_BACKENDS.filter((backends) => backends <= size).map((backends) => ({
    name: `maglev-${size}-${backends}`,
    description: `a Maglev table of ${size} entries, built from ${backends} backends`,
    unit: 'build',
    size,
    backends,
  })),
);

/** How many workers take the flows of a profile among them, each with a dataplane of its own. */
export interface WorkersProfile extends Listed {
  readonly workers: number;
  readonly of: Profile;
}

/** Against one worker, which takes them all. */
export const WORKERS_PROFILES: readonly WorkersProfile[] = ['established-1k', 'established-100k'].map((name) => ({
  name: name.replace('established', 'workers-2'),
  description: `the flows of ${name} between two workers`,
  unit: 'packet',
  workers: 2,
  of: PROFILES.find((each) => each.name === name)!,
}));

/** What the control plane does with an edit; see `shop.ts`. */
export const EDIT_PROFILE: Listed = {
  name: 'edit-shop',
  description: 'one edit to a policy of the example shop, until a question about it is answered',
  unit: 'edit',
};

/** What the control plane does under a cluster; see `control-plane.ts`. */
export interface ControlProfile extends Listed {
  readonly what: 'cold' | 'edit' | 'reach';
  /** Its share of 10,000 pods, 5,000 Services, 2,000 policies and 250,000 endpoints. */
  readonly part: number;
}

/** A hundred objects, and a thousand. `npm run bench:scale` measures the whole. */
const PARTS: readonly (readonly [label: string, part: number])[] = [
  ['100', 0.005],
  ['1k', 0.045],
];

export const CONTROL_PROFILES: readonly ControlProfile[] = PARTS.flatMap(([label, part]): ControlProfile[] => {
  const objects = `a cluster of ${label === '1k' ? '1,000' : label} objects`;
  return [
    {
      name: `cold-${label}`,
      description: `the texts of ${objects}, until a file is annotated`,
      unit: 'load',
      what: 'cold',
      part,
    },
    {
      name: `edit-${label}`,
      description: `an edit to a policy in ${objects}, until its file is annotated`,
      unit: 'edit',
      what: 'edit',
      part,
    },
    {
      name: `reach-${label}`,
      description: `after such an edit, who reaches whom: all pairs`,
      unit: 'edit',
      what: 'reach',
      part,
    },
  ];
});

/** All that can be measured. */
export const ALL_PROFILES: readonly Listed[] = [
  ...PROFILES,
  ...WORKERS_PROFILES,
  ...MAGLEV_PROFILES,
  EDIT_PROFILE,
  ...CONTROL_PROFILES,
];

export const PROFILE_NAMES: readonly string[] = ALL_PROFILES.map(({ name }) => name);

/** How time grows with one number, all else the same. */
export interface Growth {
  readonly title: string;
  readonly points: readonly { readonly label: string; readonly profile: string }[];
}

const growth = (title: string, ...points: readonly (readonly [label: string, profile: string])[]): Growth => ({
  title,
  points: points.map(([label, profile]) => ({ label, profile })),
});

export const GROWTHS: readonly Growth[] = [
  growth('Flows', ['1,000', 'established-1k'], ['100,000', 'established-100k'], ['1,000,000', 'established-1m']),
  growth('Services', ['10', 'services-10'], ['1,000', 'services-1k'], ['10,000', 'services-10k']),
  growth('Policy entries', ['10', 'policy-10'], ['100', 'policy-100'], ['1,000', 'policy-1000']),
  growth('Connections that new flows evict from', ['4,096', 'new-flows-2k'], ['1,048,576', 'new-flows']),
  growth('Bytes of a frame', ['64', 'size-64'], ['1,500', 'size-1500']),
  growth('Objects, cold', ['100', 'cold-100'], ['1,000', 'cold-1k']),
  growth('Objects, one edit', ['100', 'edit-100'], ['1,000', 'edit-1k']),
  growth('Objects, all pairs after an edit', ['100', 'reach-100'], ['1,000', 'reach-1k']),
  growth('Flows, IPv6', ['1,000', 'ipv6-1k'], ['100,000', 'ipv6-100k']),
  ...MAGLEV_BACKENDS.map((backends) =>
    growth(
      `Entries of a Maglev table of ${backends} backends`,
      ...MAGLEV_PROFILES.filter((profile) => profile.backends === backends).map(
        ({ size, name }) => [`${size}`, name] as const,
      ),
    ),
  ),
];

/** Where packets end, from the first on; what the plain path takes longer for one than for that before is a step's cost. */
export const STEPS: readonly { readonly step: string; readonly profile: string }[] = [
  { step: 'receive and record', profile: 'stop-receive' },
  { step: 'parse', profile: 'stop-parse' },
  { step: 'Service', profile: 'stop-service' },
  { step: 'backend, conntrack, identity, egress policy', profile: 'stop-policy' },
  { step: 'delivery, conntrack, ingress policy', profile: 'size-64' },
];
