/** What a person can pick as an end of a trace. */
import { formatAddress, type Address } from '../addresses.js';
import { countEndpoints } from '../cluster/cluster.js';
import type { State } from '../state.js';

export interface EndChoice {
  readonly ref: string;
  readonly kind: 'workload' | 'service' | 'node' | 'world';
  /** What tells it from others: its address, how many pods. */
  readonly detail: string;
  /** Ports worth offering, with their protocol. */
  readonly ports: readonly { readonly protocol: string; readonly port: number; readonly name: string | null }[];
  /** Whether it can send: a Service cannot. */
  readonly sends: boolean;
}

const addressesText = (addresses: readonly Address[]): string => addresses.map(formatAddress).join(', ');

export function ends(state: State): EndChoice[] {
  const { services, workloads, nodes } = state.cluster;
  return [
    ...workloads
      .filter(({ pods }) => pods.length > 0)
      .map(({ ref, pods }): EndChoice => {
        const ports = pods[0]!.spec.containers.flatMap((container) =>
          container.ports.map((port) => ({
            protocol: port.protocol,
            port: port.containerPort.value,
            name: port.name?.value ?? null,
          })),
        );
        return {
          ref,
          kind: 'workload',
          detail: pods.length === 1 ? addressesText(pods[0]!.addresses) : `${pods.length} pods`,
          ports,
          sends: true,
        };
      }),
    ...services.map(({ namespace, name, clusterIPs, source, ports }): EndChoice => {
      const backends = countEndpoints(ports.flatMap((port) => port.backends));
      const where = addressesText(clusterIPs) || (source.externalName ? `→ ${source.externalName.value}` : 'headless');
      const listed = source.ports.map((port) => ({ protocol: port.protocol, port: port.port.value, name: port.name }));
      return {
        ref: `svc:${namespace}/${name}`,
        kind: 'service',
        detail: `${where}, ${backends} endpoint${backends === 1 ? '' : 's'}`,
        ports: listed,
        sends: false,
      };
    }),
    ...nodes.map(({ name, addresses }): EndChoice => ({
      ref: `node:${name}`,
      kind: 'node',
      detail: addressesText(addresses),
      ports: [],
      sends: true,
    })),
    { ref: 'world', kind: 'world', detail: 'anything outside the cluster', ports: [], sends: true },
  ];
}
