/** The names and texts of drop reasons and trace points. Cilium `pkg/monitor/api/drop.go`, `types.go`, `api/v1/flow/flow.proto`. */
import { DropReason, MapId, PolicyMatch, Program, TracePoint, XlatePoint } from '../assembly/abi.js';

export interface Reason {
  readonly code: number;
  /** As Hubble's flows name it. */
  readonly name: string;
  /** As `cilium monitor` prints it. */
  readonly text: string;
}

const REASONS: Readonly<Record<DropReason, readonly [name: string, text: string]>> = {
  // Hubble has no names for these four: a socket has no packet that a flow could tell of. Cilium `bpf/lib/common.h`.
  [DropReason.LB_NO_BACKEND_SLOT]: ['LB_NO_BACKEND_SLOT', 'LB, sock cgroup: No backend slot entry found'],
  [DropReason.LB_NO_BACKEND]: ['LB_NO_BACKEND', 'LB, sock cgroup: No backend entry found'],
  [DropReason.LB_REVNAT_UPDATE]: ['LB_REVNAT_UPDATE', 'LB, sock cgroup: Reverse entry update failed'],
  [DropReason.LB_REVNAT_STALE]: ['LB_REVNAT_STALE', 'LB, sock cgroup: Reverse entry stale'],
  [DropReason.INVALID_SIP]: ['INVALID_SOURCE_IP', 'Invalid source ip'],
  [DropReason.POLICY]: ['POLICY_DENIED', 'Policy denied'],
  [DropReason.INVALID]: ['INVALID_PACKET_DROPPED', 'Invalid packet'],
  [DropReason.CT_INVALID_HDR]: ['CT_TRUNCATED_OR_INVALID_HEADER', 'CT: Truncated or invalid header'],
  // Hubble's name is that of the reason that had this number before.
  [DropReason.FRAG_NEEDED]: ['CT_MISSING_TCP_ACK_FLAG', 'Fragmentation needed'],
  [DropReason.CT_UNKNOWN_PROTO]: ['CT_UNKNOWN_L4_PROTOCOL', 'CT: Unknown L4 protocol'],
  [DropReason.UNKNOWN_L3]: ['UNSUPPORTED_L3_PROTOCOL', 'Unsupported L3 protocol'],
  [DropReason.UNKNOWN_L4]: ['UNKNOWN_L4_PROTOCOL', 'Unknown L4 protocol'],
  [DropReason.NO_TUNNEL_KEY]: ['ERROR_RETRIEVING_TUNNEL_KEY', 'Error retrieving tunnel key'],
  [DropReason.NO_TUNNEL_OPTION]: ['ERROR_RETRIEVING_TUNNEL_OPTIONS', 'Error retrieving tunnel options'],
  [DropReason.INVALID_GENEVE]: ['INVALID_GENEVE_OPTION', 'Invalid Geneve option'],
  [DropReason.UNKNOWN_TARGET]: ['UNKNOWN_L3_TARGET_ADDRESS', 'Unknown L3 target address'],
  [DropReason.UNROUTABLE]: ['STALE_OR_UNROUTABLE_IP', 'Stale or unroutable IP'],
  [DropReason.CT_CREATE_FAILED]: ['CT_MAP_INSERTION_FAILED', 'CT: Map insertion failed'],
  [DropReason.INVALID_EXTHDR]: ['INVALID_IPV6_EXTENSION_HEADER', 'Invalid IPv6 extension header'],
  [DropReason.FRAG_NOSUPPORT]: ['IP_FRAGMENTATION_NOT_SUPPORTED', 'IP fragmentation not supported'],
  [DropReason.NO_SERVICE]: ['SERVICE_BACKEND_NOT_FOUND', 'Service backend not found'],
  [DropReason.NO_TUNNEL_ENDPOINT]: [
    'NO_TUNNEL_OR_ENCAPSULATION_ENDPOINT',
    'No tunnel/encapsulation endpoint (datapath BUG!)',
  ],
  [DropReason.EDT_HORIZON]: ['REACHED_EDT_RATE_LIMITING_DROP_HORIZON', 'Reached EDT rate-limiting drop horizon'],
  [DropReason.UNSUPPORTED_L2]: ['UNSUPPORTED_L2_PROTOCOL', 'Unsupported L2 protocol'],
  [DropReason.NAT_NO_MAPPING]: ['NO_MAPPING_FOR_NAT_MASQUERADE', 'No mapping for NAT masquerade'],
  [DropReason.NAT_UNSUPP_PROTO]: ['UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE', 'Unsupported protocol for NAT masquerade'],
  [DropReason.NO_FIB]: ['FIB_LOOKUP_FAILED', 'FIB lookup failed'],
  [DropReason.ENCAP_PROHIBITED]: ['ENCAPSULATION_TRAFFIC_IS_PROHIBITED', 'Encapsulation traffic is prohibited'],
  [DropReason.INVALID_IDENTITY]: ['INVALID_IDENTITY', 'Invalid identity'],
  [DropReason.IS_CLUSTER_IP]: ['IS_A_CLUSTERIP', 'Is a ClusterIP'],
  [DropReason.FRAG_NOT_FOUND]: [
    'FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND',
    'First logical datagram fragment not found',
  ],
  [DropReason.NOT_IN_SRC_RANGE]: ['DENIED_BY_LB_SRC_RANGE_CHECK', 'Denied by LB src range check'],
  [DropReason.PROXY_UNKNOWN_PROTO]: [
    'PROXY_REDIRECTION_NOT_SUPPORTED_FOR_PROTOCOL',
    'Proxy redirection not supported for protocol',
  ],
  [DropReason.POLICY_DENY]: ['POLICY_DENY', 'Policy denied by denylist'],
  [DropReason.VLAN_FILTERED]: ['VLAN_FILTERED', 'VLAN traffic disallowed by VLAN filter'],
  [DropReason.POLICY_AUTH_REQUIRED]: ['AUTH_REQUIRED', 'Authentication required'],
  [DropReason.DSR_ENCAP_UNSUPP_PROTO]: [
    'UNSUPPORTED_PROTOCOL_FOR_DSR_ENCAP',
    'Unsupported packet protocol for DSR encapsulation',
  ],
  [DropReason.UNENCRYPTED_TRAFFIC]: ['UNENCRYPTED_TRAFFIC', 'Traffic is unencrypted'],
  [DropReason.TTL_EXCEEDED]: ['TTL_EXCEEDED', 'TTL exceeded'],
  [DropReason.NO_NODE_ID]: ['NO_NODE_ID', 'No node ID found'],
  [DropReason.EP_NOT_READY]: ['DROP_EP_NOT_READY', 'Endpoint policy program not available'],
};

export function reasonOf(code: number): Reason {
  const [name, text] = REASONS[code as DropReason] ?? ['DROP_REASON_UNKNOWN', `${code}`];
  return { code, name, text };
}

export const POINT_NAMES: Readonly<Record<TracePoint, string>> = {
  [TracePoint.TO_LXC]: 'to-endpoint',
  [TracePoint.TO_PROXY]: 'to-proxy',
  [TracePoint.TO_HOST]: 'to-host',
  [TracePoint.TO_STACK]: 'to-stack',
  [TracePoint.TO_OVERLAY]: 'to-overlay',
  [TracePoint.FROM_LXC]: 'from-endpoint',
  [TracePoint.FROM_PROXY]: 'from-proxy',
  [TracePoint.FROM_HOST]: 'from-host',
  [TracePoint.FROM_STACK]: 'from-stack',
  [TracePoint.FROM_OVERLAY]: 'from-overlay',
  [TracePoint.FROM_NETWORK]: 'from-network',
  [TracePoint.TO_NETWORK]: 'to-network',
  [TracePoint.FROM_CRYPTO]: 'from-crypto',
  [TracePoint.TO_CRYPTO]: 'to-crypto',
};

/** Cilium `pkg/monitor/datapath_sock_trace.go`. */
export const XLATE_NAMES: Readonly<Record<XlatePoint, string>> = {
  [XlatePoint.PRE_DIRECTION_FWD]: 'pre-xlate-fwd',
  [XlatePoint.POST_DIRECTION_FWD]: 'post-xlate-fwd',
  [XlatePoint.PRE_DIRECTION_REV]: 'pre-xlate-rev',
  [XlatePoint.POST_DIRECTION_REV]: 'post-xlate-rev',
};

/** Cilium `pkg/monitor/api/types.go`, `PolicyMatchType`. */
export const MATCH_NAMES: Readonly<Record<PolicyMatch, string>> = {
  [PolicyMatch.NONE]: 'none',
  [PolicyMatch.L3_ONLY]: 'L3-Only',
  [PolicyMatch.L3_L4]: 'L3-L4',
  [PolicyMatch.L4_ONLY]: 'L4-Only',
  [PolicyMatch.ALL]: 'all',
  [PolicyMatch.L3_PROTO]: 'L3-Proto',
  [PolicyMatch.PROTO_ONLY]: 'Proto-Only',
};

export const PROGRAM_NAMES: Readonly<Record<Program, string>> = {
  [Program.FROM_CONTAINER]: 'cil_from_container',
  [Program.LXC_POLICY]: 'cil_lxc_policy',
  [Program.FROM_NETDEV]: 'cil_from_netdev',
  [Program.TO_NETDEV]: 'cil_to_netdev',
  [Program.FROM_OVERLAY]: 'cil_from_overlay',
  [Program.FROM_HOST]: 'cil_from_host',
  [Program.WIRE]: 'wire',
  [Program.SOCK_CONNECT]: 'cil_sock4_connect',
  [Program.SOCK_RECVMSG]: 'cil_sock4_recvmsg',
  [Program.FROM_PROXY]: 'cil_from_host',
  [Program.TO_HOST]: 'cil_to_host',
  [Program.TO_WIREGUARD]: 'cil_to_wireguard',
  [Program.FROM_WIREGUARD]: 'cil_from_wireguard',
  [Program.DELIVERED]: 'delivered',
  [Program.HOST]: 'host',
  [Program.WORLD]: 'world',
  [Program.PROXY]: 'proxy',
};

/** Cilium's names of the maps; ours, where Cilium has a compiled-in constant or nothing, are without its prefix. */
export const MAP_NAMES: Readonly<Record<Exclude<MapId, MapId.COUNT>, string>> = {
  [MapId.LB4_SERVICES]: 'cilium_lb4_services_v2',
  [MapId.LB6_SERVICES]: 'cilium_lb6_services_v2',
  [MapId.LB4_BACKENDS]: 'cilium_lb4_backends_v3',
  [MapId.LB6_BACKENDS]: 'cilium_lb6_backends_v3',
  [MapId.LB4_REVERSE_NAT]: 'cilium_lb4_reverse_nat',
  [MapId.LB6_REVERSE_NAT]: 'cilium_lb6_reverse_nat',
  [MapId.LB4_MAGLEV]: 'cilium_lb4_maglev',
  [MapId.LB6_MAGLEV]: 'cilium_lb6_maglev',
  [MapId.LB4_AFFINITY]: 'cilium_lb4_affinity',
  [MapId.LB6_AFFINITY]: 'cilium_lb6_affinity',
  [MapId.LB4_SOURCE_RANGE]: 'cilium_lb4_source_range',
  [MapId.LB6_SOURCE_RANGE]: 'cilium_lb6_source_range',
  [MapId.CT4]: 'cilium_ct4_global',
  [MapId.CT6]: 'cilium_ct6_global',
  [MapId.SNAT4]: 'cilium_snat_v4_external',
  [MapId.SNAT6]: 'cilium_snat_v6_external',
  [MapId.FRAGMENTS4]: 'cilium_ipv4_frag_datagrams',
  [MapId.FRAGMENTS6]: 'cilium_ipv6_frag_datagrams',
  // One map each in Cilium, for both families.
  [MapId.IPCACHE4]: 'cilium_ipcache_v2',
  [MapId.IPCACHE6]: 'cilium_ipcache_v2',
  [MapId.LXC4]: 'cilium_lxc',
  [MapId.LXC6]: 'cilium_lxc',
  [MapId.NODES4]: 'nodes',
  [MapId.NODES6]: 'nodes',
  [MapId.IPMASQ4]: 'cilium_ipmasq_v4',
  [MapId.IPMASQ6]: 'cilium_ipmasq_v6',
  [MapId.LB4_REVERSE_SK]: 'cilium_lb4_reverse_sk',
  [MapId.LB6_REVERSE_SK]: 'cilium_lb6_reverse_sk',
  [MapId.AFFINITY_MATCH]: 'cilium_lb_affinity_match',
  [MapId.POLICY]: 'cilium_policy_v2',
  [MapId.AUTH]: 'cilium_auth_map',
  [MapId.THROTTLE]: 'cilium_throttle',
  [MapId.ENDPOINT_CONFIG]: 'endpoint_config',
  [MapId.NODE_CONFIG]: 'node_config',
  [MapId.RUNTIME_CONFIG]: 'cilium_runtime_config',
  [MapId.METRICS]: 'cilium_metrics',
  [MapId.EVENTS]: 'cilium_events',
};
