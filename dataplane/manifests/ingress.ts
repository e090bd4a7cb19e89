/** networking.k8s.io/v1 Ingress and IngressClass: which requests from outside go to which Service. */
import type { ObjectOf } from './objects.js';
import type { Located, Place } from './place.js';

/** networking.k8s.io/v1 IngressBackend: a port of a Service in the Ingress's own namespace, or a resource. */
export interface IngressBackend {
  readonly at: Place;
  readonly service: { readonly name: Located<string>; readonly port: Located<number | string> } | null;
  /** `resource.kind`, which only the controller knows what to do with; null for a Service. */
  readonly resource: string | null;
}

export const PATH_TYPES = ['Exact', 'Prefix', 'ImplementationSpecific'] as const;

export interface IngressPath {
  readonly at: Place;
  /** Empty where the manifest has none, as only ImplementationSpecific may. */
  readonly path: Located<string>;
  readonly pathType: (typeof PATH_TYPES)[number];
  readonly backend: IngressBackend;
}

export interface IngressRule {
  readonly at: Place;
  /** In lower case; null for every host. */
  readonly host: Located<string> | null;
  readonly paths: readonly IngressPath[];
}

/** `metadata.annotations` that a controller goes by, and that nobody else can read. */
export interface ControllerAnnotation {
  readonly at: Place;
  readonly name: string;
}

/** What named a class before `spec.ingressClassName` did: controllers go by it without an IngressClass. */
export const CLASS_ANNOTATION = 'kubernetes.io/ingress.class';

export interface Ingress extends ObjectOf<'Ingress'> {
  /** spec.ingressClassName, else the annotation that was there before it. */
  readonly className: Located<string> | null;
  readonly defaultBackend: IngressBackend | null;
  readonly rules: readonly IngressRule[];
  /** Hosts whose requests may come over TLS, in lower case; an entry without hosts is for every host. */
  readonly tls: readonly { readonly hosts: readonly string[] }[];
  /** Those that decide where a request goes, or whether it goes at all. */
  readonly annotations: readonly ControllerAnnotation[];
}

export interface IngressClass extends ObjectOf<'IngressClass'> {
  /** spec.controller: who serves the class. */
  readonly controller: string | null;
  /** It is that of Ingresses which name none. */
  readonly isDefault: boolean;
}
