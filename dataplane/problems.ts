import { locate, type Location, type Place, type Range } from './manifests/place.js';

export type Severity = 'error' | 'warning' | 'info';

/** Every problem Hopscope reports: its severity and, for the documentation, what it means. Codes never change meaning. */
export const PROBLEMS = {
  // HS1xxx: the text could not be read, or a field has a value that Kubernetes refuses.
  HS1001: ['error', 'The document is not valid YAML or JSON.'],
  HS1002: ['error', 'The document is nested deeper than 256 levels.'],
  HS1003: ['error', 'Aliases expand to more values than can be read.'],
  HS1004: ['info', 'The document is a Helm template and was not analysed.'],
  HS1005: ['error', 'The file is not text that can be decoded.'],
  HS1006: ['error', 'The file is larger than 20 MB or holds more than 100,000 documents.'],
  HS1007: ['warning', 'A key stands twice in one mapping; the last one counts.'],
  HS1008: ['error', 'A field has a value of the wrong type.'],
  HS1009: ['error', 'A required field is missing.'],
  HS1010: ['error', 'A value is not one that Kubernetes accepts.'],
  HS1011: ['info', 'The document cannot be read now; its last good state is used.'],
  HS1012: [
    'info',
    'What stands here decides about traffic but is not evaluated yet; verdicts it could change are UNKNOWN.',
  ],
  HS1013: ['warning', 'The same object is declared twice; the last one counts.'],
  HS1014: ['warning', 'Kubernetes reads this text differently from how it looks.'],
  HS1015: ['info', 'The comment names no code, so it silences nothing.'],
  HS1016: ['warning', 'There is no field of that name here: Kubernetes drops it, or refuses the object.'],
  // HS2xxx: Services.
  HS2001: ['warning', 'The Service selects no pod.'],
  HS2003: ['warning', 'No matched container declares the targetPort.'],
  HS2004: ['error', 'No matched container has a port of that name.'],
  HS2005: ['error', 'The selector of a workload does not match the labels of its own pods.'],
  // HS3xxx: policies.
  HS3001: ['warning', 'The policy selects no pod.'],
  HS3002: ['warning', 'The peer matches nothing.'],
  HS3003: ['error', 'The `except` lies outside its `cidr`.'],
  HS3004: ['warning', "The policy lists the Service's port, but the container listens on another."],
  HS3005: ['warning', 'Egress isolation leaves no way to the cluster DNS.'],
  HS3006: ['warning', 'No pod that the rule is about has a port of that name.'],
  HS3007: ['warning', 'The cidr has bits set beyond its prefix length.'],
  HS3008: ['warning', 'The network plug-in does not enforce the policy.'],
  HS3010: ['warning', 'Rules that deny cover all that the rule lets.'],
  HS3011: ['info', 'The rule is redundant: without it every packet fares the same.'],
  HS3012: ['info', 'The other end refuses all that the rule lets.'],
  HS3013: ['warning', 'The rule can match nothing, whatever else there is in the cluster.'],
  HS3014: ['info', 'Not every rule was looked at, whether it can matter.'],
  // HS4xxx: the settings.
  HS4001: ['error', 'The setting has a value that is not allowed.'],
  HS4002: ['warning', 'There is no setting of that name.'],
  HS4003: ['warning', 'Cilium refuses to start with these settings together.'],
  // HS5xxx: the cluster's own Cilium.
  HS5001: ['warning', 'A map of Cilium would be nearly full: nine tenths of its capacity or more.'],
  HS5002: ['error', 'A map of Cilium would need more entries than it has room for.'],
  // HS6xxx: Ingress.
  HS6001: ['warning', 'The Ingress leads to a Service that there is not.'],
  HS6002: ['error', 'The Service that the Ingress leads to has no such port.'],
  HS6003: [
    'warning',
    'No controller takes the Ingress: its class is not there, or it names none and none is the default.',
  ],
  HS6004: ['warning', 'Two paths take the same requests, and lead to different backends.'],
  HS6005: ['error', 'The Ingress is of an API that Kubernetes no longer has.'],
  // HS7xxx: the mesh.
  HS7001: ['warning', 'Nothing of the mesh is before the pods that the policy is about.'],
} as const satisfies Record<string, readonly [Severity, string]>;

export type ProblemCode = keyof typeof PROBLEMS;

/** Something wrong, at its place; `related` names the other places that have to do with it. */
export interface Problem {
  readonly code: ProblemCode;
  readonly message: string;
  readonly at: Place;
  readonly related: readonly { readonly at: Place; readonly message: string }[];
  readonly fixes: readonly string[];
  /** What the answers make of it all the same, where Kubernetes refuses it: null where they make nothing of the object. */
  readonly assumed: Assumed | null;
}

/** It is taken for the text that it looks like; it is kept as it stands; or the rest of the object counts without it. */
export type Assumed = 'text' | 'kept' | 'rest';

/** A problem as the contract prints it. */
export interface ProblemReport {
  readonly code: ProblemCode;
  readonly severity: Severity;
  readonly message: string;
  readonly file: string;
  readonly range: Range;
  readonly related: readonly (Location & { readonly message: string })[];
  readonly fixes: readonly string[];
}

export function problem(
  code: ProblemCode,
  at: Place,
  message: string,
  { related = [], fixes = [], assumed = null }: Partial<Pick<Problem, 'related' | 'fixes' | 'assumed'>> = {},
): Problem {
  return { code, at, message, related, fixes, assumed };
}

export const severityOf = (code: ProblemCode): Severity => PROBLEMS[code][0];

/** Whether the API server refuses an object for it. */
export const isRefusal = ({ code }: Problem): boolean => severityOf(code) === 'error';

export function report(found: Problem): ProblemReport {
  return {
    code: found.code,
    severity: severityOf(found.code),
    message: found.message,
    ...locate(found.at),
    related: found.related.map((other) => ({ ...locate(other.at), message: other.message })),
    fixes: found.fixes,
  };
}
