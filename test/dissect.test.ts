/** Frames layer by layer: what Hubble and the monitor read of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GENEVE_PORT, IpProto, VXLAN_PORT } from '../assembly/abi.js';
import { dissect } from '../dataplane/dissect.js';
import { frameOf } from '../dataplane/packet.js';
import { address } from './lab.js';

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 1);
const bytes = (hex: string): Uint8Array =>
  Uint8Array.from(hex.match(/[0-9a-f]{2}/g) ?? [], (byte) => parseInt(byte, 16));

const TCP = frameOf(
  {
    source: address('10.0.0.1'),
    destination: address('10.0.0.2'),
    protocol: IpProto.TCP,
    sourcePort: 40000,
    destinationPort: 80,
  },
  true,
);
const ETHERNET = '020000000001 020000000002';
/** A header of IPv6 from 2001:db8::1 to fe80:0:0:1::, with the next header's number to follow. */
const ipv6 = (next: string): string =>
  `${ETHERNET} 86dd 60000000 0010 ${next} 40 20010db8000000000000000000000001 fe800000000000010000000000000000`;

test('IPv4 with TCP: the flags by name', () => {
  assert.deepEqual(dissect(TCP, false), {
    ethernet: { source: '00:00:00:00:00:00', destination: '00:00:00:00:00:00', type: 0x0800 },
    ip: { version: 4, source: '10.0.0.1', destination: '10.0.0.2', protocol: 6 },
    l4: { kind: 'TCP', sourcePort: 40000, destinationPort: 80, flags: ['SYN', 'ACK'] },
    tunnel: null,
  });
});

test('IPv6, with extension headers before the transport header', () => {
  const plain = dissect(bytes(`${ipv6('11')} 9c40 0035 0008 0000`), false);
  assert.deepEqual(plain.ip, { version: 6, source: '2001:db8::1', destination: 'fe80:0:0:1::', protocol: 17 });
  assert.deepEqual(plain.l4, { kind: 'UDP', sourcePort: 40000, destinationPort: 53 });
  assert.deepEqual(plain.ethernet, { destination: '02:00:00:00:00:01', source: '02:00:00:00:00:02', type: 0x86dd });
  const options = dissect(bytes(`${ipv6('00')} 3a00 010400000000 8000 0000 0001 0001`), false);
  assert.deepEqual(options.l4, { kind: 'ICMPv6', type: 128, code: 0 });
});

test('ICMP, SCTP, and what has no ports', () => {
  const ip = (protocol: string, fragment = '0000'): string =>
    `${ETHERNET} 0800 45 00 0028 0000 ${fragment} 40 ${protocol} 0000 0a000001 0a000002`;
  assert.deepEqual(dissect(bytes(`${ip('01')} 0304 0000 0000 0000`), false).l4, { kind: 'ICMPv4', type: 3, code: 4 });
  assert.deepEqual(dissect(bytes(`${ip('84')} 0001 0002 00000000 00000000 01000004`), false).l4, {
    kind: 'SCTP',
    sourcePort: 1,
    destinationPort: 2,
    chunk: 1,
  });
  assert.equal(dissect(bytes(`${ip('2f')} 0000 0800`), false).l4, null);
  assert.equal(dissect(bytes(`${ip('11', '0001')} 0001 0002 0008 0000`), false).l4, null, 'a later fragment');
  assert.equal(dissect(bytes(`${ETHERNET} 0806 0001`), false).ip, null);
});

test('a tunnel is looked into where there may be one, and nowhere else', () => {
  const outer = frameOf({
    source: address('192.168.0.1'),
    destination: address('192.168.0.2'),
    protocol: IpProto.UDP,
    sourcePort: 5,
    destinationPort: VXLAN_PORT,
  });
  const frame = Uint8Array.of(...outer.subarray(0, 42), ...bytes('0800 0000 00abcd 00'), ...TCP);
  const inside = dissect(frame, true);
  assert.deepEqual(
    [inside.ip?.source, inside.l4?.kind, inside.tunnel?.ip?.source, inside.tunnel?.vni],
    ['10.0.0.1', 'TCP', '192.168.0.1', 0xabcd],
  );
  const around = dissect(frame, false);
  assert.deepEqual([around.ip?.source, around.l4?.kind, around.tunnel], ['192.168.0.1', 'UDP', null]);
});

test('Geneve is looked into behind its options, of version 0 and with a frame inside', () => {
  const outer = frameOf({
    source: address('192.168.0.1'),
    destination: address('192.168.0.2'),
    protocol: IpProto.UDP,
    sourcePort: 5,
    destinationPort: GENEVE_PORT,
  });
  const read = (header: string) => {
    const { ip, tunnel } = dissect(Uint8Array.of(...outer.subarray(0, 42), ...bytes(header), ...TCP), true);
    return [ip?.source, tunnel?.protocol, tunnel?.vni];
  };
  assert.deepEqual(read('0000 6558 00abcd 00'), ['10.0.0.1', 'GENEVE', 0xabcd]);
  assert.deepEqual(read('0340 6558 000002 00 014b8102 c633641e 00500000'), ['10.0.0.1', 'GENEVE', 2]);
  assert.deepEqual(read('4000 6558 00abcd 00'), ['192.168.0.1', undefined, undefined]);
  assert.deepEqual(read('0000 0800 00abcd 00'), ['192.168.0.1', undefined, undefined]);
});

test('cut and garbled frames are read as far as they go', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 160 }), fc.nat(TCP.length), fc.boolean(), (noise, cut, overlay) => {
      dissect(noise, overlay);
      dissect(Uint8Array.of(...bytes(`${ETHERNET} 86dd`), ...noise), overlay);
      const { ethernet, ip, l4 } = dissect(TCP.subarray(0, cut), overlay);
      assert.deepEqual([ethernet !== null, ip !== null, l4 !== null], [cut >= 14, cut >= 34, cut >= 54]);
    }),
    { numRuns: 300, seed: SEED },
  );
});
