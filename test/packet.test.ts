/** Frames made for questions: their bytes, their checksums, and that they read back as what they were made of. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IpProto } from '../assembly/abi.js';
import { parseAddress, type Address } from '../dataplane/addresses.js';
import { checksum, frameOf, isIcmp, reversed, trafficName, tupleOf, type Tuple } from '../dataplane/packet.js';

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 7);
const [TCP, UDP, SCTP, ICMP, ICMPV6] = [IpProto.TCP, IpProto.UDP, IpProto.SCTP, IpProto.ICMP, IpProto.ICMPV6];

const tuple = (
  source: string,
  destination: string,
  protocol: number,
  sourcePort: number,
  destinationPort: number,
): Tuple => ({
  source: parseAddress(source)!,
  destination: parseAddress(destination)!,
  protocol,
  sourcePort,
  destinationPort,
});

const hex = (frame: Uint8Array): string => Buffer.from(frame.subarray(12)).toString('hex').replace(/0+$/, '');

test('an IPv6 frame: version, payload length, next header, hop limit, addresses. RFC 8200, section 3', () => {
  assert.equal(
    hex(frameOf(tuple('fd00::1', 'fd00::2', TCP, 40000, 80))),
    '86dd' +
      '60000000' +
      '0014' +
      '06' +
      '40' +
      'fd000000000000000000000000000001' +
      'fd000000000000000000000000000002' +
      '9c40' +
      '0050' +
      '0000000000000000' +
      '5002' +
      'faf0' +
      '1e5d',
  );
});

test('an echo request and its reply. RFC 792; RFC 4443, section 4', () => {
  const ping = tuple('10.0.0.1', '10.0.0.2', ICMP, 0x1234, 8);
  const frame = frameOf(ping);
  assert.equal(
    hex(frame.subarray(0, 42)),
    '0800' + '4500003c' + '00004000' + '4001' + '26bf' + '0a0000010a000002' + '0800' + 'e5ca' + '12340001',
  );
  assert.deepEqual(reversed(ping), tuple('10.0.0.2', '10.0.0.1', ICMP, 0x1234, 0));
  const ping6 = tuple('fd00::1', 'fd00::2', ICMPV6, 0x1234, 128);
  assert.deepEqual(tupleOf(frameOf(ping6)), ping6);
  assert.deepEqual(reversed(ping6), tuple('fd00::2', 'fd00::1', ICMPV6, 0x1234, 129));
  assert.equal(trafficName(ICMPV6, 128), 'ICMPv6 type 128');
});

test('an error message quotes a packet that its receiver had sent, and nothing answers it', () => {
  for (const [source, destination, protocol, type, header] of [
    ['10.0.0.1', '10.0.0.2', ICMP, 3, 20],
    ['fd00::1', 'fd00::2', ICMPV6, 2, 40],
  ] as const) {
    const unreachable = tuple(source, destination, protocol, 0, type);
    const frame = frameOf(unreachable);
    const quoted = Uint8Array.from([...frame.subarray(0, 14), ...frame.subarray(14 + header + 8)]);
    assert.deepEqual(tupleOf(quoted), tuple(destination, source, UDP, 0, 0));
    assert.equal(quoted.length, 14 + header + 8);
    assert.equal(reversed(unreachable), null);
  }
});

const ipv4 = fc.nat(2 ** 32 - 1);
const ipv6 = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n });
const port = fc.nat(0xffff);
const traffic = (source: fc.Arbitrary<Address>, icmp: number): fc.Arbitrary<Tuple> =>
  fc
    .tuple(source, source, fc.constantFrom(TCP, UDP, SCTP, icmp), port, port)
    .map(([source, destination, protocol, sourcePort, destinationPort]) => ({
      source,
      destination,
      protocol,
      sourcePort,
      destinationPort,
    }));
const tuples = fc.oneof(traffic(ipv4, ICMP), traffic(ipv6, ICMPV6)).map((one) => {
  if (!isIcmp(one.protocol)) return one;
  const type = one.destinationPort & 255;
  const echo = one.protocol === ICMP ? [0, 8, 13, 14, 15, 16] : [128, 129];
  return { ...one, destinationPort: type, sourcePort: echo.includes(type) ? one.sourcePort : 0 };
});

/** The pseudo header and what follows, as the checksum of TCP, UDP and ICMPv6 covers them. */
function covered(frame: Uint8Array): Uint8Array {
  const wide = frame[12] === 0x86;
  const [addresses, l4, protocol] = wide
    ? [frame.subarray(22, 54), 54, frame[20]!]
    : [frame.subarray(26, 34), 34, frame[23]!];
  const segment = frame.subarray(l4);
  return Uint8Array.from([...addresses, segment.length >> 8, segment.length & 255, 0, protocol, ...segment]);
}

test(`frames have right checksums and lengths, and are read back (HOPSCOPE_SEED=${SEED})`, () => {
  fc.assert(
    fc.property(tuples, fc.boolean(), (one, reply) => {
      const frame = frameOf(one, reply);
      assert.deepEqual(tupleOf(frame), one);
      const wide = typeof one.source === 'bigint';
      const view = new DataView(frame.buffer);
      assert.equal(wide ? view.getUint16(18) + 54 : view.getUint16(16) + 14, frame.length);
      if (!wide) assert.equal(checksum(frame.subarray(14, 34)), 0);
      if (one.protocol === ICMP) assert.equal(checksum(frame.subarray(34)), 0);
      else if (one.protocol !== SCTP) assert.equal(checksum(covered(frame)), 0);
      if (one.protocol === UDP) assert.notEqual(view.getUint16(wide ? 60 : 40), 0);
      const back = reversed(one);
      if (back && !isIcmp(one.protocol)) assert.deepEqual(reversed(back), one);
    }),
    { seed: SEED, numRuns: 3000 },
  );
});

test('a frame too short for a tuple has none, wherever it is cut', () => {
  for (const one of [tuple('10.0.0.1', '10.0.0.2', ICMP, 1, 8), tuple('fd00::1', 'fd00::2', TCP, 1, 2)]) {
    const frame = frameOf(one);
    const l4 = typeof one.source === 'bigint' ? 54 : 34;
    for (let length = 0; length < l4 + 4; length++) assert.equal(tupleOf(frame.slice(0, length)), null);
  }
});
