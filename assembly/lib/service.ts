/** A Service's answer to a packet: a backend, or that there is none. Cilium `bpf/lib/lb.h`, `bpf/lib/nodeport.h`, `tail_no_service_ipv4`. */
import { ConfigFlag, DropReason, Program } from '../abi';
import * as config from './config';
import * as icmp from './icmp';
import * as lb from './lb';
import { LbService } from './lb';
import { Context } from './packet';

/**
 * Lends the packet in hand to a backend of `found`. 0 to go on; where there is none, `home` with the ICMP error that tells the
 * sender, which goes straight back to where it came from; else a negated drop reason.
 */
export function lend<A>(ctx: Context<A>, found: LbService, home: Program): i32 {
  const result = lb.local<A>(ctx, found);
  if (result != -DropReason.NO_SERVICE) return result;
  if (!config.has(ConfigFlag.REJECT_NO_BACKEND) || !icmp.mayAnswer<A>(ctx)) return result;
  icmp.portUnreachable<A>(ctx);
  return home;
}
