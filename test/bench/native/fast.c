/*
 * The fast path of assembly/ in C: the same design as assembly/batch.ts and assembly/lib/flow.ts over the programs of plain.c, with what
 * WebAssembly has not: prefetch. Packets go in batches through stages; a flow whose answer is known, and nothing it depends on has
 * changed, follows it; any other runs through the programs, which is taken down. Usage and output are those of plain.c.
 */
#define FAST
#define WIDTH 32
/* A line more than a packet's room: frames that lie a power of two apart would share few places of the first cache. */
#define FRAME_ROOM (PACKET_ROOM + 64)
#define COUNTED(entry) counted_in(entry)
#define ASKED(tuple) asked((tuple)->saddr, (tuple)->daddr, (tuple)->ports)
#define CHANGED(tuple) changed((tuple)->saddr, (tuple)->daddr, (tuple)->ports)
#define SPOIL() (recording.on = false)
#define ADDRESSED() (recording.addressed = true)
#define REWRITTEN() (recording.rewritten = true)
#define MEASURED(index) (recording.metric = (index))

#include <stdbool.h>
#include <stdint.h>

/* ---------------------------------------------------------------- what is taken down: assembly/lib/recording.ts; counts of changes by tuple */

enum { MAX_ENTRIES = 5, MAX_TUPLES = 3 };

static struct {
    bool on, addressed, rewritten;
    uint32_t metric, entry_count, tuple_count;
    void *entries[MAX_ENTRIES];
    uint32_t *tuples[MAX_TUPLES];
} recording;

static uint32_t *turnovers, turnover_mask, never;

static inline uint32_t *turnover_of(uint32_t saddr, uint32_t daddr, uint32_t ports) {
    const uint64_t salt = 0x9e3779b97f4a7c15ull;
    uint64_t product = ((saddr | (uint64_t)(ports & 0xffff) << 32) ^ salt) * ((daddr | (uint64_t)(ports >> 16) << 32) ^ salt);
    return turnovers + ((((product ^ product >> 29) * 0xff51afd7ed558ccdull) >> 32) & turnover_mask);
}
static inline void changed(uint32_t saddr, uint32_t daddr, uint32_t ports) { ++*turnover_of(saddr, daddr, ports); }
static inline void asked(uint32_t saddr, uint32_t daddr, uint32_t ports) {
    if (!recording.on) return;
    uint32_t *place = turnover_of(saddr, daddr, ports);
    for (uint32_t i = 0; i < recording.tuple_count; i++)
        if (recording.tuples[i] == place) return;
    if (recording.tuple_count == MAX_TUPLES) recording.on = false;
    else recording.tuples[recording.tuple_count++] = place;
}
static inline void counted_in(void *entry) {
    if (!recording.on) return;
    if (recording.entry_count == MAX_ENTRIES) recording.on = false;
    else recording.entries[recording.entry_count++] = entry;
}

#include "plain.c"

/* ---------------------------------------------------------------- flows: assembly/lib/flow.ts, assembly/maps/tagged.ts */

struct flow {
    u32 saddr, daddr, ports, endpoint, place;
    u32 new_saddr, new_daddr, new_ports;
    u32 counts[MAX_TUPLES];
    u16 ip_change, l4_change;
    u8 mac[12], hops, entry_count, addressed, pad;
    u32 to_endpoint, source_identity, destination_identity, backend_id, rev_nat_index;
    u16 node, program;
    i32 verdict;
    u32 metric;
    u32 *tuples[MAX_TUPLES];
    struct ct_entry *entries[MAX_ENTRIES];
} __attribute__((aligned(64)));

enum { WAYS = 16 };
typedef u8 tag_group __attribute__((vector_size(WAYS)));

static tag_group *tags;
static struct flow *flows;
static u32 group_mask, hand;

static void flows_create(u32 count, u32 connections) {
    u32 groups = 1, places = 16;
    while (groups * WAYS < count + count / 2) groups <<= 1;
    tags = take((size_t)groups * sizeof *tags);
    flows = take((size_t)groups * WAYS * sizeof *flows);
    group_mask = groups - 1;
    while (places < connections) places <<= 1;
    turnovers = take((size_t)places * 4);
    turnover_mask = places - 1;
}

/* A bit for each tag of a group that is `tag`. */
INLINE u32 matching(u32 hash, u8 tag) {
    tag_group equal = tags[hash & group_mask] == tag;
#if defined __SSE2__
    return __builtin_ia32_pmovmskb128((__attribute__((vector_size(16))) char)equal);
#else
    u32 bits = 0;
    for (u32 i = 0; i < WAYS; i++) bits |= (equal[i] & 1u) << i;
    return bits;
#endif
}
INLINE u8 tag_of(u32 hash) { return hash >> 24 ? hash >> 24 : 1; }
INLINE struct flow *flow_at(u32 hash, u32 bits) { return flows + (size_t)(hash & group_mask) * WAYS + __builtin_ctz(bits); }
INLINE u32 place_of(const struct packet *packet, u32 protocol) { return packet->node | packet->program << 16 | protocol << 24; }
INLINE bool is_of(const struct flow *flow, const u8 *ip, u32 endpoint, u32 place) {
    return !((flow->saddr ^ load32(ip + IP_SADDR)) | (flow->daddr ^ load32(ip + IP_DADDR)) | (flow->ports ^ load32(ip + IPV4)) | (flow->endpoint ^ endpoint) | (flow->place ^ place));
}
static struct flow *flow_find(const struct packet *packet, const u8 *ip, u32 hash) {
    u32 place = place_of(packet, ip[IP_PROTOCOL]);
    for (u32 bits = matching(hash, tag_of(hash)); bits; bits &= bits - 1)
        if (is_of(flow_at(hash, bits), ip, packet->endpoint, place)) return flow_at(hash, bits);
    return NULL;
}
static struct flow *flow_claim(u32 hash) {
    u32 empty = matching(hash, 0), way = empty ? (u32)__builtin_ctz(empty) : (++hand * 0x9e3779b1u) >> 28;
    tags[hash & group_mask][way] = tag_of(hash);
    return flow_at(hash, 1u << way);
}
INLINE u16 add(u16 residue, u32 change) {
    u32 sum = (u16)~residue + change;
    return ~((sum & 0xffff) + (sum >> 16));
}
/* Does to a packet what the programs would do. Whether that is known. */
static bool follow(struct packet *packet, const struct flow *flow, u8 *data) {
    u8 *ip = data + ETHERNET;
    u32 turned = 0;
    for (u32 i = 0; i < MAX_TUPLES; i++) turned |= *flow->tuples[i] ^ flow->counts[i];
    if (turned || ip[IP_TTL] <= flow->hops) return false;
    for (u32 i = 0; i < flow->entry_count; i++) {
        struct ct_entry *e = flow->entries[i];
        if (staleness(&connections, e, sizeof(struct ct_tuple))) lru_renew(&connections, e, CT);
        e->packets++;
        e->bytes += packet->length;
        e->lifetime = now + LIFETIME_TCP;
    }
    if (flow->addressed) memcpy(data, flow->mac, sizeof flow->mac);
    ip[IP_TTL] -= flow->hops;
    store16(ip + IP_CHECKSUM, add(load16(ip + IP_CHECKSUM), flow->ip_change));
    store32(ip + IP_SADDR, flow->new_saddr);
    store32(ip + IP_DADDR, flow->new_daddr);
    store32(ip + IPV4, flow->new_ports);
    store16(ip + IPV4 + TCP_CHECKSUM, add(load16(ip + IPV4 + TCP_CHECKSUM), flow->l4_change));
    metrics[flow->metric].count++;
    metrics[flow->metric].bytes += packet->length;
    packet->node = flow->node;
    packet->program = flow->program;
    packet->endpoint = flow->to_endpoint;
    packet->verdict = flow->verdict;
    packet->answered = packet->audited = packet->delay = 0;
    packet->source_identity = flow->source_identity;
    packet->destination_identity = flow->destination_identity;
    packet->backend_id = flow->backend_id;
    packet->rev_nat_index = flow->rev_nat_index;
    return true;
}
/* Runs a packet through the programs, and keeps what became of it. */
static void run_recorded(struct packet *packet, u8 *data, u32 hash) {
    u8 *ip = data + ETHERNET;
    u32 length = packet->length, at = packet->data;
    struct flow flow = { .saddr = load32(ip + IP_SADDR), .daddr = load32(ip + IP_DADDR), .ports = load32(ip + IPV4), .endpoint = packet->endpoint, .place = place_of(packet, ip[IP_PROTOCOL]), .hops = ip[IP_TTL] };
    recording = (typeof(recording)){ .on = true };
    run(packet);
    if (!recording.on) return;
    recording.on = false;
    if (packet->data != at || packet->length != length || (!packet->verdict && packet->program < DELIVERED)) return;
    flow.hops -= ip[IP_TTL];
    flow.new_saddr = load32(ip + IP_SADDR), flow.new_daddr = load32(ip + IP_DADDR), flow.new_ports = load32(ip + IPV4);
    u64 change = 0;
    if (recording.rewritten) {
        change = difference(flow.saddr, flow.new_saddr) + difference(flow.daddr, flow.new_daddr);
        flow.l4_change = fold(change + difference(flow.ports, flow.new_ports));
    }
    if (flow.hops) change += difference(flow.hops, 0);
    flow.ip_change = fold(change);
    flow.addressed = recording.addressed;
    memcpy(flow.mac, data, sizeof flow.mac);
    flow.to_endpoint = packet->endpoint, flow.source_identity = packet->source_identity, flow.destination_identity = packet->destination_identity;
    flow.backend_id = packet->backend_id, flow.rev_nat_index = packet->rev_nat_index;
    flow.node = packet->node, flow.program = packet->program, flow.verdict = packet->verdict;
    flow.metric = recording.metric;
    flow.entry_count = recording.entry_count;
    for (u32 i = 0; i < MAX_TUPLES; i++) {
        flow.tuples[i] = i < recording.tuple_count ? recording.tuples[i] : &never;
        flow.counts[i] = *flow.tuples[i];
    }
    memcpy(flow.entries, recording.entries, sizeof flow.entries);
    /* Its own place, if it was known under another state of the maps. */
    for (u32 bits = matching(hash, tag_of(hash)); bits; bits &= bits - 1) {
        struct flow *other = flow_at(hash, bits);
        if (!((other->saddr ^ flow.saddr) | (other->daddr ^ flow.daddr) | (other->ports ^ flow.ports) | (other->endpoint ^ flow.endpoint) | (other->place ^ flow.place))) {
            *other = flow;
            return;
        }
    }
    *flow_claim(hash) = flow;
}

/* ---------------------------------------------------------------- what new flows will look up: assembly/lib/foresight.ts */

struct foreseen { u32 saddr, daddr, ports, protocol, node, *slot; u32 *buckets[5]; };

INLINE u32 *bucket_for(u32 daddr, u32 saddr, u32 ports, u32 protocol, u32 direction, u32 node) {
    struct ct_tuple tuple = { daddr, saddr, ports, protocol, direction, node };
    u32 *bucket = bucket_of(&connections.map, &tuple, sizeof tuple);
    __builtin_prefetch(bucket, 1);
    return bucket;
}
static void foresee(const struct packet *packet, const u8 *ip, struct foreseen *f) {
    struct endpoint_config *own = endpoint_config(packet->endpoint);
    *f = (struct foreseen){ load32(ip + IP_SADDR), load32(ip + IP_DADDR), load32(ip + IPV4), ip[IP_PROTOCOL], own ? own->node : packet->node };
    f->buckets[0] = bucket_for(f->daddr, f->saddr, f->ports, f->protocol, SERVICE, f->node);
    __builtin_prefetch(turnover_of(f->saddr, f->daddr, f->ports), 1);
    struct lb4_service *service = find_service(f->daddr, f->ports >> 16, f->protocol, 0, 0);
    if (!service || service->backend_id >> 24 != MAGLEV) return;
    u32 rev_nat_index = service->rev_nat_index;
    struct maglev_table *table = map_lookup(&maglevs, &rev_nat_index, OF(u32, struct maglev_table));
    if (!table) return;
    f->slot = table->table + jhash3words(f->saddr, f->ports, f->protocol, JHASH_SEED) % table->size;
    __builtin_prefetch(f->slot);
}
static void foresee_connections(struct foreseen *f) {
    struct lb4_backend *backend = f->slot ? lookup_backend(*f->slot) : NULL;
    if (backend) f->daddr = backend->address, f->ports = (f->ports & 0xffff) | (u32)backend->port << 16;
    struct remote_endpoint *remote = ipcache_lookup(f->daddr);
    u32 node = remote && remote->tunnel_endpoint ? node_of(remote->tunnel_endpoint) : f->node, back = rotl(f->ports, 16);
    f->buckets[1] = bucket_for(f->daddr, f->saddr, f->ports, f->protocol, EGRESS, f->node);
    f->buckets[2] = bucket_for(f->saddr, f->daddr, back, f->protocol, INGRESS, f->node);
    f->buckets[3] = bucket_for(f->daddr, f->saddr, f->ports, f->protocol, INGRESS, node);
    f->buckets[4] = bucket_for(f->saddr, f->daddr, back, f->protocol, EGRESS, node);
    __builtin_prefetch(turnover_of(f->saddr, f->daddr, f->ports), 1);
}
static void foresee_entries(const struct foreseen *f) {
    for (u32 i = 0; i < 5; i++)
        if (f->buckets[i]) __builtin_prefetch(entry_at(&connections.map, *f->buckets[i], CT));
}
/* Entries that will make room for those of new flows. */
static void make_room(u32 count) {
    struct map *m = &connections.map;
    if (m->free || m->fresh <= m->capacity) return;
    u32 going[3 * WIDTH], index = connections.links[0].behind, i;
    for (i = 0; i < 3 * count && index; i++, index = connections.links[index].behind) {
        going[i] = index;
        __builtin_prefetch(entry_at(m, index, CT), 1);
    }
    while (i--) {
        struct ct_tuple *key = key_at(entry_at(m, going[i], CT));
        __builtin_prefetch(bucket_of(m, key, sizeof *key), 1);
        __builtin_prefetch(turnover_of(key->saddr, key->daddr, key->ports), 1);
    }
}

/* ---------------------------------------------------------------- batches: assembly/batch.ts */

struct staged { u32 hash; bool whole, quiet; struct flow *flow; };

/* Of which flow a packet is, if it is of the kind whose flows are kept. */
INLINE void look(const struct packet *packet, const u8 *data, struct staged *one) {
    const u8 *ip = data + ETHERNET, *tcp = ip + IPV4;
    *one = (struct staged){ 0 };
    if (packet->mark || packet->program != FROM_CONTAINER || packet->length < ETHERNET + IPV4 + TCP_LENGTH) return;
    if (load16(data + 12) != 0x0008 || ip[0] != 0x45 || load16(ip + IP_FRAGMENT) & 0xff3f || ip[IP_PROTOCOL] != TCP) return;
    u32 total = ntohs(load16(ip + IP_TOTAL)), own = (tcp[12] >> 4) * 4;
    if (total > packet->length - ETHERNET || total < IPV4 + TCP_LENGTH || own < TCP_LENGTH || own > total - IPV4) return;
    one->whole = true;
    one->quiet = !(tcp[TCP_FLAGS] & REPORTED);
    u64 h = mix(HASH_SEED, load32(ip + IP_SADDR) | (u64)load32(ip + IP_DADDR) << 32);
    h = mix(h, load32(tcp) | (u64)(place_of(packet, TCP) ^ packet->endpoint << 3) << 32);
    one->hash = h >> 32 ^ h >> 47;
}
static void stage(u32 count) {
    struct staged staged[WIDTH];
    struct foreseen foreseen[WIDTH];
    u32 unknown = 0;
    for (u32 i = 0; i < count; i++) {
        look(packets + i, frame + packets[i].data, staged + i);
        if (staged[i].quiet) __builtin_prefetch(tags + (staged[i].hash & group_mask));
    }
    for (u32 i = 0; i < count; i++) {
        u32 bits = staged[i].quiet ? matching(staged[i].hash, tag_of(staged[i].hash)) : 0;
        if (!bits) continue;
        staged[i].flow = flow_at(staged[i].hash, bits);
        for (u32 line = 0; line < sizeof(struct flow); line += 64) __builtin_prefetch((u8 *)staged[i].flow + line);
    }
    for (u32 i = 0; i < count; i++) {
        struct flow *flow = staged[i].flow;
        if (flow) {
            for (u32 j = 0; j < MAX_TUPLES; j++) __builtin_prefetch(flow->tuples[j]);
            for (u32 j = 0; j < flow->entry_count; j++) __builtin_prefetch(header_of(flow->entries[j], sizeof(struct ct_tuple)), 1), __builtin_prefetch(flow->entries[j], 1);
        } else if (staged[i].whole) {
            foresee(packets + i, frame + packets[i].data + ETHERNET, foreseen + unknown++);
        }
    }
    if (unknown) make_room(unknown);
    for (u32 i = 0; i < unknown; i++) foresee_connections(foreseen + i);
    for (u32 i = 0; i < unknown; i++) foresee_entries(foreseen + i);
    for (u32 i = 0; i < count; i++) {
        struct packet *packet = packets + i;
        u8 *data = frame + packet->data;
        if (!staged[i].quiet) {
            run(packet);
            continue;
        }
        struct flow *flow = flow_find(packet, data + ETHERNET, staged[i].hash);
        if (!flow || !follow(packet, flow, data)) run_recorded(packet, data, staged[i].hash);
    }
}
static __attribute__((noinline)) u32 replay(u32 first, u32 count, u32 total, u32 stride) {
    u32 forwarded = 0, index = first;
    for (u32 done = 0; done < count; done += WIDTH) {
        u32 some = count - done < WIDTH ? count - done : WIDTH;
        for (u32 i = 0; i < some; i++) {
            u8 *template = templates + (size_t)index * stride;
            packets[i] = *(struct packet *)template;
            packets[i].data = i * FRAME_ROOM + PACKET_HEADROOM;
            memcpy(frame + packets[i].data, template + sizeof *packets, packets[i].length);
            index = index + 1 == total ? 0 : index + 1;
        }
        stage(some);
        for (u32 i = 0; i < some; i++) forwarded += packets[i].verdict == 0;
    }
    return forwarded;
}
