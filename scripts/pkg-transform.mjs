/**
 * An asc transform that writes `pkg/` beside the .wasm, laid out as wasm-pack lays out its output: `dataplane.js` (glue over
 * @assemblyscript/loader), `dataplane.d.ts`, `package.json`, and `structs.ts` with a view class for each `@unmanaged` class,
 * at the compiler's own offsets. Fields of type `be16`, `be32`, `be128` and `A` (an address) are read and written big-endian.
 * Of a class with an address of either family there are two views: `CtTuple4` and `CtTuple6`.
 */
import { writeFileSync } from 'node:fs';
import { ElementKind, TypeKind } from 'assemblyscript';
import { Transform } from 'assemblyscript/transform';

const NUMBERS = new Map([
  [TypeKind.Bool, ['Uint8', 1]],
  [TypeKind.I8, ['Int8', 1]],
  [TypeKind.U8, ['Uint8', 1]],
  [TypeKind.I16, ['Int16', 2]],
  [TypeKind.U16, ['Uint16', 2]],
  [TypeKind.I32, ['Int32', 4]],
  [TypeKind.U32, ['Uint32', 4]],
  [TypeKind.Usize, ['Uint32', 4]],
  [TypeKind.I64, ['BigInt64', 8]],
  [TypeKind.U64, ['BigUint64', 8]],
  [TypeKind.V128, ['Uint128', 16]],
]);

/** Structs that the host has to do with; the others are the datapath's own. */
const SHARED = /^(assembly\/(lib|maps)\/)/;
const PRIVATE = new Set([
  'Context',
  'Flow',
  'Opening',
  'Outcome',
  'Creation',
  'TaggedCache',
  'Group',
  'EntryHeader',
  'Link',
  'Rings',
  'Watchers',
  'Walker',
  'Spread',
  'Told',
  'Chains',
  'HashMap',
  'LruHashMap',
  'LpmMap',
  'ArrayMap',
  'RingBuffer',
]);

export default class PkgTransform extends Transform {
  afterCompile() {
    if (!this.program.instancesByName) return;
    const structs = [];
    const functions = [];
    for (const element of this.program.instancesByName.values()) {
      if (element.kind === ElementKind.Class && element.type?.isUnmanaged && isShared(element))
        structs.push(structOf(element));
    }
    for (const file of this.program.filesByName.values()) {
      if (file.name !== 'assembly/index.ts') continue;
      for (const element of file.exports.values()) {
        if (element.kind !== ElementKind.FunctionPrototype) continue;
        const instance = element.instances?.values().next().value;
        if (instance) functions.push(functionOf(element, instance));
      }
    }
    writeFileSync('pkg/structs.ts', structsModule(structs.sort((a, b) => a.name.localeCompare(b.name))));
    writeFileSync('pkg/dataplane.js', glueModule(functions));
    writeFileSync('pkg/dataplane.d.ts', typesModule(functions));
    writeFileSync('pkg/package.json', packageJson());
  }
}

function isShared(element) {
  return SHARED.test(element.prototype.declaration.range.source.normalizedPath) && !PRIVATE.has(element.prototype.name);
}

/** The `/** … *\/` comment that ends right before a declaration, as text; '' for none. */
function commentOf(declaration) {
  const { source, start } = declaration.range;
  const before = source.text
    .slice(0, start)
    .replace(/(@\w+\s*|export\s+)+$/, '')
    .trimEnd();
  if (!before.endsWith('*/')) return '';
  return before.slice(before.lastIndexOf('/**') + 3, -2);
}

function structOf(element) {
  const fields = [];
  for (const member of element.members?.values() ?? []) {
    if (member.kind !== ElementKind.PropertyPrototype || !member.isField) continue;
    const property = member.instance;
    if (!property || property.memoryOffset < 0) continue;
    const number = NUMBERS.get(property.type.kind);
    if (!number) continue;
    const network = /^(be\d+|A)$/.test(member.fieldDeclaration.type?.name?.identifier.text ?? '');
    fields.push({ name: property.name, offset: property.memoryOffset, number, network });
  }
  return { name: nameOf(element), size: element.nextMemoryOffset, fields };
}

/** `LbKey<u32>` is LbKey4, `LbKey<v128>` is LbKey6. */
function nameOf({ prototype, typeArguments }) {
  if (!typeArguments?.length) return prototype.name;
  return `${prototype.name}${typeArguments[0].kind === TypeKind.V128 ? 6 : 4}`;
}

function structsModule(structs) {
  const classes = structs.map(({ name, size, fields }) => {
    const used = fields.filter((field) => field.name !== 'pad');
    const accessors = used.map(({ name: field, offset, number: [type, bytes], network }) => {
      if (bytes === 16)
        return `  get ${field}(): bigint { return (this.view.getBigUint64(this.at + ${offset}) << 64n) | this.view.getBigUint64(this.at + ${offset + 8}); }
  set ${field}(value: bigint) { this.view.setBigUint64(this.at + ${offset}, value >> 64n); this.view.setBigUint64(this.at + ${offset + 8}, BigInt.asUintN(64, value)); }`;
      const kind = bytes === 8 ? 'bigint' : 'number';
      const order = bytes === 1 ? '' : `, ${!network}`;
      return `  get ${field}(): ${kind} { return this.view.get${type}(this.at + ${offset}${order}); }
  set ${field}(value: ${kind}) { this.view.set${type}(this.at + ${offset}, value${order}); }`;
    });
    return `export class ${name} {
  static readonly size = ${size};
  static readonly fields = [${used.map((field) => `'${field.name}'`).join(', ')}] as const;
  constructor(private readonly view: DataView, public at = 0) {}
${accessors.join('\n')}
}`;
  });
  return `// Generated from assembly/ by scripts/pkg-transform.mjs. Views of the datapath's structs; numbers are in host order.\n\n${classes.join('\n\n')}\n`;
}

function functionOf(prototype, instance) {
  const { signature } = instance;
  const names = prototype.functionTypeNode.parameters.map((parameter) => parameter.name.text);
  const result = signature.returnType;
  return {
    name: prototype.name,
    comment: commentOf(prototype.declaration)
      .replace(/\s*\n\s*\*\s*/g, ' ')
      .replace(/^\s*\*?\s*/, '')
      .trim(),
    parameters: signature.parameterTypes.map((type, i) => `${names[i]}: ${typeName(type)}`),
    result: typeName(result),
    unsigned: [TypeKind.U32, TypeKind.Usize].includes(result.kind),
  };
}

function typeName(type) {
  if (type.kind === TypeKind.Void) return 'void';
  if (type.kind === TypeKind.Bool) return 'boolean';
  return type.kind === TypeKind.I64 || type.kind === TypeKind.U64 ? 'bigint' : 'number';
}

function glueModule(functions) {
  const unsigned = functions.filter((f) => f.unsigned).map((f) => `'${f.name}'`);
  return `// Generated from assembly/ by scripts/pkg-transform.mjs.
import { instantiateSync } from '@assemblyscript/loader';

/** Exports whose result is unsigned: the loader hands them over as signed. */
const UNSIGNED = [${unsigned.join(', ')}];

export function instantiate(module) {
  const { exports } = instantiateSync(module);
  const dataplane = { ...exports, memory: exports.memory };
  for (const name of UNSIGNED) dataplane[name] = (...args) => exports[name](...args) >>> 0;
  return dataplane;
}
`;
}

function typesModule(functions) {
  const lines = functions.map((f) => `  /** ${f.comment} */\n  ${f.name}(${f.parameters.join(', ')}): ${f.result};`);
  return `// Generated from assembly/ by scripts/pkg-transform.mjs.

export interface Dataplane {
  readonly memory: WebAssembly.Memory;
${lines.join('\n')}
}

/** Makes one dataplane of the compiled module. */
export function instantiate(module: WebAssembly.Module): Dataplane;
`;
}

function packageJson() {
  const content = {
    name: 'hopscope-dataplane',
    type: 'module',
    files: ['dataplane.wasm', 'dataplane.trace.wasm', 'dataplane.js', 'dataplane.d.ts', 'structs.ts'],
    main: 'dataplane.js',
    types: 'dataplane.d.ts',
    sideEffects: false,
  };
  return `${JSON.stringify(content, null, 2)}\n`;
}
