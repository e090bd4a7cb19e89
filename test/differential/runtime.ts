/** The datapath's configuration, as its record has it. */
import { ConfigFlag, DsrDispatch, NodePortMode, TunnelProtocol } from '../../assembly/abi.js';
import type { RuntimeConfig } from '../../pkg/structs.js';
import { versionOf } from '../reference/bytes.js';
import type { Config, Prefix } from '../reference/tables.js';
import { valueOf } from './subject.js';

const TUNNELS = { vxlan: TunnelProtocol.VXLAN, geneve: TunnelProtocol.GENEVE } as const;

const DISPATCHES = { option: DsrDispatch.OPT, ipip: DsrDispatch.IPIP, geneve: DsrDispatch.GENEVE } as const;
/** Where Services say so themselves, the mode is that of the others. */
const MODES = { all: NodePortMode.DSR, tcp: NodePortMode.HYBRID, annotated: NodePortMode.SNAT } as const;

const maskOf = ({ address, length }: Prefix): bigint => {
  const bits = BigInt(address.length * 8);
  return ((1n << BigInt(length)) - 1n) << (bits - BigInt(length));
};

function flagsOf(config: Config): number {
  const {
    trackFragments,
    masquerade,
    rejectNoBackend,
    isNative,
    audit,
    hostFirewall,
    socketLb,
    serviceMasquerade,
    dsr,
    nativeCidrs,
    nonMasqueradeCidrs,
    wireguard,
    strictCidr,
    paced,
  } = config;
  const families = nativeCidrs.map(({ address }) => versionOf(address));
  const set: readonly (readonly [boolean, ConfigFlag])[] = [
    [true, ConfigFlag.ALLOW_ICMP_FRAG_NEEDED],
    [trackFragments, ConfigFlag.TRACK_FRAGMENTS],
    [masquerade, ConfigFlag.MASQUERADE],
    [rejectNoBackend, ConfigFlag.REJECT_NO_BACKEND],
    [isNative, ConfigFlag.NATIVE_ROUTING],
    [audit, ConfigFlag.POLICY_AUDIT],
    [hostFirewall, ConfigFlag.HOST_FIREWALL],
    [socketLb !== 'off', ConfigFlag.SOCKET_LB],
    [socketLb === 'node', ConfigFlag.SOCKET_LB_HOST_ONLY],
    [serviceMasquerade !== null, ConfigFlag.SERVICE_MASQUERADE],
    [serviceMasquerade === 'all', ConfigFlag.MASQUERADE_ALL],
    [serviceMasquerade === 'nonLocal', ConfigFlag.MASQUERADE_NON_LOCAL],
    [dsr !== null, ConfigFlag.DSR],
    [families.includes(4), ConfigFlag.NATIVE_CIDR4],
    [families.includes(6), ConfigFlag.NATIVE_CIDR6],
    [nonMasqueradeCidrs !== null, ConfigFlag.IP_MASQ_AGENT],
    [wireguard, ConfigFlag.WIREGUARD],
    [strictCidr !== null, ConfigFlag.ENCRYPTION_STRICT],
    [paced, ConfigFlag.BANDWIDTH_MANAGER],
  ];
  return set.reduce((flags, [isSet, flag]) => (isSet ? flags | flag : flags), 0);
}

export function runtimeOf(config: Config): Partial<RuntimeConfig> {
  const { mtu, tunnel, dsr, nativeCidrs, strictCidr } = config;
  const native4 = nativeCidrs.find(({ address }) => versionOf(address) === 4);
  const native6 = nativeCidrs.find(({ address }) => versionOf(address) === 6);
  return {
    flags: flagsOf(config),
    mtu,
    tunnel: tunnel === null ? TunnelProtocol.NONE : TUNNELS[tunnel],
    ...(dsr === null ? {} : { nodePortMode: MODES[dsr.mode], dsrDispatch: DISPATCHES[dsr.dispatch] }),
    ...(native4 ? { nativeCidr4: Number(valueOf(native4.address)), nativeMask4: Number(maskOf(native4)) } : {}),
    ...(strictCidr
      ? { strictCidr4: Number(valueOf(strictCidr.address)), strictMask4: Number(maskOf(strictCidr)) }
      : {}),
    ...(native6 ? { nativeCidr6: BigInt(valueOf(native6.address)), nativeMask6: maskOf(native6) } : {}),
  };
}
