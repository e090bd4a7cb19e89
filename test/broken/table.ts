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
    'lib/parse.ts',
    'if (length < ETHERNET_LENGTH) return -DropReason.UNSUPPORTED_L2;',
    '',
  ),
  broken(
    'the family is read from a frame of any length',
    'lib/parse.ts',
    'if (<u32>(ctx.end - ctx.data) < ETHERNET_LENGTH) return Family.IPV4;',
    '',
  ),
  broken(
    'an Ethernet header may lack its last byte',
    'lib/parse.ts',
    'if (length < ETHERNET_LENGTH)',
    'if (length < ETHERNET_LENGTH - 1)',
  ),
  broken('an IPv4 header may be cut off', 'wire/ipv4.ts', 'if (available < IPV4_LENGTH) return false;', ''),
  broken('IPv4 may claim more bytes than there are', 'wire/ipv4.ts', ' && total <= available', ''),
  broken('IPv4 may claim fewer bytes than its header', 'wire/ipv4.ts', ' && total >= this.headerLength', ''),
  broken(
    'the IPv4 header counts from the wrong end',
    'lib/parse.ts',
    'readIpv4(changetype<Context<u32>>(changetype<usize>(ctx)), length - ETHERNET_LENGTH)',
    'readIpv4(changetype<Context<u32>>(changetype<usize>(ctx)), length)',
  ),
  broken('an IPv6 header may be cut off', 'wire/ipv6.ts', 'if (available < IPV6_LENGTH) return false;', ''),
  broken('IPv6 may claim more bytes than there are', 'wire/ipv6.ts', ' && this.totalLength <= available', ''),
  broken(
    'the IPv6 header counts from the wrong end',
    'lib/parse.ts',
    'readIpv6(changetype<Context<v128>>(changetype<usize>(ctx)), length - ETHERNET_LENGTH)',
    'readIpv6(changetype<Context<v128>>(changetype<usize>(ctx)), length)',
  ),
  broken(
    'an extension header may begin behind the packet',
    'lib/parse.ts',
    ' || at + EXTENSION_LENGTH > ctx.ipEnd',
    '',
  ),
  broken(
    'two bytes of an extension header are enough',
    'lib/parse.ts',
    'at + EXTENSION_LENGTH > ctx.ipEnd',
    'at + 2 > ctx.ipEnd',
  ),
  broken(
    'an extension header may end behind the packet',
    'lib/parse.ts',
    'if (at > ctx.ipEnd) return -DropReason.INVALID_EXTHDR;',
    '',
  ),
  broken(
    'no transport header is checked',
    'lib/parse.ts',
    'if (!l4.check(protocol, start, available, ctx.fragmented == Fragmented.NOT))',
    'if (protocol == 0)',
  ),
  broken(
    'the transport header counts from the wrong end',
    'lib/parse.ts',
    'const available = <u32>(ctx.ipEnd - start);',
    'const available = <u32>(ctx.ipEnd - ctx.ip);',
  ),
  broken('a TCP header may be cut off', 'wire/l4.ts', 'if (available < TCP_LENGTH) return false;', ''),
  broken('a UDP header may be cut off', 'wire/l4.ts', 'if (available < UDP_LENGTH) return false;', ''),
  broken('an SCTP header may be cut off', 'wire/l4.ts', 'return available >= SCTP_LENGTH', 'return true'),
  broken('an SCTP header may lack a word', 'wire/l4.ts', 'available >= SCTP_LENGTH', 'available >= SCTP_LENGTH - 10'),
  broken(
    'a VXLAN header may be cut off',
    'lib/encap.ts',
    'if (header + VXLAN_LENGTH > ctx.ipEnd) return -DropReason.NO_TUNNEL_KEY;',
    '',
  ),
  broken(
    'half a VXLAN header is enough',
    'lib/encap.ts',
    'header + VXLAN_LENGTH > ctx.ipEnd',
    'header + 4 > ctx.ipEnd',
  ),
  broken(
    'an ICMP header may be cut off',
    'lib/parse.ts',
    'if (available < ICMP_LENGTH) return -DropReason.CT_INVALID_HDR;',
    '',
  ),
  broken(
    'a quoted IPv6 header may be cut off',
    'lib/parse.ts',
    'if (available < IPV6_LENGTH + QUOTED_LENGTH) return -DropReason.CT_INVALID_HDR;',
    '',
  ),
  broken('a quoted IPv4 header may be cut off', 'lib/parse.ts', 'available < IPV4_LENGTH + QUOTED_LENGTH || ', ''),
  broken('a quoted IPv4 header has no options', 'lib/parse.ts', 'available < ip.headerLength + QUOTED_LENGTH || ', ''),
  broken(
    'four quoted bytes of a transport header are enough',
    'lib/parse.ts',
    'const QUOTED_LENGTH: u32 = 8;',
    'const QUOTED_LENGTH: u32 = 4;',
  ),
  broken(
    'a quoted packet counts from the wrong end',
    'lib/parse.ts',
    'const available = <u32>(ctx.ipEnd - at);',
    'const available = <u32>(ctx.ipEnd - ctx.l4);',
  ),
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
    'if (protocol == IpProto.TCP)\n    adjust',
    'if (protocol != IpProto.UDP)\n    adjust',
  ),
  broken('a later fragment has ports', 'lib/rewrite.ts', 'if (ctx.l4 != 0) transport<A>', 'transport<A>'),
  broken(
    "a later fragment has the tunnel's header",
    'lib/encap.ts',
    'if (ctx.l4 == 0) return -DropReason.NO_TUNNEL_KEY;',
    '',
  ),
  broken(
    'the destination of IPv6 is read behind the header',
    'wire/ipv6.ts',
    "return v128.load(changetype<usize>(this) + offsetof<Ipv6>('daddrLow'));",
    'return v128.load(changetype<usize>(this) + offsetof<Ipv6>());',
  ),
  broken(
    'the destination of IPv6 is written behind the header',
    'wire/ipv6.ts',
    "v128.store(changetype<usize>(this) + offsetof<Ipv6>('daddrLow'), address);",
    'v128.store(changetype<usize>(this) + offsetof<Ipv6>(), address);',
  ),
  broken(
    "a prefix's address and length are confused",
    'lib/ipcache.ts',
    'truncate<A>(changetype<usize>(this), length);',
    'truncate<A>(length, <u32>changetype<usize>(this));',
  ),
  broken(
    'the addresses of a quoted packet are written behind its header',
    'lib/rewrite.ts',
    'addresses<A>(ctx.quoted, saddr, daddr, change);',
    'addresses<A>(ctx.quotedL4, saddr, daddr, change);',
  ),
  broken(
    'a whole TCP header is quoted',
    'lib/rewrite.ts',
    'if (ctx.quotedProtocol == IpProto.TCP) changetype<Ports>(ctx.quotedL4).both = ports;\n  else transport',
    'transport',
  ),
  broken(
    "an error's checksum covers as much as the packet is long",
    'lib/rewrite.ts',
    'const length = <u32>(ctx.ipEnd - ctx.l4);',
    'const length = <u32>(ctx.ipEnd - ctx.ip);',
  ),
  broken(
    'the last byte of a sum counts as two',
    'wire/checksum.ts',
    'if (i < length) sum += load<u8>(start + i);',
    'if (i < length) sum += load<u16>(start + i);',
  ),
  broken(
    'a sum takes the word in which it ends',
    'wire/checksum.ts',
    'for (; i + 4 <= length; i += 4)',
    'for (; i < length; i += 4)',
  ),
  broken(
    'an error quotes more than the packet has',
    'lib/icmp.ts',
    'min<u32>(<u32>(ctx.ipEnd - ctx.ip), isVector<A>() ? QUOTE6 : QUOTE4);',
    'isVector<A>() ? QUOTE6 : QUOTE4;',
  ),
  broken(
    'an error leaves a gap in the headroom',
    'lib/icmp.ts',
    'ctx.ip = ctx.l4 - ipLength;',
    'ctx.ip = ctx.l4 - ipLength - 8;',
  ),
  broken(
    'an error grows out of the headroom',
    'lib/icmp.ts',
    'ctx.l4 = ctx.ip - ICMP_LENGTH;',
    'ctx.l4 = ctx.ip - ICMP_LENGTH - PACKET_HEADROOM;',
  ),
  broken('an error has no hop limit', 'lib/icmp.ts', 'ip.hopLimit = TTL;', ''),
  broken("an error's IPv4 header has no id", 'lib/icmp.ts', 'ip.id = 0;', ''),
  broken(
    'the outer headers reach below the headroom',
    'lib/encap.ts',
    'ctx.data -= TUNNEL_OVERHEAD + options;',
    'ctx.data -= TUNNEL_OVERHEAD + options + 80;',
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
    'i < words; i += 16) v128.store(to + i',
    'i <= words; i += 16) v128.store(to + i',
  ),
  broken(
    'records are cleared with one word too many',
    'wire/records.ts',
    'i < words; i += 16) v128.store(at + i',
    'i <= words; i += 16) v128.store(at + i',
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
  broken(
    'a batch may be larger than there are records',
    'index.ts',
    'batch.processPlain(packetsAt, min<u32>(count, BATCH_SIZE))',
    'batch.processPlain(packetsAt, count)',
  ),
  broken(
    'the batch starts with its second record',
    'batch.ts',
    'packets + <usize>index * offsetof<Packet>()',
    'packets + <usize>(index + 1) * offsetof<Packet>()',
  ),
];

/** Answers of maps that are taken for granted. */
const ANSWERS: readonly Broken[] = [
  broken('every node is one that there is', 'run.ts', 'isEntry(program) && isNode(ctx.node)', 'isEntry(program)'),
  broken('every program may be entered', 'run.ts', 'isEntry(program) && isNode(ctx.node)', 'isNode(ctx.node)'),
  broken(
    'every later piece has had a first one',
    'lib/fragments.ts',
    'if (kept === null) return -DropReason.FRAG_NOT_FOUND;',
    '',
  ),
  broken('there is always room for a first piece', 'lib/fragments.ts', 'if (at == 0) return 0;', ''),
  broken("there is always room for a client's backend", 'lib/affinity.ts', 'if (at == 0) return;', ''),
  broken('there is always room for a mapping', 'lib/nat.ts', 'if (entry === null) return entry;', ''),
  broken("every error is about a Service's reply", 'lib/lb.ts', 'if (flow === null) return false;', ''),
  broken(
    'every error is about a known connection',
    'lib/conntrack.ts',
    'if (entry !== null) learn<A>(ctx, entry);\n  else {',
    'learn<A>(ctx, entry);\n  if (entry === null) {',
  ),
  broken("every error of a pod's is about what was masqueraded", 'lib/nat.ts', 'if (entry === null) return 0;', ''),
  broken(
    'every neighbour is an endpoint',
    'lxc.ts',
    'return info !== null && endpoint.isHost(info) ?',
    'return endpoint.isHost(info) ?',
  ),
  broken(
    'every endpoint is one that there is',
    'lxc.ts',
    'if (own === null || own.policyId == 0) return -DropReason.EP_NOT_READY;\n  ctx.node',
    'ctx.node',
  ),
  broken(
    'every address is an endpoint of this node',
    'lib/route.ts',
    'return info === null ? onward<A>(ctx) : deliver<A>(ctx, info);',
    'return deliver<A>(ctx, info);',
  ),
  broken('the tunnel leads to endpoints only', 'overlay.ts', 'if (info === null) return -DropReason.UNROUTABLE;', ''),
  broken(
    'every connection is known',
    'lib/conntrack.ts',
    'if (entry === null) status = CtStatus.NEW;\n  else if',
    'if',
  ),
  broken(
    'every policy has an entry for everybody',
    'lib/policy.ts',
    'if (l3 !== null || l4 !== null) {',
    'if (egress <= 1) {',
  ),
  broken(
    'every port is masqueraded already',
    'lib/nat.ts',
    'if (entry === null || (ctx.quoted == 0 && isItself<A>(entry, ctx.daddr, ctx.dport))) return false;',
    '',
  ),
  broken(
    'every address is a Service',
    'lib/lb.ts',
    'if (service === null) return findService<A>(ctx.daddr, 0, 0, 0, 0);',
    '',
  ),
  broken(
    'a Maglev table has a slot for every hash',
    'lib/maglev.ts',
    ', ports, protocol) % table.size',
    ', ports, protocol)',
  ),
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
    'eviction takes the entry that is none',
    'maps/lru.ts',
    'const index = this.queues.behind(this.first);\n    this.detach',
    'const index = this.queues.behind(this.first) + this.capacity;\n    this.detach',
  ),
  broken(
    'the queue of the assured ends behind the links',
    'maps/lru.ts',
    'return this.capacity + 1;',
    'return this.capacity + 2;',
  ),
  broken(
    'those who watch have no room beside what they watch',
    'lib/flow.ts',
    'takeRings(watchers<A>().numbers)',
    'takeRings(groups)',
  ),
  broken(
    "an entry's number counts from the first bucket",
    'maps/lru.ts',
    '(at - this.slab) / this.stride',
    '(at - this.buckets) / this.stride',
  ),
  broken(
    'the collector looks at one place too many',
    'maps/lru.ts',
    'this.hand + 1 >= this.fresh ?',
    'this.hand + 1 > this.fresh ?',
  ),
  broken(
    'the collector finds a connection in every place',
    'lib/conntrack.ts',
    'if (entry === null || entry.lifetime >= now) continue;',
    'if (entry.lifetime >= now) continue;',
  ),
  broken(
    'the collector finds a piece in every place',
    'lib/fragments.ts',
    'if (kept === null || kept.created',
    'if (kept.created',
  ),
  broken(
    'a dump takes no notice of its room',
    'maps/hash.ts',
    'if (<usize>(copied + 1) * offsetof<K>() > room) return copied;',
    '',
  ),
  broken(
    'a dump of a map that evicts takes no notice of its room',
    'maps/lru.ts',
    'if (<usize>(copied + 1) * offsetof<K>() > room) return copied;',
    '',
  ),
  broken(
    'a map that evicts has half its groups',
    'maps/lru.ts',
    'take(<usize>groups * GROUP)',
    'take(<usize>(groups >>> 1) * GROUP)',
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
  broken(
    'reasons above 127 have no counter',
    'index.ts',
    'metrics.create(capacities.metrics)',
    'metrics.create(capacities.metrics / 2)',
  ),
  broken(
    'prefix lengths are listed in two bytes',
    'maps/lpm.ts',
    'this.lengths = take(MAX_LENGTH + 1)',
    'this.lengths = take(2)',
  ),
  broken('no prefix is longer than those of IPv4', 'maps/lpm.ts', 'MAX_LENGTH: u32 = 160', 'MAX_LENGTH: u32 = 32'),
  broken('prefixes are counted in bytes', 'maps/lpm.ts', 'take((MAX_LENGTH + 1) << 2)', 'take(MAX_LENGTH + 1)'),
  broken(
    'Maglev tables are half as large',
    'lib/maglev.ts',
    'take(<usize>capacity * stride)',
    'take(<usize>capacity * (stride >>> 1))',
  ),
  broken(
    'Maglev has one walker too few',
    'lib/maglev.ts',
    'take(<usize>backends * offsetof<Walker>())',
    'take(<usize>(backends - 1) * offsetof<Walker>())',
  ),
  broken('Maglev takes any number of backends', 'lib/maglev.ts', 'if (count > walkerCount) return MapError.E2BIG;', ''),
  broken('there is always a spare Maglev table', 'lib/maglev.ts', 'if (spareCount == 0) return MapError.E2BIG;', ''),
  broken(
    'a walk through a Maglev table does not wrap',
    'lib/maglev.ts',
    'return next >= size ? next - size : next;',
    'return next;',
  ),
];

/** What only some modes do: Geneve, direct server return, sockets, WireGuard, paces, firewalls of nodes, authentication. */
const MODES: readonly Broken[] = [
  broken(
    "Geneve's options may end behind the packet",
    'lib/encap.ts',
    'if (inner > ctx.ipEnd) return -DropReason.NO_TUNNEL_OPTION;',
    '',
  ),
  broken(
    "an option of Geneve's may be longer than all of them",
    'lib/encap.ts',
    ' || data + option.dataLength > end',
    '',
  ),
  broken(
    "Geneve's options end one too late",
    'lib/encap.ts',
    'readOptions(header + GENEVE_LENGTH, inner)',
    'readOptions(header + GENEVE_LENGTH, inner + GENEVE_OPTION_LENGTH)',
  ),
  broken(
    'an IPv6 option is as long as its type says',
    'lib/frontend.ts',
    'length == lengthOf<A>() && load<u16>',
    'load<u16>',
  ),
  broken(
    'every IPv4 header has an option',
    'lib/frontend.ts',
    'length < IPV4_LENGTH + OPTION4_LENGTH || load<u16>',
    'load<u16>',
  ),
  broken(
    'the option in a header leaves a gap in front of it',
    'lib/dsr.ts',
    'ctx.data -= length;\n  ctx.ip -= length;\n  if (isVector<A>()) {',
    'ctx.data -= length + 4;\n  ctx.ip -= length;\n  if (isVector<A>()) {',
  ),
  broken(
    'a header moves with as much as the option is long',
    'lib/dsr.ts',
    'memory.copy(ctx.data - length, ctx.data, ETHERNET_LENGTH + fixed);',
    'memory.copy(ctx.data - length, ctx.data, ETHERNET_LENGTH + fixed + length);',
  ),
  broken(
    'a packet in a packet has no Ethernet header',
    'lib/dsr.ts',
    'memory.copy(ctx.data - length, ctx.data, ETHERNET_LENGTH);',
    '',
  ),
  broken('an outer IPv6 header has no hop limit', 'lib/dsr.ts', 'ip.hopLimit = TTL;', ''),
  broken('an outer IPv4 header has no id', 'lib/dsr.ts', 'ip.id = 0;', ''),
  broken(
    'the packet in a packet is looked for behind it',
    'lib/dsr.ts',
    'const inner = ctx.l4 - ETHERNET_LENGTH;',
    'const inner = ctx.ipEnd;',
  ),
  broken(
    'every packet in a packet is for an endpoint of this node',
    'lib/dsr.ts',
    'if (info === null || endpoint.isHost(info)) return',
    'if (endpoint.isHost(info)) return',
  ),
  broken(
    'every packet in a packet is for a Service',
    'lib/dsr.ts',
    'return found !== null && lb.localTo',
    'return lb.localTo',
  ),
  broken(
    'every backend has a node',
    'lib/dsr.ts',
    'if (remote === null || remote.tunnelEndpoint == 0) return -DropReason.NO_TUNNEL_ENDPOINT;',
    '',
  ),
  broken(
    'every backend may be in the tunnel',
    'lib/delivery.ts',
    'return remote !== null && remote.tunnelEndpoint != 0 && !has',
    'return remote.tunnelEndpoint != 0 && !has',
  ),
  broken(
    'every packet from the network was announced',
    'lib/dsr.ts',
    'const known = opened !== null && (opened',
    'const known = (opened',
  ),
  broken(
    'every reply of direct server return has a mapping',
    'lib/dsr.ts',
    'if (entry !== null) lb.restore',
    'lb.restore',
  ),
  broken(
    'every new connection of a pod came in by the device',
    'lxc.ts',
    'opened === null ? 0 : opened.flags',
    'opened.flags',
  ),
  broken(
    'every address is one that the network knows',
    'netdev.ts',
    'return remote === null || remote.tunnelEndpoint == 0 ? 0 :',
    'return remote.tunnelEndpoint == 0 ? 0 :',
  ),
  broken(
    'pods speak to pods only',
    'lib/masquerade.ts',
    'return remote === null || remote.tunnelEndpoint == 0 ||',
    'return remote.tunnelEndpoint == 0 ||',
  ),
  broken(
    'what leaves a node comes from an endpoint',
    'lib/masquerade.ts',
    'if (sender === null || endpoint.isHost(sender)) return false;',
    'if (endpoint.isHost(sender)) return false;',
  ),
  broken('every socket is an endpoint of ours', 'sock.ts', 'if (own === null || own.policyId', 'if (own.policyId'),
  broken('every socket asks for a Service', 'sock.ts', 'if (service === null) return 0;', ''),
  broken(
    'every node port is taken',
    'sock.ts',
    'return service === null || (service.flags & flag)',
    'return (service.flags & flag)',
  ),
  broken(
    "every address is an endpoint of the socket's node",
    'sock.ts',
    'info !== null && endpoint.isHost(info)',
    'endpoint.isHost(info)',
  ),
  broken('every receiver asked for a Service', 'sock.ts', 'if (asked === null) return end;', ''),
  broken('there is always room for a socket', 'lib/reverse-sk.ts', 'if (at == 0) return false;', ''),
  broken('a message of WireGuard may be cut off', 'lib/wireguard.ts', ' || at + WIREGUARD_LENGTH >= ctx.ipEnd', ''),
  broken(
    'a message of WireGuard may be empty',
    'lib/wireguard.ts',
    'WIREGUARD_LENGTH >= ctx',
    'WIREGUARD_LENGTH > ctx',
  ),
  broken(
    'a later piece has a message of WireGuard',
    'lib/wireguard.ts',
    'ctx.l4 == 0 || at + WIREGUARD_LENGTH',
    'at + WIREGUARD_LENGTH',
  ),
  broken(
    'what was decrypted has its Ethernet header already',
    'lib/wireguard.ts',
    'ethernet.type = <u16>(load<u8>(inner) >>> 4 == 6 ? EtherType.IPV6 : EtherType.IPV4);',
    'ethernet.type = <u16>(load<u8>(ctx.end) >>> 4 == 6 ? EtherType.IPV6 : EtherType.IPV4);',
  ),
  broken(
    "WireGuard's message begins in front of its headers",
    'lib/wireguard.ts',
    'ctx.data = inner - HEADERS;',
    'ctx.data = inner - 2 * HEADERS;',
  ),
  broken(
    'every address has a key',
    'lib/wireguard.ts',
    'return remote !== null && remote.key != 0;',
    'return remote.key != 0;',
  ),
  broken(
    'every pod has its pace',
    'lib/edt.ts',
    'if (info === null || info.bps == 0) return 0;',
    'if (info.bps == 0) return 0;',
  ),
  broken(
    'every destination of a node is an endpoint',
    'netdev.ts',
    'info !== null ? !endpoint.isHost(info) : delivery.isTunnelled(ipcache.lookup<A>(ctx.daddr))',
    '!endpoint.isHost(info)',
  ),
  broken(
    'everybody has authenticated once',
    'lib/auth.ts',
    'return entry !== null && ct.now < entry.expiration',
    'return ct.now < entry.expiration',
  ),
  broken(
    'who must authenticate is in the cluster',
    'lib/auth.ts',
    'if (info !== null && info.tunnelEndpoint != 0)',
    'if (info.tunnelEndpoint != 0)',
  ),
  broken(
    'there are always two entries that match',
    'lib/policy.ts',
    'other === null ? 0 : other.authType',
    'other.authType',
  ),
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

export const BROKEN: readonly Broken[] = [...LENGTHS, ...PLACES, ...ANSWERS, ...MAPS, ...MODES, ...RECORDS];
