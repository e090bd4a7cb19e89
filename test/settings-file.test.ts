import assert from 'node:assert/strict';
import { test } from 'node:test';
import { locate } from '../dataplane/manifests/place.js';
import { DEFAULT_SETTINGS, SETTINGS_FILE } from '../dataplane/settings.js';
import { readSettingsFile } from '../dataplane/settings-file.js';

const read = (content: string | Uint8Array): { changed: object; problems: string[] } => {
  const { settings, problems } = readSettingsFile(SETTINGS_FILE, content);
  const defaults = new Map(Object.entries(DEFAULT_SETTINGS));
  return {
    changed: Object.fromEntries(Object.entries(settings).filter(([key, value]) => value !== defaults.get(key))),
    problems: problems.map(({ code, at }) => {
      const { start } = locate(at).range;
      return `${code} ${start.line}:${start.column} ${at.source.text.slice(at.start, at.end)}`;
    }),
  };
};

test('keys are dotted or nested, and values as YAML has them', () => {
  const table: [string, object][] = [
    ['', {}],
    ['# nothing set\n', {}],
    ['---\nengine: cilium\n', { engine: 'cilium' }],
    ['maglev.tableSize: 251', { 'maglev.tableSize': 251 }],
    ['maglev: {tableSize: 251}', { 'maglev.tableSize': 251 }],
    ['maglev:\n  tableSize: "251"\n', { 'maglev.tableSize': 251 }],
    [
      'loadBalancer:\n  algorithm: random\n  mode: dsr\n',
      { 'loadBalancer.algorithm': 'random', 'loadBalancer.mode': 'dsr' },
    ],
    ['ipBlockMatchesPods: yes', { ipBlockMatchesPods: true }],
    ['podCIDR: 10.0.0.0/8\ncni: bridge', { podCIDR: '10.0.0.0/8', cni: 'bridge' }],
    ['nodes:\n- {name: a, address: 10.0.0.1}\n', { nodes: [{ name: 'a', address: '10.0.0.1' }] }],
    ['podCIDR: 10.0.0.0/8, fd00::/56', { podCIDR: '10.0.0.0/8,fd00::/56' }],
    [
      'ipMasqAgent: {nonMasqueradeCIDRs: [10.0.0.0/8, "fd00::/8"]}',
      { 'ipMasqAgent.nonMasqueradeCIDRs': ['10.0.0.0/8', 'fd00::/8'] },
    ],
    ['masquerade: false', { masquerade: false }],
    ['serviceCIDR: ["fd00::/112"]', { serviceCIDR: 'fd00::/112' }],
    ['nodes: {a: "fd00::1"}', { nodes: [{ name: 'a', address: 'fd00::1' }] }],
    [
      'nodes: a=fd00::1,b=10.0.0.2',
      {
        nodes: [
          { name: 'a', address: 'fd00::1' },
          { name: 'b', address: '10.0.0.2' },
        ],
      },
    ],
    ['nodes: {a: 10.0.0.1}', { nodes: [{ name: 'a', address: '10.0.0.1' }] }],
    ['{"maglev": {"tableSize": 509}}', { 'maglev.tableSize': 509 }],
    ['engine:\nmaglev:\n', {}],
  ];
  for (const [content, changed] of table) assert.deepEqual(read(content), { changed, problems: [] }, content);
});

test('a bad value is reported where it stands and keeps its default; the others hold', () => {
  const table: [string, object, string[]][] = [
    ['maglev.tableSize: 250\ncni: bridge', { cni: 'bridge' }, ['HS4001 1:19 250']],
    ['maglev:\n  tableSize: [251]', {}, ['HS4001 2:14 [251]']],
    ['maglev: 251', {}, ['HS4001 1:9 251']],
    ['engine: {cilium: true}', {}, ['HS4001 1:9 {cilium: true}']],
    ['ipBlockMatchesPods: perhaps', {}, ['HS4001 1:21 perhaps']],
    ['podCIDR: 10.0.0.0/33', {}, ['HS4001 1:10 10.0.0.0/33']],
    ['podCIDR: 10.0.0.0/8,10.1.0.0/16', {}, ['HS4001 1:10 10.0.0.0/8,10.1.0.0/16']],
    ['podCIDR: [10.0.0.0/8, "fd00::/129"]', {}, ['HS4001 1:10 [10.0.0.0/8, "fd00::/129"]']],
    ['nodes: {a: here}', {}, ['HS4001 1:8 {a: here}']],
    ['engin: cilium', {}, ['HS4002 1:1 engin']],
    ['maglev: {tablesize: 251, x: 1}', {}, ['HS4002 1:10 tablesize', 'HS4002 1:26 x']],
    ['__proto__: {a: b}\nconstructor: 1', {}, ['HS4002 1:1 __proto__', 'HS4002 2:1 constructor']],
    ['cni: bridge\ncni: cilium-vxlan', { cni: 'cilium-vxlan' }, ['HS1007 2:1 cni']],
    [
      'cni: cilium-vxlan\nloadBalancer:\n  mode: dsr\n',
      { cni: 'cilium-vxlan', 'loadBalancer.mode': 'dsr' },
      ['HS4003 3:3 mode'],
    ],
    [
      'loadBalancer: {mode: hybrid}\ncni: cilium-geneve',
      { cni: 'cilium-geneve', 'loadBalancer.mode': 'hybrid' },
      ['HS4003 1:16 mode'],
    ],
    [
      'loadBalancer: {mode: dsr, dsrDispatch: geneve}\ncni: cilium-geneve',
      { cni: 'cilium-geneve', 'loadBalancer.mode': 'dsr', 'loadBalancer.dsrDispatch': 'geneve' },
      [],
    ],
    ['cni: cilium-native\nloadBalancer: {mode: dsr}', { cni: 'cilium-native', 'loadBalancer.mode': 'dsr' }, []],
    ['nativeRoutingCIDR: 10.0.0.0', {}, ['HS4001 1:20 10.0.0.0']],
    ['ipMasqAgent: {nonMasqueradeCIDRs: [10.0.0.0/8, x]}', {}, ['HS4001 1:35 [10.0.0.0/8, x]']],
    ['maglev.tableSize: 251\nmaglev: {tableSize: 509}', { 'maglev.tableSize': 509 }, ['HS1007 2:10 tableSize']],
    ['- engine: cilium', {}, ['HS4001 1:1 - engine: cilium']],
    ['cilium', {}, ['HS4001 1:1 cilium']],
  ];
  for (const [content, changed, problems] of table) assert.deepEqual(read(content), { changed, problems }, content);
});

test('messages name what is allowed, or what was probably meant', () => {
  const table: [string, string, string[]][] = [
    ['loadBalancer.mode: x', '`loadBalancer.mode` must be `snat`, `dsr` or `hybrid`, not `x`.', []],
    ['ipBlockMatchesPods: 1', '`ipBlockMatchesPods` must be `cni`, `true` or `false`, not `1`.', []],
    [
      'nativeRoutingCIDR: x',
      '`nativeRoutingCIDR` must be a prefix such as `10.0.0.0/8`, or one of each family, not `x`.',
      [],
    ],
    ['podCIDR: x', '`podCIDR` must be a prefix such as `10.244.0.0/16`, or one of each family, not `x`.', []],
    ['maglev: 251', '`maglev` is not a setting itself, it holds `tableSize`.', []],
    ['enigne: cilium', 'There is no setting `enigne`; did you mean `engine`?', ['change to `engine`']],
    [
      'tableSize: 251',
      'There is no setting `tableSize`; did you mean `maglev.tableSize`?',
      ['change to `maglev.tableSize`'],
    ],
    [
      'maglev: {tablesize: 251}',
      'There is no setting `maglev.tablesize`; did you mean `maglev.tableSize`?',
      ['change to `tableSize`'],
    ],
  ];
  for (const [content, message, fixes] of table) {
    const [found] = readSettingsFile(SETTINGS_FILE, content).problems;
    assert.deepEqual([found!.message, found!.fixes], [message, fixes], content);
  }
});

test('what cannot be read leaves every default, and nothing throws', () => {
  const table: [string | Uint8Array, RegExp][] = [
    ['engine: [', /^HS1001/],
    ['engine: cilium\n---\nengine: cilium\n', /^HS1001 2:1/],
    ['a: *b', /^HS1003 1:4/],
    [new Uint8Array([0x61, 0x3a, 0x20, 0xff]), /^HS1005 1:4/],
    ['cni: {{ .Values.cni }}', /^HS1004/],
    ['['.repeat(100_000), /^HS1002/],
    ['x'.repeat(20_000_001), /^HS1006/],
  ];
  for (const [content, expected] of table) {
    const { changed, problems } = read(content);
    assert.deepEqual(changed, {});
    assert.match(problems[0]!, expected);
  }
  const good =
    'maglev: {tableSize: 251} # small\nnodes:\n- {name: a, address: 10.0.0.1}\n- &n {name: b, address: 10.0.0.2}\n';
  for (let end = 0; end <= good.length; end++) read(good.slice(0, end));
});
