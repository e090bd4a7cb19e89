/**
 * Deliberately broken builds: one fragment of one file of `assembly/` each, and what stands in its place. Every one makes
 * the datapath read or write what is not its own, in a way that a tired programmer could have written.
 */

export interface Broken {
  readonly name: string;
  /** The build in which it shows: the one that records, for what only that one holds. */
  readonly build: 'fast' | 'trace';
  /** In `assembly/`. */
  readonly file: string;
  /** Stands in the file once. */
  readonly from: string;
  readonly to: string;
}

const broken = (name: string, file: string, from: string, to: string): Broken => ({
  name,
  build: 'fast',
  file,
  from,
  to,
});
const traced = (name: string, file: string, from: string, to: string): Broken => ({
  name,
  build: 'trace',
  file,
  from,
  to,
});

/** Lengths that nobody checks any more. */
const LENGTHS: readonly Broken[] = [
  broken(
    'a frame may be shorter than its Ethernet header',
    'lib/packet.ts',
    'if (length < ETHERNET_LENGTH)',
    'if (length < 0)',
  ),
  broken(
    'an Ethernet header may lack its last byte',
    'lib/packet.ts',
    'length < ETHERNET_LENGTH',
    'length < ETHERNET_LENGTH - 1',
  ),
  broken('an IPv4 header may be cut off', 'wire/ipv4.ts', 'if (available < IPV4_LENGTH) return false;', ''),
  broken('IPv4 may claim more bytes than there are', 'wire/ipv4.ts', ' && total <= available', ''),
  broken('IPv4 may claim fewer bytes than its header', 'wire/ipv4.ts', ' && total >= header', ''),
  broken(
    'the IPv4 header counts from the wrong end',
    'lib/packet.ts',
    'ip.check(length - ETHERNET_LENGTH)',
    'ip.check(length)',
  ),
  broken(
    'no transport header is checked',
    'lib/packet.ts',
    'if (!l4.check(protocol, start, <u32>(ctx.end - start)))',
    'if (protocol == 0)',
  ),
  broken('a TCP header may be cut off', 'wire/l4.ts', 'if (available < TCP_LENGTH) return false;', ''),
  broken('a UDP header may be cut off', 'wire/l4.ts', 'if (available < UDP_LENGTH) return false;', ''),
  broken('an SCTP header may be cut off', 'wire/l4.ts', 'return available >= SCTP_LENGTH', 'return true'),
  broken('an SCTP header may lack a word', 'wire/l4.ts', 'available >= SCTP_LENGTH', 'available >= SCTP_LENGTH - 10'),
  broken('a VXLAN header may be cut off', 'lib/encap.ts', 'changetype<usize>(vxlan) + VXLAN_LENGTH > ctx.end || ', ''),
  broken('half a VXLAN header is enough', 'lib/encap.ts', 'VXLAN_LENGTH > ctx.end', '4 > ctx.end'),
  broken(
    'the end of a frame is four bytes too far',
    'run.ts',
    '<usize>packet.data + packet.length',
    '<usize>packet.data + packet.length + 4',
  ),
];

/** Reads and writes in the wrong place. */
const PLACES: readonly Broken[] = [
  broken('the frame starts in the headroom', 'run.ts', 'ctx.data = packet.data;', 'ctx.data = packet.data - 4;'),
  broken('ports stand behind a field that is not there', 'wire/l4.ts', 'both: u32;', 'pad: u64; both: u32;'),
  broken(
    "SCTP is given TCP's checksum",
    'lib/rewrite.ts',
    'if (ctx.protocol == IpProto.TCP)',
    'if (ctx.protocol != IpProto.UDP)',
  ),
  broken(
    'the outer headers reach below the headroom',
    'lib/encap.ts',
    'ctx.data -= VXLAN_OVERHEAD;',
    'ctx.data -= VXLAN_OVERHEAD + 16;',
  ),
  broken(
    'the outer checksum covers what is not written yet',
    'lib/encap.ts',
    'compute(changetype<usize>(ip), IPV4_LENGTH)',
    'compute(changetype<usize>(ip), IPV4_LENGTH + 4)',
  ),
  broken(
    'the length that is told counts one byte too many',
    'run.ts',
    'packet.length = length;',
    'packet.length = length + 1;',
  ),
  broken(
    'the data that is told lies behind the frame',
    'run.ts',
    'packet.data = <u32>ctx.data;',
    'packet.data = <u32>ctx.end + 1;',
  ),
  broken('a digest takes one byte too many', 'index.ts', 'i < packet.length;', 'i <= packet.length;'),
  broken(
    'records are copied with one word too many',
    'wire/records.ts',
    'i < offsetof<T>(); i += 8) store<u64>(to + i',
    'i <= offsetof<T>(); i += 8) store<u64>(to + i',
  ),
  broken(
    'records are cleared with one word too many',
    'wire/records.ts',
    'i < offsetof<T>(); i += 8) store<u64>(at + i',
    'i <= offsetof<T>(); i += 8) store<u64>(at + i',
  ),
  broken(
    'frames are copied with sixteen bytes too many',
    'wire/records.ts',
    'i < length; i += 16',
    'i < length + 16; i += 16',
  ),
  broken(
    "a template's frame is looked for behind it",
    'index.ts',
    'template + offsetof<Packet>(), packet.length',
    'template + 2 * offsetof<Packet>(), packet.length',
  ),
  broken('a batch may be larger than there are records', 'index.ts', 'i < min<u32>(count, BATCH_SIZE)', 'i < count'),
  broken(
    'the batch starts with its second record',
    'index.ts',
    'packetsAt + <usize>i * offsetof<Packet>()));',
    'packetsAt + <usize>(i + 1) * offsetof<Packet>()));',
  ),
];

/** Answers of maps that are taken for granted. */
const ANSWERS: readonly Broken[] = [
  broken(
    'every endpoint is one that there is',
    'lxc.ts',
    'if (own === null || own.policyId == 0) return -DropReason.EP_NOT_READY;\n  ctx.node',
    'ctx.node',
  ),
  broken(
    'every address is an endpoint of this node',
    'netdev.ts',
    'function route(ctx: Context): i32 {\n  const info = endpoint.lookup(ctx.daddr, ctx.node);\n  if (info !== null)',
    'function route(ctx: Context): i32 {\n  const info = endpoint.lookup(ctx.daddr, ctx.node);\n  if (ctx.node != 0)',
  ),
  broken('the tunnel leads to endpoints only', 'overlay.ts', 'if (info === null) return -DropReason.UNROUTABLE;', ''),
  broken(
    'every connection is known',
    'lib/conntrack.ts',
    'if (entry === null) {\n    ctx.ctStatus',
    'if (ctx.protocol == 0) {\n    ctx.ctStatus',
  ),
  broken(
    'every policy has an entry for everybody',
    'lib/policy.ts',
    'if (l3 !== null || l4 !== null) {',
    'if (egress <= 1) {',
  ),
  broken('every port is masqueraded already', 'lib/nat.ts', 'if (entry === null) return false;', ''),
  broken(
    'every address is a Service',
    'lib/lb.ts',
    'if (service === null) return findService(ctx.daddr, 0, 0, 0, 0);',
    '',
  ),
  broken('a Maglev table has a slot for every hash', 'lib/maglev.ts', ', jhashSeed) % table.size', ', jhashSeed)'),
];

/** Maps that are smaller than they think. */
const MAPS: readonly Broken[] = [
  broken(
    'a hash map has room for one entry less',
    'maps/hash.ts',
    'take(<usize>(capacity + 1) * this.stride)',
    'take(<usize>capacity * this.stride)',
  ),
  broken(
    'a hash map hands out one entry more',
    'maps/hash.ts',
    'this.fresh <= this.capacity ?',
    'this.fresh <= this.capacity + 1 ?',
  ),
  broken(
    'a hash map has half its buckets',
    'maps/hash.ts',
    'take((<usize>buckets) << 2)',
    'take((<usize>buckets) << 1)',
  ),
  broken(
    'a hash may be one beyond the last bucket',
    'maps/hash.ts',
    'this.mask = buckets - 1;',
    'this.mask = buckets;',
  ),
  broken(
    'the entries of a map lie closer than they are long',
    'maps/hash.ts',
    'this.slab + <usize>index * this.stride',
    'this.slab + <usize>index * (this.stride + 8)',
  ),
  broken(
    'the eviction hand goes one entry too far',
    'maps/hash.ts',
    'this.hand >= this.capacity ?',
    'this.hand > this.capacity ?',
  ),
  broken(
    'a dump takes no notice of its room',
    'maps/hash.ts',
    'if (<usize>(copied + 1) * offsetof<K>() > room) return copied;',
    '',
  ),
  broken(
    'an array is read beyond its end',
    'maps/array.ts',
    'if (index >= this.capacity) return changetype<V>(0);',
    '',
  ),
  broken(
    'an array ends one value too late',
    'maps/array.ts',
    'if (index >= this.capacity) return MapError.E2BIG;',
    'if (index > this.capacity) return MapError.E2BIG;',
  ),
  broken(
    'an array has half its room',
    'maps/array.ts',
    'take(<usize>capacity * offsetof<V>())',
    'take(<usize>capacity * offsetof<V>() / 2)',
  ),
  broken('reasons above 127 have no counter', 'index.ts', 'metrics.create(512)', 'metrics.create(256)'),
  broken(
    'prefix lengths are listed in two bytes',
    'maps/lpm.ts',
    'this.lengths = take(MAX_LENGTH + 1)',
    'this.lengths = take(2)',
  ),
  broken('prefixes are counted in bytes', 'maps/lpm.ts', 'take((MAX_LENGTH + 1) << 2)', 'take(MAX_LENGTH + 1)'),
  broken(
    'Maglev tables are half as large',
    'lib/maglev.ts',
    'take((<usize>capacity * tableSize) << 2)',
    'take((<usize>capacity * tableSize) << 1)',
  ),
  broken(
    'Maglev has one walker too few',
    'lib/maglev.ts',
    'take(<usize>backends * offsetof<Walker>())',
    'take(<usize>(backends - 1) * offsetof<Walker>())',
  ),
  broken('Maglev takes any number of backends', 'lib/maglev.ts', 'if (count > walkerCount) return MapError.E2BIG;', ''),
  broken('a walk through a Maglev table does not wrap', 'lib/maglev.ts', 'if (slot >= size) slot -= size;', ''),
];

/** What only the build that records holds. */
const RECORDS: readonly Broken[] = [
  traced(
    'the ring is full one record too late',
    'maps/ring.ts',
    'if (this.count == this.capacity)',
    'if (this.count > this.capacity)',
  ),
  traced(
    'the ring has room for one record less',
    'maps/ring.ts',
    'take(<usize>capacity * size)',
    'take(<usize>(capacity - 1) * size)',
  ),
  traced('the ring is never full', 'maps/ring.ts', 'if (this.count == this.capacity)', 'if (this.capacity == 0)'),
  traced(
    'a record captures as many bytes as it has itself',
    'lib/trace.ts',
    'EVENT_SIZE - <u32>offsetof<TraceNotify>()',
    'EVENT_SIZE',
  ),
  traced(
    'a record captures frames beyond their end',
    'lib/trace.ts',
    'event.captured);',
    'EVENT_SIZE - offsetof<TraceNotify>());',
  ),
  traced('a record of a question expects an answer', 'lib/trace.ts', 'if (changetype<usize>(value) == 0) return;', ''),
];

export const BROKEN: readonly Broken[] = [...LENGTHS, ...PLACES, ...ANSWERS, ...MAPS, ...RECORDS];
