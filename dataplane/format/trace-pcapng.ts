/** A trace as a capture file: each frame as it was at each observation point. pcapng, draft-ietf-opsawg-pcapng. */
import type { Capture } from '../answers/trace.js';

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE = 1;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const ETHERNET = 1;
const IF_NAME = 2;
const COMMENT = 1;

const padded = (length: number): number => (length + 3) & ~3;

/** A block: type, length, body, length again; little-endian. */
function block(type: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + padded(body.length));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, bytes.length, true);
  bytes.set(body, 8);
  view.setUint32(bytes.length - 4, bytes.length, true);
  return bytes;
}

/** One option with a text, and the end of options. */
function option(code: number, text: string): Uint8Array {
  const value = new TextEncoder().encode(text);
  const bytes = new Uint8Array(4 + padded(value.length) + 4);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, code, true);
  view.setUint16(2, value.length, true);
  bytes.set(value, 4);
  return bytes;
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** 32-bit and 16-bit numbers, little-endian, in the order given: `[value, bytes]`. */
function numbers(...values: readonly (readonly [number, 2 | 4])[]): Uint8Array {
  const bytes = new Uint8Array(values.reduce((sum, [, size]) => sum + size, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [value, size] of values) {
    if (size === 4) view.setUint32(at, value, true);
    else view.setUint16(at, value, true);
    at += size;
  }
  return bytes;
}

/** One interface a node and observation point; packets a microsecond apart, from the epoch on, so that the bytes are always the same. */
export function tracePcapng(captures: readonly Capture[]): Uint8Array {
  const header = block(
    SECTION_HEADER,
    numbers([BYTE_ORDER_MAGIC, 4], [1, 2], [0, 2], [0xffffffff, 4], [0xffffffff, 4]),
  );
  const names = [...new Set(captures.map(({ node, point }) => `${node} ${point}`))];
  const interfaces = names.map((name) =>
    block(INTERFACE, join(numbers([ETHERNET, 2], [0, 2], [0, 4]), option(IF_NAME, name))),
  );
  const packets = captures.map(({ node, point, frame, length }, i) => {
    const data = new Uint8Array(padded(frame.length));
    data.set(frame);
    const head = numbers([names.indexOf(`${node} ${point}`), 4], [0, 4], [i, 4], [frame.length, 4], [length, 4]);
    return block(ENHANCED_PACKET, join(head, data, option(COMMENT, `${point} on ${node}`)));
  });
  return join(header, ...interfaces, ...packets);
}
