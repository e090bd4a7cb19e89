/*
 * The datapath of assembly/ in C: the same steps in the same order over the same structs and maps, one packet at a time.
 * It is what the benchmark holds the WebAssembly against (scripts/bench-native.mjs), and no part of the product.
 *
 * It knows what the profiles send: IPv4 from pods to Services, on one node and through a VXLAN tunnel. Where the datapath asks
 * for more (a fragment, an error, a setting, a client's own backend, a way out of the cluster) so does this, and gives up.
 *
 * plain WORKLOAD: reads a workload file, opens its flows, and prints {"forwarded", "digest"} of one pass
 * over all templates. Then each line on standard input is one round, answered by {"ns": nanoseconds a packet}.
 *
 * Little-endian machines only, as wasm is. Addresses and ports are in network order throughout.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t i32;

#define INLINE static inline __attribute__((always_inline))

/* Where fast.c takes down what a packet's answer depends on, and what it does to the maps. Here nobody does. */
#ifndef FAST
#define WIDTH 1
#define FRAME_ROOM PACKET_ROOM
#define COUNTED(entry)
#define ASKED(tuple)
#define CHANGED(tuple)
#define SPOIL()
#define ADDRESSED()
#define REWRITTEN()
#define MEASURED(metric)
#endif

/* assembly/abi.ts */
enum program { FROM_CONTAINER = 1, LXC_POLICY, FROM_NETDEV, TO_NETDEV, FROM_OVERLAY, FROM_HOST, WIRE, SOCK_CONNECT = 16, FROM_PROXY, TO_HOST, DELIVERED = 32, HOST, WORLD };
enum drop {
    INVALID_SIP = 132, POLICY = 133, INVALID = 134, CT_INVALID_HDR = 135, CT_UNKNOWN_PROTO = 137, UNKNOWN_L3 = 139, NO_TUNNEL_KEY = 147,
    UNROUTABLE = 151, CT_CREATE_FAILED = 155, NO_SERVICE = 158, UNSUPPORTED_L2 = 166, ENCAP_PROHIBITED = 170, INVALID_IDENTITY = 171,
    IS_CLUSTER_IP = 174, POLICY_DENY = 181, VLAN_FILTERED = 182, TTL_EXCEEDED = 196, EP_NOT_READY = 203,
};
enum ct_status { CT_NEW, CT_ESTABLISHED, CT_REPLY };
enum ct_direction { EGRESS = 0, INGRESS = 1, SERVICE = 4 };
enum ct_flag { RX_CLOSING = 1, TX_CLOSING = 2, LB_LOOPBACK = 8, SEEN_NON_SYN = 16, NODE_PORT = 32, PROXY_REDIRECT = 64, DSR_INTERNAL = 128 };
enum ct_lifetime { LIFETIME_TCP = 8000, LIFETIME_NONTCP = 60, LIFETIME_SYN = 60, LIFETIME_CLOSE = 10 };
enum svc_flag { EXT_LOCAL_SCOPE = 4, AFFINITY = 16, ROUTABLE = 64, INT_LOCAL_SCOPE = 16 };
enum config_flag { REJECT_NO_BACKEND = 4, MASQUERADE = 2, NATIVE_ROUTING = 256, DSR = 512, SERVICE_MASQUERADE = 8192, SOCKET_LB = 0x10000, POLICY_AUDIT = 0x40000, HOST_FIREWALL = 0x80000, BANDWIDTH_MANAGER = 0x200000, WIREGUARD = 0x400000 };
enum { MAGLEV = 2, BACKEND_ACTIVE = 0, ID_HOST = 1, ID_WORLD = 2, ID_REMOTE_NODE = 6, ENDPOINT_HOST = 1, AUTH_TYPE = 0x7f, AUTH_EXPLICIT = 0x80 };
enum { MARK_MAGIC = 0xf00, MARK_PROXY_INGRESS = 0xa00, MARK_PROXY_EGRESS = 0xb00 };
enum { ICMP = 1, TCP = 6, UDP = 17, SCTP = 132, FIN = 1, SYN = 2, RST = 4, ACK = 16, REPORTED = SYN | FIN | RST };
enum map_id {
    LB4_SERVICES = 0, LB4_BACKENDS = 2, LB4_REVERSE_NAT = 4, LB4_MAGLEV = 6, CT4 = 12, IPCACHE4 = 18, LXC4 = 20, NODES4 = 22, POLICYMAP = 29,
    ENDPOINT_CONFIG = 32, NODE_CONFIG = 33, RUNTIME_CONFIG = 34,
};
enum { TUNNEL_VXLAN = 0, VXLAN_PORT = 8472, TUNNEL_OVERHEAD = 50, BATCH_SIZE = 256, PACKET_ROOM = 2048, PACKET_HEADROOM = 192, MAX_PROGRAMS = 16 };
#define LOOPBACK 0x012afea9u
/* dataplane/wasm.ts */
#define HASH_SEED (0x5bd1e9955bd1e995ull | 1)
#define JHASH_SEED 0x71dcda46u

struct ct_entry;
struct ct_tuple { u32 daddr, saddr, ports; u8 nexthdr, flags; u16 node; };
struct packet {
    u32 data, length;
    u16 node, program;
    u32 endpoint;
    i32 verdict;
    u32 source_identity, destination_identity, backend_id, rev_nat_index, answered, mark, audited, delay;
    u64 time;
};
struct context {
    u8 *data, *end, *ip, *l4, *ip_end;
    u32 node, program, endpoint, ports, protocol, tcp_flags, source_identity, destination_identity, ct_status, rev_nat_index, backend_id;
    bool loopback, node_port;
    struct ct_entry *service, *connection;
    bool assured, dsr, masquerade, snat_done, proxied;
    u32 scope, outer_saddr, outer_daddr, outer_sport, answered, answered_by, mark, audited, delay;
    u64 time;
    bool encrypted;
    u32 aggregate, saddr, daddr;
};


/* What the settings say, and the clock: not static, so that the compiler knows them as little as asc does. */
struct runtime_config { u8 native_cidr6[16], native_mask6[16]; u32 native_cidr4, native_mask4, strict_cidr4, strict_mask4, flags, mtu; u8 tunnel, node_port_mode, dsr_dispatch, pad; } config;
u32 now;
INLINE bool has(enum config_flag flag) { return config.flags & flag; }

/* No profile comes here. */
static __attribute__((noreturn, cold, noinline)) void beyond(const char *what) {
    fprintf(stderr, "%s: not in this mirror of the datapath\n", what);
    exit(4);
}

INLINE u16 load16(const u8 *at) { u16 v; memcpy(&v, at, 2); return v; }
INLINE u32 load32(const u8 *at) { u32 v; memcpy(&v, at, 4); return v; }
INLINE void store16(u8 *at, u16 v) { memcpy(at, &v, 2); }
INLINE void store32(u8 *at, u32 v) { memcpy(at, &v, 4); }
INLINE u32 rotl(u32 v, int n) { return v << n | v >> (32 - n); }
#define ntohs __builtin_bswap16
#define ntohl __builtin_bswap32

/* wire: Ethernet at 0, IPv4 at 14 */
enum { ETHERNET = 14, IP_TOTAL = 2, IP_ID = 4, IP_FRAGMENT = 6, IP_TTL = 8, IP_PROTOCOL = 9, IP_CHECKSUM = 10, IP_SADDR = 12, IP_DADDR = 16, IPV4 = 20 };
enum { TCP_FLAGS = 13, TCP_CHECKSUM = 16, TCP_LENGTH = 20, UDP_SIZE = 4, UDP_CHECKSUM = 6, UDP_LENGTH = 8, SCTP_LENGTH = 12, VXLAN_LENGTH = 8 };

/* ---------------------------------------------------------------- checksums: assembly/wire/checksum.ts */

INLINE u32 fold(u64 sum) {
    u32 low = sum, high = sum >> 32;
    u32 folded = (low & 0xffff) + (low >> 16) + (high & 0xffff) + (high >> 16);
    folded = (folded & 0xffff) + (folded >> 16);
    return (folded & 0xffff) + (folded >> 16);
}
INLINE u64 difference(u32 before, u32 after) {
    u32 old = ~before;
    return (u64)(old & 0xffff) + (old >> 16) + (after & 0xffff) + (after >> 16);
}
INLINE u16 checksum_update(u16 checksum, u64 difference) { return ~fold((u64)(u16)~checksum + difference); }
INLINE u16 checksum_compute(const u8 *start, u32 length) {
    u64 sum = 0;
    for (u32 i = 0; i + 4 <= length; i += 4) sum += load32(start + i);
    return ~fold(sum);
}

/* ---------------------------------------------------------------- maps: assembly/maps */

struct header { u32 next; u16 epoch; u8 assured, pad; };
struct map { u32 *buckets; u8 *slab; u32 mask, fresh, free, capacity; u64 created; };

INLINE u64 mix(u64 h, u64 word) {
    h ^= word;
    return (h ^ h >> 32) * 0xff51afd7ed558ccdull;
}
INLINE u32 hash_of(const void *key, size_t size) {
    const u8 *at = key;
    u64 h = HASH_SEED;
    for (size_t i = 0; i + 8 <= size; i += 8) h = mix(h, load32(at + i) | (u64)load32(at + i + 4) << 32);
    if (size % 8 == 4) h = mix(h, load32(at + size - 4));
    return h >> 32 ^ h >> 47;
}
INLINE bool same(const void *a, const void *b, size_t size) {
    u32 difference = 0;
    for (size_t i = 0; i < size; i += 4) difference |= load32((const u8 *)a + i) ^ load32((const u8 *)b + i);
    return difference == 0;
}

/* Sizes of key and value, which every caller knows when it is compiled. */
#define OF(K, V) sizeof(K), sizeof(V)
INLINE size_t stride_of(size_t k, size_t v) { return (sizeof(struct header) + k + v + 7) & ~(size_t)7; }
INLINE struct header *entry_at(const struct map *m, u32 index, size_t k, size_t v) { return (struct header *)(m->slab + index * stride_of(k, v)); }
INLINE void *key_at(struct header *entry) { return entry + 1; }
INLINE u32 *bucket_of(const struct map *m, const void *key, size_t k) { return m->buckets + (hash_of(key, k) & m->mask); }

INLINE u32 map_find(const struct map *m, const void *key, size_t k, size_t v) {
    for (u32 index = *bucket_of(m, key, k); index; index = entry_at(m, index, k, v)->next)
        if (same(key_at(entry_at(m, index, k, v)), key, k)) return index;
    return 0;
}
INLINE void *map_lookup(const struct map *m, const void *key, size_t k, size_t v) {
    u32 index = map_find(m, key, k, v);
    return index ? (u8 *)key_at(entry_at(m, index, k, v)) + k : NULL;
}
INLINE struct header *map_detach(struct map *m, const void *key, size_t k, size_t v) {
    for (u32 *link = bucket_of(m, key, k); *link; link = &entry_at(m, *link, k, v)->next) {
        struct header *entry = entry_at(m, *link, k, v);
        if (!same(key_at(entry), key, k)) continue;
        u32 index = *link;
        *link = entry->next;
        entry->next = m->free;
        m->free = index;
        return entry;
    }
    return NULL;
}
INLINE u32 map_allocate(struct map *m, size_t k, size_t v) {
    u32 index = m->free;
    if (index) {
        m->free = entry_at(m, index, k, v)->next;
        return index;
    }
    return m->fresh <= m->capacity ? m->fresh++ : 0;
}
/* Puts a key that the map does not hold into its bucket. */
INLINE u32 map_chain(struct map *m, u32 *bucket, const void *key, size_t k, size_t v) {
    u32 index = map_allocate(m, k, v);
    if (!index) return 0;
    struct header *entry = entry_at(m, index, k, v);
    entry->next = *bucket;
    *bucket = index;
    memcpy(key_at(entry), key, k);
    m->created++;
    return index;
}
INLINE void *map_insert(struct map *m, const void *key, size_t k, size_t v) {
    u32 index = map_find(m, key, k, v);
    if (!index) index = map_chain(m, bucket_of(m, key, k), key, k, v);
    return index ? (u8 *)key_at(entry_at(m, index, k, v)) + k : NULL;
}

static void *take(size_t size) {
    void *at = mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) exit(3);
    return at;
}
static void map_create(struct map *m, u32 capacity, size_t k, size_t v) {
    u32 buckets = 16;
    while (buckets < capacity << 1) buckets <<= 1;
    *m = (struct map){ .buckets = take((size_t)buckets * 4), .slab = take(((size_t)capacity + 1) * stride_of(k, v)), .mask = buckets - 1, .fresh = 1, .capacity = capacity };
}

/* assembly/maps/lru.ts: the queues of the others, whose end is 0, and of the assured, whose end comes after all entries. */
struct link { u32 before, behind; };
struct lru { struct map map; struct link *links; u32 assured_count, assured_most; u16 epoch, epoch_bits; };

INLINE void lru_append(struct lru *l, u32 end, u32 index) {
    u32 last = l->links[end].before;
    l->links[last].behind = index;
    l->links[end].before = index;
    l->links[index] = (struct link){ last, end };
}
INLINE void lru_unlink(struct lru *l, u32 index) {
    struct link link = l->links[index];
    l->links[link.before].behind = link.behind;
    l->links[link.behind].before = link.before;
}
static void lru_create(struct lru *l, u32 capacity, size_t k, size_t v) {
    map_create(&l->map, capacity, k, v);
    u32 share = (capacity >> 4) + 4;
    l->links = take(((size_t)capacity + 2) * sizeof *l->links);
    l->links[capacity + 1] = (struct link){ capacity + 1, capacity + 1 };
    l->assured_most = capacity - (share < capacity ? share : capacity);
    l->epoch_bits = 31 - __builtin_clz(capacity >> 4 | 1);
}
INLINE struct header *header_of(void *value, size_t k) { return (struct header *)((u8 *)value - k) - 1; }
INLINE u32 staleness(const struct lru *l, void *value, size_t k) { return header_of(value, k)->epoch ^ l->epoch; }
INLINE void lru_renew(struct lru *l, void *value, size_t k, size_t v) {
    struct header *header = header_of(value, k);
    u32 index = ((u8 *)header - l->map.slab) / stride_of(k, v);
    header->epoch = l->epoch;
    lru_unlink(l, index);
    lru_append(l, header->assured ? l->map.capacity + 1 : 0, index);
}
INLINE void lru_assure(struct lru *l, void *value, bool assured, size_t k, size_t v) {
    struct header *header = header_of(value, k);
    if (header->assured == assured) return;
    header->assured = assured;
    l->assured_count += assured ? 1 : -1;
    lru_renew(l, value, k, v);
}
static void lru_evict(struct lru *l, size_t k, size_t v) {
    u32 index = l->links[l->assured_count > l->assured_most ? l->map.capacity + 1 : 0].behind;
    struct header *entry = map_detach(&l->map, key_at(entry_at(&l->map, index, k, v)), k, v);
    CHANGED((struct ct_tuple *)key_at(entry));
    l->assured_count -= entry->assured;
    lru_unlink(l, index);
    l->links[index] = (struct link){ index, index };
}
INLINE void *lru_admit(struct lru *l, const void *key, size_t k, size_t v) {
    struct map *m = &l->map;
    u32 index = map_find(m, key, k, v);
    if (index) {
        void *value = (u8 *)key_at(entry_at(m, index, k, v)) + k;
        if (staleness(l, value, k)) lru_renew(l, value, k, v);
        return value;
    }
    if (!m->free && m->fresh > m->capacity && m->capacity) lru_evict(l, k, v);
    index = map_chain(m, bucket_of(m, key, k), key, k, v);
    if (!index) return NULL;
    struct header *header = entry_at(m, index, k, v);
    l->epoch = m->created >> l->epoch_bits;
    header->epoch = l->epoch;
    header->assured = 0;
    lru_append(l, 0, index);
    return (u8 *)key_at(header) + k;
}

/* Lengths in use of a prefix map, longest first. */
struct lengths { u8 length[33]; u32 count; };
static void use_length(struct lengths *l, u32 length) {
    u32 i = 0;
    while (i < l->count && l->length[i] > length) i++;
    if (i < l->count && l->length[i] == length) return;
    memmove(l->length + i + 1, l->length + i, l->count++ - i);
    l->length[i] = length;
}

/* ---------------------------------------------------------------- structs of the maps: assembly/lib */

struct lb4_key { u32 address; u16 dport, slot; u8 proto, scope; u16 node; };
struct lb4_service { u32 backend_id; u16 count, rev_nat_index; u8 flags, flags2; u16 qcount; };
struct lb4_backend { u32 address; u16 port; u8 proto, state; u16 weight, pad; };
struct lb4_reverse_nat { u32 address; u16 port, pad; };
struct maglev_table { u32 *table; u32 size; };
struct ct_entry { u64 packets, bytes; u32 lifetime; u16 flags, rev_nat_index; u32 backend_id, src_sec_id; u8 tx_flags_seen, rx_flags_seen; u16 replied; u32 pad; };
struct ipcache_key { u32 address, prefix_length; };
struct remote_endpoint { u32 sec_identity, tunnel_endpoint, key; };
struct policy_key { u32 prefix_length, policy_id, sec_label, traffic; };
struct policy_entry { u16 proxy_port; u8 deny, priority, auth_type, pad; u16 cookie; };
struct endpoint_key { u32 address; u16 node, pad; };
struct endpoint_info { u32 lxc_id, sec_id, flags, pad; };
struct endpoint_config { u64 mac, node_mac; u8 ipv6[16]; u32 address, sec_id, policy_id; u16 node, pad; };
struct node_config { u8 ipv6[16]; u64 mac; u32 address, policy_id; };

static struct map services, backends, reverse_nats, maglevs, ipcache, policies, lxc, nodes;
static struct lru connections;
static struct lengths ipcache_lengths, policy_lengths;
static struct endpoint_config *endpoint_configs;
static struct node_config *node_configs;
static u32 endpoint_config_count, node_config_count;
static struct { u64 count, bytes; } metrics[512];

/* ---------------------------------------------------------------- assembly/lib/parse.ts */

static i32 parse(struct context *ctx) {
    u32 length = ctx->end - ctx->data;
    if (length < ETHERNET) return -UNSUPPORTED_L2;
    u32 type = load16(ctx->data + 12);
    if (type != 0x0008) {
        if (type == 0x0081 || type == 0xa888) return -VLAN_FILTERED;
        return (type & 0xff) < 6 ? -UNSUPPORTED_L2 : -UNKNOWN_L3;
    }
    u8 *ip = ctx->ip = ctx->data + ETHERNET;
    ctx->ports = 0;
    ctx->tcp_flags = 0;
    ctx->protocol = 0;
    if (length - ETHERNET < IPV4) return -INVALID;
    u32 header = (ip[0] & 15) * 4, total = ntohs(load16(ip + IP_TOTAL));
    if (ip[0] >> 4 != 4 || header < IPV4 || total < header || total > length - ETHERNET) return -INVALID;
    ctx->saddr = load32(ip + IP_SADDR);
    ctx->daddr = load32(ip + IP_DADDR);
    u32 protocol = ctx->protocol = ip[IP_PROTOCOL];
    ctx->ip_end = ip + total;
    u8 *l4 = ctx->l4 = ip + header;
    if (load16(ip + IP_FRAGMENT) & 0xff3f) beyond("a fragment");
    if (protocol == ICMP) beyond("ICMP");
    if (protocol != TCP && protocol != UDP && protocol != SCTP) return -CT_UNKNOWN_PROTO;
    u32 available = ctx->ip_end - l4;
    if (protocol == TCP) {
        if (available < TCP_LENGTH) return -CT_INVALID_HDR;
        u32 own = (l4[12] >> 4) * 4;
        if (own < TCP_LENGTH || own > available) return -CT_INVALID_HDR;
    } else if (protocol == UDP) {
        if (available < UDP_LENGTH) return -CT_INVALID_HDR;
        u32 own = ntohs(load16(l4 + UDP_SIZE));
        if (own < UDP_LENGTH || own > available) return -CT_INVALID_HDR;
    } else if (available < SCTP_LENGTH) return -CT_INVALID_HDR;
    ctx->ports = load32(l4);
    if (protocol == TCP) ctx->tcp_flags = l4[TCP_FLAGS];
    return 0;
}

/* ---------------------------------------------------------------- assembly/lib/rewrite.ts */

static void rewrite(struct context *ctx, u32 saddr, u32 daddr, u32 ports) {
    REWRITTEN();
    u64 addresses = difference(ctx->saddr, saddr) + difference(ctx->daddr, daddr);
    u64 all = addresses + difference(ctx->ports, ports);
    store16(ctx->ip + IP_CHECKSUM, checksum_update(load16(ctx->ip + IP_CHECKSUM), addresses));
    if (ctx->protocol == TCP) {
        store16(ctx->l4 + TCP_CHECKSUM, checksum_update(load16(ctx->l4 + TCP_CHECKSUM), all));
    } else if (ctx->protocol == UDP && load16(ctx->l4 + UDP_CHECKSUM)) {
        u16 sum = checksum_update(load16(ctx->l4 + UDP_CHECKSUM), all);
        store16(ctx->l4 + UDP_CHECKSUM, sum ? sum : 0xffff);
    }
    store32(ctx->ip + IP_SADDR, ctx->saddr = saddr);
    store32(ctx->ip + IP_DADDR, ctx->daddr = daddr);
    store32(ctx->l4, ctx->ports = ports);
}

/* ---------------------------------------------------------------- assembly/lib/conntrack.ts */

#define CT OF(struct ct_tuple, struct ct_entry)
enum { CLOSED = RX_CLOSING | TX_CLOSING };

INLINE bool is_alive(const struct ct_entry *e) { return (e->flags & CLOSED) != CLOSED; }
INLINE void extend(struct ct_entry *e, u32 flags, u32 direction, u32 seconds) {
    e->lifetime = now + seconds;
    if (direction == INGRESS) e->rx_flags_seen |= flags & REPORTED;
    else e->tx_flags_seen |= flags & REPORTED;
}
INLINE void refresh(struct ct_entry *e, u32 protocol, u32 flags, u32 direction) {
    u32 seconds = LIFETIME_NONTCP;
    if (protocol == TCP) {
        if (!(flags & SYN)) e->flags |= SEEN_NON_SYN;
        seconds = e->flags & SEEN_NON_SYN ? LIFETIME_TCP : LIFETIME_SYN;
    }
    extend(e, flags, direction, seconds);
}
static void close_entry(struct ct_entry *e, u32 flags, u32 direction) {
    bool refused = flags & RST && !(e->tx_flags_seen & e->rx_flags_seen & SYN);
    if (direction == SERVICE || refused) e->flags |= CLOSED;
    else e->flags |= direction == INGRESS ? RX_CLOSING : TX_CLOSING;
    if (!is_alive(e)) extend(e, flags, direction, LIFETIME_CLOSE);
}
static struct ct_entry *turned(const struct context *ctx, struct ct_entry *e, u32 direction) {
    lru_renew(&connections, e, CT);
    u32 flags = ctx->tcp_flags;
    if (flags & REPORTED) CHANGED((struct ct_tuple *)e - 1);
    if ((flags & (REPORTED | ACK)) == SYN && e->flags & CLOSED) {
        e->flags &= ~(CLOSED | SEEN_NON_SYN);
        e->tx_flags_seen = e->rx_flags_seen = 0;
        e->replied = 0;
        refresh(e, TCP, flags, direction);
        lru_assure(&connections, e, false, CT);
        return NULL;
    }
    if (is_alive(e)) refresh(e, ctx->protocol, flags, direction);
    if (flags & (FIN | RST)) close_entry(e, flags, direction);
    if (!is_alive(e)) lru_assure(&connections, e, false, CT);
    return e;
}
INLINE struct ct_entry *counted(const struct context *ctx, struct ct_entry *e, u32 direction) {
    if (!e) return NULL;
    COUNTED(e);
    e->packets++;
    e->bytes += ctx->end - ctx->data;
    if ((ctx->tcp_flags & REPORTED) | staleness(&connections, e, sizeof(struct ct_tuple))) return turned(ctx, e, direction);
    if (is_alive(e)) refresh(e, ctx->protocol, ctx->tcp_flags, direction);
    else SPOIL();
    return e;
}
INLINE struct ct_entry *ct_find(const struct ct_tuple *tuple) {
    ASKED(tuple);
    return map_lookup(&connections.map, tuple, CT);
}
INLINE struct ct_entry *ct_find_forward(const struct context *ctx, u32 direction) {
    struct ct_tuple tuple = { ctx->daddr, ctx->saddr, ctx->ports, ctx->protocol, direction, ctx->node };
    return ct_find(&tuple);
}
INLINE struct ct_entry *ct_find_reverse(const struct context *ctx, u32 direction) {
    struct ct_tuple tuple = { ctx->saddr, ctx->daddr, rotl(ctx->ports, 16), ctx->protocol, direction, ctx->node };
    return ct_find(&tuple);
}
static u32 ct_lookup(struct context *ctx, u32 direction) {
    ctx->connection = NULL;
    u32 status = CT_REPLY;
    struct ct_entry *e = counted(ctx, ct_find_reverse(ctx, direction == EGRESS ? INGRESS : EGRESS), direction);
    if (!e) {
        status = CT_ESTABLISHED;
        e = counted(ctx, ct_find_forward(ctx, direction), direction);
    }
    if (!e) status = CT_NEW;
    else if (status == CT_REPLY) {
        if (!e->replied) CHANGED((struct ct_tuple *)e - 1);
        e->replied = 1;
        ctx->rev_nat_index = e->rev_nat_index;
        ctx->loopback = e->flags & LB_LOOPBACK;
        ctx->node_port = e->flags & NODE_PORT;
        ctx->dsr = e->flags & DSR_INTERNAL;
        ctx->proxied = e->flags & PROXY_REDIRECT;
    } else {
        ctx->connection = e;
        if (e->replied && is_alive(e)) {
            ctx->assured = true;
            lru_assure(&connections, e, true, CT);
            if (direction == EGRESS && ctx->service && is_alive(ctx->service)) lru_assure(&connections, ctx->service, true, CT);
        }
    }
    return ctx->ct_status = status;
}
static bool is_stale(const struct context *ctx, u32 rev_nat_index, bool proxied) {
    const struct ct_entry *e = ctx->connection;
    return e && (e->rev_nat_index != rev_nat_index || !(e->flags & PROXY_REDIRECT) == proxied);
}
static struct ct_entry *ct_lookup_service(struct context *ctx, u32 rev_nat_index) {
    struct ct_entry *e = ct_find_forward(ctx, SERVICE);
    if (!e || e->rev_nat_index != rev_nat_index) return NULL;
    ctx->service = e;
    return counted(ctx, e, SERVICE);
}
static i32 ct_create(struct context *ctx, u32 direction, u32 rev_nat_index, u32 backend_id, u32 flags) {
    struct ct_tuple tuple = { ctx->daddr, ctx->saddr, ctx->ports, ctx->protocol, direction, ctx->node };
    SPOIL();
    struct ct_entry *e = lru_admit(&connections, &tuple, CT);
    CHANGED(&tuple);
    if (!e) return -CT_CREATE_FAILED;
    lru_assure(&connections, e, false, CT);
    *e = (struct ct_entry){ .rev_nat_index = rev_nat_index, .backend_id = backend_id, .src_sec_id = ctx->source_identity, .flags = flags };
    e->packets = 1;
    e->bytes = ctx->end - ctx->data;
    refresh(e, ctx->protocol, ctx->protocol == TCP ? SYN : 0, direction);
    return 0;
}

/* ---------------------------------------------------------------- assembly/lib/{jhash,maglev,lb}.ts */

static u32 jhash3words(u32 a, u32 b, u32 c, u32 seed) {
    u32 start = seed + 0xdeadbeef + (3 << 2);
    a += start, b += start, c += start;
    c = (c ^ b) - rotl(b, 14);
    a = (a ^ c) - rotl(c, 11);
    b = (b ^ a) - rotl(a, 25);
    c = (c ^ b) - rotl(b, 16);
    a = (a ^ c) - rotl(c, 4);
    b = (b ^ a) - rotl(a, 14);
    return (c ^ b) - rotl(b, 24);
}
static u32 maglev_select(struct context *ctx, u32 rev_nat_index) {
    struct maglev_table *table = map_lookup(&maglevs, &rev_nat_index, OF(u32, struct maglev_table));
    if (!table) return 0;
    return table->table[jhash3words(ctx->saddr, ctx->ports, ctx->protocol, JHASH_SEED) % table->size];
}
static struct lb4_service *find_service(u32 address, u32 dport, u32 protocol, u32 slot, u32 scope) {
    struct lb4_key key = { address, dport, slot, protocol, scope >> 8, scope >> 16 };
    return map_lookup(&services, &key, OF(struct lb4_key, struct lb4_service));
}
static struct lb4_service *lookup_service(struct context *ctx, bool external) {
    ctx->scope = 0;
    struct lb4_service *service = find_service(ctx->daddr, ctx->ports >> 16, ctx->protocol, 0, 0);
    if (!service) return find_service(ctx->daddr, 0, 0, 0, 0);
    if (external ? !(service->flags & EXT_LOCAL_SCOPE) : !(service->flags2 & INT_LOCAL_SCOPE)) return service;
    ctx->scope = !external << 8 | ctx->node << 16;
    return find_service(ctx->daddr, ctx->ports >> 16, ctx->protocol, 0, ctx->scope);
}
static struct lb4_backend *lookup_backend(u32 id) { return map_lookup(&backends, &id, OF(u32, struct lb4_backend)); }

static u32 select_backend(struct context *ctx, struct lb4_service *service) {
    if (service->backend_id >> 24 == MAGLEV) {
        u32 id = maglev_select(ctx, service->rev_nat_index);
        if (id) return id;
    }
    struct { u32 address, flow; } spread = { ctx->saddr, ctx->ports ^ ctx->protocol << 8 };
    struct lb4_service *slot = find_service(ctx->daddr, ctx->ports >> 16, ctx->protocol, 1 + hash_of(&spread, sizeof spread) % service->count, ctx->scope);
    return slot ? slot->backend_id : 0;
}
static struct lb4_backend *kept_backend(struct context *ctx, struct ct_entry *flow) {
    struct lb4_backend *backend = lookup_backend(flow->backend_id);
    if (!backend || (backend->state != BACKEND_ACTIVE && ctx->tcp_flags & SYN)) return NULL;
    ctx->backend_id = flow->backend_id;
    return backend;
}
static i32 lb_local(struct context *ctx, struct lb4_service *service) {
    u32 rev_nat_index = ctx->rev_nat_index = service->rev_nat_index;
    struct ct_entry *flow = ct_lookup_service(ctx, rev_nat_index);
    struct lb4_backend *backend = flow ? kept_backend(ctx, flow) : NULL;
    if (!backend) {
        if (!service->count) return -NO_SERVICE;
        if (service->flags & AFFINITY) beyond("session affinity");
        backend = lookup_backend(ctx->backend_id = select_backend(ctx, service));
        if (!backend) return -NO_SERVICE;
        SPOIL();
        if (flow) flow->backend_id = ctx->backend_id;
        else {
            i32 result = ct_create(ctx, SERVICE, rev_nat_index, ctx->backend_id, 0);
            if (result < 0) return result;
        }
    }
    if (service->flags & AFFINITY) beyond("session affinity");
    ctx->loopback = ctx->saddr == backend->address && ctx->program != FROM_NETDEV && !has(SERVICE_MASQUERADE);
    rewrite(ctx, ctx->loopback ? LOOPBACK : ctx->saddr, backend->address, (ctx->ports & 0xffff) | (u32)backend->port << 16);
    return 0;
}
static i32 lend(struct context *ctx, struct lb4_service *found) {
    i32 result = lb_local(ctx, found);
    if (result == -NO_SERVICE && has(REJECT_NO_BACKEND)) beyond("an ICMP error");
    return result;
}
static void lb_reverse(struct context *ctx) {
    struct lb4_reverse_nat *frontend = map_lookup(&reverse_nats, &ctx->rev_nat_index, OF(u32, struct lb4_reverse_nat));
    if (frontend) rewrite(ctx, frontend->address, ctx->loopback ? ctx->saddr : ctx->daddr, (ctx->ports & 0xffff0000) | frontend->port);
}

/* ---------------------------------------------------------------- assembly/lib/{ipcache,policy,endpoint}.ts */

INLINE u32 mask_of(u32 length, u32 bits) { return length ? ntohl(-1u << (bits - length)) : 0; }

static struct remote_endpoint *ipcache_lookup(u32 address) {
    struct ipcache_key key = { address, 32 };
    for (u32 i = 0; i < ipcache_lengths.count; i++) {
        key.prefix_length = ipcache_lengths.length[i];
        key.address &= mask_of(key.prefix_length, 32);
        struct remote_endpoint *found = map_lookup(&ipcache, &key, OF(struct ipcache_key, struct remote_endpoint));
        if (found) return found;
    }
    return NULL;
}
INLINE u32 identity_of(struct remote_endpoint *remote) { return remote ? remote->sec_identity : ID_WORLD; }

static struct policy_entry *policy_find(struct policy_key *key) {
    for (u32 i = 0; i < policy_lengths.count; i++) {
        key->prefix_length = policy_lengths.length[i];
        key->traffic &= ntohl(-1u << (24 - key->prefix_length));
        struct policy_entry *found = map_lookup(&policies, key, OF(struct policy_key, struct policy_entry));
        if (found) return found;
    }
    return NULL;
}
static i32 can_access(struct context *ctx, u32 policy_id, u32 identity, u32 egress) {
    u32 traffic = egress | ctx->protocol << 8 | ctx->ports >> 16 << 16;
    struct policy_key specific = { 24, policy_id, identity, traffic }, wildcard = { 24, policy_id, 0, traffic };
    struct policy_entry *l3 = policy_find(&specific), *l4 = policy_find(&wildcard);
    i32 result = -POLICY;
    if (l3 || l4) {
        bool use_l3 = !l4;
        if (l3 && l4) {
            use_l3 = l3->deny != l4->deny ? l3->deny != 0
                   : l3->priority != l4->priority ? l3->priority > l4->priority
                   : specific.prefix_length >= wildcard.prefix_length;
        }
        struct policy_entry *entry = use_l3 ? l3 : l4, *other = use_l3 ? l4 : l3;
        u32 own = entry->auth_type & AUTH_TYPE, beside = other ? other->auth_type & AUTH_TYPE : 0;
        if (!(entry->auth_type & AUTH_EXPLICIT) && beside > own) own = beside;
        if (own && !entry->deny) beyond("authentication");
        result = entry->deny ? -POLICY_DENY : entry->proxy_port;
    }
    if (result < 0 && has(POLICY_AUDIT)) beyond("policy audit mode");
    return result;
}
static struct endpoint_info *endpoint_lookup(u32 address, u32 node) {
    struct endpoint_key key = { address, node, 0 };
    return map_lookup(&lxc, &key, OF(struct endpoint_key, struct endpoint_info));
}
INLINE struct endpoint_config *endpoint_config(u32 id) { return id < endpoint_config_count ? endpoint_configs + id : NULL; }
static u32 node_of(u32 address) {
    u32 *node = map_lookup(&nodes, &address, OF(u32, u32));
    return node ? *node : 0;
}

/* ---------------------------------------------------------------- assembly/lib/{encap,delivery}.ts */

INLINE void set_addresses(u8 *ethernet, u64 destination, u64 source) {
    store32(ethernet, destination), store16(ethernet + 4, destination >> 32);
    store16(ethernet + 6, source), store32(ethernet + 8, source >> 16);
}
static void wrap(struct context *ctx, u32 tunnel_endpoint, u32 identity) {
    u32 inner = ctx->end - ctx->data;
    struct node_config *own = node_configs + ctx->node;
    u8 *ethernet = ctx->data -= TUNNEL_OVERHEAD, *ip = ethernet + ETHERNET, *udp = ip + IPV4, *vxlan = udp + UDP_LENGTH;
    set_addresses(ethernet, 0, own->mac);
    store16(ethernet + 12, 0x0008);
    store16(ip, 0x45);
    store16(ip + IP_TOTAL, ntohs(inner + TUNNEL_OVERHEAD - ETHERNET));
    store16(ip + IP_ID, 0);
    store16(ip + IP_FRAGMENT, 0x40);
    ip[IP_TTL] = 64, ip[IP_PROTOCOL] = UDP;
    store16(ip + IP_CHECKSUM, 0);
    store32(ip + IP_SADDR, own->address);
    store32(ip + IP_DADDR, tunnel_endpoint);
    store16(ip + IP_CHECKSUM, checksum_compute(ip, IPV4));
    u32 flow = jhash3words(ctx->saddr, ctx->daddr, ctx->ports, ctx->protocol);
    store16(udp, ntohs(32768 + (flow & 0x3fff)));
    store16(udp + 2, ntohs(VXLAN_PORT));
    store16(udp + UDP_SIZE, ntohs(inner + UDP_LENGTH + VXLAN_LENGTH));
    store16(udp + UDP_CHECKSUM, 0);
    store32(vxlan, 0x08);
    store32(vxlan + 4, ntohl((identity == ID_HOST ? ID_REMOTE_NODE : identity) << 8));
    ctx->outer_saddr = own->address;
    ctx->outer_daddr = tunnel_endpoint;
    ctx->outer_sport = load16(udp);
}
INLINE bool is_tunnel(struct context *ctx) {
    if (config.tunnel != TUNNEL_VXLAN) beyond("another tunnel");
    return ctx->protocol == UDP && ctx->ports >> 16 == ntohs(VXLAN_PORT);
}
static i32 unwrap(struct context *ctx) {
    u8 *vxlan = ctx->l4 + UDP_LENGTH;
    if (vxlan + VXLAN_LENGTH > ctx->ip_end || !(load32(vxlan) & 0x08)) return -NO_TUNNEL_KEY;
    u32 vni = ntohl(load32(vxlan + 4)) >> 8;
    if (vni == ID_HOST) return -INVALID_IDENTITY;
    ctx->source_identity = vni;
    ctx->data = vxlan + VXLAN_LENGTH;
    ctx->end = ctx->ip_end;
    ctx->outer_saddr = ctx->outer_daddr = 0;
    return 0;
}
static i32 decrement_ttl(struct context *ctx) {
    u32 ttl = ctx->ip[IP_TTL];
    if (ttl <= 1) {
        SPOIL();
        return -TTL_EXCEEDED;
    }
    ctx->ip[IP_TTL] = ttl - 1;
    store16(ctx->ip + IP_CHECKSUM, checksum_update(load16(ctx->ip + IP_CHECKSUM), difference(ttl, ttl - 1)));
    return 0;
}
static i32 to_endpoint(struct context *ctx, struct endpoint_info *info) {
    i32 result = decrement_ttl(ctx);
    if (result < 0) return result;
    struct endpoint_config *own = endpoint_config(info->lxc_id);
    if (!own || !own->policy_id) return -EP_NOT_READY;
    set_addresses(ctx->data, own->mac, own->node_mac);
    ADDRESSED();
    ctx->endpoint = info->lxc_id;
    return LXC_POLICY;
}
INLINE void check_size(struct context *ctx, u32 mtu) {
    if ((u32)(ctx->ip_end - ctx->ip) > mtu && config.mtu) beyond("a packet that is too big");
}
static i32 to_overlay(struct context *ctx, struct remote_endpoint *remote) {
    check_size(ctx, config.mtu - TUNNEL_OVERHEAD);
    i32 result = decrement_ttl(ctx);
    if (result < 0) return result;
    wrap(ctx, remote->tunnel_endpoint, ctx->source_identity);
    return TO_NETDEV;
}
static i32 to_host(struct context *ctx) {
    if (has(HOST_FIREWALL) || has(SOCKET_LB)) beyond("a firewall or sockets of the node");
    ctx->endpoint = 0;
    return HOST;
}
INLINE i32 onward(struct context *ctx, struct remote_endpoint *remote) {
    if (!remote || !remote->tunnel_endpoint) {
        check_size(ctx, config.mtu);
        return TO_NETDEV;
    }
    if (has(NATIVE_ROUTING)) beyond("native routing");
    return to_overlay(ctx, remote);
}

/* ---------------------------------------------------------------- the programs: assembly/{lxc,netdev,overlay,run}.ts */

static i32 to_itself(struct context *ctx) {
    struct endpoint_config *own = endpoint_config(ctx->endpoint);
    ctx->loopback = false;
    ctx->destination_identity = own->sec_id;
    struct endpoint_info *info = endpoint_lookup(own->address, ctx->node);
    return info ? to_endpoint(ctx, info) : -UNROUTABLE;
}
static i32 translate(struct context *ctx) {
    ctx->rev_nat_index = ctx->backend_id = 0;
    ctx->loopback = false;
    struct lb4_service *found = lookup_service(ctx, false);
    if (!found) return 0;
    i32 result = lend(ctx, found);
    if (!result && has(SERVICE_MASQUERADE)) beyond("kube-proxy's masquerade");
    return result;
}
static i32 allow_egress(struct context *ctx, struct endpoint_config *own) {
    u32 identity = ctx->destination_identity;
    if (is_tunnel(ctx) && (identity == ID_HOST || identity == ID_REMOTE_NODE)) return -ENCAP_PROHIBITED;
    return can_access(ctx, own->policy_id, identity, 1);
}
static i32 from_container(struct context *ctx) {
    struct endpoint_config *own = endpoint_config(ctx->endpoint);
    if (!own || !own->policy_id) return -EP_NOT_READY;
    ctx->node = own->node;
    ctx->source_identity = own->sec_id;
    i32 result = parse(ctx);
    if (result < 0) return result;
    if (ctx->saddr != own->address || !ctx->saddr) return -INVALID_SIP;
    if ((result = translate(ctx))) return result;
    u32 rev_nat_index = ctx->rev_nat_index;
    bool looped = ctx->loopback;
    u32 status = ct_lookup(ctx, EGRESS);
    if (status == CT_REPLY) {
        if (ctx->proxied || ctx->node_port || ctx->dsr) beyond("a reply from a proxy, or to a client outside");
        if (ctx->daddr == LOOPBACK) return to_itself(ctx);
        if (has(SERVICE_MASQUERADE)) beyond("kube-proxy's masquerade");
    }
    ctx->loopback = looped;
    struct remote_endpoint *remote = ipcache_lookup(ctx->daddr);
    ctx->destination_identity = identity_of(remote);
    if (ctx->destination_identity == ID_REMOTE_NODE && node_of(ctx->daddr) == ctx->node) ctx->destination_identity = ID_HOST;
    u32 proxy_port = 0;
    if (status != CT_REPLY && !looped) {
        if ((result = allow_egress(ctx, own)) < 0) return result;
        proxy_port = result;
    }
    if (status == CT_NEW || (status != CT_REPLY && is_stale(ctx, rev_nat_index, proxy_port))) {
        u32 flags = (looped ? LB_LOOPBACK : 0) | (proxy_port ? PROXY_REDIRECT : 0);
        if ((result = ct_create(ctx, EGRESS, rev_nat_index, ctx->backend_id, flags)) < 0) return result;
    }
    if (proxy_port || ctx->masquerade) beyond("a proxy, or a masquerade");
    struct endpoint_info *info = endpoint_lookup(ctx->daddr, ctx->node);
    if (info) return info->flags & ENDPOINT_HOST ? to_host(ctx) : to_endpoint(ctx, info);
    ctx->aggregate = ctx->endpoint;
    return onward(ctx, remote);
}
static i32 remember(struct context *ctx, bool looped) {
    struct ct_entry *opened = ct_find_forward(ctx, EGRESS);
    u32 marks = opened ? opened->flags & (NODE_PORT | DSR_INTERNAL) : 0;
    return ct_create(ctx, INGRESS, marks & NODE_PORT ? opened->rev_nat_index : 0, 0, marks | (looped ? LB_LOOPBACK : 0));
}
static i32 ingress_policy(struct context *ctx) {
    struct endpoint_config *own = endpoint_config(ctx->endpoint);
    ctx->destination_identity = own->sec_id;
    bool looped = ctx->loopback;
    u32 status = ct_lookup(ctx, INGRESS);
    if (status == CT_REPLY) {
        if (ctx->proxied && (ctx->mark & MARK_MAGIC) != MARK_PROXY_EGRESS) beyond("a proxy");
        if (ctx->rev_nat_index) lb_reverse(ctx);
    } else {
        i32 result;
        if (!looped && (ctx->mark & MARK_MAGIC) != MARK_PROXY_INGRESS) {
            if ((result = can_access(ctx, own->policy_id, ctx->source_identity, 0)) < 0) return result;
            if (result) beyond("a proxy");
        }
        if (status == CT_NEW && (result = remember(ctx, looped)) < 0) return result;
    }
    if (has(SOCKET_LB)) beyond("sockets");
    return DELIVERED;
}
static i32 from_netdev(struct context *ctx) {
    i32 result = parse(ctx);
    if (!result) ctx->source_identity = identity_of(ipcache_lookup(ctx->saddr));
    if (result < 0) return result;
    if (is_tunnel(ctx) && node_of(ctx->daddr) == ctx->node) return FROM_OVERLAY;
    beyond("a packet from outside");
}
static i32 to_netdev(struct context *ctx) {
    if (has(WIREGUARD) || has(BANDWIDTH_MANAGER)) beyond("encryption, or a pace");
    if (!ctx->outer_daddr && (has(HOST_FIREWALL) || has(MASQUERADE) || !ctx->endpoint)) beyond("source NAT");
    return WIRE;
}
static i32 wire(struct context *ctx) {
    u32 node = node_of(ctx->outer_daddr ? ctx->outer_daddr : ctx->daddr);
    if (!node || node == ctx->node) return WORLD;
    ctx->node = node;
    ctx->endpoint = 0;
    ctx->ct_status = CT_NEW;
    ctx->node_port = ctx->dsr = ctx->loopback = ctx->snat_done = ctx->proxied = ctx->encrypted = false;
    ctx->aggregate = ctx->mark = 0;
    return FROM_NETDEV;
}
static i32 from_overlay(struct context *ctx) {
    i32 result = unwrap(ctx);
    if (result < 0) return result;
    if ((result = parse(ctx)) < 0) return result;
    if (has(DSR)) beyond("direct server return");
    struct endpoint_info *info = endpoint_lookup(ctx->daddr, ctx->node);
    if (!info) return -UNROUTABLE;
    return info->flags & ENDPOINT_HOST ? to_host(ctx) : to_endpoint(ctx, info);
}
static i32 enter(struct context *ctx, u32 program) {
    switch (program) {
    case FROM_CONTAINER: return from_container(ctx);
    case LXC_POLICY: return ingress_policy(ctx);
    case FROM_NETDEV: return from_netdev(ctx);
    case TO_NETDEV: return to_netdev(ctx);
    case FROM_OVERLAY: return from_overlay(ctx);
    case WIRE: return wire(ctx);
    }
    beyond("another program");
}
static bool is_entry(u32 program) {
    return program == FROM_CONTAINER || program == FROM_NETDEV || program == FROM_HOST || program == SOCK_CONNECT || program == FROM_PROXY;
}

static u8 frame[WIDTH * FRAME_ROOM];

static void run(struct packet *packet) {
    u8 *data = frame + packet->data;
    struct context ctx = { .data = data, .end = data + packet->length, .node = packet->node, .endpoint = packet->endpoint, .mark = packet->mark, .time = packet->time };
    u32 program = packet->program;
    i32 next = is_entry(program) && ctx.node < node_config_count ? (i32)program : -INVALID;
    for (int i = 0; i < MAX_PROGRAMS && next >= 0 && next < DELIVERED; i++) {
        program = next;
        ctx.program = program;
        if (is_entry(program) && ctx.end - ctx.data >= ETHERNET && load16(ctx.data + 12) == 0xdd86) beyond("IPv6");
        next = enter(&ctx, program);
    }
    if (next >= 0 && next < DELIVERED) next = -UNROUTABLE;
    u32 length = ctx.end - ctx.data;
    u32 metric = (next < 0 ? -next & 0xff : 0) << 1 | (program != LXC_POLICY);
    MEASURED(metric);
    metrics[metric].count++;
    metrics[metric].bytes += length;
    packet->data = ctx.data - frame;
    packet->length = length;
    packet->node = ctx.node;
    packet->program = next < 0 ? program : (u32)next;
    packet->endpoint = next == DELIVERED ? ctx.endpoint : 0;
    packet->verdict = next < 0 ? next : 0;
    packet->answered = 0;
    packet->source_identity = ctx.source_identity;
    packet->destination_identity = ctx.destination_identity;
    packet->backend_id = ctx.backend_id;
    packet->rev_nat_index = ctx.rev_nat_index;
    packet->mark = 0;
    packet->audited = ctx.audited;
    packet->delay = ctx.delay;
}

/* ---------------------------------------------------------------- the benchmark: assembly/index.ts, dataplane/bench/lane.ts */

static u8 *templates;
static struct packet packets[WIDTH];

#ifndef FAST
static __attribute__((noinline)) u32 replay(u32 first, u32 count, u32 total, u32 stride) {
    u32 forwarded = 0, index = first;
    struct packet *packet = packets;
    for (u32 i = 0; i < count; i++) {
        u8 *template = templates + (size_t)index * stride;
        memcpy(packet, template, sizeof *packet);
        memcpy(frame + PACKET_HEADROOM, template + sizeof *packet, packet->length);
        packet->data = PACKET_HEADROOM;
        run(packet);
        forwarded += packet->verdict == 0;
        index = index + 1 == total ? 0 : index + 1;
    }
    return forwarded;
}
#else
static u32 replay(u32 first, u32 count, u32 total, u32 stride);
static void flows_create(u32 count, u32 connections);
#endif
static u32 digest(u32 hash) {
    const struct packet *packet = packets;
    hash = (hash ^ (u32)packet->verdict) * 0x01000193;
    for (u32 i = 0; i < packet->length; i++) hash = (hash ^ frame[packet->data + i]) * 0x01000193;
    return hash;
}

static double nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e9 + now.tv_nsec;
}
static int by_value(const void *a, const void *b) {
    double difference = *(const double *)a - *(const double *)b;
    return (difference > 0) - (difference < 0);
}

static FILE *file;
static u32 word(void) {
    u32 value;
    if (fread(&value, 4, 1, file) != 1) exit(2);
    return value;
}
/* An entry whose key and value are as large as they are here. */
static void update(u32 map, const u8 *key, size_t key_size, const u8 *value, size_t value_size) {
#define SIZED(K, V) if (key_size != sizeof(K) || value_size != sizeof(V)) beyond("a map's entry of another size")
#define PUT(m, K, V) SIZED(K, V); memcpy(map_insert(m, key, OF(K, V)), value, sizeof(V))
#define SET(array, V) SIZED(u32, V); memcpy(array + load32(key), value, sizeof(V))
    switch (map) {
    case LB4_SERVICES: PUT(&services, struct lb4_key, struct lb4_service); break;
    case LB4_BACKENDS: PUT(&backends, u32, struct lb4_backend); break;
    case LB4_REVERSE_NAT: PUT(&reverse_nats, u32, struct lb4_reverse_nat); break;
    case IPCACHE4: PUT(&ipcache, struct ipcache_key, struct remote_endpoint); use_length(&ipcache_lengths, load32(key + 4)); break;
    case POLICYMAP: PUT(&policies, struct policy_key, struct policy_entry); use_length(&policy_lengths, load32(key)); break;
    case LXC4: PUT(&lxc, struct endpoint_key, struct endpoint_info); break;
    case NODES4: PUT(&nodes, u32, u32); break;
    case ENDPOINT_CONFIG: SET(endpoint_configs, struct endpoint_config); break;
    case NODE_CONFIG: SET(node_configs, struct node_config); break;
    case RUNTIME_CONFIG: SET(&config, struct runtime_config); break;
    default: beyond("another map");
    }
}

int main(int argc, char **argv) {
    if (argc != 2 || !(file = fopen(argv[1], "rb"))) return 2;
    /* The workload, as scripts/native.mjs writes it. */
    map_create(&services, word(), OF(struct lb4_key, struct lb4_service));
    map_create(&backends, word(), OF(u32, struct lb4_backend));
    map_create(&reverse_nats, word(), OF(u32, struct lb4_reverse_nat));
    map_create(&maglevs, word(), OF(u32, struct maglev_table));
    lru_create(&connections, word(), CT);
    map_create(&ipcache, word(), OF(struct ipcache_key, struct remote_endpoint));
    map_create(&policies, word(), OF(struct policy_key, struct policy_entry));
    map_create(&lxc, word(), OF(struct endpoint_key, struct endpoint_info));
    endpoint_configs = take((endpoint_config_count = word()) * sizeof *endpoint_configs);
    node_configs = take((node_config_count = word()) * sizeof *node_configs);
    map_create(&nodes, word(), OF(u32, u32));
    u32 maglev_size = word(), total = word(), stride = word(), head = word(), calls = word(), samples = word();
    if (head != sizeof *packets) beyond("a packet's record of another size");
#ifdef FAST
    flows_create(total, connections.map.capacity);
#endif
    for (u32 entries = word(); entries; entries--) {
        u32 map = word(), key_size = word(), value_size = word();
        u8 bytes[128];
        if (key_size + value_size > sizeof bytes || fread(bytes, 1, key_size + value_size, file) != key_size + value_size) return 2;
        update(map, bytes, key_size, bytes + key_size, value_size);
    }
    for (u32 tables = word(); tables; tables--) {
        u32 rev_nat_index = word(), size = word();
        if (size != maglev_size) beyond("a Maglev table of another size");
        struct maglev_table table = { take(size * 4), size };
        if (fread(table.table, 4, size, file) != size) return 2;
        memcpy(map_insert(&maglevs, &rev_nat_index, OF(u32, struct maglev_table)), &table, sizeof table);
    }
    u32 *order = take((size_t)total * 4);
    templates = take((size_t)total * stride);
    if (fread(order, 4, total, file) != total || fread(templates, stride, total, file) != total) return 2;
    fclose(file);

    /* Twice: what is kept of a flow once it goes on must not stand in the order in which it is used either. */
    for (u32 i = 0; i < total; i++)
        for (u32 packet = 0; packet < 2; packet++) replay(order[i], 1, total, stride);
    u32 forwarded = 0, hash = 0x811c9dc5;
    for (u32 i = 0; i < total; i++) {
        forwarded += replay(i, 1, total, stride);
        hash = digest(hash);
    }
    printf("{\"forwarded\": %u, \"digest\": \"%08x\"}\n", forwarded, hash);
    fflush(stdout);

    /* A round is as long as the median of its samples, as in dataplane/bench/lane.ts. */
    char line[16];
    u32 next = 0;
    double *taken = take(samples * sizeof *taken);
    while (fgets(line, sizeof line, stdin)) {
        for (u32 sample = 0; sample < samples; sample++) {
            double start = nanoseconds();
            for (u32 call = 0; call < calls; call++) {
                replay(next, BATCH_SIZE, total, stride);
                next = (next + BATCH_SIZE) % total;
            }
            taken[sample] = (nanoseconds() - start) / (calls * BATCH_SIZE);
        }
        qsort(taken, samples, sizeof *taken, by_value);
        printf("{\"ns\": %.2f}\n", taken[samples / 2]);
        fflush(stdout);
    }
    return 0;
}
