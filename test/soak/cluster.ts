/** A cluster for long runs: Services whose backends are on two nodes, asked by pods of the first and from outside through it. */
import { MapId } from '../../assembly/abi.js';
import { plus, type Address, type Family } from '../../dataplane/addresses.js';
import type { Desired } from '../../dataplane/loader/entries.js';
import type { Frontend } from '../../dataplane/loader/frontends.js';
import { MAPS, type FamilyMaps } from '../../dataplane/loader/families.js';
import { DEFAULT_SETTINGS } from '../../dataplane/settings.js';
import { Engine } from '../../dataplane/state.js';
import { Datapath, type Sizes } from '../../dataplane/wasm.js';
import { modules } from '../datapath.js';

export const CLIENTS = 128;
export const BACKENDS = 48;
/** The first of the backends are on the first node, the rest on the other. */
const NEAR = BACKENDS / 2;

interface Plan {
  readonly client: (i: number) => Address;
  readonly backend: (i: number) => Address;
  readonly clusterIP: (i: number) => Address;
  readonly externalIP: (i: number) => Address;
}

const counting =
  (first: Address) =>
  (i: number): Address =>
    plus(first, i);

export const PLANS: Readonly<Record<Family, Plan>> = {
  IPv4: {
    client: counting(0x0a01000a),
    backend: (i) => plus(i < NEAR ? 0x0a010100 : 0x0a020100, i),
    clusterIP: counting(0x0a600001),
    externalIP: counting(0xc6336401),
  },
  IPv6: {
    client: counting(0xfd00000100000000000000000000000an),
    backend: (i) => plus(i < NEAR ? 0xfd000001000000000000000000010000n : 0xfd000002000000000000000000010000n, i),
    clusterIP: counting(0xfd000096000000000000000000000001n),
    externalIP: counting(0x20010db8009600000000000000000001n),
  },
};

const [V4, V6] = [PLANS.IPv4, PLANS.IPv6];

/** As manifests write an address; eight groups need no shortening. */
const text = (address: Address): string =>
  typeof address === 'bigint'
    ? Array.from({ length: 8 }, (_, i) => ((address >> BigInt(112 - 16 * i)) & 0xffffn).toString(16)).join(':')
    : [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');

const both = (plan: (side: Plan) => Address): string => `['${text(plan(V4))}', '${text(plan(V6))}']`;

const node = (n: number): string => `apiVersion: v1
kind: Node
metadata: {name: n${n}}
spec: {podCIDR: 10.${n}.0.0/16, podCIDRs: [10.${n}.0.0/16, 'fd00:${n}::/64']}
status: {addresses: [{type: InternalIP, address: 192.168.0.${n}}, {type: InternalIP, address: 'fd00:c0::${n}'}]}
`;

const pod = (name: string, app: string, n: number, [v4, v6]: readonly Address[]): string => `apiVersion: v1
kind: Pod
metadata: {name: ${name}, labels: {app: ${app}}}
spec: {nodeName: n${n}, containers: [{name: c, ports: [{containerPort: 8080}]}]}
status: {podIP: ${text(v4!)}, podIPs: [{ip: ${text(v4!)}}, {ip: '${text(v6!)}'}]}
`;

const service = (i: number): string => `apiVersion: v1
kind: Service
metadata: {name: web-${i}}
spec: {clusterIP: ${text(V4.clusterIP(i))}, clusterIPs: ${both((side) => side.clusterIP(i))}, ipFamilyPolicy: RequireDualStack,
  ipFamilies: [IPv4, IPv6], externalIPs: ${both((side) => side.externalIP(i))}, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
`;

const range = <T>(length: number, make: (i: number) => T): T[] => Array.from({ length }, (_, i) => make(i));

const manifests = (services: number): string =>
  [
    ...[1, 2].map(node),
    ...range(CLIENTS, (i) => pod(`client-${i}`, 'client', 1, [V4.client(i), V6.client(i)])),
    ...range(BACKENDS, (i) => pod(`web-${i}`, 'web', i < NEAR ? 1 : 2, [V4.backend(i), V6.backend(i)])),
    ...range(services, service),
  ].join('---\n');

/** What a flow asks for: the Service's address inside or outside the cluster. */
export class Entrance {
  /** One backend id a slot. */
  table: Uint32Array = new Uint32Array(0);

  constructor(readonly frontend: Frontend) {}
}

/** The product's own control plane says what goes into the maps; the build that records nothing runs it. */
export class SoakCluster {
  readonly datapath: Datapath;
  readonly maps: FamilyMaps;
  readonly desired: Desired;
  /** By Service, for clients inside and outside. */
  readonly inside: readonly Entrance[];
  readonly outside: readonly Entrance[];
  /** Endpoint of each client. */
  readonly endpoints: readonly number[];
  /** Ids of the backends on the other node. */
  readonly far: ReadonlySet<number>;

  /** `connections`: how many fit; half as many mappings of source NAT. */
  constructor(
    readonly family: Family,
    services: number,
    connections: number,
  ) {
    this.maps = MAPS[family];
    const engine = new Engine(modules.fast, DEFAULT_SETTINGS);
    engine.manifests.set('soak.yaml', manifests(services));
    const { desired, loader } = engine.current;
    this.desired = desired;
    const flows: Partial<Sizes> =
      family === 'IPv6'
        ? { conntrack6: connections, snat6: connections >> 1 }
        : { conntrack4: connections, snat4: connections >> 1 };
    // A dump of the connections' keys has room.
    const scratch = (connections + 1) * this.maps.CtTuple.size + loader.current.sizes.scratch;
    this.datapath = Datapath.create(modules.fast, { ...loader.current.sizes, ...flows, scratch });
    for (const { map, key, value } of desired.entries) accepted(this.datapath.update(map, key, value));
    for (const { revNatIndex, backends, map } of desired.maglev)
      accepted(this.datapath.buildMaglev(revNatIndex, backends, map));
    const plan = PLANS[family];
    const at = (address: Address): Entrance =>
      new Entrance(desired.frontends.find((frontend) => frontend.address === address && frontend.number === 80)!);
    this.inside = range(services, (i) => at(plan.clusterIP(i)));
    this.outside = range(services, (i) => at(plan.externalIP(i)));
    const numbers = new Map([...desired.endpointIds].map(([{ name }, id]) => [name, id]));
    this.endpoints = range(CLIENTS, (i) => numbers.get(`client-${i}`)!);
    const distant = new Set(range(BACKENDS - NEAR, (i) => plan.backend(NEAR + i)));
    this.far = new Set([...desired.backendsById].flatMap(([id, { address }]) => (distant.has(address) ? [id] : [])));
    for (const entrance of [...this.inside, ...this.outside]) this.readTable(entrance);
  }

  /** Looks up the Maglev table that the datapath holds now. */
  readTable(entrance: Entrance): void {
    const { revNatIndex } = entrance.frontend;
    entrance.table = this.datapath.maglevTable(revNatIndex, this.maps.map(MapId.LB4_MAGLEV))!;
  }
}

/** A map takes what it is given, or the run means nothing. */
export function accepted(error: number): void {
  if (error !== 0) throw new Error(`a map refused an entry: ${error}`);
}
