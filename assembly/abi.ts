/**
 * Numbers that both sides know: the datapath in `assembly/` and the control plane in `dataplane/` import this file.
 * It holds constants only, and no AssemblyScript type, so that either compiler reads it.
 */

/** What a pipeline hands its packet to: the next program, or (from `DELIVERED` on) the end of its way. */
export const enum Program {
  FROM_CONTAINER = 1,
  LXC_POLICY = 2,
  FROM_NETDEV = 3,
  TO_NETDEV = 4,
  FROM_OVERLAY = 5,
  FROM_HOST = 6,
  /** The wire between the nodes: finds whose address the frame carries. Not a program of Cilium's. */
  WIRE = 7,
  DELIVERED = 32,
  /** Handed to the node's own stack: the node is its destination. */
  HOST = 33,
  /** Left the cluster towards an address that no node or pod has. */
  WORLD = 34,
}

/** Drop reasons, negated in a pipeline's result. Cilium `pkg/monitor/api/drop.go`, v1.19. */
export const enum DropReason {
  INVALID_SIP = 132,
  POLICY = 133,
  INVALID = 134,
  CT_INVALID_HDR = 135,
  FRAG_NEEDED = 136,
  CT_UNKNOWN_PROTO = 137,
  UNKNOWN_L3 = 139,
  UNKNOWN_L4 = 142,
  NO_TUNNEL_KEY = 147,
  UNKNOWN_TARGET = 150,
  UNROUTABLE = 151,
  CT_CREATE_FAILED = 155,
  INVALID_EXTHDR = 156,
  FRAG_NOSUPPORT = 157,
  NO_SERVICE = 158,
  NO_TUNNEL_ENDPOINT = 160,
  UNSUPPORTED_L2 = 166,
  NAT_NO_MAPPING = 167,
  NAT_UNSUPP_PROTO = 168,
  ENCAP_PROHIBITED = 170,
  INVALID_IDENTITY = 171,
  IS_CLUSTER_IP = 174,
  FRAG_NOT_FOUND = 175,
  NOT_IN_SRC_RANGE = 177,
  POLICY_DENY = 181,
  VLAN_FILTERED = 182,
  TTL_EXCEEDED = 196,
  EP_NOT_READY = 203,
}

/** Trace observation points. Cilium `bpf/lib/trace.h`. */
export const enum TracePoint {
  TO_LXC = 0,
  TO_PROXY = 1,
  TO_HOST = 2,
  TO_STACK = 3,
  TO_OVERLAY = 4,
  FROM_LXC = 5,
  FROM_PROXY = 6,
  FROM_HOST = 7,
  FROM_STACK = 8,
  FROM_OVERLAY = 9,
  FROM_NETWORK = 10,
  TO_NETWORK = 11,
}

/** What a step did with the packet, as a trace tells it. */
export const enum Step {
  RECEIVE = 1,
  LB = 2,
  CT = 3,
  POLICY = 4,
  REVERSE_LB = 5,
  ENCAP = 6,
  DECAP = 7,
  ROUTE = 8,
  DELIVER = 9,
  DROP = 10,
  NAT = 11,
  REVERSE_NAT = 12,
}

/** Conntrack look-up results. Cilium `bpf/lib/conntrack.h`. */
export const enum CtStatus {
  NEW = 0,
  ESTABLISHED = 1,
  REPLY = 2,
  RELATED = 3,
}

/** Which side of an endpoint a flow is tracked on; also the flag in its tuple. Cilium `TUPLE_F_*`. */
export const enum CtDirection {
  EGRESS = 0,
  INGRESS = 1,
  SERVICE = 4,
}

/** Families of addresses, as their version number. */
export const enum Family {
  IPV4 = 4,
  IPV6 = 6,
}

/** Bits of `CtEntry.flags`, in the order of the bit field of Cilium's `struct ct_entry`. */
export const enum CtFlag {
  RX_CLOSING = 1,
  TX_CLOSING = 2,
  LB_LOOPBACK = 8,
  SEEN_NON_SYN = 16,
  NODE_PORT = 32,
}

/** Lifetimes of conntrack entries in seconds. Cilium `CT_CONNECTION_LIFETIME_*`, `CT_SYN_TIMEOUT`, `CT_CLOSE_TIMEOUT`. */
export const enum CtLifetime {
  TCP = 8000,
  NONTCP = 60,
  SYN = 60,
  CLOSE = 10,
}

/** Bits of `LbService.flags`. Cilium `SVC_FLAG_*`. */
export const enum SvcFlag {
  EXTERNAL_IP = 1,
  NODEPORT = 2,
  EXT_LOCAL_SCOPE = 4,
  HOSTPORT = 8,
  AFFINITY = 16,
  LOADBALANCER = 32,
  ROUTABLE = 64,
  SOURCE_RANGE = 128,
}

/** Bits of `LbService.flags2`. Cilium `SVC_FLAG_*`, second byte. */
export const enum SvcFlag2 {
  INT_LOCAL_SCOPE = 16,
  /** The source ranges are those that are kept out. */
  SOURCE_RANGE_DENY = 64,
}

/** Whom a Service's entry is for. Cilium `LB_LOOKUP_SCOPE_*`. */
export const enum LbScope {
  /** Clients outside the cluster; also everyone, where a Service makes no difference. */
  EXTERNAL = 0,
  /** Pods and nodes, where a Service keeps them to the backends of their own node. */
  INTERNAL = 1,
}

/** Top byte of a master's `backendId`: how its backend is picked. Cilium `LB_SELECTION_*`. */
export const enum LbAlgorithm {
  RANDOM = 1,
  MAGLEV = 2,
}

/** State of a backend. Cilium `BE_STATE_*`. */
export const enum BackendState {
  ACTIVE = 0,
  TERMINATING = 1,
  QUARANTINED = 2,
  MAINTENANCE = 3,
}

/** Identities with a fixed number. Cilium `pkg/identity/numericidentity.go`. */
export const enum ReservedIdentity {
  UNKNOWN = 0,
  HOST = 1,
  WORLD = 2,
  UNMANAGED = 3,
  HEALTH = 4,
  INIT = 5,
  REMOTE_NODE = 6,
  KUBE_APISERVER = 7,
  INGRESS = 8,
  /** The world, where both families are in use. */
  WORLD_IPV4 = 9,
  WORLD_IPV6 = 10,
}

/** Bits of `EndpointInfo.flags`. Cilium `ENDPOINT_F_*`. */
export const enum EndpointFlag {
  HOST = 1,
}

/** Which entries of the policymap decided. Cilium `POLICY_MATCH_*`. */
export const enum PolicyMatch {
  NONE = 0,
  L3_ONLY = 1,
  L3_L4 = 2,
  L4_ONLY = 3,
  ALL = 4,
  L3_PROTO = 5,
  PROTO_ONLY = 6,
}

/** The maps, in the order in which they are dumped. Of a pair, one a family, IPv6's follows IPv4's. */
export const enum MapId {
  LB4_SERVICES = 0,
  LB6_SERVICES = 1,
  LB4_BACKENDS = 2,
  LB6_BACKENDS = 3,
  LB4_REVERSE_NAT = 4,
  LB6_REVERSE_NAT = 5,
  LB4_MAGLEV = 6,
  LB6_MAGLEV = 7,
  LB4_AFFINITY = 8,
  LB6_AFFINITY = 9,
  LB4_SOURCE_RANGE = 10,
  LB6_SOURCE_RANGE = 11,
  CT4 = 12,
  CT6 = 13,
  SNAT4 = 14,
  SNAT6 = 15,
  FRAGMENTS4 = 16,
  FRAGMENTS6 = 17,
  IPCACHE4 = 18,
  IPCACHE6 = 19,
  LXC4 = 20,
  LXC6 = 21,
  NODES4 = 22,
  NODES6 = 23,
  AFFINITY_MATCH = 24,
  POLICY = 25,
  ENDPOINT_CONFIG = 26,
  NODE_CONFIG = 27,
  RUNTIME_CONFIG = 28,
  METRICS = 29,
  EVENTS = 30,
  COUNT = 31,
}

/** Bits of `RuntimeConfig.flags`: what Cilium's agent is configured with. */
export const enum ConfigFlag {
  /** Ports of a packet's first fragment are kept for the later ones (`enable-ipv4-fragment-tracking`). */
  TRACK_FRAGMENTS = 1,
  /** What leaves the cluster goes in the node's name (`enable-bpf-masquerade`). */
  MASQUERADE = 2,
  /** A Service without a backend answers with an ICMP error (`service-no-backend-response: reject`). */
  REJECT_NO_BACKEND = 4,
}

/** Results of a map's update and delete, as the kernel numbers them. */
export const enum MapError {
  ENOENT = -2,
  E2BIG = -7,
  EINVAL = -22,
  ENOSPC = -28,
}

/** What a record of the events ring tells. */
export const enum EventType {
  DROP = 1,
  TRACE = 4,
  /** A map was asked: our own type, beside Cilium's. */
  LOOKUP = 64,
}

/** IP protocol numbers. IANA protocol-numbers. */
export const enum IpProto {
  ICMP = 1,
  TCP = 6,
  UDP = 17,
  ICMPV6 = 58,
  SCTP = 132,
}

/** Bits of the TCP flags byte. RFC 9293 section 3.1. */
export const enum TcpFlag {
  FIN = 1,
  SYN = 2,
  RST = 4,
  ACK = 16,
}

/** UDP port of VXLAN. Cilium's default, and Linux's; IANA's is 4789. */
export const VXLAN_PORT = 8472;
/** Outer Ethernet, IPv4, UDP and VXLAN headers, in bytes. */
export const VXLAN_OVERHEAD = 50;
/** Source of a packet that a pod sends to itself through a Service: 169.254.42.1. Cilium `IPV4_LOOPBACK`, network order. */
export const IPV4_LOOPBACK_WORD = 0x012afea9;

/** Ports that source NAT takes: those above all NodePorts. Cilium `NODEPORT_PORT_MIN_NAT`, `NODEPORT_PORT_MAX_NAT`. */
export const NAT_PORT_MIN = 32768;
export const NAT_PORT_MAX = 65535;
/** Ports tried before a new flow is dropped. Cilium `SNAT_COLLISION_RETRIES`. */
export const NAT_TRIES = 32;

/** Packets that one batch holds. */
export const BATCH_SIZE = 256;
/** Bytes of one packet's room in the batch: headroom, frame, tailroom. */
export const PACKET_ROOM = 2048;
/** Bytes kept free in front of a frame, for the headers of an ICMP error and the outer ones of a tunnel around it. */
export const PACKET_HEADROOM = 128;
/** Bytes of one record in the events ring: what is told of the packet, and as much of its frame as fits behind. */
export const EVENT_SIZE = 192;
/** A packet passes at most this many programs; one more is a loop and a fault of ours. */
export const MAX_PROGRAMS = 16;
