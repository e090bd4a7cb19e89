/** All maps by number, as the host reaches them: one line a map. */
import { MapError, MapId } from './abi';
import { clients, LbAffinityKey, LbAffinityMatch, LbAffinityMatched, LbAffinityValue, matches } from './lib/affinity';
import { authenticated, AuthInfo, AuthKey } from './lib/auth';
import { config, RuntimeConfig } from './lib/config';
import { connections, CtEntry, CtTuple } from './lib/conntrack';
import { EdtId, EdtInfo, throttles } from './lib/edt';
import {
  configs,
  EndpointConfig,
  EndpointInfo,
  EndpointKey,
  lxc,
  NodeConfig,
  nodeConfigs,
  NodeKey,
  nodes,
  NodeValue,
} from './lib/endpoint';
import { FragmentKey, FragmentPorts, fragments } from './lib/fragments';
import { ipcache, IpcacheKey, RemoteEndpointInfo } from './lib/ipcache';
import {
  backends,
  LbBackend,
  LbBackendKey,
  LbKey,
  LbReverseNat,
  LbReverseNatKey,
  LbService,
  LbSourceRange,
  LbSourceRangeKey,
  reverseNats,
  services,
  sourceRanges,
} from './lib/lb';
import { MaglevKey, MaglevTable, remove, tables } from './lib/maglev';
import { IpMasq, IpMasqKey, nonMasquerade } from './lib/masquerade';
import { metrics, MetricsValue } from './lib/metrics';
import { mappings, NatEntry } from './lib/nat';
import { policies, PolicyEntry, PolicyKey } from './lib/policy';
import { ReverseSkEntry, ReverseSkKey, sockets } from './lib/reverse-sk';
import { ArrayMap } from './maps/array';
import { Chains, HashMap } from './maps/hash';
import { LpmMap } from './maps/lpm';
import { LruHashMap } from './maps/lru';

/** What the host does with a map. */
export const enum MapOp {
  /** (key, value) → 0 or a `MapError` */
  UPDATE,
  /** (key) → 0 or a `MapError` */
  DELETE,
  /** (key) → address of the value, 0 for none */
  LOOKUP,
  /** (to, room in bytes) → keys copied */
  KEYS,
  /** () → entries held */
  COUNT,
  /** () → address of the `MapCounters`, 0 for a map that counts none */
  COUNTERS,
}

function onHash<M extends Chains<K, V>, K, V>(map: M, op: MapOp, a: usize, b: usize): usize {
  switch (op) {
    case MapOp.UPDATE:
      return <usize>map.update(changetype<K>(a), changetype<V>(b));
    case MapOp.DELETE:
      return <usize>map.delete(changetype<K>(a));
    case MapOp.LOOKUP:
      return changetype<usize>(map.lookup(changetype<K>(a)));
    case MapOp.KEYS:
      return map.keys(a, b);
    case MapOp.COUNT:
      return map.count;
    default:
      return changetype<usize>(map);
  }
}

/** The key of an array is its index, 32 bits. Its entries are all there: one that is deleted becomes zeros. */
function onArray<V>(map: ArrayMap<V>, op: MapOp, a: usize, b: usize): usize {
  switch (op) {
    case MapOp.UPDATE:
      return <usize>map.update(load<u32>(a), changetype<V>(b));
    case MapOp.DELETE:
      return <usize>map.erase(load<u32>(a));
    case MapOp.LOOKUP:
      return changetype<usize>(map.lookup(load<u32>(a)));
    case MapOp.COUNT:
      return map.capacity;
    default:
      return 0;
  }
}

/** Tables are built, not copied in. */
function onMaglev<A>(op: MapOp, a: usize, b: usize): usize {
  if (op == MapOp.UPDATE) return MapError.EINVAL;
  if (op == MapOp.DELETE) return <usize>remove<A>(changetype<MaglevKey>(a).revNatIndex);
  return onHash<HashMap<MaglevKey, MaglevTable>, MaglevKey, MaglevTable>(tables<A>(), op, a, b);
}

/** There is one, and it cannot be taken out. */
function onConfig(op: MapOp, value: usize): usize {
  switch (op) {
    case MapOp.UPDATE:
      memory.copy(changetype<usize>(config), value, offsetof<RuntimeConfig>());
      return 0;
    case MapOp.LOOKUP:
      return changetype<usize>(config);
    case MapOp.COUNT:
      return 1;
    default:
      return op == MapOp.DELETE ? <usize>MapError.EINVAL : <usize>0;
  }
}

/** The maps of one family, numbered as IPv4's. */
function onFamily<A>(op: MapOp, map: MapId, a: usize, b: usize): usize {
  switch (map) {
    case MapId.LB4_SERVICES:
      return onHash<HashMap<LbKey<A>, LbService>, LbKey<A>, LbService>(services<A>(), op, a, b);
    case MapId.LB4_BACKENDS:
      return onHash<HashMap<LbBackendKey, LbBackend<A>>, LbBackendKey, LbBackend<A>>(backends<A>(), op, a, b);
    case MapId.LB4_REVERSE_NAT:
      return onHash<HashMap<LbReverseNatKey, LbReverseNat<A>>, LbReverseNatKey, LbReverseNat<A>>(
        reverseNats<A>(),
        op,
        a,
        b,
      );
    case MapId.LB4_MAGLEV:
      return onMaglev<A>(op, a, b);
    case MapId.LB4_AFFINITY:
      return onHash<LruHashMap<LbAffinityKey<A>, LbAffinityValue>, LbAffinityKey<A>, LbAffinityValue>(
        clients<A>(),
        op,
        a,
        b,
      );
    case MapId.LB4_SOURCE_RANGE:
      return onHash<LpmMap<LbSourceRangeKey<A>, LbSourceRange>, LbSourceRangeKey<A>, LbSourceRange>(
        sourceRanges<A>(),
        op,
        a,
        b,
      );
    case MapId.CT4:
      if (op == MapOp.LOOKUP || op == MapOp.UPDATE) changetype<CtTuple<A>>(a).settle();
      return onHash<LruHashMap<CtTuple<A>, CtEntry>, CtTuple<A>, CtEntry>(connections<A>(), op, a, b);
    case MapId.SNAT4:
      return onHash<LruHashMap<CtTuple<A>, NatEntry<A>>, CtTuple<A>, NatEntry<A>>(mappings<A>(), op, a, b);
    case MapId.FRAGMENTS4:
      return onHash<LruHashMap<FragmentKey<A>, FragmentPorts>, FragmentKey<A>, FragmentPorts>(fragments<A>(), op, a, b);
    case MapId.IPCACHE4:
      return onHash<LpmMap<IpcacheKey<A>, RemoteEndpointInfo>, IpcacheKey<A>, RemoteEndpointInfo>(
        ipcache<A>(),
        op,
        a,
        b,
      );
    case MapId.LXC4:
      return onHash<HashMap<EndpointKey<A>, EndpointInfo>, EndpointKey<A>, EndpointInfo>(lxc<A>(), op, a, b);
    case MapId.LB4_REVERSE_SK:
      return onHash<LruHashMap<ReverseSkKey<A>, ReverseSkEntry<A>>, ReverseSkKey<A>, ReverseSkEntry<A>>(
        sockets<A>(),
        op,
        a,
        b,
      );
    case MapId.NODES4:
      return onHash<HashMap<NodeKey<A>, NodeValue>, NodeKey<A>, NodeValue>(nodes<A>(), op, a, b);
    case MapId.IPMASQ4:
      return onHash<LpmMap<IpMasqKey<A>, IpMasq>, IpMasqKey<A>, IpMasq>(nonMasquerade<A>(), op, a, b);
  }
  return op == MapOp.UPDATE || op == MapOp.DELETE ? <usize>MapError.EINVAL : <usize>0;
}

/** Does `op` to a map. What `a` and `b` are, and the result, is up to the `op`. */
export function onMap(op: MapOp, map: MapId, a: usize, b: usize): usize {
  switch (map) {
    case MapId.AFFINITY_MATCH:
      return onHash<HashMap<LbAffinityMatch, LbAffinityMatched>, LbAffinityMatch, LbAffinityMatched>(matches, op, a, b);
    case MapId.POLICY:
      return onHash<LpmMap<PolicyKey, PolicyEntry>, PolicyKey, PolicyEntry>(policies, op, a, b);
    case MapId.AUTH:
      return onHash<HashMap<AuthKey, AuthInfo>, AuthKey, AuthInfo>(authenticated, op, a, b);
    case MapId.THROTTLE:
      return onHash<HashMap<EdtId, EdtInfo>, EdtId, EdtInfo>(throttles, op, a, b);
    case MapId.ENDPOINT_CONFIG:
      return onArray<EndpointConfig>(configs, op, a, b);
    case MapId.NODE_CONFIG:
      return onArray<NodeConfig>(nodeConfigs, op, a, b);
    case MapId.RUNTIME_CONFIG:
      return onConfig(op, b);
    case MapId.METRICS:
      return op == MapOp.LOOKUP || op == MapOp.COUNT ? onArray<MetricsValue>(metrics, op, a, b) : MapError.EINVAL;
  }
  return (map & 1) == 0 ? onFamily<u32>(op, map, a, b) : onFamily<v128>(op, map - 1, a, b);
}
