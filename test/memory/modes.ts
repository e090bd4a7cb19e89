/** Packets that mean something in one mode only: in Geneve's tunnel, by direct server return, encrypted, and from a proxy. */
import { Mark, Program } from '../../assembly/abi.js';
import { NODES, PODS, SERVICES } from './cluster.js';
import { FAMILIES, LOAD_BALANCERS, WORLD, type Family } from './families.js';
import {
  data,
  ethernet,
  extension,
  frontend,
  geneve,
  geneveOption,
  inIp,
  ipv4,
  ipv6,
  optioned,
  sctp,
  tcp,
  udp,
  vxlan,
  wireguard,
  type Layer,
} from './frames.js';
import { pieces, shapes4, shapes6 } from './shapes.js';

export interface Sent {
  /** The pieces of one packet. */
  readonly layers: readonly Layer[];
  readonly program: Program;
  /** The node. */
  readonly at: string;
  readonly mark: number;
}

const [n1, n2] = NODES;
const [, , far] = PODS;
const outside = WORLD[0]!;
const ACK = 0x10;

const arriving = (...layers: Layer[]): Sent => ({ layers, program: Program.FROM_NETDEV, at: n2.name, mark: 0 });

/** What a client outside sends: what opens a flow, and what does not. */
const requests = ({ echo }: Family): Layer[] => [
  tcp(40000, 8080),
  tcp(40000, 8080, data(9), ACK),
  udp(40000, 5353),
  udp(40000, 5353, data(20)),
  sctp(40000, 9),
  echo,
];

/** Frames in Geneve, with options of every kind: known, unknown, of the other family, to be known, as many as fit, cut off. */
function tunnelled(family: Family): Sent[] {
  const { of, ip } = family;
  const asked = LOAD_BALANCERS.map(of).map((address) => frontend.geneve(address, 80));
  const other = frontend.geneve(LOAD_BALANCERS[0]![family.of === FAMILIES[0]!.of ? 'v6' : 'v4'], 80);
  const unknown = geneveOption(1, new Array<number>(8).fill(7));
  const critical = geneveOption(0x82, [1, 2, 3, 4]);
  const options = [
    [],
    ...asked.map((option) => [option]),
    [other],
    [unknown],
    [critical],
    [unknown, asked[0]!],
    [asked[0]!, asked[1]!],
    [asked[0]!, other],
    [geneveOption(1, [])],
    [geneveOption(1, new Array<number>(124).fill(0)), geneveOption(2, new Array<number>(112).fill(0)), unknown],
  ];
  const endless = asked.flatMap((option) =>
    [8, option.length - 4].map((length) => arriving(ipv4(n1.v4, n2.v4, geneve(2, data(0), option.slice(0, length))))),
  );
  const whole = [...PODS, ...NODES, outside].flatMap((to) =>
    requests(family).flatMap((request) =>
      options.map((these, i) =>
        arriving(ipv4(n1.v4, n2.v4, geneve(i === 0 ? 300 : 2, ethernet(ip(of(outside), of(to), request)), ...these))),
      ),
    ),
  );
  return [...whole, ...endless];
}

/** The Service in a packet's own header, as it comes from the network, and through the tunnel. */
function inHeader(family: Family): Sent[] {
  const six = family.of === FAMILIES[1]!.of;
  const [source, destination] = [family.of(outside), family.of(far)];
  return LOAD_BALANCERS.map(family.of).flatMap((asked) =>
    requests(family)
      .flatMap((request) =>
        six
          ? [
              ipv6(source, destination, frontend.extension6(asked, 80, request)),
              ipv6(source, destination, frontend.extension6(asked, 0, request)),
              ipv6(source, destination, frontend.extension6(asked, 80, extension(60, request))),
              ipv6(source, destination, extension(60, request, 3)),
              ipv6(source, destination, optioned(60, request, [0x1b, 0x14, 0, 0, 0, 0])),
            ]
          : [[], [1, 1, 1, 1]].flatMap((more) => [
              ipv4(source, destination, request, { options: [...frontend.option4(asked, 80), ...more] }),
              ipv4(source, destination, request, { options: [...more, ...frontend.option4(asked, 80)] }),
              ipv4(source, destination, request, { options: [...frontend.option4(asked, 0), ...more] }),
            ]),
      )
      .flatMap((layer) => [arriving(layer), arriving(ipv4(n1.v4, n2.v4, vxlan(2, ethernet(layer))))]),
  );
}

/** Whole packets in an IP header of another node's, in one of a backend's, in pieces, and in two. */
function inPacket(family: Family): Sent[] {
  const { of, ip } = family;
  const shapes = family.of === FAMILIES[1]!.of ? shapes6 : shapes4;
  const inner = [...LOAD_BALANCERS, ...SERVICES, far].flatMap((asked) =>
    [tcp(40000, 80), tcp(40000, 80, data(9), ACK), udp(40000, 53, data(20)), sctp(40000, 9), family.echo].map(
      (request) => ip(of(outside), of(asked), request),
    ),
  );
  return [
    ...[...inner, ...shapes(of(outside), of(LOAD_BALANCERS[4]!))].map((layer) =>
      arriving(inIp(of(n1), of(far), layer)),
    ),
    ...inner.map((layer) => arriving(inIp(of(n1), of(n2), layer))),
    ...inner.map((layer) => arriving(inIp(of(n1), of(far), inIp(of(n1), of(far), layer)))),
    ...inner.map((layer) =>
      arriving(...pieces(family, of(n1), of(far), { ...layer, type: inIp(of(n1), of(far), layer).type })),
    ),
  ];
}

/** Packets in WireGuard's messages: pods' own and those of both tunnels, in every shape, in pieces; of others, and no data. */
function encrypted(family: Family): Sent[] {
  const { of, ip } = family;
  const shapes = family.of === FAMILIES[1]!.of ? shapes6 : shapes4;
  const own = [...PODS, ...NODES, outside].flatMap((to) =>
    requests(family).map((request) => ip(of(PODS[0]), of(to), request)),
  );
  const inner = [
    ...own,
    ...own.flatMap((layer) => {
      const frame = ethernet(layer);
      const option = frontend.geneve(of(LOAD_BALANCERS[0]!), 80);
      return [vxlan(300, frame), geneve(300, frame), geneve(2, frame, option)].map((outer) =>
        ipv4(n1.v4, n2.v4, outer),
      );
    }),
    ...shapes(of(PODS[0]), of(far)),
    data(0),
    data(1),
  ];
  return inner.flatMap((layer) => [
    arriving(ipv4(n1.v4, n2.v4, wireguard(layer))),
    arriving(...pieces(FAMILIES[0]!, n1.v4, n2.v4, wireguard(layer))),
    arriving(ipv4(outside.v4, n2.v4, wireguard(layer))),
    arriving(ipv4(n1.v4, n2.v4, wireguard(layer, 1))),
  ]);
}

/** What proxies send on, in the name of whom they speak for, and of somebody unknown. */
function fromProxies(family: Family): Sent[] {
  const { of, ip } = family;
  const marks = [Mark.PROXY_INGRESS, Mark.PROXY_EGRESS].flatMap((magic) => [magic | (2 << 16), magic | (777 << 16)]);
  return PODS.flatMap((from) =>
    [...PODS, ...NODES, outside].flatMap((to) =>
      [tcp(40000, 8080), tcp(8080, 40000, data(3), ACK), udp(40000, 5353, data(30)), family.echo].map(
        (segment, i): Sent => ({
          layers: [ip(of(from), of(to), segment)],
          program: Program.FROM_PROXY,
          at: from.node,
          mark: marks[i % marks.length]!,
        }),
      ),
    ),
  );
}

export const modes = (): Sent[] =>
  FAMILIES.flatMap((family) => [
    ...tunnelled(family),
    ...inHeader(family),
    ...inPacket(family),
    ...encrypted(family),
    ...fromProxies(family),
  ]);
