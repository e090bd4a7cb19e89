/*
 * Loads datapath.bpf.o and runs it by BPF_PROG_TEST_RUN, as plain.c runs itself: kernel WORKLOAD OBJECT prints {"forwarded", "digest"} of one
 * pass over all templates; then each line on standard input is one round, answered by {"ns", "empty"}: nanoseconds a packet of the
 * datapath and of an empty program.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include "kernel.h"

enum { BATCH_SIZE = 256, ROOM = 256 };

static __attribute__((noreturn)) void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static FILE *file;
static void get(void *to, size_t size) {
    if (size && fread(to, size, 1, file) != 1) fail("the workload is cut short");
}
static u32 word(void) {
    u32 value;
    get(&value, 4);
    return value;
}

static struct bpf_object *object;
static int map_fd(const char *name) { return bpf_object__find_map_fd_by_name(object, name); }
static void resize(const char *name, u32 entries) {
    if (bpf_map__set_max_entries(bpf_object__find_map_by_name(object, name), entries ? entries : 1)) fail(name);
}
static void put(const char *name, const void *key, const void *value) {
    if (bpf_map_update_elem(map_fd(name), key, value, BPF_ANY)) fail(name);
}
static int program(const char *name) { return bpf_program__fd(bpf_object__find_program_by_name(object, name)); }

/* Entries of other maps are of no use to the profiles that come here. */
static void update(u32 map, const u8 *key, const u8 *value) {
    u32 length;
    switch (map) {
    case LB4_SERVICES: put("services", key, value); break;
    case LB4_BACKENDS: put("backends", key, value); break;
    case IPCACHE4:
        memcpy(&length, key + 4, 4);
        if (length && length != 32) errno = EINVAL, fail("a prefix of another length");
        put("ipcache", key, value);
        break;
    case POLICYMAP:
        memcpy(&length, key, 4);
        if (length && length != 24) errno = EINVAL, fail("a policy's prefix of another length");
        put("policies", key, value);
        break;
    case LXC4: put("lxc", key, value); break;
    case ENDPOINT_CONFIG: put("endpoint_configs", key, value); break;
    }
}

static u8 frame[FRAME], out[ROOM];

static u32 duration;

static u32 run(int fd, u32 repeat, u32 *length) {
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = FRAME, .data_out = out, .data_size_out = ROOM, .repeat = repeat);
    if (bpf_prog_test_run_opts(fd, &options)) fail("BPF_PROG_TEST_RUN");
    if (options.retval == BEYOND) errno = ENOSYS, fail("a packet that this mirror of the datapath does not know");
    if (length) *length = options.data_size_out;
    duration = options.duration;
    return options.retval;
}

static int by_value(const void *a, const void *b) { return (*(const u32 *)a > *(const u32 *)b) - (*(const u32 *)a < *(const u32 *)b); }

/* Calls of BPF_PROG_TEST_RUN a round: each takes milliseconds before and after what it times. */
enum { RUNS = 8 };

/* The median of what the kernel timed, in whole nanoseconds a packet. */
static u32 round_of(int fd, u32 packets) {
    u32 taken[RUNS];
    for (u32 i = 0; i < RUNS; i++) {
        run(fd, packets / RUNS, NULL);
        taken[i] = duration;
    }
    qsort(taken, RUNS, sizeof *taken, by_value);
    return (taken[RUNS / 2 - 1] + taken[RUNS / 2]) / 2;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY });
    if (!(file = fopen(argv[1], "rb"))) fail(argv[1]);
    if (!(object = bpf_object__open(argv[2]))) fail(argv[2]);
    /* The workload, as scripts/native.mjs writes it. */
    enum { SERVICES, BACKENDS, REVERSE_NATS, MAGLEVS, CONNECTIONS, IPCACHE, POLICIES, LXC, ENDPOINTS, NODE_CONFIGS, NODES, SIZES };
    u32 sizes[SIZES];
    get(sizes, sizeof sizes);
    u32 maglev_size = word(), total = word(), stride = word(), head = word(), calls = word(), samples = word();
    resize("services", sizes[SERVICES]);
    resize("backends", sizes[BACKENDS]);
    resize("maglev", sizes[MAGLEVS] * maglev_size);
    /* The kernel's LRU evicts before it is full, where the entries that are free wait on another processor's list. */
    resize("connections", sizes[CONNECTIONS] < 1 << 20 ? sizes[CONNECTIONS] * 2 : sizes[CONNECTIONS]);
    resize("ipcache", sizes[IPCACHE]);
    resize("policies", sizes[POLICIES]);
    resize("lxc", sizes[LXC]);
    resize("endpoint_configs", sizes[ENDPOINTS]);
    resize("metrics", 512);
    resize("templates", total);
    if (bpf_object__load(object)) fail("loading the datapath into the kernel");

    for (u32 entries = word(); entries; entries--) {
        u32 map = word(), key_size = word(), value_size = word();
        u8 bytes[128];
        if (key_size + value_size > sizeof bytes) errno = EINVAL, fail("an entry");
        get(bytes, key_size + value_size);
        update(map, bytes, bytes + key_size);
    }
    for (u32 tables = word(); tables; tables--) {
        u32 rev_nat_index = word(), size = word();
        for (u32 i = 0; i < size; i++) {
            u32 slot = (rev_nat_index - 1) * maglev_size + i, id = word();
            put("maglev", &slot, &id);
        }
    }
    struct template *templates = mmap(NULL, (size_t)total * sizeof *templates, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd("templates"), 0);
    if (templates == MAP_FAILED) fail("mmap");
    u8 *bytes = malloc(stride);
    fseek(file, (long)total * 4, SEEK_CUR);
    for (u32 i = 0; i < total; i++) {
        get(bytes, stride);
        memcpy(&templates[i].length, bytes + 4, 4);
        memcpy(&templates[i].endpoint, bytes + 12, 4);
        if (templates[i].length != FRAME) errno = EINVAL, fail("a frame of another length");
        memcpy(templates[i].frame, bytes + head, FRAME);
    }
    u32 zero = 0;
    put("cursors", &zero, &(struct cursor){ 0, total, maglev_size });

    int replay = program("replay"), empty = program("empty");
    run(replay, total, NULL);
    u32 forwarded = 0, hash = 0x811c9dc5;
    for (u32 i = 0; i < total; i++) {
        u32 length, result = run(replay, 1, &length);
        forwarded += result == FORWARDED;
        hash = (hash ^ (result == FORWARDED ? 0 : -result)) * 0x01000193;
        for (u32 j = 0; j < length; j++) hash = (hash ^ out[j]) * 0x01000193;
    }
    printf("{\"forwarded\": %u, \"digest\": \"%08x\"}\n", forwarded, hash);
    fflush(stdout);

    char line[16];
    while (fgets(line, sizeof line, stdin)) {
        u32 packets = calls * samples * BATCH_SIZE, ns = round_of(replay, packets);
        printf("{\"ns\": %u, \"empty\": %u}\n", ns, round_of(empty, packets));
        fflush(stdout);
    }
    return 0;
}
