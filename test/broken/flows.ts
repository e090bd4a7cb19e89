/**
 * Builds that keep an answer which does not hold any more, or keep it wrongly: what `lib/flow.ts`, `lib/opening.ts` and those who
 * record for them must not do.
 */
import type { Broken } from './table.js';
import { wrong } from './wrong.js';

/** Something changes, and what was kept holds on. */
const OUTDATED: readonly Broken[] = [
  wrong(
    'what is kept outlives an edit',
    'lib/outcome.ts',
    'return this.generation == recording.generation;',
    'return this.generation != 0;',
  ),
  wrong('a second does not end the turn', 'lib/conntrack.ts', '  if (seconds != now) endTurn();\n', ''),
  wrong('an edit does not end the turn', 'lib/recording.ts', '  endTurn();\n', ''),
  wrong('a flow outlives its connection', 'lib/flow.ts', '    flow.generation = 0;\n    flow.turn = 0;\n', ''),
  wrong('a flow outlives its connection for a turn', 'lib/flow.ts', '    flow.turn = 0;\n', ''),
  wrong(
    "a flow outlives its second tuple's connection",
    'lib/following.ts',
    'i < recording.groupCount;',
    'i < min<u32>(recording.groupCount, 1);',
  ),
  wrong('nobody hears of a new connection', 'lib/conntrack.ts', '  tuple.changedAt(home);\n', ''),
  wrong(
    'nobody hears of a connection that opens or closes',
    'lib/conntrack.ts',
    'if ((flags & REPORTED) != 0) connections<A>().keyOf(entry).changed();',
    '',
  ),
  wrong(
    'nobody hears of a new mapping',
    'lib/nat.ts',
    'if (entry === null) return entry;\n  tuple.changed();',
    'if (entry === null) return entry;',
  ),
];

/** Packets that fare otherwise follow the flow all the same. */
const CONFUSED: readonly Broken[] = [
  wrong(
    'a packet that opens a connection follows its flow',
    'lib/following.ts',
    '(TcpFlag.SYN | TcpFlag.FIN',
    '(TcpFlag.FIN',
  ),
  wrong(
    'a packet that closes a connection follows its flow',
    'lib/following.ts',
    'TcpFlag.FIN | TcpFlag.RST',
    'TcpFlag.RST',
  ),
  wrong('a packet with too few hops follows its flow', 'lib/outcome.ts', ' && hops > <u32>this.hops', ''),
  wrong('a packet that is too long follows its flow', 'lib/outcome.ts', 'total <= <u32>this.longest && ', ''),
  wrong(
    'a piece follows its flow',
    'lib/outcome.ts',
    'header.versionIhl != 0x45 || header.isFragment',
    'header.versionIhl != 0x45',
  ),
];

/** What an answer depends on is not said. */
const UNSAID: readonly Broken[] = [
  wrong(
    'an answer that creates is kept',
    'lib/recording.ts',
    'if (!isOpening || creations == MAX_CREATIONS) return spoil();',
    'if (creations == MAX_CREATIONS) return spoil();',
  ),
  wrong('an answer that paces is kept', 'lib/edt.ts', 'recording.spoil();', ''),
  wrong(
    'an answer for want of hops is kept',
    'lib/delivery.ts',
    'function expired(): i32 {\n  recording.spoil();',
    'function expired(): i32 {',
  ),
  wrong('an answer for a long packet is kept', 'lib/delivery.ts', 'recording.fits(mtu);', ''),
  wrong("an answer to a stranger's tunnel is kept", 'lib/encap.ts', 'if (ctx.outerDaddr == 0) recording.spoil();', ''),
  wrong(
    'connections that were looked up are not asked for',
    'lib/conntrack.ts',
    '    if (recording.isOn) asked<A>(home);\n',
    '',
  ),
];

/** What was kept is done wrongly. */
const MISDONE: readonly Broken[] = [
  wrong(
    'a followed packet lives on for a second less',
    'lib/conntrack.ts',
    'entry.lifetime = now + seconds;\n}\n\n/**\n * A connection that is used',
    'entry.lifetime = now + seconds - 1;\n}\n\n/**\n * A connection that is used',
  ),
  wrong(
    'a followed packet counts no bytes',
    'lib/flow.ts',
    'this.untold += PACKET | (<u64>length);',
    'this.untold += PACKET;',
  ),
  wrong('what a flow counted goes with it', 'lib/flow.ts', '  flow.tell();\n  for (let number', '  for (let number'),
  wrong(
    'the host sees a connection before its flows told it',
    'registry.ts',
    'if (op == MapOp.LOOKUP || op == MapOp.UPDATE) changetype<CtTuple<A>>(a).settle();',
    '',
  ),
  wrong('a followed packet keeps its ports', 'lib/outcome.ts', 'changetype<Ports>(transport).both = ports;', ''),
  wrong(
    'a followed packet keeps its hardware addresses',
    'lib/outcome.ts',
    'this.addressed = recording.isAddressed;',
    'this.addressed = false;',
  ),
  wrong(
    'a followed packet keeps its checksum',
    'lib/outcome.ts',
    'header.checksum = <u16>add(header.checksum, this.ipChange);',
    '',
  ),
  wrong(
    "UDP's zero becomes a checksum on the way",
    'lib/outcome.ts',
    'header.checksum != 0 && this.l4Change != 0',
    'this.l4Change != 0',
  ),
];

/** Connections are opened as others were that are not like them, or not as they were. */
const OPENED: readonly Broken[] = [
  wrong(
    'nobody looks for connections whose group was full',
    'maps/lru.ts',
    'return group.isOverflown || group.withTagIn',
    'return group.withTagIn',
  ),
  wrong(
    'an opening is for any port of its client',
    'lib/opening.ts',
    ' || !ct.isClients(opening.newPorts | sport)',
    '',
  ),
  wrong('an opening from a low port is kept', 'lib/nat.ts', '  recording.dependsOnPort();\n', ''),
  wrong(
    'a connection that is known is opened again',
    'lib/opening.ts',
    'if (ct.connections<A>().mayKnow(home) || (opening',
    'if ((opening',
  ),
  wrong(
    'all connections are opened under the first tuple',
    'lib/recording.ts',
    'creation.marks = (rewritings != 0 ? REWRITTEN : 0)',
    'creation.marks = 0',
  ),
  wrong('no connection that is opened has a backend', 'lib/recording.ts', '(backendId != 0 ? LENT : 0)', '0'),
  wrong('connections are opened without their marks', 'lib/recording.ts', 'creation.flags = <u16>flags;', ''),
  wrong(
    'a client that opens leaves its port as it was',
    'lib/opening.ts',
    'opening.newPorts | sport);',
    'opening.newPorts);',
  ),
];

/** What the reference cannot see: it counts no packets of nodes, and its maps are never full. */
export const UNSEEN: readonly Broken[] = [
  wrong('a followed packet is in no metric', 'lib/outcome.ts', '    metrics.add(this.metric, packet.length);\n', ''),
  wrong('nobody hears of an entry that goes', 'maps/lru.ts', 'key.leaves(home);', ''),
  wrong(
    'nobody hears of an answer',
    'lib/conntrack.ts',
    'entry.replied = 1;\n  connections<A>().keyOf(entry).changed();',
    'entry.replied = 1;',
  ),
  wrong(
    'a followed packet does not save its connection',
    'lib/conntrack.ts',
    'connections<A>().use(entry);\n  entry.lifetime',
    'entry.lifetime',
  ),
  wrong('an epoch does not end the turn', 'maps/lru.ts', '    endTurn();\n', ''),
  wrong(
    'a followed packet does not save its mapping',
    'lib/following.ts',
    'for (let i = connections; i < entries; i++) nat',
    'for (let i = entries; i < entries; i++) nat',
  ),
];

/** Openings that are alike and are not: `test/assembly/openings.test.ts`. */
export const ALIKE: readonly Broken[] = [
  wrong(
    'an opening that comes back to its sender is kept',
    'lib/opening.ts',
    ' || opening.newSaddr != opening.saddr) return;',
    ') return;',
  ),
  wrong(
    'an opening asks for no mapping',
    'lib/opening.ts',
    ' || (opening.asksMappings && nat.mappings<A>().mayKnow(home))',
    '',
  ),
];

/** Packets that few flows have: `test/assembly/flows.test.ts`. */
export const RARE: readonly Broken[] = [
  wrong(
    'a flow goes to every address',
    'lib/outcome.ts',
    "load<u64>(changetype<usize>(this)) == load<u64>(ip, offsetof<Ipv4>('saddr'))",
    "load<u32>(changetype<usize>(this)) == load<u32>(ip, offsetof<Ipv4>('saddr'))",
  ),
  wrong('a checksum that comes out as zero stays so', 'lib/outcome.ts', 'sum == 0 ? 0xffff : sum', 'sum'),
  wrong(
    'a sum that is not rewritten is normalised',
    'lib/outcome.ts',
    '    } else this.l4Change = 0;',
    '    } else this.l4Change = 0xffff;',
  ),
];

/** Who answers himself: likewise. */
export const ANSWERED = wrong(
  'the first answer is kept',
  'lib/conntrack.ts',
  '  recording.spoil();\n  entry.replied = 1;',
  '  entry.replied = 1;',
);

/** Who is recorded: likewise. */
export const RECORDED: Broken = {
  name: 'a look-up is recorded before flows told',
  build: 'trace',
  file: 'lib/conntrack.ts',
  from: '    if (trace.isEnabled()) this.settleAt(home);\n',
  to: '',
};

/** A flow of many packets: likewise. */
export const FORGETFUL: readonly Broken[] = [
  wrong(
    'a flow tells nobody before it can count no more',
    'lib/flow.ts',
    '    if (<i64>this.untold < 0) this.tell();\n',
    '',
  ),
];

export const FLOWS: readonly Broken[] = [...OUTDATED, ...CONFUSED, ...UNSAID, ...MISDONE, ...OPENED];
