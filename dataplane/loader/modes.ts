/**
 * How packets get from node to node, and from outside to a backend on another: what the settings make of the datapath, and where
 * that is not what the plug-in does. Cilium `daemon/cmd/kube_proxy_replacement.go`, `pkg/datapath/tunnel`.
 */
import {
  ConfigFlag,
  DsrDispatch,
  GENEVE_PORT,
  NodePortMode,
  TunnelProtocol,
  VXLAN_PORT,
  WIREGUARD_OVERHEAD,
} from '../../assembly/abi.js';
import type { Cni, Settings } from '../settings.js';

/** Bytes that the network between the nodes carries. */
const MTU = 1500;

interface Delivery {
  readonly tunnel: TunnelProtocol;
  readonly mtu: number;
  /** What is Cilium's all the same; none for Cilium. */
  readonly differs: readonly string[];
}

const CALICO_POLICY = 'masquerade and the reasons for refusals are Cilium’s';

const DELIVERIES: Readonly<Record<Cni, Delivery>> = {
  'cilium-vxlan': { tunnel: TunnelProtocol.VXLAN, mtu: MTU, differs: [] },
  'cilium-geneve': { tunnel: TunnelProtocol.GENEVE, mtu: MTU, differs: [] },
  'cilium-native': { tunnel: TunnelProtocol.NONE, mtu: MTU, differs: [] },
  'flannel-vxlan': {
    tunnel: TunnelProtocol.VXLAN,
    mtu: MTU,
    differs: ['its tunnel has the VNI 1, where Cilium’s tells who sends'],
  },
  'flannel-host-gw': { tunnel: TunnelProtocol.NONE, mtu: MTU, differs: [] },
  'calico-ipip': {
    tunnel: TunnelProtocol.NONE,
    mtu: MTU - 20,
    differs: [CALICO_POLICY, 'packets between nodes are shown without the IP header that it puts around them'],
  },
  'calico-vxlan': {
    tunnel: TunnelProtocol.VXLAN,
    mtu: MTU,
    differs: [CALICO_POLICY, 'its tunnel has port 4789 and the VNI 4096, where Cilium’s tells who sends'],
  },
  'calico-bgp': { tunnel: TunnelProtocol.NONE, mtu: MTU, differs: [CALICO_POLICY] },
  bridge: { tunnel: TunnelProtocol.NONE, mtu: MTU, differs: [] },
};

const NODE_PORT_MODES = { snat: NodePortMode.SNAT, dsr: NodePortMode.DSR, hybrid: NodePortMode.HYBRID } as const;
const DISPATCHES = { opt: DsrDispatch.OPT, geneve: DsrDispatch.GENEVE, ipip: DsrDispatch.IPIP } as const;

export interface Modes {
  readonly flags: number;
  readonly tunnel: TunnelProtocol;
  readonly mtu: number;
  readonly nodePortMode: NodePortMode;
  readonly dsrDispatch: DsrDispatch;
}

/** `annotated`: each Service's entry says whether it uses direct server return. */
export function modesOf(settings: Settings, annotated: boolean): Modes {
  const { tunnel, mtu } = DELIVERIES[settings.cni];
  const nodePortMode = annotated ? NodePortMode.SNAT : NODE_PORT_MODES[settings['loadBalancer.mode']];
  const dsr = nodePortMode !== NodePortMode.SNAT || annotated;
  const dsrDispatch = DISPATCHES[dispatchOf(settings)];
  const native = tunnel === TunnelProtocol.NONE;
  const encrypted = settings['encryption.type'] === 'wireguard';
  return {
    flags:
      (native ? ConfigFlag.NATIVE_ROUTING : 0) | (dsr ? ConfigFlag.DSR : 0) | (encrypted ? ConfigFlag.WIREGUARD : 0),
    // Cilium then has a Geneve device for these packets alone.
    tunnel: native && dsr && dsrDispatch === DsrDispatch.GENEVE ? TunnelProtocol.GENEVE : tunnel,
    mtu: encrypted ? mtu - WIREGUARD_OVERHEAD : mtu,
    nodePortMode,
    dsrDispatch,
  };
}

/** The name and port of the tunnel, where there is one: with native routing, that of direct server return. */
export const tunnelOf = ({ cni }: Settings): { readonly name: string; readonly port: number } =>
  DELIVERIES[cni].tunnel === TunnelProtocol.VXLAN
    ? { name: 'VXLAN', port: VXLAN_PORT }
    : { name: 'Geneve', port: GENEVE_PORT };

/** What is done in place of what Cilium refuses to start with. */
function dispatchOf(settings: Settings): Settings['loadBalancer.dsrDispatch'] {
  switch (DELIVERIES[settings.cni].tunnel) {
    case TunnelProtocol.VXLAN:
      return 'opt';
    case TunnelProtocol.GENEVE:
      return 'geneve';
    case TunnelProtocol.NONE:
      return settings['loadBalancer.dsrDispatch'];
  }
}

/** Why Cilium refuses to start with these settings, and what is done instead; null where it does not. */
export function refusedModes(settings: Settings): { readonly why: string; readonly instead: string } | null {
  const { cni, 'loadBalancer.mode': mode, 'loadBalancer.dsrDispatch': dispatch } = settings;
  if (mode === 'snat' || !cni.startsWith('cilium')) return null;
  switch (DELIVERIES[cni].tunnel) {
    case TunnelProtocol.VXLAN:
      return {
        why: `Cilium refuses loadBalancer.mode ${mode} with a VXLAN tunnel: it needs cilium-native, or cilium-geneve with loadBalancer.dsrDispatch geneve`,
        instead: 'the IP option that tells the Service goes through the tunnel with the packet',
      };
    case TunnelProtocol.GENEVE:
      return dispatch === 'geneve'
        ? null
        : {
            why: `Cilium refuses loadBalancer.mode ${mode} with a Geneve tunnel, unless loadBalancer.dsrDispatch is geneve`,
            instead: 'loadBalancer.dsrDispatch is taken to be geneve',
          };
    case TunnelProtocol.NONE:
      return null;
  }
}

/** What of the answer is Cilium's where the plug-in is another, or is not what the settings say. `direct`: a client outside reached a backend on another node. */
export function modeAssumptions(settings: Settings, direct: boolean): string[] {
  const lines = DELIVERIES[settings.cni].differs.map((what) => `cni ${settings.cni}: ${what}`);
  const refused = direct ? refusedModes(settings) : null;
  return refused ? [...lines, `${refused.why}; ${refused.instead}`] : lines;
}
