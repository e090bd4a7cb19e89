/**
 * Numbers that both sides know: the datapath in `assembly/` and the control plane in `dataplane/` import this file.
 * It holds constants only, and no AssemblyScript type, so that either compiler reads it.
 */

/** What a pipeline hands its packet to: the next program, or (from `DELIVERED` on) the end of its way. */
export const enum Program {
  /** A socket is connected, or sends without being so: what stands for its first packet is not on the wire yet. */
  SOCK_CONNECT = 16,
  FROM_CONTAINER = 1,
  LXC_POLICY = 2,
  FROM_NETDEV = 3,
  TO_NETDEV = 4,
  FROM_OVERLAY = 5,
  FROM_HOST = 6,
  /** The wire between the nodes: finds whose address the frame carries. Not a program of Cilium's. */
  WIRE = 7,
  /** What a proxy sends on, with the mark that tells for whom: `cil_from_host`, apart from the node's own packets. */
  FROM_PROXY = 17,
  /** What is for the node itself, where it has a firewall. */
  TO_HOST = 18,
  /** A socket is told who sent what it receives. */
  SOCK_RECVMSG = 19,
  /** What WireGuard's device is about to encrypt, and what it has decrypted. */
  TO_WIREGUARD = 20,
  FROM_WIREGUARD = 21,
  DELIVERED = 32,
  /** Handed to the node's own stack: the node is its destination. */
  HOST = 33,
  /** Left the cluster towards an address that no node or pod has. */
  WORLD = 34,
  /** Handed to a proxy of this node, which goes on with a connection of its own. */
  PROXY = 35,
}

/** Drop reasons, negated in a pipeline's result. Cilium `pkg/monitor/api/drop.go`, v1.19. */
export const enum DropReason {
  LB_NO_BACKEND_SLOT = 5,
  LB_NO_BACKEND = 6,
  LB_REVNAT_UPDATE = 7,
  /** Counted only: the socket is told the address as it is. */
  LB_REVNAT_STALE = 8,
  INVALID_SIP = 132,
  POLICY = 133,
  INVALID = 134,
  CT_INVALID_HDR = 135,
  FRAG_NEEDED = 136,
  CT_UNKNOWN_PROTO = 137,
  UNKNOWN_L3 = 139,
  UNKNOWN_L4 = 142,
  NO_TUNNEL_KEY = 147,
  NO_TUNNEL_OPTION = 148,
  INVALID_GENEVE = 149,
  UNKNOWN_TARGET = 150,
  UNROUTABLE = 151,
  CT_CREATE_FAILED = 155,
  INVALID_EXTHDR = 156,
  FRAG_NOSUPPORT = 157,
  NO_SERVICE = 158,
  NO_TUNNEL_ENDPOINT = 160,
  EDT_HORIZON = 162,
  UNSUPPORTED_L2 = 166,
  NAT_NO_MAPPING = 167,
  NAT_UNSUPP_PROTO = 168,
  NO_FIB = 169,
  ENCAP_PROHIBITED = 170,
  INVALID_IDENTITY = 171,
  IS_CLUSTER_IP = 174,
  FRAG_NOT_FOUND = 175,
  NOT_IN_SRC_RANGE = 177,
  PROXY_UNKNOWN_PROTO = 180,
  POLICY_DENY = 181,
  VLAN_FILTERED = 182,
  POLICY_AUTH_REQUIRED = 189,
  DSR_ENCAP_UNSUPP_PROTO = 193,
  UNENCRYPTED_TRAFFIC = 195,
  TTL_EXCEEDED = 196,
  NO_NODE_ID = 197,
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
  FROM_CRYPTO = 12,
  TO_CRYPTO = 13,
}

/** Points at which a socket's address is observed. Cilium `bpf/lib/trace_sock.h`. */
export const enum XlatePoint {
  PRE_DIRECTION_FWD = 1,
  POST_DIRECTION_FWD = 2,
  PRE_DIRECTION_REV = 3,
  POST_DIRECTION_REV = 4,
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
  DSR = 13,
  IPIP = 14,
  ENCRYPT = 15,
  DECRYPT = 16,
  /** It waits for its time to leave (`Context.delay`). */
  PACE = 17,
  /** A socket's address, at an `XlatePoint`. */
  SOCK = 32,
  PROXY = 33,
}

/** What `Step.POLICY` tells, in one word: a `PolicyMatch` in the lowest byte, a `CtDirection`, a `DropReason`, and these. */
export const enum PolicyBit {
  /** It passed in spite of the reason. */
  AUDITED = 0x1000000,
  /** It goes to a proxy. */
  REDIRECTED = 0x2000000,
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
  PROXY_REDIRECT = 64,
  /** Opened by another node's direct server return: its reply's source is in cilium_snat_v4_external. */
  DSR_INTERNAL = 128,
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
  /** Direct server return, whatever the mode of the others (`service.cilium.io/forwarding-mode`). */
  FWD_MODE_DSR = 128,
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

/** What the stack knows of a packet from the mark on it. Cilium `MARK_MAGIC_*`, `bpf/lib/common.h`. */
export const enum Mark {
  /** The bits that tell which mark it is. */
  MAGIC = 0xf00,
  /** On its way to the proxy at the port in the upper half; 0 for one whose socket the stack finds. */
  TO_PROXY = 0x200,
  /** From the proxy of a pod's ingress or egress; the identity of whom it speaks for in the upper half, and above in the lowest byte. */
  PROXY_INGRESS = 0xa00,
  PROXY_EGRESS = 0xb00,
}

/** Bits of `PolicyEntry.authType`. Cilium `auth_type`, `has_explicit_auth_type`. */
export const enum AuthType {
  TYPE = 0x7f,
  /** The entry names its own, and takes no stricter one from the entry beside it. */
  EXPLICIT = 0x80,
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
  IPMASQ4 = 24,
  IPMASQ6 = 25,
  LB4_REVERSE_SK = 26,
  LB6_REVERSE_SK = 27,
  AFFINITY_MATCH = 28,
  POLICY = 29,
  AUTH = 30,
  THROTTLE = 31,
  ENDPOINT_CONFIG = 32,
  NODE_CONFIG = 33,
  RUNTIME_CONFIG = 34,
  METRICS = 35,
  EVENTS = 36,
  COUNT = 37,
}

/** Bits of `RuntimeConfig.flags`: what Cilium's agent is configured with. */
export const enum ConfigFlag {
  /** Ports of a packet's first fragment are kept for the later ones (`enable-ipv4-fragment-tracking`). */
  TRACK_FRAGMENTS = 1,
  /** What leaves the cluster goes in the node's name (`enable-bpf-masquerade`). */
  MASQUERADE = 2,
  /** A Service without a backend answers with an ICMP error (`service-no-backend-response: reject`). */
  REJECT_NO_BACKEND = 4,
  /** Packets between nodes take no tunnel: the network carries pods' own addresses (`routing-mode: native`). */
  NATIVE_ROUTING = 256,
  /** There is direct server return: what other nodes tell along with a packet is looked for (`ENABLE_DSR`). */
  DSR = 512,
  /** `nativeCidr4`, `nativeCidr6` are set (`ipv4-native-routing-cidr`, `ipv6-native-routing-cidr`). */
  NATIVE_CIDR4 = 1024,
  NATIVE_CIDR6 = 2048,
  /** cilium_ipmasq_v4 and cilium_ipmasq_v6 are asked (`enable-ip-masq-agent`). */
  IP_MASQ_AGENT = 4096,
  /**
   * Services are masqueraded as kube-proxy does, in the same run: a client that is its own backend, and everybody who asks for
   * an external address, unless that keeps clients to their node: then only the node itself.
   */
  SERVICE_MASQUERADE = 8192,
  /** With SERVICE_MASQUERADE: whoever asks for a ClusterIP too (`--masquerade-all`). */
  MASQUERADE_ALL = 16384,
  /** With SERVICE_MASQUERADE: whoever asks for a ClusterIP and is no pod (`--cluster-cidr`, `--detect-local-mode`). */
  MASQUERADE_NON_LOCAL = 32768,
  /** Services are translated where sockets are connected, of pods and of the node (`bpf-lb-sock`). */
  SOCKET_LB = 0x10000,
  /** Of the node's alone (`bpf-lb-sock-hostns-only`). */
  SOCKET_LB_HOST_ONLY = 0x20000,
  /** What policies refuse passes, and is told of (`policy-audit-mode`). */
  POLICY_AUDIT = 0x40000,
  /** Nodes have policies too (`enable-host-firewall`). */
  HOST_FIREWALL = 0x80000,
  /** Policies let senders be told that packets must be smaller (`allow-icmp-frag-needed`). */
  ALLOW_ICMP_FRAG_NEEDED = 0x100000,
  /** Pods' packets leave at the pace of their annotation (`enable-bandwidth-manager`). */
  BANDWIDTH_MANAGER = 0x200000,
  /** What goes from pods to pods of other nodes is encrypted (`enable-wireguard`). */
  WIREGUARD = 0x400000,
  /** `strictCidr4` is set: nothing from there to there leaves a node unless encrypted (`encryption-strict-mode-cidr`). */
  ENCRYPTION_STRICT = 0x800000,
}

/** Why a pod's packet leaves its node with the pod's own address, as a step tells it. Cilium `snat_v4_needs_masquerade`. */
export const enum KeptSource {
  /** It does not, or there is nothing to say: a reply, or not a pod's. */
  NOT = 0,
  /** It goes to the native routing CIDR. */
  NATIVE_CIDR = 1,
  /** ip-masq-agent says so. */
  IP_MASQ_AGENT = 2,
  /** It goes to a node, and the network carries pods' addresses between nodes. */
  NODE = 3,
  /** Likewise to a pod. */
  POD = 4,
}

/** What tunnels speak. Cilium `TUNNEL_PROTOCOL_*`; nothing set stands for its default. */
export const enum TunnelProtocol {
  VXLAN = 0,
  GENEVE = 1,
  /** There is no tunnel device. */
  NONE = 2,
}

/** How a client outside reaches a backend on another node (`bpf-lb-mode`); a Service's own FWD_MODE_DSR comes first. */
export const enum NodePortMode {
  SNAT = 0,
  DSR = 1,
  /** DSR for TCP, SNAT for all else. */
  HYBRID = 2,
}

/** How the backend's node learns which Service was asked (`bpf-lb-dsr-dispatch`). */
export const enum DsrDispatch {
  /** An IPv4 option, or an IPv6 destination option. */
  OPT = 0,
  /** The packet itself, in another IP header. */
  IPIP = 1,
  /** An option of the Geneve header around it. */
  GENEVE = 2,
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
  TRACE_SOCK = 7,
  /** A map was asked: our own type, beside Cilium's. */
  LOOKUP = 64,
}

/** IP protocol numbers. IANA protocol-numbers. */
export const enum IpProto {
  ICMP = 1,
  IPIP = 4,
  TCP = 6,
  UDP = 17,
  IPV6 = 41,
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
/** UDP port of Geneve. RFC 8926 section 3.3. */
export const GENEVE_PORT = 6081;
/** Outer Ethernet, IPv4, UDP and VXLAN headers, or Geneve's without options, in bytes. */
export const TUNNEL_OVERHEAD = 50;
/** UDP port of Cilium's WireGuard device. Cilium `pkg/wireguard/types`, `ListenPort`. */
export const WIREGUARD_PORT = 51871;
/** What WireGuard takes of the network's MTU. Cilium `pkg/mtu`, `WireguardOverhead`. */
export const WIREGUARD_OVERHEAD = 80;
/** What the ipcache holds of a pod that is spoken to by WireGuard. Cilium `pkg/wireguard/types`, `StaticEncryptKey`. */
export const WIREGUARD_KEY = 255;
/** A packet that would wait this long is dropped. Cilium `DefaultDropHorizon`, in nanoseconds. */
export const EDT_DROP_HORIZON = 2_000_000_000;
/** Source of a packet that a pod sends to itself through a Service: 169.254.42.1. Cilium `IPV4_LOOPBACK`, network order. */
export const IPV4_LOOPBACK_WORD = 0x012afea9;

/** Ports of NodePort Services. Cilium `NODEPORT_PORT_MIN`, `NODEPORT_PORT_MAX`; Kubernetes `service-node-port-range`. */
export const NODEPORT_PORT_MIN = 30000;
export const NODEPORT_PORT_MAX = 32767;
/** Ports that source NAT takes: those above all NodePorts. Cilium `NODEPORT_PORT_MIN_NAT`, `NODEPORT_PORT_MAX_NAT`. */
export const NAT_PORT_MIN = 32768;
export const NAT_PORT_MAX = 65535;
/** Ports tried before a new flow is dropped. Cilium `SNAT_COLLISION_RETRIES`. */
export const NAT_TRIES = 32;

/** Packets that one batch holds. */
export const BATCH_SIZE = 256;
/** Bytes of one packet's room in the batch: headroom, frame, tailroom. No power of two: frames would share a few lines of the caches. */
export const PACKET_ROOM = 2112;
/** Bytes kept free in front of a frame, for the headers of an ICMP error about it and for the outer headers around that. */
export const PACKET_HEADROOM = 192;
/** Bytes of one record in the events ring: what is told of the packet, and as much of its frame as fits behind. */
export const EVENT_SIZE = 256;
/** A packet passes at most this many programs; one more is a loop and a fault of ours. */
export const MAX_PROGRAMS = 16;
