/** Numbers of Cilium, the kernel and the RFCs, written down once more: the reference shares none with what it is held against. */

/** Where a packet is, or has ended. The order is that of the record of the datapath's batch. */
export const PROGRAM = {
  fromContainer: 1,
  lxcPolicy: 2,
  fromNetdev: 3,
  toNetdev: 4,
  fromOverlay: 5,
  fromHost: 6,
  wire: 7,
  sockConnect: 16,
  fromProxy: 17,
  toHost: 18,
  sockRecvmsg: 19,
  toWireguard: 20,
  fromWireguard: 21,
  delivered: 32,
  host: 33,
  world: 34,
  proxy: 35,
} as const;

/** Cilium `pkg/monitor/api/drop.go`. */
export const DROP = {
  sockNoSlot: 5,
  sockNoBackend: 6,
  invalidSource: 132,
  policyDenied: 133,
  invalid: 134,
  ctInvalidHeader: 135,
  fragmentationNeeded: 136,
  ctUnknownProtocol: 137,
  unknownL3: 139,
  noTunnelKey: 147,
  noTunnelOption: 148,
  invalidGeneve: 149,
  unknownTarget: 150,
  unroutable: 151,
  invalidExtensionHeader: 156,
  fragmentsNotSupported: 157,
  noService: 158,
  noTunnelEndpoint: 160,
  departsTooLate: 162,
  unsupportedL2: 166,
  noMapping: 167,
  natUnsupportedProtocol: 168,
  noRoute: 169,
  encapsulationProhibited: 170,
  invalidIdentity: 171,
  isClusterIp: 174,
  firstFragmentNotFound: 175,
  notInSourceRange: 177,
  proxyUnknownProtocol: 180,
  policyDeny: 181,
  vlanFiltered: 182,
  authRequired: 189,
  dsrUnsupported: 193,
  unencrypted: 195,
  ttlExceeded: 196,
  noNodeId: 197,
  endpointNotReady: 203,
} as const;

/** IANA protocol numbers. */
export const PROTOCOL = { icmp: 1, ipip: 4, tcp: 6, udp: 17, ipv6: 41, icmpv6: 58, sctp: 132 } as const;

/** RFC 9293 section 3.1. */
export const TCP_FLAG = { fin: 1, syn: 2, rst: 4, ack: 16 } as const;

/** Cilium `TUPLE_F_OUT`, `TUPLE_F_IN`, `TUPLE_F_SERVICE`: from which side a connection was opened. */
export const OUT = 0;
export const IN = 1;
export const SERVICE = 4;

/** Bit field of Cilium's `struct ct_entry`. */
export const CT_FLAG = {
  rxClosing: 1,
  txClosing: 2,
  loopback: 8,
  seenNonSyn: 16,
  nodePort: 32,
  proxyRedirect: 64,
  dsr: 128,
} as const;

/** Seconds. Cilium `CT_CONNECTION_LIFETIME_TCP`, `..._NONTCP`, `CT_SYN_TIMEOUT`, `CT_CLOSE_TIMEOUT`, as the agent sets them. */
export const LIFETIME = { tcp: 8000, nonTcp: 60, syn: 60, close: 10 } as const;

/** Cilium `SVC_FLAG_*`, both bytes. */
export const SERVICE_FLAG = {
  externalIp: 1,
  nodePort: 2,
  extLocalScope: 4,
  hostPort: 8,
  affinity: 16,
  loadBalancer: 32,
  routable: 64,
  sourceRange: 128,
} as const;
export const SERVICE_FLAG2 = { intLocalScope: 16, sourceRangeDeny: 64, dsr: 128 } as const;

/** Cilium `LB_SELECTION_*`. */
export const ALGORITHM = { random: 1, maglev: 2 } as const;

/** Cilium `BE_STATE_*`. */
export const BACKEND = { active: 0, terminating: 1, quarantined: 2, maintenance: 3 } as const;

/** Cilium `MARK_MAGIC_*`: `magic` are the bits that tell which. */
export const MARK = { magic: 0xf00, toProxy: 0x200, proxyIngress: 0xa00, proxyEgress: 0xb00 } as const;

/** Cilium `pkg/identity/numericidentity.go`: from `firstCidr` on, those of prefixes. */
export const IDENTITY = {
  unknown: 0,
  host: 1,
  world: 2,
  remoteNode: 6,
  kubeApiserver: 7,
  worldIpv4: 9,
  worldIpv6: 10,
  firstCidr: 1 << 24,
} as const;

/** Types and codes of ICMP (RFC 792) and ICMPv6 (RFC 4443, RFC 4861). */
export const ICMP = { echoReply: 0, unreachable: 3, echo: 8, timeExceeded: 11, parameterProblem: 12 } as const;
export const ICMPV6 = {
  unreachable: 1,
  packetTooBig: 2,
  timeExceeded: 3,
  parameterProblem: 4,
  echo: 128,
  echoReply: 129,
  neighborSolicitation: 135,
} as const;
export const PORT_UNREACHABLE = 3;
export const FRAGMENTATION_NEEDED = 4;
export const PORT_UNREACHABLE_V6 = 4;

/** Ports of tunnels: Linux's of VXLAN, and RFC 8926 section 3.3; and the bytes that the outer headers of either take, without options. */
export const TUNNEL_PORT = { vxlan: 8472, geneve: 6081 } as const;
export const TUNNEL_OVERHEAD = 50;
/** Ports from which Linux picks the tunnel's source: the first, and how many. */
export const TUNNEL_PORT_FIRST = 32768;
export const TUNNEL_PORTS = 16384;

/** Cilium `pkg/wireguard/types`, `ListenPort`. */
export const WIREGUARD_PORT = 51871;

/** A packet that would wait two seconds to leave goes nowhere. Cilium `DefaultDropHorizon`. */
export const PACE_HORIZON = 2_000_000_000n;

/** Cilium `NODEPORT_PORT_MIN`, `NODEPORT_PORT_MAX`. */
export const NODE_PORTS = { first: 30000, last: 32767 } as const;

/** Cilium `NODEPORT_PORT_MIN_NAT`, `NODEPORT_PORT_MAX_NAT`, `SNAT_COLLISION_RETRIES`. */
export const NAT_PORT_FIRST = 32768;
export const NAT_PORTS = 32768;
export const NAT_TRIES = 32;

/** Hops that a packet made here has before it. */
export const DEFAULT_TTL = 64;
/** Programs that one packet passes at most. */
export const MAX_PROGRAMS = 16;
