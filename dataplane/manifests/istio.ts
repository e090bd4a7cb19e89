/** What of Istio's API is read: whom sidecars let, whether only over mutual TLS, and what says how a client connects. */
import type { ObjectOf } from './objects.js';
import type { Located, Place } from './place.js';

/** The namespace whose policies hold for the whole mesh. `meshConfig.rootNamespace`. */
export const ROOT_NAMESPACE = 'istio-system';

export const ACTIONS = ['ALLOW', 'DENY', 'AUDIT', 'CUSTOM'] as const;
export type Action = (typeof ACTIONS)[number];

/** One field of a source, an operation or a condition: the attribute must be one of the values, or (`negated`) none of them. */
export interface Clause {
  readonly at: Place;
  /** In the words of `when.key`: `source.principal`, `request.headers[x]`; and `request.host`, `request.method`, `request.path`. */
  readonly attribute: string;
  readonly negated: boolean;
  readonly values: readonly string[];
}

export interface AuthorizationRule {
  readonly at: Place;
  /** Sources and operations, of which one must match, with all its clauses; null for any. */
  readonly from: readonly (readonly Clause[])[] | null;
  readonly to: readonly (readonly Clause[])[] | null;
  /** Conditions, which must all hold. */
  readonly when: readonly Clause[];
}

export interface TargetRef {
  readonly group: string;
  readonly kind: string;
  readonly name: string;
}

/** Labels that a pod must have; null for all pods of the namespace, or of the mesh. */
export type WorkloadSelector = ReadonlyMap<string, Located<string>> | null;

export interface AuthorizationPolicy extends ObjectOf<'AuthorizationPolicy'> {
  readonly selector: WorkloadSelector;
  /** Gateways, waypoints and their Services, instead of pods; null where absent. */
  readonly targetRefs: readonly TargetRef[] | null;
  readonly action: Action;
  readonly rules: readonly AuthorizationRule[];
}

export const MODES = ['UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT'] as const;
export type MtlsMode = (typeof MODES)[number];

export interface PeerAuthentication extends ObjectOf<'PeerAuthentication'> {
  readonly selector: WorkloadSelector;
  readonly mode: Located<MtlsMode> | null;
  /** By port of the pod. */
  readonly ports: ReadonlyMap<number, Located<MtlsMode>>;
}

/** security.istio.io RequestAuthentication: a request with a token that is not good is refused, one without passes. */
export interface RequestAuthentication extends ObjectOf<'RequestAuthentication'> {
  readonly selector: WorkloadSelector;
  readonly targetRefs: readonly TargetRef[] | null;
  /** Where requests have their tokens: headers, in lower case, and parameters of the query. */
  readonly headers: readonly string[];
  readonly parameters: readonly string[];
}

/** networking.istio.io DestinationRule, of which only is read whether clients connect otherwise than by the mesh's mutual TLS. */
export interface DestinationRule extends ObjectOf<'DestinationRule'> {
  /** As written: a short name is a Service's of the same namespace; it may begin with `*`. */
  readonly host: Located<string>;
  /** The modes of TLS other than the mesh's own; none where it says nothing of that. */
  readonly plain: readonly Place[];
}
