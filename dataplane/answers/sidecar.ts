/** What the proxies of the mesh decide: a packet that the datapath has delivered to a pod is theirs first. Istio, Envoy's RBAC filters. */
import { IpProto, Program } from '../../assembly/abi.js';
import type { ClusterPod } from '../cluster/cluster.js';
import type { AuthorizationPolicy, AuthorizationRule, RequestAuthentication } from '../manifests/istio.js';
import { lineOf, type Place } from '../manifests/place.js';
import { tupleOf } from '../packet.js';
import type { HttpRequest } from '../policy/http.js';
import { any, clausesOf, isOfRequest, ruleHolds, type MeshConnection, type Truth } from '../policy/istio.js';
import {
  authorizationOf,
  hasMesh,
  hasWaypoint,
  isTaken,
  mtlsOf,
  outboundOf,
  plainOf,
  proxyOf,
  tokensOf,
  type MeshPolicy,
  type MeshProxy,
} from '../policy/mesh.js';
import type { State } from '../state.js';
import type { PacketOut } from '../wasm.js';
import type { Decider } from './decide.js';
import { deciderAt } from './decider.js';
import type { MeshRuling, Redirect, Ruling } from './proxy.js';

/** Where a sidecar takes what comes in. Istio `tools/istio-iptables`. */
const INBOUND_PORT = 15006;

/** A packet that a pod's proxy takes; null where it has none, or that takes nothing of it. */
export function takenOf(state: State, client: ClusterPod | null, out: PacketOut): Redirect | null {
  const pod = state.desired.endpointIds.podOf(out.endpoint);
  if (!pod || !hasMesh(state.cluster) || out.verdict !== 0 || out.program !== (Program.DELIVERED as number))
    return null;
  const tuple = tupleOf(out.frame);
  if (tuple?.protocol !== (IpProto.TCP as number) || client === pod) return null;
  const proxy = proxyOf(state.cluster, pod);
  // ztunnel takes every port.
  if (proxy === 'none' || (proxy !== 'ztunnel' && !isTaken(pod, tuple.destinationPort))) return null;
  return {
    direction: 'ingress',
    pod,
    node: pod.node,
    port: INBOUND_PORT,
    tuple,
    sourceIdentity: out.sourceIdentity,
    destinationIdentity: out.destinationIdentity,
    client,
  };
}

type Fate = Ruling['fate'];

/** One way that it may be: what stands before the pod, and whether the connection is secured. */
interface Judgement {
  readonly fate: Fate;
  readonly effect: Decider['effect'];
  readonly by: readonly Part[];
  readonly depends: readonly string[];
  readonly text: string;
  readonly isAnswered: boolean;
}

/** A policy, or a rule of one. */
interface Part {
  readonly policy: MeshPolicy;
  readonly rule: string | null;
  readonly at: Place;
}

/**
 * What the proxy of a pod says. Where it depends on a namespace that is not declared whether there is one, at either end, all that
 * may be must agree.
 */
export function meshRuling(state: State, redirect: Redirect, request: HttpRequest | null): Ruling {
  const pod = redirect.pod!;
  const client = redirect.client ?? null;
  const [own, other] = [proxyOf(state.cluster, pod), client ? proxyOf(state.cluster, client) : 'none'];
  const possible = (proxy: MeshProxy): MeshProxy[] => (proxy === 'undeclared' ? ['sidecar', 'none'] : [proxy]);
  // Ports are kept from the sidecar of whoever asks as they were asked for: a Service's, which is not told here.
  const passing = client && other === 'sidecar' ? outboundOf(client) : null;
  const plain = client && other !== 'none' ? plainOf(state.cluster, pod) : [];
  const theirs = passing === null && plain.length === 0 ? possible(other) : possible('undeclared');
  const judgements = possible(own).flatMap((proxy) =>
    theirs.map((from) => (proxy === 'none' ? LET : judge(state, redirect, proxy, from !== 'none', request))),
  );
  const [first] = judgements;
  const isOne = judgements.every(({ fate }) => fate === first!.fate);
  if (isOne) return rulingOf(first!);
  const unknown = [...(own === 'undeclared' ? [pod] : []), ...(other === 'undeclared' ? [client!] : [])];
  const depends = unknown.map(
    ({ namespace, name }) =>
      `whether pod ${namespace}/${name} has a sidecar: namespace ${namespace} has no Namespace object`,
  );
  if (passing !== null)
    depends.push(`whether the sidecar of pod ${client!.namespace}/${client!.name} takes what it sends: ${passing}`);
  for (const {
    metadata,
    host,
    plain: [at],
  } of plain)
    depends.push(
      `${lineOf(at!)}: DestinationRule ${metadata.namespace}/${metadata.name.value} has clients of ${host.value} connect without the mesh's mutual TLS: whether it was asked for`,
    );
  return rulingOf({
    ...first!,
    fate: 'unread',
    by: [],
    depends,
    text: 'whether the connection is secured is not known',
  });
}

const rulingOf = ({ fate, effect, by, depends, text, isAnswered }: Judgement): Ruling => {
  const mesh: MeshRuling = { deciders: by.map((part) => deciderOf(part, effect)), depends, text, isAnswered };
  return { fate, grants: [], mesh };
};

const LET: Judgement = {
  fate: 'let',
  effect: 'allows',
  by: [],
  depends: [],
  text: 'no sidecar is there',
  isAnswered: false,
};

/** PeerAuthentication first, which looks at the connection, then AuthorizationPolicy. */
function judge(
  state: State,
  redirect: Redirect,
  proxy: MeshProxy,
  isSecure: boolean,
  request: HttpRequest | null,
): Judgement {
  const { cluster } = state;
  const { tuple } = redirect;
  const pod = redirect.pod!;
  const client = redirect.client ?? null;
  const modes = mtlsOf(cluster, pod, tuple.destinationPort);
  const [mtls] = modes;
  const partsOf = modes.flatMap(({ by }) => (by ? [wholeOf(by)] : []));
  if (modes.some(({ mode }) => mode !== mtls!.mode))
    return open(
      partsOf,
      'which of several PeerAuthentications counts: the oldest does',
      'which mode of mutual TLS holds is not known',
    );
  if (mtls!.mode === 'STRICT' && !isSecure) {
    const text = `the ${proxy} takes mutual TLS alone, and the client has no proxy that speaks it`;
    return { fate: 'refused', effect: 'denies', by: partsOf, depends: [], text, isAnswered: false };
  }
  const isPlain = mtls!.mode === 'DISABLE' || !isSecure;
  const connection: MeshConnection = {
    source: tuple.source,
    destination: tuple.destination,
    port: tuple.destinationPort,
    principal:
      isPlain || !client ? null : { namespace: client.namespace, serviceAccount: client.spec.serviceAccountName },
    request,
    hasToken: request !== null && hasToken(request, tokensOf(cluster, pod)),
  };
  const policies = authorizationOf(cluster, pod);
  const tokens = tokensOf(cluster, pod);
  if (proxy === 'sidecar' && tokens.length > 0 && connection.hasToken)
    return open(tokens.map(wholeOf), 'whether the token in the request is good', 'the request has a token');
  if (proxy !== 'ztunnel') return authorize(policies, connection, proxy);
  if (hasWaypoint(cluster, pod))
    return open([], `what the waypoint of pod ${pod.namespace}/${pod.name} decides`, 'a waypoint decides');
  const asking = policies.filter(({ rules }) => rules.some((rule) => clausesOf(rule).some(isOfRequest)));
  if (asking.length > 0)
    return open(
      asking.map(wholeOf),
      'what ztunnel makes of a policy that asks about requests, which it does not see',
      'a rule asks about requests',
    );
  return authorize(policies, { ...connection, request: null }, proxy);
}

/** Whether a request has something where a token may be: where it is looked for, and in the header that any token is in. */
function hasToken({ headers, path }: HttpRequest, policies: readonly RequestAuthentication[]): boolean {
  const parameters = (path.split('?')[1] ?? '').split('&').map((pair) => pair.split('=')[0]!);
  return (
    headers.has('authorization') ||
    policies.some(
      (policy) =>
        policy.headers.some((name) => headers.has(name)) || policy.parameters.some((name) => parameters.includes(name)),
    )
  );
}

/**
 * 1. a DENY rule that matches refuses
 * 2. where there are ALLOW policies, one of their rules must match
 * 3. a CUSTOM rule that matches leaves it to a service of the user's
 * AUDIT decides nothing. Istio documentation, "Authorization Policy".
 */
function authorize(policies: readonly AuthorizationPolicy[], connection: MeshConnection, proxy: MeshProxy): Judgement {
  const rulesOf = (action: AuthorizationPolicy['action']): (Part & { readonly truth: Truth })[] =>
    policies
      .filter((policy) => policy.action === action)
      .flatMap((policy) =>
        policy.rules.map((rule, i) => ({ ...partOf(policy, rule, i), truth: ruleHolds(rule, connection) })),
      );
  const [denying, allowing, asking] = [rulesOf('DENY'), rulesOf('ALLOW'), rulesOf('CUSTOM')];
  const allow = policies.filter(({ action }) => action === 'ALLOW');
  const name = proxy === 'ztunnel' ? 'ztunnel' : 'the sidecar';
  const refused = {
    fate: 'refused',
    depends: [],
    isAnswered: proxy === 'sidecar' && connection.request !== null,
  } as const;
  const having = (parts: readonly (Part & { readonly truth: Truth })[], truth: Truth): Part[] =>
    parts.filter((part) => part.truth === truth);
  if (any(denying.map(({ truth }) => truth)) === 'yes')
    return { ...refused, effect: 'denies', by: having(denying, 'yes'), text: `${name} refuses: a DENY rule matches` };
  const isLet: Truth = allow.length === 0 ? 'yes' : any(allowing.map(({ truth }) => truth));
  if (isLet === 'no')
    return { ...refused, effect: 'isolates', by: allow.map(wholeOf), text: `${name} refuses: no ALLOW rule matches` };
  const unread = [
    ...having(denying, 'unread'),
    ...(isLet === 'unread' ? having(allowing, 'unread') : []),
    ...asking.filter(({ truth }) => truth !== 'no'),
  ];
  if (unread.length > 0)
    return open(unread, 'what stands there is not evaluated', `${name} asks what cannot be read from here`);
  const untold = [...having(denying, 'untold'), ...(isLet === 'untold' ? having(allowing, 'untold') : [])];
  if (untold.length > 0)
    return {
      ...open(untold, 'lets some requests', `${name} lets some: which request it is was not told`),
      fate: 'untold',
    };
  const by = having(allowing, 'yes');
  const text = by.length > 0 ? `${name} lets it: an ALLOW rule matches` : `${name} lets it: no policy refuses`;
  return { fate: 'let', effect: 'allows', by, depends: [], text, isAnswered: false };
}

/** What nobody can decide who reads manifests alone, at its lines. */
function open(parts: readonly Part[], what: string, text: string): Judgement {
  const depends = parts.length === 0 ? [what] : parts.map((part) => `${nameOf(part)}: ${what}`);
  return { fate: 'unread', effect: 'denies', by: [], depends, text, isAnswered: false };
}

const partOf = (policy: AuthorizationPolicy, { at }: AuthorizationRule, index: number): Part => ({
  policy,
  rule: `rules[${index}]`,
  at,
});
const wholeOf = (policy: Part['policy']): Part => ({ policy, rule: null, at: policy.metadata.name.at });

const nameOf = ({ policy: { kind, metadata }, rule, at }: Part): string =>
  `${lineOf(at)}: ${kind} ${metadata.namespace}/${metadata.name.value}${rule ? ` ${rule}` : ''}`;

const deciderOf = ({ policy: { kind, metadata }, rule, at }: Part, effect: Decider['effect']): Decider =>
  deciderAt({ kind, namespace: metadata.namespace, name: metadata.name.value, rule, at }, effect);
