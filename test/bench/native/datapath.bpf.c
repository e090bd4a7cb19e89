/*
 * The datapath of assembly/ as one XDP program on kernel maps, for scripts/bench-kernel.mjs. The same steps as test/bench/native/plain.c:
 * parse, Service, conntrack, Maglev, ipcache, the sender's policy, DNAT and checksums, delivery, and at the receiver conntrack and its
 * policy; counters. It knows what its profiles send: TCP over IPv4 without answers, from pods to Services whose backends are on the node.
 *
 * Each run takes the next template, as `replay` does. It returns FORWARDED, or a drop reason.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "kernel.h"

char LICENSE[] SEC("license") = "GPL";

#define INLINE static __attribute__((always_inline))
#define MAP(name, kind, K, V) struct { __uint(type, kind); __uint(max_entries, 1); __type(key, K); __type(value, V); } name SEC(".maps")

MAP(services, BPF_MAP_TYPE_HASH, struct lb4_key, struct lb4_service);
MAP(backends, BPF_MAP_TYPE_HASH, u32, struct lb4_backend);
MAP(maglev, BPF_MAP_TYPE_ARRAY, u32, u32);
MAP(connections, BPF_MAP_TYPE_LRU_HASH, struct ct_tuple, struct ct_entry);
MAP(ipcache, BPF_MAP_TYPE_HASH, struct ipcache_key, struct remote_endpoint);
MAP(policies, BPF_MAP_TYPE_HASH, struct policy_key, struct policy_entry);
MAP(lxc, BPF_MAP_TYPE_HASH, struct endpoint_key, struct endpoint_info);
MAP(endpoint_configs, BPF_MAP_TYPE_ARRAY, u32, struct endpoint_config);
MAP(metrics, BPF_MAP_TYPE_PERCPU_ARRAY, u32, struct metric);
MAP(cursors, BPF_MAP_TYPE_ARRAY, u32, struct cursor);
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __uint(map_flags, BPF_F_MMAPABLE); __type(key, u32); __type(value, struct template); } templates SEC(".maps");

/* The packet in hand. */
struct context {
    u8 *ip, *l4;
    u32 saddr, daddr, ports, length, node, endpoint;
    u32 source_identity, destination_identity, rev_nat_index, backend_id;
    u32 protocol, tcp_flags;
};

INLINE u32 rotl(u32 v, int n) { return v << n | v >> (32 - n); }
INLINE u32 fold(u32 sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
}
INLINE u32 difference(u32 before, u32 after) {
    u32 old = ~before;
    return (old & 0xffff) + (old >> 16) + (after & 0xffff) + (after >> 16);
}
INLINE void update(u16 *checksum, u32 difference) { *checksum = ~fold((u32)(u16)~*checksum + difference); }

INLINE int parse(struct context *ctx, u8 *data, u8 *end) {
    if (data + ETHERNET + IPV4 > end) return INVALID;
    if (*(u16 *)(data + 12) != 0x0008) return UNKNOWN_L3;
    u8 *ip = data + ETHERNET;
    u32 header = (ip[0] & 15) * 4, total = __builtin_bswap16(*(u16 *)(ip + 2));
    if (ip[0] >> 4 != 4 || header < IPV4 || total < header || total > ctx->length - ETHERNET) return INVALID;
    if (*(u16 *)(ip + 6) & 0xff3f) return BEYOND;
    if ((ctx->protocol = ip[9]) != TCP) return BEYOND;
    u8 *l4 = ip + header;
    if (l4 + TCP_LENGTH > end) return CT_INVALID_HDR;
    u32 own = (l4[12] >> 4) * 4;
    if (own < TCP_LENGTH || own > total - header) return CT_INVALID_HDR;
    ctx->ip = ip;
    ctx->l4 = l4;
    ctx->saddr = *(u32 *)(ip + 12);
    ctx->daddr = *(u32 *)(ip + 16);
    ctx->ports = *(u32 *)l4;
    ctx->tcp_flags = l4[13];
    return 0;
}

/* ---------------------------------------------------------------- conntrack */

INLINE void refresh(struct ct_entry *e, u32 flags, u32 direction) {
    if (!(flags & SYN)) e->flags |= SEEN_NON_SYN;
    e->lifetime = e->flags & SEEN_NON_SYN ? LIFETIME_TCP : LIFETIME_SYN;
    if (direction == INGRESS) e->rx_flags_seen |= flags & REPORTED;
    else e->tx_flags_seen |= flags & REPORTED;
}
/* A SYN opens anew what is closing; a FIN or RST closes. */
INLINE struct ct_entry *counted(struct context *ctx, struct ct_entry *e, u32 direction) {
    if (!e) return NULL;
    u32 flags = ctx->tcp_flags;
    e->packets++;
    e->bytes += ctx->length;
    if ((flags & (REPORTED | ACK)) == SYN && e->flags & CLOSED) {
        e->flags &= ~(CLOSED | SEEN_NON_SYN);
        e->tx_flags_seen = e->rx_flags_seen = 0;
        refresh(e, flags, direction);
        return NULL;
    }
    if ((e->flags & CLOSED) != CLOSED) refresh(e, flags, direction);
    if (flags & (FIN | RST)) {
        bool refused = flags & RST && !(e->tx_flags_seen & e->rx_flags_seen & SYN);
        if (direction == SERVICE || refused) e->flags |= CLOSED;
        else e->flags |= direction == INGRESS ? RX_CLOSING : TX_CLOSING;
        if ((e->flags & CLOSED) == CLOSED) e->lifetime = LIFETIME_CLOSE;
    }
    return e;
}
INLINE u32 kind_of(const struct context *ctx, u32 direction) { return ctx->protocol | direction << 8 | ctx->node << 16; }
INLINE struct ct_tuple forward(const struct context *ctx, u32 direction) {
    return (struct ct_tuple){ ctx->daddr, ctx->saddr, ctx->ports, kind_of(ctx, direction) };
}
INLINE struct ct_entry *ct_lookup(struct context *ctx, u32 direction, bool *reply) {
    struct ct_tuple tuple = { ctx->saddr, ctx->daddr, rotl(ctx->ports, 16), kind_of(ctx, direction == EGRESS ? INGRESS : EGRESS) };
    *reply = counted(ctx, bpf_map_lookup_elem(&connections, &tuple), direction) != NULL;
    if (*reply) return NULL;
    tuple = forward(ctx, direction);
    return counted(ctx, bpf_map_lookup_elem(&connections, &tuple), direction);
}
INLINE int ct_create(struct context *ctx, u32 direction, u32 rev_nat_index, u32 backend_id) {
    struct ct_tuple tuple = forward(ctx, direction);
    struct ct_entry e = { .packets = 1, .bytes = ctx->length, .rev_nat_index = rev_nat_index, .backend_id = backend_id, .src_sec_id = ctx->source_identity };
    refresh(&e, SYN, direction);
    return bpf_map_update_elem(&connections, &tuple, &e, BPF_ANY) ? CT_CREATE_FAILED : 0;
}

/* ---------------------------------------------------------------- Services */

INLINE u32 jhash3words(u32 a, u32 b, u32 c, u32 seed) {
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
INLINE struct lb4_service *find_service(struct context *ctx, u32 dport, u32 protocol) {
    struct lb4_key key = { ctx->daddr, dport, protocol };
    return bpf_map_lookup_elem(&services, &key);
}
INLINE struct lb4_backend *find_backend(struct context *ctx, u32 id) {
    ctx->backend_id = id;
    return bpf_map_lookup_elem(&backends, &id);
}
INLINE int translate(struct context *ctx, u32 maglev_size) {
    struct lb4_service *service = find_service(ctx, ctx->ports >> 16, ctx->protocol);
    if (!service) service = find_service(ctx, 0, 0);
    if (!service) return 0;
    ctx->rev_nat_index = service->rev_nat_index;
    struct ct_tuple tuple = forward(ctx, SERVICE);
    struct ct_entry *flow = counted(ctx, bpf_map_lookup_elem(&connections, &tuple), SERVICE);
    if (flow && flow->rev_nat_index != ctx->rev_nat_index) flow = NULL;
    struct lb4_backend *backend = flow ? find_backend(ctx, flow->backend_id) : NULL;
    if (!backend) {
        if (!service->count) return NO_SERVICE;
        u32 slot = (ctx->rev_nat_index - 1) * maglev_size + jhash3words(ctx->saddr, ctx->ports, ctx->protocol, JHASH_SEED) % maglev_size;
        u32 *id = bpf_map_lookup_elem(&maglev, &slot);
        backend = id ? find_backend(ctx, *id) : NULL;
        if (!backend) return NO_SERVICE;
        int result = ct_create(ctx, SERVICE, ctx->rev_nat_index, ctx->backend_id);
        if (result) return result;
    }
    if (ctx->saddr == backend->address) return BEYOND;
    u32 ports = (ctx->ports & 0xffff) | (u32)backend->port << 16;
    u32 addresses = difference(ctx->daddr, backend->address);
    update((u16 *)(ctx->ip + 10), addresses);
    update((u16 *)(ctx->l4 + 16), addresses + difference(ctx->ports, ports));
    *(u32 *)(ctx->ip + 16) = ctx->daddr = backend->address;
    *(u32 *)ctx->l4 = ctx->ports = ports;
    return 0;
}

/* ---------------------------------------------------------------- identities and policy: prefixes of the lengths that the profiles use */

INLINE u32 identity_of(u32 address) {
    struct ipcache_key key = { address, 32 };
    struct remote_endpoint *remote = bpf_map_lookup_elem(&ipcache, &key);
    if (!remote) {
        key = (struct ipcache_key){ 0, 0 };
        remote = bpf_map_lookup_elem(&ipcache, &key);
    }
    return remote ? remote->sec_identity : ID_WORLD;
}
INLINE struct policy_entry *find_policy(struct policy_key *key) {
    struct policy_entry *found = bpf_map_lookup_elem(&policies, key);
    if (found) return found;
    key->prefix_length = 0;
    key->traffic &= 0xff;
    return bpf_map_lookup_elem(&policies, key);
}
INLINE int can_access(struct context *ctx, u32 policy_id, u32 identity, u32 egress) {
    u32 traffic = egress | ctx->protocol << 8 | ctx->ports >> 16 << 16;
    struct policy_key specific = { 24, policy_id, identity, traffic }, wildcard = { 24, policy_id, 0, traffic };
    struct policy_entry *l3 = find_policy(&specific), *l4 = find_policy(&wildcard);
    struct policy_entry *entry = l3;
    if (!l3) entry = l4;
    else if (l4) {
        bool use_l3 = l3->deny != l4->deny ? l3->deny != 0
                    : l3->priority != l4->priority ? l3->priority > l4->priority
                    : specific.prefix_length >= wildcard.prefix_length;
        if (!use_l3) entry = l4;
    }
    if (!entry) return POLICY;
    return entry->deny ? POLICY_DENY : entry->proxy_port || entry->auth_type ? BEYOND : 0;
}

/* ---------------------------------------------------------------- the programs */

INLINE int deliver(struct context *ctx, u8 *data) {
    struct endpoint_key key = { ctx->daddr, ctx->node };
    struct endpoint_info *info = bpf_map_lookup_elem(&lxc, &key);
    if (!info || info->flags) return BEYOND;
    u32 ttl = ctx->ip[8];
    if (ttl <= 1) return TTL_EXCEEDED;
    ctx->ip[8] = ttl - 1;
    update((u16 *)(ctx->ip + 10), difference(ttl, ttl - 1));
    struct endpoint_config *to = bpf_map_lookup_elem(&endpoint_configs, &info->lxc_id);
    if (!to || !to->policy_id) return EP_NOT_READY;
    *(u32 *)data = to->mac, *(u16 *)(data + 4) = to->mac >> 32;
    *(u16 *)(data + 6) = to->node_mac, *(u32 *)(data + 8) = to->node_mac >> 16;
    ctx->endpoint = info->lxc_id;
    return 0;
}
INLINE int from_container(struct context *ctx, u8 *data, u8 *end, u32 maglev_size) {
    struct endpoint_config *own = bpf_map_lookup_elem(&endpoint_configs, &ctx->endpoint);
    if (!own || !own->policy_id) return EP_NOT_READY;
    ctx->node = own->node;
    ctx->source_identity = own->sec_id;
    int result = parse(ctx, data, end);
    if (result) return result;
    if (ctx->saddr != own->address || !ctx->saddr) return INVALID_SIP;
    if ((result = translate(ctx, maglev_size))) return result;
    bool reply;
    struct ct_entry *known = ct_lookup(ctx, EGRESS, &reply);
    if (reply) return BEYOND;
    ctx->destination_identity = identity_of(ctx->daddr);
    if ((result = can_access(ctx, own->policy_id, ctx->destination_identity, 1))) return result;
    if ((!known || known->rev_nat_index != ctx->rev_nat_index) && (result = ct_create(ctx, EGRESS, ctx->rev_nat_index, ctx->backend_id))) return result;
    return deliver(ctx, data);
}
INLINE int ingress_policy(struct context *ctx) {
    struct endpoint_config *own = bpf_map_lookup_elem(&endpoint_configs, &ctx->endpoint);
    if (!own) return EP_NOT_READY;
    ctx->destination_identity = own->sec_id;
    bool reply;
    struct ct_entry *known = ct_lookup(ctx, INGRESS, &reply);
    if (reply) return BEYOND;
    int result = can_access(ctx, own->policy_id, ctx->source_identity, 0);
    if (result) return result;
    return known ? 0 : ct_create(ctx, INGRESS, 0, 0);
}

/* The next template, in the frame. */
INLINE struct template *receive(struct cursor *cursor, u8 *data, u8 *end) {
    u32 index = cursor->next;
    cursor->next = index + 1 == cursor->total ? 0 : index + 1;
    struct template *template = bpf_map_lookup_elem(&templates, &index);
    if (!template || data + FRAME > end) return NULL;
    for (u32 i = 0; i < FRAME / 8; i++) ((u64 *)data)[i] = template->frame[i];
    return template;
}

SEC("xdp") int replay(struct xdp_md *md) {
    u8 *data = (u8 *)(long)md->data, *end = (u8 *)(long)md->data_end;
    u32 zero = 0;
    struct cursor *cursor = bpf_map_lookup_elem(&cursors, &zero);
    if (!cursor) return BEYOND;
    struct template *template = receive(cursor, data, end);
    if (!template) return BEYOND;
    struct context ctx = { .length = template->length, .endpoint = template->endpoint };
    int sent = from_container(&ctx, data, end, cursor->maglev_size), result = sent ? sent : ingress_policy(&ctx);
    u32 key = (result & 0xff) << 1 | !!sent;
    struct metric *metric = bpf_map_lookup_elem(&metrics, &key);
    if (metric) {
        metric->packets++;
        metric->bytes += ctx.length;
    }
    return result ? result : FORWARDED;
}

/* What a run costs before anything is done in it. */
SEC("xdp") int empty(struct xdp_md *md) { return FORWARDED; }
