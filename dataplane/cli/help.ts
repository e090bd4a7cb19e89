/** What `--help` prints. */
import { SETTINGS } from '../settings.js';
import type { Command } from './call.js';

/** The forms in which an end of a flow is written. */
const REFERENCES: readonly (readonly [form: string, meaning: string])[] = [
  ['ns/name', 'a workload or a pod'],
  ['ns/name[Kind]', 'the one of that kind, where several have the name'],
  ['svc:ns/name', 'a Service'],
  ['dns:NAME', 'what the sender gets when it looks NAME up'],
  ['ip:ADDRESS', 'an address, or the addresses ip:FIRST-LAST'],
  ['node:NAME', 'a node'],
  ['host', 'the node that the other end is on'],
  ['world', 'any address outside of the cluster'],
  ['ingress:ns/name', 'through that Ingress, with --http'],
  ['ingress:*', 'through whichever Ingress takes the request, with --http'],
];

export function overview(commands: Readonly<Record<string, Command>>): string {
  return [
    'hopscope: know what a manifest does to traffic before it is applied',
    '',
    'usage: hopscope COMMAND PATH... [options]',
    '',
    ...columns(Object.entries(commands).map(([name, { summary }]) => [name, summary])),
    '',
    'PATH is a file, a folder (all .yaml, .yml and .json below it) or - for standard input.',
    '--set key=value overrides a setting; .hopscope.yaml at the root of the manifests holds them.',
    'Exit status: 0 done, 1 check, diff and search found something, 2 the input or the call is wrong, 3 a fault of ours.',
    '',
    'example: hopscope trace examples/echo --from default/busybox --to dns:echo --port 5678',
    '',
    'hopscope COMMAND --help tells more of each.',
    '',
  ].join('\n');
}

export function helpOf({ usage, help, example, options, takesReferences }: Command): string {
  const described = Object.entries(options).map(([name, { value, description }]) => [
    `--${name} ${value}`.trimEnd(),
    description,
  ]);
  return [
    help,
    '',
    `usage: ${usage}`,
    `example: ${example}`,
    '',
    'options:',
    ...columns(described),
    ...(takesReferences ? ['', 'a REF is one of:', ...columns(REFERENCES)] : []),
    ...('set' in options ? ['', 'settings (--set key=value):', ...columns(settings())] : []),
    '',
  ].join('\n');
}

/** Each setting with what it may be, its default marked. */
const settings = (): string[][] =>
  Object.entries(SETTINGS).map(([key, { schema, default: unlessSet }]) => {
    if (key === 'nodes') return [key, 'names with addresses: --set nodes=n1=10.0.0.1,n2=10.0.0.2'];
    if (key === 'nodePortAddresses') return [key, 'prefixes: --set nodePortAddresses=192.168.0.0/24,10.0.0.0/8'];
    const words: unknown = schema['type'] === 'boolean' ? [false, true] : schema['enum'];
    if (!Array.isArray(words)) {
      const kind = 'pattern' in schema ? 'prefix, or one of each family: 10.0.0.0/16,fd00::/56' : 'DNS name';
      return [key, `${typeof unlessSet === 'string' ? unlessSet : ''} (default), or another ${kind}`];
    }
    return [key, words.map((word) => `${String(word)}${word === unlessSet ? ' (default)' : ''}`).join(', ')];
  });

function columns(rows: readonly (readonly string[])[]): string[] {
  const width = Math.max(...rows.map(([first = '']) => first.length));
  return rows.map(([first = '', second = '']) => `  ${first.padEnd(width)}  ${second}`);
}
