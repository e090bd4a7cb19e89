/**
 * The paths that a packet takes through Cilium's datapath: each folder of `test/paths` is one, with a small cluster, the packets
 * that go in, and what comes out of each: its verdict, the flows that Hubble sees, its bytes before and after, and at the end the
 * maps that it left behind. `HOPSCOPE_UPDATE=1` writes `path.txt` anew, to be read before it is committed.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Mark, Program } from '../assembly/abi.js';
import { flowsOf } from '../dataplane/answers/flows.js';
import { maps } from '../dataplane/answers/maps.js';
import { notificationsOf } from '../dataplane/answers/notifications.js';
import { hubbleCompact } from '../dataplane/format/hubble-compact.js';
import { mapsText } from '../dataplane/format/maps-text.js';
import { PROGRAM_NAMES, reasonOf } from '../dataplane/reasons.js';
import type { Settings } from '../dataplane/settings.js';
import type { State } from '../dataplane/state.js';
import type { PacketIn, PacketOut } from '../dataplane/wasm.js';
import { Lab } from './lab.js';
import { frameOf, hexBeside, type Sent } from './paths/frames.js';

interface Path {
  readonly about: string;
  readonly settings?: Partial<Settings>;
  readonly packets: readonly Sent[];
  /** Shown as they are after the last packet. */
  readonly maps: readonly string[];
}

const ROOT = 'test/paths';

for (const name of readdirSync(ROOT).sort()) {
  const folder = join(ROOT, name);
  const file = join(folder, 'path.json');
  if (!existsSync(file)) continue;
  const path = JSON.parse(readFileSync(file, 'utf8')) as Path;
  test(`${name}: ${path.about}`, () => {
    const lab = new Lab(readFileSync(join(folder, 'cluster.yaml'), 'utf8'), path.settings);
    assert.deepEqual(
      lab.engine.manifests.problems.map(({ message }) => message),
      [],
    );
    const told = [
      ...path.packets.map((sent) => passed(lab.state, sent)),
      ...path.maps.map((map) => held(lab.state, map)),
    ];
    const text = `${told.join('\n\n')}\n`;
    const expected = join(folder, 'path.txt');
    if (process.env['HOPSCOPE_UPDATE']) writeFileSync(expected, text);
    assert.ok(existsSync(expected), 'HOPSCOPE_UPDATE=1 writes it');
    assert.equal(text, readFileSync(expected, 'utf8'));
  });
}

/** What becomes of one packet. */
function passed(state: State, sent: Sent): string {
  const { current } = state.loader;
  const { out, events } = current.traced(packetIn(state, sent));
  const flows = flowsOf(state, notificationsOf(state, { events }));
  const before = frameOf(sent);
  return [
    `# ${sent.at}: ${said(sent)}`,
    fate(state, out),
    // Hubble's clock counts on from flow to flow.
    ...flows.map((flow) => `   ${hubbleCompact([flow]).trim().replace(STAMP, '')}`),
    hexBeside(before, out.frame),
  ].join('\n');
}

function said({ packet, size, quotes, piece, id, time, for: whom }: Sent): string {
  const more = [
    size === undefined ? '' : `${size} bytes`,
    quotes === undefined ? '' : `about ${quotes}`,
    piece === undefined ? '' : `${piece} piece of datagram ${id}`,
    time === undefined ? '' : `at ${time} ms`,
    whom === undefined ? '' : `for ${whom}`,
  ].filter((text) => text !== '');
  return [packet, ...more].join(', ');
}

const STAMP = /^.*?\.\d{3}: /;

/** Where a packet is sent, with what its sender puts on it. */
function packetIn(state: State, { at, for: whom, time, ...sent }: Sent): PacketIn {
  const { cluster, desired, identities } = state;
  const [kind = '', name = ''] = at.split(' ');
  const pod = cluster.pods.find((candidate) => candidate.name === name);
  const node = cluster.nodes.find((candidate) => candidate.name === name)?.index ?? 0;
  const endpoint = pod ? desired.endpointIds.get(pod)! : 0;
  const program = PROGRAMS[kind];
  assert.ok(program !== undefined && (endpoint !== 0 || node !== 0), `nobody is ${at}`);
  const speaker = cluster.pods.find((candidate) => candidate.name === whom);
  const mark = speaker ? ((identities.ofPod.get(speaker)!.number << 16) >>> 0) | Mark.PROXY_INGRESS : 0;
  const frame = frameOf({ at, ...sent });
  return { frame, node, program, endpoint, mark, ...(time === undefined ? {} : { time: time * 1e6 }) };
}

const PROGRAMS: Readonly<Record<string, Program>> = {
  pod: Program.FROM_CONTAINER,
  socket: Program.SOCK_CONNECT,
  host: Program.FROM_HOST,
  wire: Program.FROM_NETDEV,
  proxy: Program.FROM_PROXY,
};

function fate(state: State, { verdict, program, node, endpoint, delay, answered }: PacketOut): string {
  const where = state.cluster.nodes.find(({ index }) => index === node)!.name;
  const place = PROGRAM_NAMES[program as Program];
  if (verdict < 0) {
    const { code, text } = reasonOf(-verdict);
    const told = answered === 0 ? '' : `; ICMP tells the sender: ${PROGRAM_NAMES[answered as Program]}`;
    return `dropped by ${place} of ${where}: ${text} (${code})${told}`;
  }
  const pod = state.desired.endpointIds.podOf(endpoint);
  return `${place}${pod ? ` to ${pod.name}` : ''} on ${where}${delay === 0 ? '' : `, ${delay / 1000} ms later`}`;
}

/** A map as `hopscope maps` lists it. */
function held(state: State, name: string): string {
  const dump = (map: string) => {
    const found = maps(state, map, null);
    assert.ok('maps' in found, `there is no map ${map}`);
    return found;
  };
  return mapsText(dump(name), (map) => dump(map).maps[map] ?? []).trim();
}
