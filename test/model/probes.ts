/** Questions of models whose clusters have nodes too: every pair of ends, each protocol, and the ports at which answers change. */
import { idOf, type Pod, type Protocol } from './networkpolicy.js';

export type End = { pod: string } | { ip: string } | { node: string };

export interface Probe {
  from: End;
  to: End;
  protocol: Protocol;
  port: number;
}

const PROTOCOLS: readonly Protocol[] = ['TCP', 'UDP', 'SCTP'];
const PORTS = [53, 79, 80, 81, 82, 443, 8079, 8080, 65535];

/** Where an answer about the world may change. */
const OUTSIDE = [
  '203.0.112.255',
  '203.0.113.0',
  '203.0.113.63',
  '203.0.113.64',
  '203.0.113.128',
  '198.51.100.7',
  '8.8.8.8',
];

/** `limit` of all probes worth asking, evenly spread. */
export function probesOf(
  cluster: { readonly pods: readonly Pod[]; readonly nodes: readonly { metadata: { name: string } }[] },
  limit: number,
  offset = 0,
): Probe[] {
  const pods = cluster.pods.map((pod): End => ({ pod: idOf(pod) }));
  const others: End[] = [
    ...cluster.nodes.map(({ metadata }) => ({ node: metadata.name })),
    ...OUTSIDE.map((ip) => ({ ip })),
  ];
  const pairs = pods.flatMap((one) => [
    ...pods.filter((other) => other !== one).map((other) => [one, other] as const),
    ...others.flatMap((other) => [[one, other] as const, [other, one] as const]),
  ]);
  const total = pairs.length * PROTOCOLS.length * PORTS.length;
  const count = Math.min(total, limit);
  return Array.from({ length: count }, (_, nth) => {
    const index = (Math.floor((nth * total) / count) + offset) % total;
    const [from, to] = pairs[index % pairs.length]!;
    const rest = Math.floor(index / pairs.length);
    return {
      from,
      to,
      protocol: PROTOCOLS[rest % PROTOCOLS.length]!,
      port: PORTS[Math.floor(rest / PROTOCOLS.length)]!,
    };
  });
}
