/** Questions about addresses of either family, and about ICMP: what does not hang on how far the datapath carries a packet. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  BITS,
  distance,
  FAMILIES,
  familyOf,
  formatAddress,
  lastOf,
  plus,
  UNSPECIFIED,
} from '../../dataplane/addresses.js';
import { compareEnds, mergeRanges } from '../../dataplane/answers/ranges.js';
import { externalClasses, identityAt } from '../../dataplane/answers/outside.js';
import { query, type Answered, type Question } from '../../dataplane/answers/query.js';
import { reach } from '../../dataplane/answers/reach.js';
import { resolveRef } from '../../dataplane/answers/refs.js';
import { DEFAULT_SETTINGS, type Settings } from '../../dataplane/settings.js';
import { Engine, type State } from '../../dataplane/state.js';
import { modules } from '../datapath.js';
import { pod, service } from '../lab.js';

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 7);
const DUAL: Partial<Settings> = { podCIDR: '10.1.0.0/16,fd01::/56' };

function stateOf(yaml: string, settings: Partial<Settings> = {}): State {
  const engine = new Engine(modules.trace, { ...DEFAULT_SETTINGS, ...settings });
  engine.manifests.set('m.yaml', yaml);
  return engine.current;
}

function ask(state: State, from: string, to: string, more: Partial<Question> = {}): Answered {
  const question = { from, to, protocol: 'TCP', port: 80, sourcePort: null, node: null, http: null, ...more };
  const answered = query(state, question);
  if ('error' in answered) throw new Error(answered.error);
  return answered;
}

/** The packets that a question stood for: `fd01::5 > fd01::6 ICMPv6 128`, one a line. */
const packets = ({ outcomes }: Answered): string[] =>
  outcomes.map(({ probe: { tuple } }) =>
    [formatAddress(tuple.source), '>', formatAddress(tuple.destination), tuple.protocol, tuple.destinationPort].join(
      ' ',
    ),
  );

const [A, B] = [pod('a', '10.1.0.5', 'n1'), pod('b', '10.1.0.6', 'n1')];
const both = (name: string, last: number): string =>
  pod(name, '', 'n1').replace('podIP: ', `podIPs: [{ip: 10.1.0.${last}}, {ip: "fd01::${last}"}]`);
const six = pod('six', '', 'n1').replace('podIP: ', 'podIPs: [{ip: "fd01::9"}]');
const policy = (spec: string): string =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {podSelector: {}, ${spec}}\n---\n`;

test('a question is asked in each family that both ends have', () => {
  const state = stateOf(both('a', 5) + both('b', 6) + six);
  assert.deepEqual(packets(ask(state, 'default/a', 'default/b')), [
    '10.1.0.5 > 10.1.0.6 6 80',
    'fd01::5 > fd01::6 6 80',
  ]);
  assert.deepEqual(packets(ask(state, 'default/a', 'default/six')), ['fd01::5 > fd01::9 6 80']);
  assert.deepEqual(packets(ask(state, 'default/six', 'default/b')), ['fd01::9 > fd01::6 6 80']);
  assert.deepEqual(packets(ask(state, 'ip:2001:db8::1', 'default/b')), ['2001:db8::1 > fd01::6 6 80']);
  assert.deepEqual(packets(ask(state, 'world', 'default/six')), ['::2 > fd01::9 6 80']);
  assert.deepEqual(packets(ask(state, 'default/a', 'node:n1')).length, 2);
});

test('a Service is asked at each of its addresses, a headless one at those of its pods', () => {
  const state = stateOf(
    both('a', 5) +
      both('b', 6) +
      service('b', '10.96.0.9', 80, 8080, ', ipFamilyPolicy: PreferDualStack') +
      service('none', 'None', 80, 8080, ', ipFamilies: [IPv6]').replace('selector: {app: none}', 'selector: {app: b}'),
    { ...DUAL, serviceCIDR: '10.96.0.0/12,fd02::/112' },
  );
  assert.match(
    packets(ask(state, 'default/a', 'svc:default/b')).join('\n'),
    /^10\.1\.0\.5 > 10\.96\.0\.9 6 80\nfd01::5 > fd02::\S+ 6 80$/,
  );
  assert.deepEqual(packets(ask(state, 'default/a', 'dns:none')), ['fd01::5 > fd01::6 6 80']);
  assert.deepEqual(packets(ask(state, 'default/a', 'dns:fd01--6.default.pod.cluster.local')), [
    'fd01::5 > fd01::6 6 80',
  ]);
});

test('ICMP is an echo request unless it is told, and ICMPv6 between IPv6 addresses', () => {
  const state = stateOf(both('a', 5) + both('b', 6));
  const asked = (more: Partial<Question>): string[] =>
    packets(ask(state, 'default/a', 'default/b', { port: null, ...more }));
  assert.deepEqual(asked({ protocol: 'ICMP' }), ['10.1.0.5 > 10.1.0.6 1 8', 'fd01::5 > fd01::6 58 128']);
  assert.deepEqual(asked({ protocol: 'icmpv6' }), ['fd01::5 > fd01::6 58 128']);
  assert.deepEqual(asked({ protocol: 'ICMPv6', icmpType: 2 }), ['fd01::5 > fd01::6 58 2']);
  assert.deepEqual(asked({ protocol: 'ICMP', icmpType: 11 }), ['10.1.0.5 > 10.1.0.6 1 11', 'fd01::5 > fd01::6 58 3']);
  // A timestamp has no counterpart in ICMPv6.
  assert.deepEqual(asked({ protocol: 'ICMP', icmpType: 13 }), ['10.1.0.5 > 10.1.0.6 1 13']);
  const wrong = query(state, {
    from: 'default/a',
    to: 'default/b',
    protocol: 'ICMP',
    port: null,
    icmpType: 256,
    sourcePort: null,
    node: null,
    http: null,
  });
  assert.deepEqual(wrong, { error: '256 is no ICMP type' });
});

test('in a cluster of IPv4, nothing goes to or comes from an address of IPv6', () => {
  const state = stateOf(A + B);
  const out = ask(state, 'default/a', 'ip:2001:db8::1').answer;
  assert.deepEqual(
    [out.verdict, out.direction, out.hints],
    ['DENIED', 'egress', ['pod default/a has no IPv6 address']],
  );
  const into = ask(state, 'ip:2001:db8::1', 'default/b').answer;
  assert.deepEqual(
    [into.verdict, into.hints],
    ['DENIED', ['no packet can go: ip:2001:db8::1 has IPv6, default/b has IPv4']],
  );
  for (const { assumes } of [out, into])
    assert.ok(assumes.includes('the cluster has no IPv6: neither the manifests nor the settings show any'));
  const none = ask(state, 'default/a', 'default/b', { protocol: 'ICMPv6' }).answer;
  assert.deepEqual(none.hints, ['no packet can go: default/a has IPv4, default/b has IPv4, and this is of IPv6 alone']);
  const found = reach(state, { from: null, to: null, protocol: null });
  assert.ok('endpoints' in found);
  assert.deepEqual(
    found.endpoints.filter(({ kind }) => kind === 'external').map(({ ref }) => ref),
    ['ip:0.0.0.0-255.255.255.255'],
  );
});

test('a Service answers no ICMP; UNKNOWN: an ipBlock that is to match pods of two addresses', () => {
  const state = stateOf(both('a', 5) + both('b', 6) + service('b', '10.96.0.9', 80, 8080));
  const ping = ask(state, 'default/a', 'svc:default/b', { protocol: 'ICMP', port: null }).answer;
  assert.deepEqual(
    [ping.verdict, ping.reason?.code, ping.hints],
    ['DENIED', 158, ['Service default/b answers TCP 80, and no ICMP']],
  );
  const blocked = stateOf(both('a', 5) + both('b', 6) + policy('ingress: [{from: [{ipBlock: {cidr: 10.1.0.0/16}}]}]'), {
    ...DUAL,
    ipBlockMatchesPods: true,
  });
  assert.match(
    ask(blocked, 'default/a', 'default/b').answer.depends.join(),
    /which of a pod's two addresses an ipBlock matches/,
  );
});

test('references: addresses and ranges of both families, never one of two', () => {
  const state = stateOf(A, DUAL);
  const kinds = (ref: string): string => {
    const found = resolveRef(state, ref, 'default');
    return 'error' in found ? found.error : `${found.kind} ${found.label}`;
  };
  assert.equal(kinds('ip:2001:DB8::1'), 'address ip:2001:DB8::1');
  assert.equal(kinds('ip:2001:db8::-2001:db8::ffff'), 'addresses ip:2001:db8::-2001:db8::ffff');
  assert.equal(kinds('ip:2001:db8::ffff-2001:db8::'), '2001:db8::ffff-2001:db8:: is no address');
  assert.equal(kinds('ip:10.0.0.1-2001:db8::'), '10.0.0.1-2001:db8:: is no address');
  assert.equal(kinds('ip:fe80::1%eth0'), 'fe80::1%eth0 is no address');
  assert.equal(kinds('dns:2001:db8::1'), 'address ip:2001:db8::1');
});

const octets = fc.array(fc.nat(255), { minLength: 3, maxLength: 3 });
const blocks = fc.oneof(
  fc.tuple(octets, fc.integer({ min: 0, max: 32 })).map(([[a, b, c], length]) => `${a}.${b}.${c}.0/${length}`),
  fc.tuple(octets, fc.integer({ min: 0, max: 128 })).map(([[a, b, c], length]) => `${a}:${b}:${c}::/${length}`),
);

test(`externals are each family's whole space, cut where identities change (HOPSCOPE_SEED=${SEED})`, () => {
  fc.assert(
    fc.property(fc.array(blocks, { maxLength: 6 }), (cidrs) => {
      const peers = cidrs.map((cidr) => `{ipBlock: {cidr: "${cidr}"}}`).join(', ');
      const state = stateOf(both('a', 5) + policy(`ingress: [{from: [${peers}]}]`));
      for (const family of FAMILIES) {
        const classes = externalClasses(state).filter(({ first }) => familyOf(first) === family);
        let next = UNSPECIFIED[family];
        for (const { first, last, identity, example } of classes) {
          assert.equal(first, next);
          assert.ok(first <= example && example <= last && identityAt(state, example) === identity);
          assert.deepEqual(
            [first, last, plus(first, distance(first, last) >>> 1)].map((at) => identityAt(state, at)),
            [identity, identity, identity],
          );
          next = plus(last, 1);
        }
        assert.equal(plus(next, -1), lastOf({ address: UNSPECIFIED[family], length: 0 }), `${BITS[family]} bits`);
      }
    }),
    { seed: SEED, numRuns: 60 },
  );
});

test('ranges of addresses: ordered, joined where they touch, and never over families', () => {
  const flow = (from: string): { from: string; to: string } => ({ from, to: 'default/a[Pod]' });
  const flows = [
    'ip:fd00::1:0-fd00::1:ffff',
    'ip:10.0.0.0-255.255.255.255',
    'ip:fd00::-fd00::ffff',
    'ip:0.0.0.0-9.255.255.255',
    'ip:::-::1',
  ];
  assert.deepEqual(
    mergeRanges(flows.map(flow), () => true).map(({ from }) => from),
    ['ip:0.0.0.0-255.255.255.255', 'ip:::-::1', 'ip:fd00::-fd00::1:ffff'],
  );
  assert.ok(compareEnds('default/a[Pod]', 'ip:::-::1') < 0);
});
