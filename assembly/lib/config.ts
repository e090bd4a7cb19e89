/** What Cilium's agent is configured with and compiles into its programs, the same on all nodes. */
import { ConfigFlag } from '../abi';

/** Cilium's node configuration (`bpf/include/bpf/config/node.h`) and `cilium_runtime_config`. */
@unmanaged
export class RuntimeConfig {
  /** Bits of `ConfigFlag`. */
  flags: u32;
  /** Bytes of an IP packet that the network between the nodes carries. */
  mtu: u32;
}

export const config = changetype<RuntimeConfig>(memory.data(offsetof<RuntimeConfig>(), 16));

export function has(flag: ConfigFlag): bool {
  return (config.flags & flag) != 0;
}
