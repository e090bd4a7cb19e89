/**
 * The datapath's wasm with a check before every access to memory, compiled in so that millions of packets a minute pass it.
 *
 * Binaryen's pass `instrument-memory` puts a call in front of each load and store. Those calls are imports there; here they
 * are functions of the same module, over a shadow memory with one byte for each byte of the datapath's:
 *
 *   0        STATIC_BASE                       arena                   CONTROL       SHADOW                2 * SHADOW
 *   +--------+-------------+-------+----------+-------+----------+-----+-------------+---------------------+
 *   | null   | static data | guard | region 1 | guard | region 2 | ... | words, see  | what may be done    |
 *   |        |             |       |          |       |          |     | `Control`   | with each byte      |
 *   +--------+-------------+-------+----------+-------+----------+-----+-------------+---------------------+
 *
 * The regions are those that `arena.take` hands out, known by its writes to the arena's top, to the byte and with a guard
 * behind each; only where static data ends is known to 64 bytes. The packet in hand is known by its record: the datapath takes the batch's records in order, so that the first
 * touch of the next record closes the last packet's bytes and opens the next one's.
 */
import binaryen from 'binaryen';
import { PACKET_HEADROOM, PACKET_ROOM } from '../../assembly/abi.js';

/** What may be done with a byte, as it stands in the shadow. */
export const enum May {
  NOTHING = 0,
  READ = 1,
  WRITE = 2,
  /** Writing it makes it readable: the headroom, which holds nothing before. */
  OPENS = 4,
  /** Reading and writing. */
  ALL = 3,
}

/** Where the shadow begins, and so how far the datapath's own memory may reach. */
export const SHADOW = 32 << 20;
/** The harness's words, right below the shadow. */
export const CONTROL = SHADOW - (1 << 17);
/** AssemblyScript puts static data from here on, so that small addresses are null ones. */
export const STATIC_BASE = 1024;
/** Bytes behind each region that belong to nobody. */
export const GUARD = 4096;

/** Words from `CONTROL` on. */
export const enum Control {
  /** Address of the batch's records, bytes of one, and of the batch's frames. */
  RECORDS,
  RECORD_SIZE,
  FRAMES,
  /** Packets in the batch, and the one in hand: -1 for none. */
  COUNT,
  CURRENT,
  /** The access that was refused: 0, or its number among the loads or the stores plus 1; address, bytes, 1 for a store. */
  REFUSED,
  ADDRESS,
  BYTES,
  STORES,
  /** Accesses checked so far: 64 bits. */
  ACCESSES,
  /** From here on the first byte of each packet and one past its last. */
  LIMITS = 16,
}

/** From here on what was allowed in the headroom of each packet that is done: which of it was written. */
export const HEADROOMS = CONTROL + 4096;

/** What `memory.copy` and `memory.fill` are numbered. */
export const BULK = 0xffffff;

const word = (index: Control): string => `(i32.load offset=${CONTROL + 4 * index} (i32.const 0))`;
const setWord = (index: Control, value: string): string =>
  `(i32.store offset=${CONTROL + 4 * index} (i32.const 0) ${value})`;
const count = `(i64.store offset=${CONTROL + 4 * Control.ACCESSES} (i32.const 0)
  (i64.add (i64.load offset=${CONTROL + 4 * Control.ACCESSES} (i32.const 0)) (i64.const 1)))`;

/** The same bits in each byte of a word of so many bytes. */
const each = (bits: number, bytes: number): string => `0x${bits.toString(16).padStart(2, '0').repeat(bytes)}`;

/** How the shadow of an access of each width is read: the type and the load. */
const WIDTHS: readonly (readonly [bytes: number, type: string, load: string, store: string])[] = [
  [1, 'i32', 'i32.load8_u', 'i32.store8'],
  [2, 'i32', 'i32.load16_u', 'i32.store16'],
  [4, 'i32', 'i32.load', 'i32.store'],
  [8, 'i64', 'i64.load', 'i64.store'],
];

/** Before a load or store of `bytes` at `pointer + offset`; hands the pointer on. The address wraps only where the access itself traps. */
function hooks([bytes, type, load, store]: (typeof WIDTHS)[number]): string {
  const all = (bits: May): string => `(${type}.const ${each(bits, bytes)})`;
  const refuse = (stores: 0 | 1): string =>
    `(call $refuse (local.get $id) (i32.const ${bytes}) (local.get $at) (i32.const ${stores}))`;
  const frame = (name: string, body: string): string => `
(func $${name}_ptr_${bytes} (param $id i32) (param $offset i32) (param $pointer i32) (result i32)
  (local $at i32) (local $may ${type})
  ${count}
  (local.set $at (i32.add (local.get $pointer) (local.get $offset)))
  ${body}
  (local.get $pointer))`;
  const may = `(local.tee $may (${load} offset=${SHADOW} (local.get $at)))`;
  const refused = (bits: May): string => `(${type}.ne (${type}.and ${may} ${all(bits)}) ${all(bits)})`;
  return `${frame('load', `(if ${refused(May.READ)} (then ${refuse(0)}))`)}
${frame(
  'store',
  `(if ${refused(May.WRITE)} (then ${refuse(1)}))
  (if (${type}.ne (${type}.and (local.get $may) ${all(May.OPENS)}) (${type}.const 0)) (then
    (${store} offset=${SHADOW} (local.get $at) (${type}.or (local.get $may)
      (${type}.shr_u (${type}.and (local.get $may) ${all(May.OPENS)}) (${type}.const 2))))))`,
)}`;
}

/** Sixteen bytes are two times eight. */
const wideHook = (name: 'load' | 'store'): string => `
(func $${name}_ptr_16 (param $id i32) (param $offset i32) (param $pointer i32) (result i32)
  (drop (call $${name}_ptr_8 (local.get $id) (local.get $offset) (local.get $pointer)))
  (drop (call $${name}_ptr_8 (local.get $id) (i32.add (local.get $offset) (i32.const 8)) (local.get $pointer)))
  (local.get $pointer))`;

/** Each byte of a `memory.copy` or `memory.fill` is an access. */
const everyByte = (name: 'load' | 'store', start: string): string => `
  (local.set $i (i32.const 0))
  (block $done (loop $bytes
    (br_if $done (i32.ge_u (local.get $i) (local.get $length)))
    (drop (call $${name}_ptr_1 (i32.const ${BULK}) (local.get $i) (local.get ${start})))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br $bytes)))`;

const open = (start: string, length: string, may: number): string =>
  `(memory.fill (i32.add ${start} (i32.const ${SHADOW})) (i32.const ${may}) ${length})`;
const record = (index: string): string =>
  `(i32.add ${word(Control.RECORDS)} (i32.mul ${index} ${word(Control.RECORD_SIZE)}))`;
const room = (index: string): string =>
  `(i32.add ${word(Control.FRAMES)} (i32.mul ${index} (i32.const ${PACKET_ROOM})))`;
const limit = (at: number): string =>
  `(i32.load offset=${CONTROL + 4 * Control.LIMITS + at} (i32.shl (local.get $next) (i32.const 3)))`;

const RUNTIME = `
${WIDTHS.map(hooks).join('\n')}
${wideHook('load')}
${wideHook('store')}
(func $memory_copy (param $to i32) (param $from i32) (param $length i32) (local $i i32)
  ${everyByte('load', '$from')}
  ${everyByte('store', '$to')}
  (memory.copy (local.get $to) (local.get $from) (local.get $length)))
(func $memory_fill (param $to i32) (param $value i32) (param $length i32) (local $i i32)
  ${everyByte('store', '$to')}
  (memory.fill (local.get $to) (local.get $value) (local.get $length)))

;; An access that the shadow does not allow: it takes the next packet's record in hand, or it is a violation.
(func $refuse (param $id i32) (param $bytes i32) (param $at i32) (param $stores i32)
  (if (call $advance (local.get $at) (local.get $bytes)) (then (return)))
  ${setWord(Control.REFUSED, '(i32.add (local.get $id) (i32.const 1))')}
  ${setWord(Control.ADDRESS, '(local.get $at)')}
  ${setWord(Control.BYTES, '(local.get $bytes)')}
  ${setWord(Control.STORES, '(local.get $stores)')}
  (unreachable))

(func $advance (param $at i32) (param $bytes i32) (result i32)
  (local $next i32) (local $record i32) (local $start i32)
  (local.set $next (i32.add ${word(Control.CURRENT)} (i32.const 1)))
  (if (i32.ge_u (local.get $next) ${word(Control.COUNT)}) (then (return (i32.const 0))))
  (local.set $record ${record('(local.get $next)')})
  (if (i32.or (i32.lt_u (local.get $at) (local.get $record))
      (i32.gt_u (i32.add (local.get $at) (local.get $bytes)) (i32.add (local.get $record) ${word(Control.RECORD_SIZE)})))
    (then (return (i32.const 0))))
  (if (local.get $next) (then
    (memory.copy
      (i32.add (i32.const ${HEADROOMS}) (i32.mul ${word(Control.CURRENT)} (i32.const ${PACKET_HEADROOM})))
      (i32.add ${room(word(Control.CURRENT))} (i32.const ${SHADOW})) (i32.const ${PACKET_HEADROOM}))
    ${open(record(word(Control.CURRENT)), word(Control.RECORD_SIZE), May.NOTHING)}
    ${open(room(word(Control.CURRENT)), `(i32.const ${PACKET_ROOM})`, May.NOTHING)}))
  ${setWord(Control.CURRENT, '(local.get $next)')}
  ${open('(local.get $record)', word(Control.RECORD_SIZE), May.ALL)}
  (local.set $start ${limit(0)})
  ${open(`(i32.sub (local.get $start) (i32.const ${PACKET_HEADROOM}))`, `(i32.const ${PACKET_HEADROOM})`, May.WRITE | May.OPENS)}
  ${open('(local.get $start)', `(i32.sub ${limit(4)} (local.get $start))`, May.ALL)}
  (i32.const 1))`;

/** `arena.take` moves its top to `(end + 63) & ~63`: what lies between the old top and `end` is a region. */
const take = (top: string): string => `
(func $take (param $end i32) (param $mask i32) (result i32)
  (local $start i32)
  (local.set $start (global.get ${top}))
  (local.set $end (i32.sub (local.get $end) (i32.const 63)))
  (if (i32.gt_u (local.get $end) (i32.const ${CONTROL - GUARD})) (then (unreachable)))
  (if (local.get $start) (then
    ${open('(local.get $start)', '(i32.sub (local.get $end) (local.get $start))', May.ALL)}))
  (i32.and (i32.add (local.get $end) (i32.const ${63 + GUARD})) (local.get $mask)))`;

/** What the datapath is compiled with, and no more: later features change how types are written. */
const { Features } = binaryen;
const FEATURES =
  Features.MutableGlobals |
  Features.NontrappingFPToInt |
  Features.SIMD128 |
  Features.BulkMemory |
  Features.BulkMemoryOpt |
  Features.SignExt;

/** Instrumented, from the bytes of a build. `optimize` takes seconds more and gains a factor of two. */
export function instrument(wasm: Uint8Array, optimize: boolean): WebAssembly.Module {
  const plain = binaryen.readBinary(wasm);
  plain.setFeatures(FEATURES);
  plain.runPasses(['instrument-memory']);
  const text = plain.emitText();
  plain.dispose();
  const linked = binaryen.parseText(link(text));
  linked.setFeatures(FEATURES);
  if (optimize) {
    binaryen.setOptimizeLevel(2);
    binaryen.setShrinkLevel(0);
    binaryen.setAlwaysInlineMaxSize(60);
    binaryen.setFlexibleInlineMaxSize(60);
    binaryen.setOneCallerInlineMaxSize(60);
    linked.optimize();
  }
  binaryen.setDebugInfo(true);
  const bytes = linked.emitBinary();
  linked.dispose();
  return new WebAssembly.Module(new Uint8Array(bytes));
}

/** Hands on what was loaded, is stored, or is grown by. */
const IDENTITIES = ['i32', 'i64', 'f32', 'f64']
  .flatMap((type) => [`load_val_${type}`, `store_val_${type}`].map((name) => [name, type] as const))
  .concat([
    ['memory_grow_pre', 'i32'],
    ['memory_grow_post', 'i32'],
  ])
  .map(([name, type]) => `(func $${name} (param i32 ${type}) (result ${type}) (local.get 1))`)
  .join('\n');

const PAGES = (2 * SHADOW) >>> 16;

/** The pass's imports become the functions above, bulk operations and the arena are checked too, and the shadow gets its memory. */
function link(text: string): string {
  const used = found(text, /\(export "memoryUsed" \(func (\S+)\)\)/);
  const top = found(text.slice(text.indexOf(`(func ${used} `)), /\(global\.get (\S+)\)/);
  const setTop = `\\(global\\.set ${top.replaceAll('$', '\\$')}\\s+`;
  // The first call sets the top to where static data ends: a constant, unless nothing was optimised.
  const constant = new RegExp(`(${setTop}\\(i32\\.const )(\\d+)\\)`, 'g');
  const heapBase = /\(global \S*__heap_base i32 \(i32\.const (\d+)\)\)/.exec(text)?.[1] ?? constant.exec(text)?.[2];
  if (heapBase === undefined) throw new Error('where static data ends is not to be found');
  const replacements: readonly (readonly [from: RegExp, to: string | ((...groups: string[]) => string)])[] = [
    [/^ \(import "env" [^\n]*\n/gm, ''],
    [/\(call \$(load|store)_ptr\s+\(i32\.const (\d+)\)\s+\(i32\.const (\d+)\)/g, '(call $$$1_ptr_$3 (i32.const $2)'],
    [/\(memory\.(copy|fill)\b/g, '(call $$memory_$1'],
    [constant, (_, set, end) => `${set}${Number(end) + GUARD})`],
    [new RegExp(`(${setTop})\\(i32\\.and\\b`, 'g'), '$1(call $$take'],
    [/^ \(memory (\S+) \d+[^\n]*\)\n/gm, ` (memory $1 ${PAGES} ${PAGES})\n`],
  ];
  const linked = replacements.reduce((changed, [from, to]) => changed.replaceAll(from, to as string), text);
  if (new RegExp(`${setTop}\\((?!call \\$take|i32\\.const)`).test(linked))
    throw new Error('the arena sets its top in a way that is not followed');
  everyAccessIsChecked(linked);
  const statics = Number(heapBase) - STATIC_BASE;
  if (statics <= 0) throw new Error(`static data ends at ${heapBase}, below where it should begin`);
  const shadow = `(data (i32.const ${SHADOW + STATIC_BASE}) "${`\\0${May.ALL}`.repeat(statics)}")`;
  const current = `(data (i32.const ${CONTROL + 4 * Control.CURRENT}) "\\ff\\ff\\ff\\ff")`;
  return `${linked.trimEnd().slice(0, -1)}\n${shadow}\n${current}\n${IDENTITIES}\n${RUNTIME}\n${take(top)}\n)`;
}

function found(text: string, pattern: RegExp): string {
  const group = pattern.exec(text)?.[1];
  if (group === undefined) throw new Error(`the module has no ${pattern.source}`);
  return group;
}

/** As many checks as there are loads and stores, and no way to memory that is neither. */
function everyAccessIsChecked(text: string): void {
  const accesses = text.match(/\((?:[if]\d\d|v128)\.(?:load|store)\w*/g) ?? [];
  const checks = text.match(/\(call \$(?:load|store)_ptr_\d+/g) ?? [];
  if (accesses.length !== checks.length)
    throw new Error(`${accesses.length} loads and stores, but ${checks.length} checks`);
  const other = /\((?:\S*atomic\S*|v128\.(?:load|store)(?!\s)\w*|memory\.(?!size|grow)\w*|table\.\S+)/.exec(text);
  if (other) throw new Error(`${other[0]} is not checked`);
}
