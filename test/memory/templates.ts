/** What the packets are made from: every flow of the cluster, every shape, and what each mode knows. */
import { PACKET_HEADROOM, PACKET_ROOM, Program } from '../../assembly/abi.js';
import { NODES, nodePort, PODS, SERVICES, type Loaded } from './cluster.js';
import { FAMILIES, LOAD_BALANCERS, WORLD } from './families.js';
import { data, ethernet, frontend, geneve, ipv4, tcp, udp, vxlan, type Layer } from './frames.js';
import { modes } from './modes.js';
import { divided, LARGE, others, pieces, segments, shapes4, shapes6 } from './shapes.js';

export const MAX_FRAME = PACKET_ROOM - 2 * PACKET_HEADROOM;

/** A frame and where it enters. */
export interface Template {
  readonly frame: Uint8Array;
  readonly lengths: Layer['lengths'];
  readonly kinds: Layer['kinds'];
  readonly ports: number;
  readonly program: Program;
  readonly node: number;
  readonly endpoint: number;
  /** A `Mark`, of what a proxy sends. */
  readonly mark: number;
  /** What is sent right behind it. */
  readonly then: Template | null;
  /** The length to which it is cut next: each in turn. */
  cut: number;
}

/** Everything that is sent, in no order that matters. */
export function templates({ node, endpoint }: Loaded): Template[] {
  const all: Template[] = [];
  const made = (
    layer: Layer,
    program: Program,
    at: string,
    from: string,
    mark: number,
    then: Template | null,
  ): Template => {
    const { bytes, lengths, kinds, ports } = layer.type === 0 ? layer : ethernet(layer);
    const frame = Uint8Array.from(bytes).subarray(0, MAX_FRAME);
    return {
      frame,
      lengths,
      kinds,
      ports,
      program,
      node: node.get(at)!,
      endpoint: endpoint.get(from) ?? 0,
      mark,
      then,
      cut: 0,
    };
  };
  const addPieces = (layers: readonly Layer[], program: Program, at: string, from = '', mark = 0): void => {
    all.push(layers.reduceRight<Template | null>((then, layer) => made(layer, program, at, from, mark, then), null)!);
  };
  const add = (layer: Layer, program: Program, at: string, from = ''): void => addPieces([layer], program, at, from);
  const destinations = [...PODS, ...SERVICES, ...NODES, ...WORLD];
  for (const family of FAMILIES) {
    const { of, ip } = family;
    for (const pod of PODS) {
      for (const to of destinations) {
        for (const segment of [...segments(family), ...LARGE])
          add(ip(of(pod), of(to), segment), Program.FROM_CONTAINER, pod.node, pod.name);
        for (const segment of divided(family))
          addPieces(pieces(family, of(pod), of(to), segment), Program.FROM_CONTAINER, pod.node, pod.name);
        // Without a tunnel, as if the network between the nodes knew the pods' addresses.
        for (const { name } of NODES)
          for (const segment of [tcp(40000, 80), ...LARGE])
            add(ip(of(pod), of(to), segment), Program.FROM_NETDEV, name);
      }
    }
    for (const { name, ...here } of NODES) {
      for (const to of destinations) {
        for (const segment of [tcp(40000, 80), udp(40000, 53, data(9)), family.echo]) {
          add(ip(of(here), of(to), segment), Program.FROM_HOST, name);
          for (const client of WORLD) add(ip(of(client), of(to), segment), Program.FROM_NETDEV, name);
        }
      }
      SERVICES.forEach((_, i) => add(ip(of(WORLD[0]!), of(here), tcp(40000, nodePort(i))), Program.FROM_NETDEV, name));
      for (const outer of FAMILIES)
        for (const to of [...PODS, ...NODES, WORLD[0]!])
          for (const vni of [1, 300]) {
            const inner = ethernet(ip(of(PODS[0]), of(to), tcp(40000, 8080, data(5))));
            for (const flags of [0, 8])
              add(outer.ip(outer.of(NODES[0]), outer.of(here), vxlan(vni, inner, flags)), Program.FROM_NETDEV, name);
          }
    }
  }
  for (const family of FAMILIES) {
    const { of, ip } = family;
    for (const balancer of LOAD_BALANCERS)
      for (const { name } of NODES)
        for (const client of WORLD) {
          for (const segment of [...segments(family), ...LARGE])
            add(ip(of(client), of(balancer), segment), Program.FROM_NETDEV, name);
          for (const segment of divided(family))
            addPieces(pieces(family, of(client), of(balancer), segment), Program.FROM_NETDEV, name);
        }
  }
  const [client, near, far] = PODS;
  const special = [
    ...[near, far, ...SERVICES].flatMap((to) => [...shapes4(client.v4, to.v4), ...shapes6(client.v6, to.v6)]),
    ...others(),
    ipv4(client.v4, NODES[1].v4, vxlan(300, ethernet(ipv4(client.v4, far.v4, tcp(1, 2))))),
    ipv4(client.v4, '169.254.42.1', tcp(8080, 40000, data(1), 0x12)),
  ];
  for (const layer of special) add(layer, Program.FROM_CONTAINER, client.node, client.name);
  const [n1, n2] = NODES;
  const tunnelled = [
    ...[...shapes4(client.v4, far.v4), ...shapes6(client.v6, far.v6)].map((layer) => ethernet(layer)),
    ...others(),
    ethernet(ipv4(n1.v4, n2.v4, vxlan(300, ethernet(ipv4(client.v4, far.v4, tcp(1, 2)))))),
  ];
  for (const inner of tunnelled)
    for (const outer of [vxlan(300, inner), geneve(300, inner, frontend.geneve('198.51.100.1', 80))]) {
      add(ipv4(n1.v4, n2.v4, outer), Program.FROM_NETDEV, n2.name);
      addPieces(pieces(FAMILIES[0]!, n1.v4, n2.v4, outer), Program.FROM_NETDEV, n2.name);
    }
  for (const layer of [...shapes4(WORLD[0]!.v4, '198.51.100.1'), ...shapes6(WORLD[0]!.v6, near.v6), ...others()])
    add(layer, Program.FROM_NETDEV, n1.name);
  for (const { layers, program, at, mark } of modes()) addPieces(layers, program, at, '', mark);
  return all;
}
