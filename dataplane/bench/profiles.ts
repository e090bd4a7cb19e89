/** The profiles of the benchmark: each one name for what is held, what is sent and what must come out. */
import type { Traffic } from './workload.js';

export interface Profile {
  readonly name: string;
  readonly description: string;
  readonly traffic: Traffic;
}

const TABLE: Traffic = {
  services: 1000,
  flows: 1000,
  peers: 100,
  local: true,
  allowed: true,
  frameLength: 64,
  opening: false,
  connections: 4096,
  maglevTableSize: 1021,
};

/** Room for the three entries of each flow, and none evicted. */
const established = (flows: number, traffic: Partial<Traffic> = {}): Traffic => ({
  ...TABLE,
  flows,
  connections: 3 * flows,
  ...traffic,
});

const profile = (name: string, description: string, traffic: Traffic): Profile => ({ name, description, traffic });

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
    'overlay-1k',
    '1,000 established flows through the VXLAN tunnel to the other node',
    established(1000, { local: false }),
  ),
  profile(
    'new-flows',
    'every packet opens a flow, and evicts the oldest from a conntrack table of a million entries',
    // Each flow takes three entries, so when a template comes round again all of its flow has long been evicted.
    { ...TABLE, flows: 1 << 19, connections: 1 << 20, opening: true, maglevTableSize: 16381 },
  ),
  profile('drops', '100,000 flows that the sender’s policy does not allow', established(100_000, { allowed: false })),
  profile('services-10', '1,000 established flows to 10 Services', established(1000, { services: 10 })),
  profile('services-10k', '100,000 established flows to 10,000 Services', established(100_000, { services: 10_000 })),
  profile('policy-10', '1,000 established flows under policies with 10 entries', established(1000, { peers: 10 })),
  profile('policy-100', 'the same with 100 entries', established(1000, { peers: 100 })),
  profile('policy-1000', 'the same with 1,000 entries', established(1000, { peers: 1000 })),
  profile('size-64', '1,000 established flows of 64-byte frames', established(1000)),
  profile('size-1500', 'the same with frames of 1,500 bytes', established(1000, { frameLength: 1500 })),
];

/** What the control plane does with an edit; see `shop.ts`. */
export const EDIT_PROFILE = {
  name: 'edit-shop',
  description: 'one edit to a policy of the example shop, until a question about it is answered',
} as const;

export const PROFILE_NAMES: readonly string[] = [...PROFILES.map(({ name }) => name), EDIT_PROFILE.name];
