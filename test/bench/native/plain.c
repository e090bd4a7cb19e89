/*
 * The datapath of assembly/ in C: the same steps in the same order over the same structs and maps, one packet at a time.
 * It is what the benchmark holds the WebAssembly against (scripts/bench-native.mjs), and no part of the product.
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

/* assembly/abi.ts */
enum program { FROM_CONTAINER = 1, LXC_POLICY, FROM_NETDEV, TO_NETDEV, FROM_OVERLAY, FROM_HOST, WIRE, DELIVERED = 32, HOST, WORLD };
enum drop {
    INVALID_SIP = 132, POLICY = 133, INVALID = 134, CT_INVALID_HDR = 135, CT_UNKNOWN_PROTO = 137, UNKNOWN_L3 = 139, NO_TUNNEL_KEY = 147,
    UNROUTABLE = 151, CT_CREATE_FAILED = 155, FRAG_NOSUPPORT = 157, NO_SERVICE = 158, UNSUPPORTED_L2 = 166, ENCAP_PROHIBITED = 170,
    INVALID_IDENTITY = 171, IS_CLUSTER_IP = 174, POLICY_DENY = 181, VLAN_FILTERED = 182, TTL_EXCEEDED = 196, EP_NOT_READY = 203,
};
enum ct_status { CT_NEW, CT_ESTABLISHED, CT_REPLY };
enum ct_direction { EGRESS = 0, INGRESS = 1, SERVICE = 4 };
enum ct_flag { RX_CLOSING = 1, TX_CLOSING = 2, LB_LOOPBACK = 8, SEEN_NON_SYN = 16 };
enum ct_lifetime { LIFETIME_TCP = 8000, LIFETIME_NONTCP = 60, LIFETIME_SYN = 60, LIFETIME_CLOSE = 10 };
enum svc_flag { AFFINITY = 16, ROUTABLE = 64 };
enum { MAGLEV = 2, BACKEND_TERMINATING = 1, ID_HOST = 1, ID_WORLD = 2, ID_REMOTE_NODE = 6, ENDPOINT_HOST = 1 };
enum { TCP = 6, UDP = 17, SCTP = 132, FIN = 1, SYN = 2, RST = 4 };
enum map_id { LB4_SERVICES, LB4_BACKENDS, LB4_REVERSE_NAT, LB4_MAGLEV, CT4, IPCACHE, POLICYMAP, LXC, ENDPOINT_CONFIG, NODE_CONFIG, NODES };
enum { VXLAN_PORT = 8472, VXLAN_OVERHEAD = 50, BATCH_SIZE = 256, PACKET_ROOM = 2048, PACKET_HEADROOM = 128, MAX_PROGRAMS = 16 };
#define LOOPBACK 0x012afea9u
/* dataplane/wasm.ts */
#define HASH_SEED (0x5bd1e9955bd1e995ull | 1)
#define JHASH_SEED 0x71dcda46u

struct packet { u32 data, length; u16 node, program; u32 endpoint; i32 verdict; u32 source_identity, destination_identity, backend_id, rev_nat_index, template; };
struct context {
    u8 *data, *end, *ip, *l4;
    u32 node, program, endpoint, saddr, daddr, ports, protocol, tcp_flags, source_identity, destination_identity, ct_status, rev_nat_index, backend_id;
    bool loopback;
    u32 outer_saddr, outer_daddr;
};

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
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
}
INLINE u64 difference(u32 before, u32 after) {
    u32 old = ~before;
    return (u64)(old & 0xffff) + (old >> 16) + (after & 0xffff) + (after >> 16);
}
INLINE u16 checksum_update(u16 checksum, u64 difference) { return ~fold((u64)(u16)~checksum + difference); }
INLINE u16 checksum_compute(const u8 *start, u32 length) {
    u64 sum = 0;
    for (u32 i = 0; i + 2 <= length; i += 2) sum += load16(start + i);
    return ~fold(sum);
}

/* ---------------------------------------------------------------- maps: assembly/maps */

struct header { u32 next, referenced; };
struct map { u32 *buckets; u8 *slab; u32 mask, fresh, free, capacity, hand; };

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
INLINE void map_delete(struct map *m, const void *key, size_t k, size_t v) {
    for (u32 *link = bucket_of(m, key, k); *link; link = &entry_at(m, *link, k, v)->next) {
        struct header *entry = entry_at(m, *link, k, v);
        if (!same(key_at(entry), key, k)) continue;
        u32 index = *link;
        *link = entry->next;
        entry->next = m->free;
        m->free = index;
        return;
    }
}
INLINE u32 map_allocate(struct map *m, size_t k, size_t v) {
    u32 index = m->free;
    if (index) {
        m->free = entry_at(m, index, k, v)->next;
        return index;
    }
    return m->fresh <= m->capacity ? m->fresh++ : 0;
}
INLINE u32 lru_allocate(struct map *m, size_t k, size_t v) {
    while (!m->free && m->fresh > m->capacity) {
        m->hand = m->hand >= m->capacity ? 1 : m->hand + 1;
        struct header *entry = entry_at(m, m->hand, k, v);
        if (entry->referenced) entry->referenced = 0;
        else map_delete(m, key_at(entry), k, v);
    }
    return map_allocate(m, k, v);
}
INLINE void *map_insert(struct map *m, const void *key, bool lru, size_t k, size_t v) {
    u32 index = map_find(m, key, k, v);
    if (!index) {
        index = lru ? lru_allocate(m, k, v) : map_allocate(m, k, v);
        if (!index) return NULL;
        struct header *entry = entry_at(m, index, k, v);
        u32 *bucket = bucket_of(m, key, k);
        entry->next = *bucket;
        entry->referenced = 0;
        *bucket = index;
        memcpy(key_at(entry), key, k);
    }
    return (u8 *)key_at(entry_at(m, index, k, v)) + k;
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
struct ct_tuple { u32 daddr, saddr, ports; u8 nexthdr, flags; u16 node; };
struct ct_entry { u64 packets, bytes; u32 lifetime; u16 flags, rev_nat_index; u32 backend_id, src_sec_id; u8 tx_flags_seen, rx_flags_seen; u16 pad; u32 last_report; };
struct ipcache_key { u32 prefix_length, address; };
struct remote_endpoint { u32 sec_identity, tunnel_endpoint; };
struct policy_key { u32 prefix_length, policy_id, sec_label, traffic; };
struct policy_entry { u16 proxy_port; u8 deny, priority; u32 cookie; };
struct endpoint_key { u32 address; u16 node, pad; };
struct endpoint_info { u32 lxc_id, sec_id, flags, pad; };
struct endpoint_config { u64 mac, node_mac; u32 address, sec_id, policy_id; u16 node, pad; };
struct node_config { u64 mac; u32 address, pad; };

static struct map services, backends, reverse_nats, maglevs, connections, ipcache, policies, lxc, nodes;
static struct lengths ipcache_lengths, policy_lengths;
static struct endpoint_config *endpoint_configs;
static struct node_config *node_configs;
static u32 endpoint_config_count, node_config_count;
static struct { u64 count, bytes; } metrics[512];
static u32 now;

/* ---------------------------------------------------------------- packets: assembly/lib/packet.ts */

static i32 parse(struct context *ctx) {
    u32 length = ctx->end - ctx->data;
    if (length < ETHERNET) return -UNSUPPORTED_L2;
    u32 type = load16(ctx->data + 12);
    if (type != 0x0008) {
        if (type == 0x0081 || type == 0xa888) return -VLAN_FILTERED;
        return (type & 0xff) < 6 ? -UNSUPPORTED_L2 : -UNKNOWN_L3;
    }
    u8 *ip = ctx->data + ETHERNET;
    if (length - ETHERNET < IPV4) return -INVALID;
    u32 header = (ip[0] & 15) * 4, total = ntohs(load16(ip + IP_TOTAL));
    if (ip[0] >> 4 != 4 || header < IPV4 || total < header || total > length - ETHERNET) return -INVALID;
    ctx->ip = ip;
    ctx->saddr = load32(ip + IP_SADDR);
    ctx->daddr = load32(ip + IP_DADDR);
    ctx->ports = 0;
    ctx->tcp_flags = 0;
    u32 protocol = ctx->protocol = ip[IP_PROTOCOL];
    if (load16(ip + IP_FRAGMENT) & 0xff3f) return -FRAG_NOSUPPORT;
    if (protocol != TCP && protocol != UDP && protocol != SCTP) return -CT_UNKNOWN_PROTO;
    u8 *l4 = ctx->l4 = ip + header;
    u32 available = ctx->end - l4;
    if (protocol == TCP) {
        if (available < TCP_LENGTH) return -CT_INVALID_HDR;
        u32 own = (l4[12] >> 4) * 4;
        if (own < TCP_LENGTH || own > available) return -CT_INVALID_HDR;
        ctx->tcp_flags = l4[TCP_FLAGS];
    } else if (protocol == UDP) {
        if (available < UDP_LENGTH) return -CT_INVALID_HDR;
        u32 own = ntohs(load16(l4 + UDP_SIZE));
        if (own < UDP_LENGTH || own > available) return -CT_INVALID_HDR;
    } else if (available < SCTP_LENGTH) return -CT_INVALID_HDR;
    ctx->ports = load32(l4);
    return 0;
}

/* ---------------------------------------------------------------- assembly/lib/nat.ts */

static void rewrite(struct context *ctx, u32 saddr, u32 daddr, u32 ports) {
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

INLINE bool is_closing(const struct ct_entry *e) { return e->flags & (RX_CLOSING | TX_CLOSING); }

static void account(const struct context *ctx, struct ct_entry *e, bool transmit) {
    e->packets++;
    e->bytes += ctx->end - ctx->data;
    if (ctx->protocol != TCP) {
        e->lifetime = now + LIFETIME_NONTCP;
        return;
    }
    u32 flags = ctx->tcp_flags;
    if (transmit) e->tx_flags_seen |= flags;
    else e->rx_flags_seen |= flags;
    if (flags & (RST | FIN)) {
        e->flags |= transmit ? TX_CLOSING : RX_CLOSING;
        if (flags & RST) e->flags |= TX_CLOSING | RX_CLOSING;
        if ((e->flags & (TX_CLOSING | RX_CLOSING)) == (TX_CLOSING | RX_CLOSING)) e->lifetime = now + LIFETIME_CLOSE;
        return;
    }
    if (flags & SYN && is_closing(e)) e->flags &= ~(RX_CLOSING | TX_CLOSING | SEEN_NON_SYN);
    if (!(flags & SYN)) e->flags |= SEEN_NON_SYN;
    if (!is_closing(e)) e->lifetime = now + (e->flags & SEEN_NON_SYN ? LIFETIME_TCP : LIFETIME_SYN);
}

INLINE struct ct_entry *ct_find(const struct ct_tuple *tuple) {
    struct ct_entry *e = map_lookup(&connections, tuple, OF(struct ct_tuple, struct ct_entry));
    if (e) ((struct header *)((u8 *)e - sizeof(struct ct_tuple)) - 1)->referenced = 1;
    return e;
}
INLINE struct ct_tuple forward_of(const struct context *ctx, u32 direction) {
    return (struct ct_tuple){ ctx->daddr, ctx->saddr, ctx->ports, ctx->protocol, direction, ctx->node };
}
static u32 ct_lookup(struct context *ctx, u32 direction) {
    struct ct_tuple reverse = { ctx->saddr, ctx->daddr, rotl(ctx->ports, 16), ctx->protocol, direction == EGRESS ? INGRESS : EGRESS, ctx->node };
    u32 status = CT_REPLY;
    struct ct_entry *e = ct_find(&reverse);
    if (!e) {
        struct ct_tuple forward = forward_of(ctx, direction);
        status = CT_ESTABLISHED;
        e = ct_find(&forward);
    }
    if (!e) return ctx->ct_status = CT_NEW;
    account(ctx, e, status == CT_ESTABLISHED);
    if (status == CT_REPLY) {
        ctx->rev_nat_index = e->rev_nat_index;
        ctx->loopback = e->flags & LB_LOOPBACK;
    }
    return ctx->ct_status = status;
}
static struct ct_entry *ct_lookup_service(struct context *ctx) {
    struct ct_tuple tuple = forward_of(ctx, SERVICE);
    struct ct_entry *e = ct_find(&tuple);
    if (e) account(ctx, e, true);
    return e;
}
static i32 ct_create(struct context *ctx, u32 direction, u32 rev_nat_index, u32 backend_id, bool loopback) {
    struct ct_tuple tuple = forward_of(ctx, direction);
    struct ct_entry *e = map_insert(&connections, &tuple, true, OF(struct ct_tuple, struct ct_entry));
    if (!e) return -CT_CREATE_FAILED;
    memset(e, 0, sizeof *e);
    e->rev_nat_index = rev_nat_index;
    e->backend_id = backend_id;
    e->src_sec_id = ctx->source_identity;
    if (loopback) e->flags |= LB_LOOPBACK;
    account(ctx, e, true);
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
static u32 maglev_select(struct context *ctx, u32 rev_nat_index, bool affinity) {
    struct maglev_table *table = map_lookup(&maglevs, &rev_nat_index, OF(u32, struct maglev_table));
    if (!table) return 0;
    u32 sport = affinity ? 0 : ctx->ports & 0xffff;
    return table->table[jhash3words(ctx->saddr, ctx->ports >> 16 << 16 | sport, ctx->protocol, JHASH_SEED) % table->size];
}
static struct lb4_service *find_service(u32 address, u32 dport, u32 protocol, u32 slot) {
    struct lb4_key key = { address, dport, slot, protocol, 0, 0 };
    return map_lookup(&services, &key, OF(struct lb4_key, struct lb4_service));
}
static struct lb4_service *lookup_service(struct context *ctx) {
    struct lb4_service *service = find_service(ctx->daddr, ctx->ports >> 16, ctx->protocol, 0);
    return service ? service : find_service(ctx->daddr, 0, 0, 0);
}
static struct lb4_backend *lookup_backend(u32 id) { return map_lookup(&backends, &id, OF(u32, struct lb4_backend)); }

static u32 select_backend(struct context *ctx, struct lb4_service *service) {
    bool affinity = service->flags & AFFINITY;
    if (service->backend_id >> 24 == MAGLEV) {
        u32 id = maglev_select(ctx, service->rev_nat_index, affinity);
        if (id) return id;
    }
    struct { u32 address, flow; } spread = { ctx->saddr, (affinity ? 0 : ctx->ports) ^ ctx->protocol << 8 };
    struct lb4_service *slot = find_service(ctx->daddr, ctx->ports >> 16, ctx->protocol, 1 + hash_of(&spread, sizeof spread) % service->count);
    return slot ? slot->backend_id : 0;
}
static i32 lb_local(struct context *ctx, struct lb4_service *service) {
    u32 rev_nat_index = ctx->rev_nat_index = service->rev_nat_index;
    if (!service->count) return -NO_SERVICE;
    u32 id = 0;
    struct lb4_backend *backend = NULL;
    struct ct_entry *flow = ct_lookup_service(ctx);
    if (flow && flow->rev_nat_index == rev_nat_index) {
        backend = lookup_backend(id = flow->backend_id);
        if (backend && backend->state > BACKEND_TERMINATING) backend = NULL;
    }
    if (!backend) {
        backend = lookup_backend(id = select_backend(ctx, service));
        if (!backend) return -NO_SERVICE;
        i32 result = ct_create(ctx, SERVICE, rev_nat_index, id, false);
        if (result < 0) return result;
    }
    ctx->backend_id = id;
    ctx->loopback = ctx->saddr == backend->address;
    rewrite(ctx, ctx->loopback ? LOOPBACK : ctx->saddr, backend->address, (ctx->ports & 0xffff) | (u32)backend->port << 16);
    return 0;
}
static void lb_reverse(struct context *ctx) {
    struct lb4_reverse_nat *frontend = map_lookup(&reverse_nats, &ctx->rev_nat_index, OF(u32, struct lb4_reverse_nat));
    if (frontend) rewrite(ctx, frontend->address, ctx->loopback ? ctx->saddr : ctx->daddr, (ctx->ports & 0xffff0000) | frontend->port);
}

/* ---------------------------------------------------------------- assembly/lib/{ipcache,policy,endpoint}.ts */

INLINE u32 mask_of(u32 length, u32 bits) { return length ? ntohl(-1u << (bits - length)) : 0; }

static struct remote_endpoint *ipcache_lookup(u32 address) {
    struct ipcache_key key = { 32, address };
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
    if (!l3 && !l4) return -POLICY;
    bool use_l3 = !l4;
    if (l3 && l4) {
        use_l3 = l3->deny != l4->deny ? l3->deny != 0
               : l3->priority != l4->priority ? l3->priority > l4->priority
               : specific.prefix_length >= wildcard.prefix_length;
    }
    return (use_l3 ? l3 : l4)->deny ? -POLICY_DENY : 0;
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
    struct node_config *config = node_configs + ctx->node;
    u8 *ethernet = ctx->data -= VXLAN_OVERHEAD, *ip = ethernet + ETHERNET, *udp = ip + IPV4, *vxlan = udp + UDP_LENGTH;
    set_addresses(ethernet, 0, config->mac);
    store16(ethernet + 12, 0x0008);
    store16(ip, 0x45);
    store16(ip + IP_TOTAL, ntohs(inner + VXLAN_OVERHEAD - ETHERNET));
    store16(ip + IP_ID, 0);
    store16(ip + IP_FRAGMENT, 0x40);
    ip[IP_TTL] = 64, ip[IP_PROTOCOL] = UDP;
    store16(ip + IP_CHECKSUM, 0);
    store32(ip + IP_SADDR, config->address);
    store32(ip + IP_DADDR, tunnel_endpoint);
    store16(ip + IP_CHECKSUM, checksum_compute(ip, IPV4));
    u32 flow = jhash3words(ctx->saddr, ctx->daddr, ctx->ports, ctx->protocol);
    store16(udp, ntohs(32768 + (flow & 0x3fff)));
    store16(udp + 2, ntohs(VXLAN_PORT));
    store16(udp + UDP_SIZE, ntohs(inner + UDP_LENGTH + VXLAN_LENGTH));
    store16(udp + UDP_CHECKSUM, 0);
    store32(vxlan, 0x08);
    store32(vxlan + 4, ntohl((identity == ID_HOST ? ID_REMOTE_NODE : identity) << 8));
    ctx->outer_saddr = config->address;
    ctx->outer_daddr = tunnel_endpoint;
}
INLINE bool is_tunnel(struct context *ctx) { return ctx->protocol == UDP && ctx->ports >> 16 == ntohs(VXLAN_PORT); }
static i32 unwrap(struct context *ctx) {
    u8 *vxlan = ctx->l4 + UDP_LENGTH;
    if (vxlan + VXLAN_LENGTH > ctx->end || !(load32(vxlan) & 0x08)) return -NO_TUNNEL_KEY;
    u32 vni = ntohl(load32(vxlan + 4)) >> 8;
    if (vni == ID_HOST) return -INVALID_IDENTITY;
    ctx->source_identity = vni;
    ctx->data = vxlan + VXLAN_LENGTH;
    ctx->outer_saddr = ctx->outer_daddr = 0;
    return 0;
}
static i32 decrement_ttl(struct context *ctx) {
    u32 ttl = ctx->ip[IP_TTL];
    if (ttl <= 1) return -TTL_EXCEEDED;
    ctx->ip[IP_TTL] = ttl - 1;
    store16(ctx->ip + IP_CHECKSUM, checksum_update(load16(ctx->ip + IP_CHECKSUM), difference(ttl, ttl - 1)));
    return 0;
}
static i32 to_endpoint(struct context *ctx, struct endpoint_info *info) {
    i32 result = decrement_ttl(ctx);
    if (result < 0) return result;
    struct endpoint_config *config = endpoint_config(info->lxc_id);
    if (!config || !config->policy_id) return -EP_NOT_READY;
    set_addresses(ctx->data, config->mac, config->node_mac);
    ctx->endpoint = info->lxc_id;
    return LXC_POLICY;
}
static i32 to_overlay(struct context *ctx, struct remote_endpoint *remote) {
    i32 result = decrement_ttl(ctx);
    if (result < 0) return result;
    wrap(ctx, remote->tunnel_endpoint, ctx->source_identity);
    return TO_NETDEV;
}
INLINE i32 deliver(struct context *ctx, struct remote_endpoint *remote, struct endpoint_info *info) {
    if (info) return info->flags & ENDPOINT_HOST ? HOST : to_endpoint(ctx, info);
    return remote && remote->tunnel_endpoint ? to_overlay(ctx, remote) : TO_NETDEV;
}

/* ---------------------------------------------------------------- the programs: assembly/{lxc,netdev,overlay,run}.ts */

static i32 to_itself(struct context *ctx) {
    struct endpoint_config *config = endpoint_config(ctx->endpoint);
    ctx->destination_identity = config->sec_id;
    struct endpoint_info *info = endpoint_lookup(config->address, ctx->node);
    return info ? to_endpoint(ctx, info) : -UNROUTABLE;
}
static i32 from_container(struct context *ctx) {
    struct endpoint_config *config = endpoint_config(ctx->endpoint);
    if (!config || !config->policy_id) return -EP_NOT_READY;
    ctx->node = config->node;
    ctx->source_identity = config->sec_id;
    i32 result = parse(ctx);
    if (result < 0) return result;
    if (ctx->saddr != config->address) return -INVALID_SIP;
    ctx->rev_nat_index = ctx->backend_id = 0;
    ctx->loopback = false;
    struct lb4_service *service = lookup_service(ctx);
    if (service && (result = lb_local(ctx, service)) < 0) return result;
    u32 rev_nat_index = ctx->rev_nat_index;
    bool loopback = ctx->loopback;
    u32 status = ct_lookup(ctx, EGRESS);
    if (status == CT_REPLY && ctx->daddr == LOOPBACK) return to_itself(ctx);
    struct remote_endpoint *remote = ipcache_lookup(ctx->daddr);
    u32 identity = ctx->destination_identity = identity_of(remote);
    if (status != CT_REPLY && !loopback) {
        if (is_tunnel(ctx) && (identity == ID_HOST || identity == ID_REMOTE_NODE)) return -ENCAP_PROHIBITED;
        if ((result = can_access(ctx, config->policy_id, identity, 1)) < 0) return result;
    }
    if (status == CT_NEW && (result = ct_create(ctx, EGRESS, rev_nat_index, ctx->backend_id, loopback)) < 0) return result;
    return deliver(ctx, remote, endpoint_lookup(ctx->daddr, ctx->node));
}
static i32 ingress_policy(struct context *ctx) {
    struct endpoint_config *config = endpoint_config(ctx->endpoint);
    ctx->destination_identity = config->sec_id;
    bool looped = ctx->saddr == LOOPBACK;
    u32 status = ct_lookup(ctx, INGRESS);
    if (status == CT_REPLY) {
        if (ctx->rev_nat_index) lb_reverse(ctx);
        return DELIVERED;
    }
    i32 result;
    if (!looped && (result = can_access(ctx, config->policy_id, ctx->source_identity, 0)) < 0) return result;
    if (status == CT_NEW && (result = ct_create(ctx, INGRESS, 0, 0, looped)) < 0) return result;
    return DELIVERED;
}
static i32 route(struct context *ctx) {
    struct endpoint_info *info = endpoint_lookup(ctx->daddr, ctx->node);
    if (info) return deliver(ctx, NULL, info);
    struct remote_endpoint *remote = ipcache_lookup(ctx->daddr);
    ctx->destination_identity = identity_of(remote);
    return deliver(ctx, remote, NULL);
}
static i32 from_netdev(struct context *ctx) {
    i32 result = parse(ctx);
    if (result < 0) return result;
    ctx->source_identity = identity_of(ipcache_lookup(ctx->saddr));
    if (is_tunnel(ctx) && node_of(ctx->daddr) == ctx->node) return FROM_OVERLAY;
    struct lb4_service *service = lookup_service(ctx);
    if (service && !(service->flags & ROUTABLE)) return -IS_CLUSTER_IP;
    if (service && (result = lb_local(ctx, service)) < 0) return result;
    return route(ctx);
}
static i32 from_host(struct context *ctx) {
    i32 result = parse(ctx);
    ctx->source_identity = ID_HOST;
    if (result < 0) return result;
    struct lb4_service *service = lookup_service(ctx);
    if (service && (result = lb_local(ctx, service)) < 0) return result;
    return route(ctx);
}
static i32 wire(struct context *ctx) {
    u32 node = node_of(ctx->outer_daddr ? ctx->outer_daddr : ctx->daddr);
    if (!node || node == ctx->node) return WORLD;
    ctx->node = node;
    ctx->endpoint = 0;
    return FROM_NETDEV;
}
static i32 from_overlay(struct context *ctx) {
    i32 result = unwrap(ctx);
    if (result < 0) return result;
    if ((result = parse(ctx)) < 0) return result;
    struct endpoint_info *info = endpoint_lookup(ctx->daddr, ctx->node);
    if (!info) return -UNROUTABLE;
    if (info->flags & ENDPOINT_HOST) ctx->destination_identity = ID_HOST;
    return deliver(ctx, NULL, info);
}
static i32 enter(struct context *ctx, u32 program) {
    switch (program) {
    case FROM_CONTAINER: return from_container(ctx);
    case LXC_POLICY: return ingress_policy(ctx);
    case FROM_NETDEV: return from_netdev(ctx);
    case TO_NETDEV: return WIRE;
    case FROM_OVERLAY: return from_overlay(ctx);
    case FROM_HOST: return from_host(ctx);
    case WIRE: return wire(ctx);
    }
    return -INVALID;
}

static u8 frame[PACKET_ROOM];

static void run(struct packet *packet) {
    u8 *data = frame + packet->data;
    struct context ctx = { .data = data, .end = data + packet->length, .node = packet->node, .endpoint = packet->endpoint };
    u32 program = packet->program;
    i32 next = program;
    for (int i = 0; i < MAX_PROGRAMS && next >= 0 && next < DELIVERED; i++) {
        program = next;
        next = enter(&ctx, program);
    }
    if (next >= 0 && next < DELIVERED) next = -UNROUTABLE;
    u32 length = ctx.end - ctx.data;
    u32 metric = (next < 0 ? -next & 0xff : 0) << 1 | (program != LXC_POLICY);
    metrics[metric].count++;
    metrics[metric].bytes += length;
    packet->data = ctx.data - frame;
    packet->length = length;
    packet->node = ctx.node;
    packet->program = next < 0 ? program : (u32)next;
    packet->endpoint = next == DELIVERED ? ctx.endpoint : 0;
    packet->verdict = next < 0 ? next : 0;
    packet->source_identity = ctx.source_identity;
    packet->destination_identity = ctx.destination_identity;
    packet->backend_id = ctx.backend_id;
    packet->rev_nat_index = ctx.rev_nat_index;
}

/* ---------------------------------------------------------------- the benchmark: assembly/index.ts, dataplane/bench/lane.ts */

static u8 *templates;
static struct packet packet;

static __attribute__((noinline)) u32 replay(u32 first, u32 count, u32 total, u32 stride) {
    u32 forwarded = 0, index = first;
    for (u32 i = 0; i < count; i++) {
        u8 *template = templates + (size_t)index * stride;
        memcpy(&packet, template, sizeof packet);
        memcpy(frame + PACKET_HEADROOM, template + sizeof packet, packet.length);
        packet.data = PACKET_HEADROOM;
        run(&packet);
        forwarded += packet.verdict == 0;
        index = index + 1 == total ? 0 : index + 1;
    }
    return forwarded;
}
static u32 digest(u32 hash) {
    hash = (hash ^ (u32)packet.verdict) * 0x01000193;
    for (u32 i = 0; i < packet.length; i++) hash = (hash ^ frame[packet.data + i]) * 0x01000193;
    return hash;
}

static FILE *file;
static u32 word(void) {
    u32 value;
    if (fread(&value, 4, 1, file) != 1) exit(2);
    return value;
}
static void update(u32 map, const u8 *key, const u8 *value) {
#define PUT(m, K, V) memcpy(map_insert(m, key, false, OF(K, V)), value, sizeof(V))
    switch (map) {
    case LB4_SERVICES: PUT(&services, struct lb4_key, struct lb4_service); break;
    case LB4_BACKENDS: PUT(&backends, u32, struct lb4_backend); break;
    case LB4_REVERSE_NAT: PUT(&reverse_nats, u32, struct lb4_reverse_nat); break;
    case IPCACHE: PUT(&ipcache, struct ipcache_key, struct remote_endpoint); use_length(&ipcache_lengths, load32(key)); break;
    case POLICYMAP: PUT(&policies, struct policy_key, struct policy_entry); use_length(&policy_lengths, load32(key)); break;
    case LXC: PUT(&lxc, struct endpoint_key, struct endpoint_info); break;
    case NODES: PUT(&nodes, u32, u32); break;
    case ENDPOINT_CONFIG: memcpy(endpoint_configs + load32(key), value, sizeof *endpoint_configs); break;
    case NODE_CONFIG: memcpy(node_configs + load32(key), value, sizeof *node_configs); break;
    default: exit(2);
    }
}

int main(int argc, char **argv) {
    if (argc != 2 || !(file = fopen(argv[1], "rb"))) return 2;
    /* The workload, as scripts/bench-native.mjs writes it. */
    map_create(&services, word(), OF(struct lb4_key, struct lb4_service));
    map_create(&backends, word(), OF(u32, struct lb4_backend));
    map_create(&reverse_nats, word(), OF(u32, struct lb4_reverse_nat));
    map_create(&maglevs, word(), OF(u32, struct maglev_table));
    map_create(&connections, word(), OF(struct ct_tuple, struct ct_entry));
    map_create(&ipcache, word(), OF(struct ipcache_key, struct remote_endpoint));
    map_create(&policies, word(), OF(struct policy_key, struct policy_entry));
    map_create(&lxc, word(), OF(struct endpoint_key, struct endpoint_info));
    endpoint_configs = take((endpoint_config_count = word()) * sizeof *endpoint_configs);
    node_configs = take((node_config_count = word()) * sizeof *node_configs);
    map_create(&nodes, word(), OF(u32, u32));
    u32 calls = word(), samples = word();
    for (u32 entries = word(); entries; entries--) {
        u32 map = word(), key_size = word(), value_size = word();
        u8 bytes[128];
        if (fread(bytes, 1, key_size + value_size, file) != key_size + value_size) return 2;
        update(map, bytes, bytes + key_size);
    }
    for (u32 tables = word(); tables; tables--) {
        u32 rev_nat_index = word(), size = word();
        struct maglev_table table = { take(size * 4), size };
        if (fread(table.table, 4, size, file) != size) return 2;
        memcpy(map_insert(&maglevs, &rev_nat_index, false, OF(u32, struct maglev_table)), &table, sizeof table);
    }
    u32 total = word(), stride = word();
    u32 *order = take((size_t)total * 4);
    templates = take((size_t)total * stride);
    if (fread(order, 4, total, file) != total || fread(templates, stride, total, file) != total) return 2;
    fclose(file);

    for (u32 i = 0; i < total; i++) replay(order[i], 1, total, stride);
    u32 forwarded = 0, hash = 0x811c9dc5;
    for (u32 i = 0; i < total; i++) {
        forwarded += replay(i, 1, total, stride);
        hash = digest(hash);
    }
    printf("{\"forwarded\": %u, \"digest\": \"%08x\"}\n", forwarded, hash);
    fflush(stdout);

    char line[16];
    u32 next = 0;
    while (fgets(line, sizeof line, stdin)) {
        struct timespec start, end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (u32 i = 0; i < samples * calls; i++) {
            replay(next, BATCH_SIZE, total, stride);
            next = (next + BATCH_SIZE) % total;
        }
        clock_gettime(CLOCK_MONOTONIC, &end);
        double ns = (end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec);
        printf("{\"ns\": %.2f}\n", ns / ((double)samples * calls * BATCH_SIZE));
        fflush(stdout);
    }
    return 0;
}
