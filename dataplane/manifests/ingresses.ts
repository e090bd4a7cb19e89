import { parseAddress } from '../addresses.js';
import { problem } from '../problems.js';
import { quote, type Fields } from './fields.js';
import {
  CLASS_ANNOTATION,
  PATH_TYPES,
  type Ingress,
  type IngressBackend,
  type IngressClass,
  type IngressPath,
  type IngressRule,
} from './ingress.js';
import type { Header } from './kinds.js';
import { isSubdomain } from './labels.js';
import type { Located } from './place.js';

const DEFAULT_CLASS_ANNOTATION = 'ingressclass.kubernetes.io/is-default-class';

/** Annotations of ingress-nginx with which a request goes elsewhere, or nowhere. ingress-nginx `docs/user-guide/nginx-configuration/annotations.md`. */
const DECIDING =
  /^nginx\.ingress\.kubernetes\.io\/(auth-(type|url|tls-secret)|canary.*|(allow|white|deny)list-source-range|default-backend|custom-http-errors|permanent-redirect|temporal-redirect|app-root|server-alias|from-to-www-redirect|use-regex|(server|configuration)-snippet|ssl-passthrough)$/;

/** `undefined` where Kubernetes would refuse it: a refused Ingress takes no request at all. */
export function readIngress(object: Fields, header: Header): Ingress | undefined {
  const spec = object.optional('spec');
  if (!spec) return undefined;
  const known = spec.only('ingressClassName', 'defaultBackend', 'tls', 'rules');
  const named = spec.string('ingressClassName');
  const found = readBackend(spec, 'defaultBackend');
  const rules = readAll(spec, 'rules', readRule);
  const tls = readAll(spec, 'tls', readTls);
  if (!known || named === undefined || found === undefined || !rules || !tls) return undefined;
  if (found === null && rules.length === 0)
    return spec.refuse('HS1009', 'rules', 'rules, or a defaultBackend, is missing.');
  const { annotations } = header.metadata;
  return {
    ...header,
    kind: 'Ingress',
    className: named ?? annotations.get(CLASS_ANNOTATION) ?? null,
    defaultBackend: found,
    rules,
    tls,
    annotations: [...annotations].filter(([name]) => DECIDING.test(name)).map(([name, { at }]) => ({ name, at })),
  };
}

/** The API that Kubernetes 1.22 no longer has; its fields have other names. */
export function refuseOldIngress(object: Fields, { apiVersion }: Header): undefined {
  const message = `Kubernetes 1.22 and later have no Ingress of ${quote(apiVersion)}: the API server refuses it.`;
  return object.refuse('HS6005', 'apiVersion', message, [
    'write `apiVersion: networking.k8s.io/v1`, with `pathType`, `service.name` and `service.port`',
  ]);
}

export function readIngressClass(object: Fields, header: Header): IngressClass {
  return {
    ...header,
    kind: 'IngressClass',
    controller: object.within('spec').text('controller'),
    isDefault: header.metadata.annotations.get(DEFAULT_CLASS_ANNOTATION)?.value === 'true',
  };
}

/** The items of a list, none where it is absent; `undefined` where the list or one of them is refused. */
function readAll<Item>(fields: Fields, name: string, read: (item: Fields) => Item | undefined): Item[] | undefined {
  const items = fields.items(name, read);
  return items === null ? [] : items;
}

function readTls(tls: Fields): Ingress['tls'][number] | undefined {
  if (!tls.only('hosts', 'secretName')) return undefined;
  return { hosts: tls.strings('hosts').map(({ value }) => value.toLowerCase()) };
}

function readRule(rule: Fields): IngressRule | undefined {
  const known = rule.only('host', 'http');
  const host = readHost(rule);
  const http = rule.fields('http');
  if (!known || host === undefined || http === undefined) return undefined;
  if (http === null) return { at: rule.at, host, paths: [] };
  const paths = http.required('paths', http.has('paths') ? readAll(http, 'paths', readPath) : null);
  return http.only('paths') && paths ? { at: rule.at, host, paths } : undefined;
}

/** A DNS name, or one with `*` for its first label. An address is none. */
function readHost(rule: Fields): Located<string> | null | undefined {
  const found = rule.string('host');
  if (!found || found.value === '') return found && null;
  const host = found.value.toLowerCase();
  if (isSubdomain(host.replace(/^\*\./, '')) && parseAddress(host) === null) return { value: host, at: found.at };
  return rule.refuse('HS1010', 'host', `${quote(found.value)} is not a DNS name, nor one with "*." in front.`);
}

/** Parts that Kubernetes refuses in a path. `pkg/apis/networking/validation`, `validateHTTPIngressPath`. */
const REFUSED = /\/\/|\/\.{1,2}(\/|$)|%2f/i;

function readPath(entry: Fields): IngressPath | undefined {
  const known = entry.only('path', 'pathType', 'backend');
  const pathType = entry.required('pathType', entry.oneOf('pathType', PATH_TYPES));
  const backend = entry.required('backend', readBackend(entry, 'backend'));
  const path = entry.string('path');
  if (!known || !pathType || !backend || path === undefined) return undefined;
  const text = path?.value ?? '';
  const isFree = pathType.value === 'ImplementationSpecific';
  if (!isFree && REFUSED.test(text))
    return entry.refuse('HS1010', 'path', `${quote(text)} has a part that no path may have: //, /./, /../ or %2f.`);
  if (!text.startsWith('/') && !(isFree && text === ''))
    return entry.refuse('HS1010', 'path', `path must begin with "/", and is ${quote(text)}.`);
  const at = entry.placeOf('path');
  return { at: entry.at, path: { value: text, at }, pathType: pathType.value, backend };
}

function readBackend(owner: Fields, name: string): IngressBackend | null | undefined {
  const backend = owner.fields(name);
  if (!backend) return backend;
  const known = backend.only('service', 'resource');
  const service = backend.fields('service');
  const resource = backend.fields('resource');
  if (!known || service === undefined || resource === undefined) return undefined;
  if ((service === null) === (resource === null))
    return owner.refuse('HS1010', name, `${name} must have a service or a resource, and only one of them.`);
  if (resource) return { at: backend.at, service: null, resource: resource.text('kind') ?? 'resource' };
  return readService(backend.at, service!);
}

function readService(at: IngressBackend['at'], service: Fields): IngressBackend | undefined {
  const known = service.only('name', 'port');
  const name = service.required('name', service.string('name'));
  const port = service.required('port', service.fields('port'));
  if (!known || !name || !port) return undefined;
  const byName = port.string('name');
  const byNumber = port.port('number');
  if (!port.only('name', 'number') || byName === undefined || byNumber === undefined) return undefined;
  if ((byName === null) === (byNumber === null)) {
    service.problems.push(problem('HS1010', port.at, 'port must have a name or a number, and only one of them.'));
    return undefined;
  }
  return { at, service: { name, port: (byName ?? byNumber)! }, resource: null };
}
