/** How Cilium's own commands list its maps. Cilium `cilium-dbg/cmd/bpf_*_list.go` and each map's `String`, v1.19. */
import { CtDirection, CtFlag, SvcFlag, SvcFlag2 } from '../../assembly/abi.js';
import type { MapDump } from '../answers/maps.js';
import { compare } from '../hash.js';
import type { Presented } from '../loader/present.js';
import { reasonOf } from '../reasons.js';
import { hostPort } from './host-port.js';

export interface Row {
  readonly cells: readonly string[];
  readonly entry: MapDump;
}

export interface Listing {
  /** null for a map of which there is no command. */
  readonly command: string | null;
  readonly head: readonly string[];
  readonly rows: (entries: readonly MapDump[], entriesOf: (map: string) => readonly MapDump[]) => readonly Row[];
}

const BACKEND_TITLE = 'BACKEND ADDRESS (REVNAT_ID) (SLOT)';

const CONNECTIONS: Listing = {
  command: 'cilium bpf ct list global',
  head: ['CONNECTION', 'STATE'],
  rows: each((key, value) => [tuple(key), connection(value)]),
};

/** By Cilium's name of the map; what its twin for IPv6 holds is listed in the same words. */
export const LISTINGS: Readonly<Record<string, Listing>> = {
  ...bothFamilies('cilium_lb#_services_v2', (family) => ({
    command: 'cilium bpf lb list',
    head: ['SERVICE ADDRESS', BACKEND_TITLE],
    rows: (entries, entriesOf) => serviceRows(entries, entriesOf(`cilium_lb${family}_backends_v3`)),
  })),
  ...bothFamilies('cilium_lb#_backends_v3', () => ({
    command: 'cilium bpf lb list --backends',
    head: ['ID', BACKEND_TITLE],
    rows: each(({ backendId }, { address, port, proto }) => [
      text(backendId),
      `${protocol(proto)}://${hostPort(text(address), Number(port))}`,
    ]),
  })),
  ...bothFamilies('cilium_lb#_reverse_nat', () => ({
    command: 'cilium bpf lb list --revnat',
    head: ['ID', BACKEND_TITLE],
    rows: each(({ revNatIndex }, { address, port }) => [text(revNatIndex), hostPort(text(address), Number(port))]),
  })),
  ...bothFamilies('cilium_lb#_source_range', () => ({
    command: 'cilium bpf lb list --source-ranges',
    head: ['SOURCE RANGE (REVNAT_ID)'],
    rows: each(({ prefix, revNatIndex }) => [`${text(prefix)} (${text(revNatIndex)})`]),
  })),
  ...bothFamilies('cilium_lb#_maglev', () => ({
    command: 'cilium bpf lb maglev list',
    head: ['SVC ID', 'LOOKUP TABLE'],
    rows: each(({ revNatIndex }, { backendIds }) => [text(revNatIndex), slots(backendIds as number[])]),
  })),
  ...bothFamilies('cilium_ct#_global', () => CONNECTIONS),
  ...bothFamilies('cilium_ct_any#_global', () => CONNECTIONS),
  ...bothFamilies('cilium_snat_v#_external', () => ({
    command: 'cilium bpf nat list',
    head: ['CONNECTION', 'TRANSLATION'],
    rows: each((key, { address, port, created }) => [
      tuple(key),
      `XLATE_${Number(key['flags']) & CtDirection.INGRESS ? 'DST' : 'SRC'} ${hostPort(text(address), Number(port))} Created=${text(created)}sec`,
    ]),
  })),
  cilium_ipcache_v2: {
    command: 'cilium bpf ipcache list',
    head: ['IP PREFIX/ADDRESS', 'IDENTITY'],
    rows: each(({ prefix }, { identity, tunnelEndpoint, key }) => [
      text(prefix),
      `identity=${text(identity)} encryptkey=${text(key ?? 0)} tunnelendpoint=${text(tunnelEndpoint ?? '0.0.0.0')} flags=${tunnelEndpoint === null ? '<none>' : 'hastunnel'}`,
    ]),
  },
  cilium_policy_v2: {
    command: 'cilium bpf policy get --all -n',
    head: [
      'ENDPOINT ID',
      'POLICY',
      'DIRECTION',
      'IDENTITY',
      'PORT/PROTO',
      'PROXY PORT',
      'AUTH TYPE',
      'BYTES',
      'PACKETS',
      'PREFIX',
    ],
    rows: (entries, entriesOf) => policyRows(entries, entriesOf('endpoint_config')),
  },
  cilium_throttle: {
    command: 'cilium bpf bandwidth list',
    head: ['IDENTITY', 'DIRECTION', 'BANDWIDTH (BitsPerSec)'],
    rows: each(({ endpoint, direction }, { bps }) => [text(endpoint), text(direction), text(8 * Number(bps))]),
  },
  cilium_lxc: {
    command: 'cilium bpf endpoint list',
    head: ['IP ADDRESS', 'LOCAL ENDPOINT INFO'],
    rows: (entries, entriesOf) => endpointRows(entries, entriesOf('endpoint_config')),
  },
  cilium_metrics: {
    command: 'cilium bpf metrics list',
    head: ['REASON', 'DIRECTION', 'PACKETS', 'BYTES'],
    rows: (entries) => metricRows(entries),
  },
};

/** A listing for each family's map: `#` in the name is 4 or 6. */
function bothFamilies(name: string, listing: (family: 4 | 6) => Listing): Record<string, Listing> {
  return Object.fromEntries(([4, 6] as const).map((family) => [name.replace('#', `${family}`), listing(family)]));
}

/** One row an entry. */
function each(cells: (key: Presented, value: Presented) => readonly string[]): Listing['rows'] {
  return (entries) => entries.map((entry) => ({ cells: cells(entry.key, entry.value), entry }));
}

const text = (value: unknown): string => String(value);

const PROTOCOLS: Readonly<Record<number, string>> = {
  0: 'ANY',
  1: 'ICMP',
  6: 'TCP',
  17: 'UDP',
  58: 'ICMPv6',
  132: 'SCTP',
};

const protocol = (number: unknown): string => PROTOCOLS[Number(number)] ?? text(number);

/** Frontends in the order of their addresses, each with its backends behind. */
function serviceRows(services: readonly MapDump[], backends: readonly MapDump[]): Row[] {
  const byId = new Map(backends.map(({ key, value }) => [key['backendId'], value]));
  const rows = services.map((entry) => {
    const { address, dport, proto, scope, backendSlot, node } = entry.key;
    const frontend = `${hostPort(text(address), Number(dport))}${Number(dport) === 0 ? ':0' : ''}/${protocol(proto)}${scope === 1 ? '/i' : ''}`;
    // Cilium has a map for each node, and need not say whose clients the entry is for.
    const whose = node === undefined ? '' : ` node ${text(node)}`;
    return { cells: [`${frontend} (${text(backendSlot)})${whose}`, backendText(entry, byId)], entry, frontend };
  });
  const numberOf = ({ entry }: Row, field: string): number => Number(entry.key[field] ?? 0);
  return rows.sort(
    (a, b) =>
      compare(a.frontend, b.frontend) ||
      numberOf(a, 'node') - numberOf(b, 'node') ||
      numberOf(a, 'backendSlot') - numberOf(b, 'backendSlot'),
  );
}

function backendText({ key, value }: MapDump, byId: ReadonlyMap<unknown, Presented>): string {
  const revNat = text(value['revNatIndex']);
  const slot = text(key['backendSlot']);
  if (key['backendSlot'] === 0) {
    const any = text(key['address']).includes(':') ? '[::]' : '0.0.0.0';
    return `${any}:0 (${revNat}) (${slot}) [${serviceFlags(value).join(', ')}]`;
  }
  const backend = byId.get(value['backendId']);
  if (!backend) return `backend ${text(value['backendId'])} not found`;
  return `${hostPort(text(backend['address']), Number(backend['port']))}/${protocol(backend['proto'])} (${revNat}) (${slot})`;
}

/** What makes a Service listen there: the first that holds. Cilium `SVCType`. */
const TYPES: readonly (readonly [SvcFlag, string])[] = [
  [SvcFlag.EXTERNAL_IP, 'ExternalIPs'],
  [SvcFlag.NODEPORT, 'NodePort'],
  [SvcFlag.LOADBALANCER, 'LoadBalancer'],
  [SvcFlag.HOSTPORT, 'HostPort'],
];

/** Cilium `ServiceFlags.String`. */
function serviceFlags(value: Presented): string[] {
  const flags = Number(value['flags']);
  const flags2 = Number(value['flags2']);
  const type = TYPES.find(([bit]) => flags & bit)?.[1] ?? 'ClusterIP';
  return [
    type,
    ...(flags & SvcFlag.EXT_LOCAL_SCOPE ? ['Local'] : []),
    ...(flags2 & SvcFlag2.INT_LOCAL_SCOPE ? ['InternalLocal'] : []),
    ...(flags & SvcFlag.AFFINITY ? ['sessionAffinity'] : []),
    ...(flags & SvcFlag.ROUTABLE ? [] : ['non-routable']),
    ...(flags & SvcFlag.SOURCE_RANGE ? ['check source-range'] : []),
    ...(flags2 & SvcFlag2.SOURCE_RANGE_DENY ? ['deny'] : []),
  ];
}

/** How often each backend stands in a Maglev table, in place of its thousands of slots. */
function slots(backendIds: readonly number[]): string {
  const counts = new Map<number, number>();
  for (const id of backendIds) counts.set(id, (counts.get(id) ?? 0) + 1);
  const shares = [...counts].sort(([a], [b]) => a - b).map(([id, count]) => `${id}×${count}`);
  return `${backendIds.length} slots: ${shares.join(' ')}`;
}

/** `TCP OUT 10.244.1.5:40000 -> 10.244.2.3:80`. */
function tuple({ nexthdr, flags, saddr, sport, daddr, dport }: Presented): string {
  const way = flags === CtDirection.SERVICE ? 'SVC' : Number(flags) & CtDirection.INGRESS ? 'IN' : 'OUT';
  return `${protocol(nexthdr)} ${way} ${hostPort(text(saddr), Number(sport))} -> ${hostPort(text(daddr), Number(dport))}`;
}

const CT_FLAGS: readonly (readonly [CtFlag, string])[] = [
  [CtFlag.RX_CLOSING, 'RxClosing'],
  [CtFlag.TX_CLOSING, 'TxClosing'],
  [CtFlag.LB_LOOPBACK, 'LBLoopback'],
  [CtFlag.SEEN_NON_SYN, 'SeenNonSyn'],
  [CtFlag.NODE_PORT, 'NodePort'],
];

const hex = (value: unknown, digits: number): string => `0x${Number(value).toString(16).padStart(digits, '0')}`;

/** Cilium `CtEntry.String`. */
function connection(value: Presented): string {
  const flags = CT_FLAGS.filter(([bit]) => Number(value['flags']) & bit).map(([, name]) => `${name} `);
  return [
    `expires=${text(value['lifetime'])}`,
    `Packets=${text(value['packets'])}`,
    `Bytes=${text(value['bytes'])}`,
    `RxFlagsSeen=${hex(value['rxFlagsSeen'], 2)}`,
    `TxFlagsSeen=${hex(value['txFlagsSeen'], 2)}`,
    `Flags=${hex(value['flags'], 4)} [ ${flags.join('')}]`,
    `RevNAT=${text(value['revNatIndex'])}`,
    `SourceSecurityID=${text(value['srcSecId'])}`,
    `BackendID=${text(value['backendId'])}`,
  ].join(' ');
}

/** The entries of each policy under the endpoints that share it, in Cilium's order: what denies, ingress, by identity. */
function policyRows(entries: readonly MapDump[], configs: readonly MapDump[]): Row[] {
  const endpoints = new Map<unknown, string[]>();
  for (const { key, value } of configs)
    endpoints.set(value['policy'], [...(endpoints.get(value['policy']) ?? []), text(key['endpoint'])]);
  const rank = ({ key, value }: MapDump): number[] => [
    Number(key['policy']),
    value['deny'] === true ? 0 : 1,
    key['direction'] === 'ingress' ? 0 : 1,
    Number(key['identity']),
    Number(key['proto']),
    Number(key['port']),
  ];
  const sorted = [...entries].sort((a, b) => {
    const theirs = rank(b);
    return rank(a).reduce((order, number, i) => order || number - theirs[i]!, 0);
  });
  return sorted.map((entry, i) => {
    const { key, value } = entry;
    const isFirst = sorted[i - 1]?.key['policy'] !== key['policy'];
    const proxyPort = Number(value['proxyPort']);
    return {
      cells: [
        isFirst ? (endpoints.get(key['policy']) ?? ['-']).join(', ') : '',
        value['deny'] === true ? 'Deny' : 'Allow',
        key['direction'] === 'ingress' ? 'Ingress' : 'Egress',
        text(key['identity']),
        portText(key),
        proxyPort === 0 ? 'NONE' : text(proxyPort),
        'disabled',
        '-',
        '-',
        text(key['prefixLength']),
      ],
      entry,
    };
  });
}

/** Bits of the protocol, and of it and the port, in a policy's key. */
const PROTOCOL_BITS = 8;
const FULL_BITS = 24;

/** Cilium `PolicyKey.PortProtoString`. */
function portText({ proto, port, prefixLength }: Presented): string {
  const length = Number(prefixLength);
  // Protocols that share their first bits: what is left of all of them where one is refused.
  if (length > 0 && length < PROTOCOL_BITS) return `${text(proto)}-${Number(proto) + (0xff >>> length)}`;
  if (length <= PROTOCOL_BITS) return protocol(proto);
  const last = Number(port) + (0xffff >>> (length - PROTOCOL_BITS));
  return `${length === FULL_BITS ? text(port) : `${text(port)}-${last}`}/${protocol(proto)}`;
}

function endpointRows(entries: readonly MapDump[], configs: readonly MapDump[]): Row[] {
  const byId = new Map(configs.map(({ key, value }) => [key['endpoint'], value]));
  return entries.map((entry) => {
    const { lxcId, secId, host } = entry.value;
    const { mac = '', nodeMac = '' } = byId.get(lxcId) ?? {};
    const info = [
      `id=${text(lxcId).padEnd(5)}`,
      `sec_id=${text(secId).padEnd(5)}`,
      'flags=0x0000',
      'ifindex=0  ',
      `mac=${text(mac).toUpperCase()}`,
      `nodemac=${text(nodeMac).toUpperCase()}`,
    ];
    return {
      cells: [`${hostPort(text(entry.key['address']), 0)}:0`, host === true ? '(localhost)' : info.join(' ')],
      entry,
    };
  });
}

function metricRows(entries: readonly MapDump[]): Row[] {
  const rows = entries.map((entry): Row => {
    const { reason, direction } = entry.key;
    const { count, bytes } = entry.value;
    const name = reason === 0 ? 'Success' : reasonOf(Number(reason)).text;
    return { cells: [name, text(direction).toUpperCase(), text(count), text(bytes)], entry };
  });
  return rows.sort((a, b) => compare(a.cells.join(' '), b.cells.join(' ')));
}
