/* What test/bench/native/kernel.c and datapath.bpf.c share: numbers of assembly/abi.ts, and the structs of the maps (pkg/structs.ts). */
#include <stdbool.h>
#include <stddef.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;

enum drop { INVALID_SIP = 132, POLICY = 133, INVALID = 134, CT_INVALID_HDR = 135, UNKNOWN_L3 = 139, CT_CREATE_FAILED = 155, NO_SERVICE = 158, POLICY_DENY = 181, TTL_EXCEEDED = 196, EP_NOT_READY = 203 };
/* Results that are no drop reasons: the last for what this mirror of the datapath does not know. */
enum { FORWARDED = 256, BEYOND = 257 };
enum ct_direction { EGRESS = 0, INGRESS = 1, SERVICE = 4 };
enum ct_flag { RX_CLOSING = 1, TX_CLOSING = 2, CLOSED = RX_CLOSING | TX_CLOSING, SEEN_NON_SYN = 16 };
enum ct_lifetime { LIFETIME_TCP = 8000, LIFETIME_SYN = 60, LIFETIME_CLOSE = 10 };
enum { TCP = 6, FIN = 1, SYN = 2, RST = 4, ACK = 16, REPORTED = SYN | FIN | RST };
enum { ID_WORLD = 2, ETHERNET = 14, IPV4 = 20, TCP_LENGTH = 20, FRAME = 64 };
enum map_id { LB4_SERVICES = 0, LB4_BACKENDS = 2, IPCACHE4 = 18, LXC4 = 20, POLICYMAP = 29, ENDPOINT_CONFIG = 32 };
/* dataplane/wasm.ts */
#define JHASH_SEED 0x71dcda46u

/* Keys in whole words: a port with its slot above, a protocol with what else there is above. */
struct lb4_key { u32 address, dport, proto; };
struct lb4_service { u32 backend_id; u16 count, rev_nat_index; u8 flags, flags2; u16 qcount; };
struct lb4_backend { u32 address; u16 port; u8 proto, state; u16 weight, pad; };
struct ct_tuple { u32 daddr, saddr, ports, kind; };
struct ct_entry { u64 packets, bytes; u32 lifetime; u16 flags, rev_nat_index; u32 backend_id, src_sec_id; u8 tx_flags_seen, rx_flags_seen; u16 replied; u32 pad; };
struct ipcache_key { u32 address, prefix_length; };
struct remote_endpoint { u32 sec_identity, tunnel_endpoint, key; };
struct policy_key { u32 prefix_length, policy_id, sec_label, traffic; };
struct policy_entry { u16 proxy_port; u8 deny, priority, auth_type, pad; u16 cookie; };
struct endpoint_key { u32 address, node; };
struct endpoint_info { u32 lxc_id, sec_id, flags, pad; };
struct endpoint_config { u64 mac, node_mac; u8 ipv6[16]; u32 address, sec_id, policy_id; u16 node, pad; };
struct metric { u64 packets, bytes; };

/* One packet of each flow, and where in them the next run is. */
struct template { u32 length, endpoint; u64 frame[FRAME / 8]; };
struct cursor { u32 next, total, maglev_size; };
