/** What Cilium's agent is configured with and compiles into its programs, the same on all nodes. */
import { ConfigFlag } from '../abi';
import { be128, be32 } from '../wire/bytes';

/** Cilium's node configuration (`bpf/include/bpf/config/node.h`) and `cilium_runtime_config`. */
@unmanaged
export class RuntimeConfig {
  /** What the network carries by itself: to there nothing is masqueraded. An address and its mask, where a flag says that they are set. */
  nativeCidr6: be128;
  nativeMask6: be128;
  nativeCidr4: be32;
  nativeMask4: be32;
  /** From there to there nothing leaves a node unless encrypted, where a flag says that it is set. */
  strictCidr4: be32;
  strictMask4: be32;
  /** Bits of `ConfigFlag`. */
  flags: u32;
  /** Bytes of an IP packet that the network between the nodes carries. */
  mtu: u32;
  /** A `TunnelProtocol`, that of the tunnel device. */
  tunnel: u8;
  /** A `NodePortMode`. */
  nodePortMode: u8;
  /** A `DsrDispatch`. */
  dsrDispatch: u8;
  pad: u8;
}

export const config = changetype<RuntimeConfig>(memory.data(offsetof<RuntimeConfig>(), 16));

export function has(flag: ConfigFlag): bool {
  return (config.flags & flag) != 0;
}

/** Whether an address lies in the native routing CIDR. */
export function isNative<A>(address: A): bool {
  if (isVector<A>()) {
    if (!has(ConfigFlag.NATIVE_CIDR6)) return false;
    return v128.and(address, config.nativeMask6) == config.nativeCidr6;
  }
  return has(ConfigFlag.NATIVE_CIDR4) && ((<u32>address) & config.nativeMask4) == config.nativeCidr4;
}
