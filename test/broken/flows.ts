/** Builds that keep an answer which does not hold any more, or keep it wrongly: what `lib/flow.ts` and those who record for it must not do. */
import type { Broken } from './table.js';
import { wrong } from './wrong.js';

/** Something changes, and what was kept holds on. */
const OUTDATED: readonly Broken[] = [
  wrong(
    'a flow outlives an edit',
    'lib/flow.ts',
    '(turned | (this.generation ^ recording.generation)) == 0',
    'turned == 0',
  ),
  wrong(
    'a flow outlives its connection',
    'lib/flow.ts',
    '(turned | (this.generation ^ recording.generation)) == 0',
    'this.generation == recording.generation',
  ),
  wrong(
    "a flow outlives its second tuple's connection",
    'lib/flow.ts',
    ' | (load<u32>(this.tuple1) ^ this.count1)',
    '',
  ),
  wrong(
    'nobody hears of a new connection',
    'lib/conntrack.ts',
    'if (at == 0) return -DropReason.CT_CREATE_FAILED;\n  tuple.leaves(home);',
    'if (at == 0) return -DropReason.CT_CREATE_FAILED;',
  ),
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
    'lib/flow.ts',
    '(TcpFlag.SYN | TcpFlag.FIN',
    '(TcpFlag.FIN',
  ),
  wrong(
    'a packet that closes a connection follows its flow',
    'lib/flow.ts',
    'TcpFlag.FIN | TcpFlag.RST',
    'TcpFlag.RST',
  ),
  wrong('a packet with too few hops follows its flow', 'lib/flow.ts', ' || hops <= <u32>flow.hops', ''),
  wrong('a packet that is too long follows its flow', 'lib/flow.ts', ' || total > <u32>flow.longest', ''),
  wrong(
    'a piece follows its flow',
    'lib/flow.ts',
    'header.versionIhl != 0x45 || header.isFragment',
    'header.versionIhl != 0x45',
  ),
  wrong('a flow goes to every address', 'lib/flow.ts', '      this.daddr == daddrOf<A>(ip) &&\n', ''),
];

/** What an answer depends on is not said. */
const UNSAID: readonly Broken[] = [
  wrong(
    'an answer that creates is kept',
    'lib/conntrack.ts',
    '  recording.spoil();\n  const tuple = tupleOf<A>(ctx, direction);',
    '  const tuple = tupleOf<A>(ctx, direction);',
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
  wrong('a followed packet counts no bytes', 'lib/conntrack.ts', 'entry.bytes += length;', ''),
  wrong('a followed packet keeps its ports', 'lib/flow.ts', 'changetype<Ports>(transport).both = flow.newPorts;', ''),
  wrong(
    'a followed packet keeps its hardware addresses',
    'lib/flow.ts',
    'flow.addressed = recording.isAddressed;',
    'flow.addressed = false;',
  ),
  wrong(
    'a followed packet keeps its checksum',
    'lib/flow.ts',
    'header.checksum = <u16>add(header.checksum, flow.ipChange);',
    '',
  ),
  wrong(
    "UDP's zero becomes a checksum on the way",
    'lib/flow.ts',
    'header.checksum != 0 && flow.l4Change != 0',
    'flow.l4Change != 0',
  ),
  wrong('a checksum that comes out as zero stays so', 'lib/flow.ts', 'sum == 0 ? 0xffff : sum', 'sum'),
  wrong(
    'a sum that is not rewritten is normalised',
    'lib/flow.ts',
    '  } else flow.l4Change = 0;',
    '  } else flow.l4Change = 0xffff;',
  ),
];

/** What the reference cannot see: it counts no packets of nodes, and its maps are never full. */
export const UNSEEN: readonly Broken[] = [
  wrong('a followed packet is in no metric', 'lib/flow.ts', '  metrics.add(flow.metric, length);\n', ''),
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
    'if (connections<A>().staleness(entry) != 0) connections<A>().renew(entry);\n  entry.packets++;',
    'entry.packets++;',
  ),
];

export const FLOWS: readonly Broken[] = [...OUTDATED, ...CONFUSED, ...UNSAID, ...MISDONE];
