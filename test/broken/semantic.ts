/**
 * Builds that do something wrong with packets, each one fragment of a source and what stands in its place: no access to memory
 * is amiss in them, and only the reference can tell. `npm run differential:broken` runs them all.
 */
import { FLOWS } from './flows.js';
import { MODES } from './modes.js';
import type { Broken } from './table.js';
import { wrong } from './wrong.js';

const READING: readonly Broken[] = [
  wrong('five IPv6 extension headers are read', 'wire/ipv6.ts', 'MAX_EXTENSIONS: u32 = 4', 'MAX_EXTENSIONS: u32 = 5'),
  wrong(
    'an authentication header is one word shorter',
    'wire/ipv6.ts',
    '<u32>this.length + 2) << 2',
    '<u32>this.length + 1) << 2',
  ),
  wrong(
    'the first piece must have all that UDP claims',
    'lib/parse.ts',
    'available, ctx.fragmented == Fragmented.NOT)',
    'available, true)',
  ),
  wrong(
    'an echo reply has its id at the source',
    'lib/parse.ts',
    'isEchoReply<A>(type) ? id << 16 : 0',
    'isEchoReply<A>(type) ? id : 0',
  ),
  wrong('pieces are told apart without their id', 'lib/fragments.ts', 'key.id = ctx.fragmentId;', 'key.id = 0;'),
  wrong(
    'pieces are told apart without their protocol',
    'lib/fragments.ts',
    'key.proto = <u8>ctx.protocol;',
    'key.proto = 0;',
  ),
  wrong('pieces of all nodes are one', 'lib/fragments.ts', 'key.node = <u16>ctx.node;', 'key.node = 0;'),
];

const REWRITING: readonly Broken[] = [
  wrong('a checksum takes the old word in twice', 'wire/checksum.ts', 'const old = ~before;', 'const old = before;'),
  wrong("UDP's zero becomes a checksum", 'lib/rewrite.ts', 'if (optional && before == 0) return;', ''),
  wrong(
    "an ICMPv6 checksum forgets its pseudo header's protocol",
    'lib/rewrite.ts',
    ' + checksum.word(ctx.protocol)',
    '',
  ),
  wrong(
    'an echo reply takes its id from the other side',
    'lib/rewrite.ts',
    'isEchoReply<A>(message.type) ? after >>> 16 : after',
    'after',
  ),
  wrong('the TTL stays', 'lib/delivery.ts', 'ip.ttl = ttl - 1;', ''),
  wrong('the hop limit stays', 'lib/delivery.ts', 'ip.hopLimit--;', ''),
  wrong('a TTL of one is enough for a router', 'lib/delivery.ts', 'if (ttl <= 1)', 'if (ttl < 1)'),
  wrong(
    'the hardware addresses stay',
    'lib/delivery.ts',
    'changetype<Ethernet>(ctx.data).setAddresses(config.mac, config.nodeMac);',
    '',
  ),
];

const TRACKING: readonly Broken[] = [
  wrong(
    'a reply has the ports of the request',
    'lib/conntrack.ts',
    'rotl(ctx.ports, 16), ctx.protocol, direction',
    'ctx.ports, ctx.protocol, direction',
  ),
  wrong('a TCP connection lives a second longer', 'abi.ts', 'TCP = 8000,', 'TCP = 8001,'),
  wrong('a closed connection lives a second longer', 'abi.ts', 'CLOSE = 10,', 'CLOSE = 11,'),
  wrong("a Service's flow is closed one way", 'lib/conntrack.ts', 'direction == CtDirection.SERVICE || ', ''),
  wrong(
    'a reset closes both ways',
    'lib/conntrack.ts',
    '(flags & TcpFlag.RST) != 0 && !this.hasSeenBothSyns',
    '(flags & TcpFlag.RST) != 0',
  ),
  wrong(
    'a SYN goes on with what was closing',
    'lib/conntrack.ts',
    'const isOpening = (flags & (REPORTED | TcpFlag.ACK)) == TcpFlag.SYN;',
    'const isOpening = false;',
  ),
  wrong(
    'whatever opens a connection does so with its own flags',
    'lib/conntrack.ts',
    'tuple.nexthdr == <u8>IpProto.TCP ? TcpFlag.SYN : 0, tuple.flags',
    'tuple.nexthdr == <u8>IpProto.TCP ? TcpFlag.ACK : 0, tuple.flags',
  ),
  wrong('connections of all nodes are one', 'lib/conntrack.ts', ' | (node << 16));', ');'),
  wrong(
    'an error belongs to whatever it quotes',
    'lib/conntrack.ts',
    'if (ctx.daddr != ctx.quotedSaddr) return CtStatus.NEW;',
    '',
  ),
  wrong('a reply knows nothing of its Service', 'lib/conntrack.ts', 'ctx.revNatIndex = entry.revNatIndex;', ''),
];

const SERVICES: readonly Broken[] = [
  wrong(
    'nobody is looped back',
    'lib/lb.ts',
    'ctx.loopback = ctx.saddr == backend.address && mayLoop<A>(ctx);',
    'ctx.loopback = false;',
  ),
  wrong(
    'affinity lasts a second too long',
    'lib/affinity.ts',
    'value.lastUsed + timeout <= ct.now',
    'value.lastUsed + timeout < ct.now',
  ),
  wrong(
    'affinity counts from its first packet',
    'lib/lb.ts',
    'if (isSticky(service)) affinity.remember<A>(ctx.saddr, 0, revNatIndex, ctx.backendId);',
    '',
  ),
  wrong('Maglev looks at the port of sticky clients', 'lib/maglev.ts', '(affinity ? 0 : ctx.sport)', 'ctx.sport'),
  wrong('the hash starts from two words', 'lib/jhash.ts', '(3 << 2)', '(2 << 2)'),
  wrong('the hash of IPv6 leaves out a word', 'lib/jhash.ts', 'a += i32x4.extract_lane(address, 3);', ''),
  wrong(
    'source ranges keep out whom they should let in',
    'lib/lb.ts',
    '(range !== null) != (',
    '(range !== null) == (',
  ),
  wrong(
    'traffic policies are not looked at',
    'lib/lb.ts',
    'if (!isLocal(service, external)) return service;',
    'if (service !== null) return service;',
  ),
  wrong(
    'new flows begin on backends that come to their end',
    'lib/lb.ts',
    'backend.state != <u8>BackendState.ACTIVE && (ctx.tcpFlags',
    'backend.state > <u8>BackendState.MAINTENANCE && (ctx.tcpFlags',
  ),
  wrong(
    'a Service within answers outside',
    'netdev.ts',
    'if ((found.flags & SvcFlag.ROUTABLE) == 0) return -DropReason.IS_CLUSTER_IP;',
    '',
  ),
  wrong(
    'an error is answered by an error',
    'lib/icmp.ts',
    ' && !(ctx.protocol == icmpOf<A>() && isError<A>(ctx.icmpType))',
    '',
  ),
  wrong(
    'an error about a request quotes the backend',
    'lib/lb.ts',
    'rewrite.quoted<A>(ctx, looped ? pod : ctx.quotedSaddr, address, (ctx.quotedPorts & 0xffff) | (port << 16));',
    '',
  ),
  wrong(
    "an error about a Service's reply quotes the frontend",
    'lib/lb.ts',
    'rewrite.quoted<A>(ctx, backend.address, ctx.quotedDaddr, ports);',
    '',
  ),
  wrong(
    'who answers to outside keeps its address',
    'lxc.ts',
    '      lb.reverse<A>(ctx);\n    } else if (ctx.dsr)',
    '    } else if (ctx.dsr)',
  ),
];

const NAT: readonly Broken[] = [
  wrong('no flow keeps its port', 'lib/nat.ts', 'kept ? own - NAT_PORT_MIN : hashed', 'hashed'),
  wrong(
    'ports are given away twice',
    'lib/nat.ts',
    'if (mappings<A>().lookup(incoming) === null) return port;',
    'return port;',
  ),
  wrong('replies go in the name of the node', 'lib/masquerade.ts', 'if (ctx.ctStatus == CtStatus.REPLY || (', 'if (('),
  wrong(
    'an error about what went out quotes the node',
    'lib/nat.ts',
    'rewrite.quoted<A>(ctx, entry.address, ctx.quotedDaddr, (ctx.quotedPorts & 0xffff0000) | entry.port);',
    '',
  ),
  wrong(
    'echoes in pieces go out',
    'lib/nat.ts',
    'if (ctx.protocol == icmpOf<A>() && ctx.fragmented != Fragmented.NOT) return -DropReason.INVALID;',
    '',
  ),
  wrong('nobody knows when a port was taken', 'lib/nat.ts', 'entry.created = ct.now;', 'entry.created = 0;'),
  wrong(
    'a client outside is known by its address also on the other node',
    'netdev.ts',
    'ctx.sourceIdentity = ipcache.worldOf<A>();',
    '',
  ),
];

const POLICY: readonly Broken[] = [
  wrong('who allows wins over who denies', 'lib/policy.ts', 'return l3.deny != 0;', 'return l3.deny == 0;'),
  wrong('a type of ICMP is looked up as a port', 'lib/policy.ts', 'dport = ctx.icmpType << 8;', 'dport = ctx.dport;'),
  wrong(
    '"fragmentation needed" is like any other',
    'lib/policy.ts',
    'if (isFragNeeded<A>(ctx)) return decided<A>(ctx, direction, match, 0, 0);',
    '',
  ),
  wrong('nobody is asked for a pod that sends', 'lxc.ts', 'if (!back && !looped) {', 'if (false) {'),
  wrong('any source address will do', 'lxc.ts', 'ctx.saddr != own.address<A>() || ', ''),
  wrong('pods may speak in tunnels', 'lxc.ts', 'encap.isTunnel<A>(ctx) && (', 'false && ('),
  wrong(
    'shorter prefixes come first',
    'maps/lpm.ts',
    'let l: i32 = MAX_LENGTH; l >= 0; l--',
    'let l: u32 = 0; l <= MAX_LENGTH; l++',
  ),
];

const TUNNEL: readonly Broken[] = [
  wrong(
    'the host keeps its identity in the tunnel',
    'lib/encap.ts',
    'identity == ReservedIdentity.HOST ? ReservedIdentity.REMOTE_NODE : identity',
    'identity',
  ),
  wrong(
    'anybody may say that it is the host',
    'lib/encap.ts',
    'if (vni == ReservedIdentity.HOST) return -DropReason.INVALID_IDENTITY;',
    '',
  ),
  wrong(
    'tunnels take half the source ports',
    'lib/encap.ts',
    'SOURCE_PORT_MASK: u32 = 0x3fff',
    'SOURCE_PORT_MASK: u32 = 0x1fff',
  ),
  wrong('padding goes on behind the tunnel', 'lib/encap.ts', 'ctx.end = ctx.ipEnd;', ''),
  wrong(
    'the outer headers count as free',
    'lib/delivery.ts',
    'const mtu = config.mtu - TUNNEL_OVERHEAD;',
    'const mtu = config.mtu;',
  ),
  wrong('an error quotes eight bytes more', 'lib/icmp.ts', 'QUOTE4: u32 = 64', 'QUOTE4: u32 = 72'),
];

export const SEMANTIC: readonly Broken[] = [
  ...READING,
  ...REWRITING,
  ...TRACKING,
  ...SERVICES,
  ...NAT,
  ...POLICY,
  ...TUNNEL,
  ...MODES,
  ...FLOWS,
];
