/** The programs on sockets: of pods and of nodes, before any packet and after the last. Cilium `bpf/bpf_sock.c`. */
import {
  ConfigFlag,
  DropReason,
  IpProto,
  NODEPORT_PORT_MAX,
  NODEPORT_PORT_MIN,
  Program,
  ReservedIdentity,
  Step,
  SvcFlag,
  XlatePoint,
} from './abi';
import * as affinity from './lib/affinity';
import * as config from './lib/config';
import * as endpoint from './lib/endpoint';
import * as ipcache from './lib/ipcache';
import * as lb from './lib/lb';
import { LbService } from './lib/lb';
import * as metrics from './lib/metrics';
import { Context } from './lib/packet';
import { parse } from './lib/parse';
import * as recording from './lib/recording';
import * as reverseSk from './lib/reverse-sk';
import * as rewrite from './lib/rewrite';
import * as trace from './lib/trace';
import { isLoopback, unspecified } from './wire/address';
import { ntohs } from './wire/bytes';

/**
 * A socket is connected, or sends without being so (`cil_sock4_connect`, `cil_sock4_sendmsg`). In place of its address stands
 * the first packet that it is going to send:
 *
 * 1. a Service's address, of TCP or UDP, is looked up; any other is left alone
 * 2. that of a Service outside is left to the way there, unless it is this node's own
 * 3. a backend is picked: the one that this network namespace had, where the Service keeps clients to one; else a new one
 * 4. what was asked for is remembered, and the socket speaks to the backend
 *
 * The program of the packet itself, or the receiver at once where the pod speaks to itself; or negated LB_NO_BACKEND,
 * LB_NO_BACKEND_SLOT, LB_REVNAT_UPDATE: then there is no connection, and no packet ever.
 */
export function connect<A>(ctx: Context<A>): i32 {
  recording.spoil();
  const next = ctx.endpoint != 0 ? Program.FROM_CONTAINER : Program.FROM_HOST;
  const own = endpoint.configs.lookup(ctx.endpoint);
  if (ctx.endpoint != 0) {
    if (own === null || own.policyId == 0) return next;
    ctx.node = own.node;
    ctx.sourceIdentity = own.secId;
  } else ctx.sourceIdentity = ReservedIdentity.HOST;
  if (parse<A>(ctx) < 0 || !isTranslated<A>(ctx)) return next;
  const result = translate<A>(ctx);
  if (result < 0) return result;
  if (ctx.endpoint == 0 || ctx.daddr != own.address<A>() || ctx.saddr != ctx.daddr) return next;
  ctx.destinationIdentity = own.secId;
  trace.step<A>(ctx, Step.DELIVER, trace.NO_POINT, 0);
  return Program.SOCK_RECVMSG;
}

/** Whether sockets of this protocol and network namespace have such programs. */
function isTranslated<A>(ctx: Context<A>): bool {
  if (ctx.protocol != IpProto.TCP && ctx.protocol != IpProto.UDP) return false;
  return config.has(ConfigFlag.SOCKET_LB) && (ctx.endpoint == 0 || !config.has(ConfigFlag.SOCKET_LB_HOST_ONLY));
}

/** `__sock4_xlate_fwd`. 0 whether there was anything to do or not. */
function translate<A>(ctx: Context<A>): i32 {
  let frontend = ctx.daddr;
  let service = lb.lookupFrontend<A>(ctx, frontend, ctx.dport);
  if (service === null) {
    service = lookupShared<A>(ctx, frontend, ctx.dport);
    frontend = unspecified<A>();
  }
  if (service === null) return 0;
  if (service.count == 0) return -DropReason.LB_NO_BACKEND;
  trace.sock<A>(ctx, XlatePoint.PRE_DIRECTION_FWD);
  if (isOutside<A>(ctx, service)) return 0;
  const backend = lb.newBackend<A>(ctx, service, frontend, reverseSk.netns<A>(ctx));
  if (backend === null) return ctx.backendId == 0 ? -DropReason.LB_NO_BACKEND_SLOT : -DropReason.LB_NO_BACKEND;
  if (!reverseSk.remember<A>(ctx, backend.address, backend.port, service.revNatIndex))
    return -DropReason.LB_REVNAT_UPDATE;
  if ((service.flags & SvcFlag.AFFINITY) != 0)
    affinity.remember<A>(ctx.saddr, reverseSk.netns<A>(ctx), service.revNatIndex, ctx.backendId);
  ctx.sockBackendId = ctx.backendId;
  ctx.sockRevNatIndex = service.revNatIndex;
  rewrite.destination<A>(ctx, backend.address, backend.port);
  trace.sock<A>(ctx, XlatePoint.POST_DIRECTION_FWD);
  return 0;
}

/**
 * What every node has on a port (`sock4_wildcard_lookup_full`): a node port at any node's address, a host port at this one's;
 * null for none.
 */
function lookupShared<A>(ctx: Context<A>, address: A, port: u32): LbService {
  const number = ntohs(port);
  const isNodePort = number >= <u32>NODEPORT_PORT_MIN && number <= <u32>NODEPORT_PORT_MAX;
  const identity = identityAt<A>(ctx, address);
  if (identity != ReservedIdentity.HOST && !(isNodePort && identity == ReservedIdentity.REMOTE_NODE))
    return changetype<LbService>(0);
  const service = lb.lookupFrontend<A>(ctx, unspecified<A>(), port);
  const flag = isNodePort ? SvcFlag.NODEPORT : SvcFlag.HOSTPORT;
  return service === null || (service.flags & flag) == 0 ? changetype<LbService>(0) : service;
}

/** The identity of an address as this node knows it: HOST for its own, and among its own processes for the loopback. */
function identityAt<A>(ctx: Context<A>, address: A): u32 {
  if (ctx.endpoint == 0 && isLoopback<A>(address)) return ReservedIdentity.HOST;
  const info = endpoint.lookup<A>(address, ctx.node);
  if (info !== null && endpoint.isHost(info)) return ReservedIdentity.HOST;
  return ipcache.identityOf(ipcache.lookup<A>(address));
}

/** Whether a Service has taken an address that is not this node's: no manifest may take over others' connections (`sock4_skip_xlate`). */
function isOutside<A>(ctx: Context<A>, service: LbService): bool {
  if ((service.flags & (SvcFlag.EXTERNAL_IP | SvcFlag.HOSTPORT)) == 0) return false;
  return identityAt<A>(ctx, ctx.daddr) != ReservedIdentity.HOST;
}

/**
 * A socket is told who sent what it receives, or whom it is connected to (`cil_sock4_recvmsg`, `cil_sock4_getpeername`): where
 * that is a backend, the Service that it asked for, while that has any. In place of what it is told stands the last packet
 * that it got.
 */
export function receive<A>(ctx: Context<A>): i32 {
  const end = ctx.endpoint != 0 ? Program.DELIVERED : Program.HOST;
  if (!isTranslated<A>(ctx)) return end;
  recording.spoil();
  const asked = reverseSk.recall<A>(ctx);
  if (asked === null) return end;
  trace.sock<A>(ctx, XlatePoint.PRE_DIRECTION_REV);
  let service = lb.lookupFrontend<A>(ctx, asked.address, asked.port);
  if (service === null) service = lookupShared<A>(ctx, asked.address, asked.port);
  if (service === null || service.revNatIndex != asked.revNatIndex || service.count == 0) {
    reverseSk.forget<A>(ctx);
    metrics.count(DropReason.LB_REVNAT_STALE, 0, 0);
    return end;
  }
  ctx.sockRevNatIndex = asked.revNatIndex;
  rewrite.source<A>(ctx, asked.address, asked.port);
  trace.sock<A>(ctx, XlatePoint.POST_DIRECTION_REV);
  return end;
}
