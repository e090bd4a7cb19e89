/** Addresses and prefixes of both families: what is one, how it is written, and that no family holds another's. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  compareAddresses,
  contains,
  covers,
  familyOf,
  formatAddress,
  formatEndpoint,
  formatPrefix,
  lastOf,
  maskOf,
  parseAddress,
  parsePrefix,
  plus,
  type Address,
} from '../dataplane/addresses.js';

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 7);

const ipv4 = fc.nat(2 ** 32 - 1);
/** Many runs of zeros, as real addresses have. */
const ipv6 = fc
  .array(fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.nat(0xffff)), { minLength: 8, maxLength: 8 })
  .map((parts) => parts.reduce((value, part) => (value << 16n) | BigInt(part), 0n));
const address: fc.Arbitrary<Address> = fc.oneof(ipv4, ipv6);

test('addresses as people write them, and as RFC 5952 does', () => {
  const texts: readonly (readonly [string, Address, string?])[] = [
    ['0.0.0.0', 0],
    ['255.255.255.255', 0xffffffff],
    ['::', 0n],
    ['::1', 1n],
    ['1::', 1n << 112n],
    ['2001:DB8:0:0:0:0:2:1', 0x2001_0db8_0000_0000_0000_0000_0002_0001n, '2001:db8::2:1'],
    ['2001:db8:0:1:1:1:1:1', 0x2001_0db8_0000_0001_0001_0001_0001_0001n],
    ['2001:0:0:1:0:0:0:1', 0x2001_0000_0000_0001_0000_0000_0000_0001n, '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', 0x2001_0db8_0000_0000_0001_0000_0000_0001n, '2001:db8::1:0:0:1'],
    ['::ffff:1.2.3.4', 0xffff_0102_0304n, '::ffff:102:304'],
    ['::1.2.3.4', 0x0102_0304n, '::102:304'],
    ['64:ff9b::192.0.2.33', 0x0064_ff9b_0000_0000_0000_0000_c000_0221n, '64:ff9b::c000:221'],
  ];
  for (const [text, value, written = text] of texts) {
    assert.equal(parseAddress(text), value, text);
    assert.equal(formatAddress(value), written);
  }
});

test('texts that are no addresses', () => {
  const texts = [
    ...['', '1.2.3', '1.2.3.4.5', '01.2.3.4', '256.1.1.1', '0x7f.1', '1.2.3.4 ', '1.2.3.4/32'],
    ...[':', ':::', '1::2::3', '12345::', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', ':1', '1:', 'g::', '::1.2.3'],
    ...['::256.1.1.1', '::ffff:01.2.3.4', '1.2.3.4::', 'fe80::1%eth0', '[::1]', '::1/128', '::1 '],
  ];
  for (const text of texts) assert.equal(parseAddress(text), null, text);
});

/** RFC 5952, section 4: no leading zeros, and `::` for the longest run of two zeros or more, the first of such. */
function isShortest(text: string): boolean {
  const sides = text.split('::').map((side) => (side === '' ? [] : side.split(':')));
  const left = longestRun(sides[0]!);
  const right = longestRun(sides[1] ?? []);
  const missing = 8 - sides.flat().length;
  const plain = sides.flat().every((group) => /^(0|[1-9a-f][\da-f]{0,3})$/.test(group));
  return plain && (sides.length === 1 ? left < 2 : missing >= 2 && left < missing && right <= missing);
}

const longestRun = (groups: readonly string[]): number =>
  Math.max(
    0,
    ...groups
      .map((_, i) => groups.slice(i).findIndex((group) => group !== '0'))
      .map((n, i) => (n < 0 ? groups.length - i : n)),
  );

test(`an address is read back from its text (HOPSCOPE_SEED=${SEED})`, () => {
  fc.assert(
    fc.property(address, (one) => {
      const text = formatAddress(one);
      assert.equal(parseAddress(text), one);
      assert.equal(text, text.toLowerCase());
      if (typeof one === 'bigint') assert.ok(isShortest(text), text);
      assert.equal(formatEndpoint(one, 80), typeof one === 'bigint' ? `[${text}]:80` : `${text}:80`);
    }),
    { seed: SEED, numRuns: 2000 },
  );
});

test(`a prefix holds the addresses from its first to its last, of its family alone (HOPSCOPE_SEED=${SEED})`, () => {
  fc.assert(
    fc.property(address, fc.nat(128), address, (one, length, other) => {
      const bits = typeof one === 'bigint' ? 128 : 32;
      const prefix = { address: maskOf(length % (bits + 1), one), length: length % (bits + 1) };
      const last = lastOf(prefix);
      assert.equal(BigInt(last) - BigInt(prefix.address) + 1n, 1n << BigInt(bits - prefix.length));
      const inside = familyOf(other) === familyOf(one) && prefix.address <= other && other <= last;
      assert.equal(contains(prefix, other), inside);
      assert.ok(contains(prefix, one) && contains(prefix, last));
      const next = plus(last, 1);
      if (BigInt(next) < 1n << BigInt(bits)) assert.ok(!contains(prefix, next));
      assert.deepEqual(parsePrefix(formatPrefix(prefix)), prefix);
    }),
    { seed: SEED, numRuns: 2000 },
  );
});

test('prefixes', () => {
  assert.deepEqual(parsePrefix('2001:db8::1/32'), { address: 0x2001_0db8n << 96n, length: 32 });
  for (const text of ['10.0.0.0', '10.0.0.0/33', '10.0.0.0/08', '::/129', '::/', '::/0/0', '/0'])
    assert.equal(parsePrefix(text), null, text);
  const [everything, wide] = [parsePrefix('0.0.0.0/0')!, parsePrefix('::/0')!];
  assert.ok(covers(wide, parsePrefix('fd00::/8')!) && !covers(everything, parsePrefix('::/128')!));
  assert.ok(!covers(wide, everything) && !contains(everything, 0n) && !contains(wide, 0));
});

test('IPv4 comes before IPv6, and each in order', () => {
  const sorted = [0n, 0xffffffff, 1n << 127n, 0, 2n].sort(compareAddresses);
  assert.deepEqual(sorted, [0, 0xffffffff, 0n, 2n, 1n << 127n]);
});
