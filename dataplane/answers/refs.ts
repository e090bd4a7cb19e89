/** References: what people write for an end of a flow, and what of the cluster it stands for. */
import { FAMILIES, familyOf, parseAddress, type Address, type Family } from '../addresses.js';
import type { ClusterNode, ClusterPod, ClusterService, ClusterWorkload } from '../cluster/cluster.js';
import { CONTROLLER_NAMESPACE } from '../cluster/ingress.js';
import type { Ingress } from '../manifests/ingress.js';
import { indexed } from '../indexed.js';
import { unreadName, type UnreadDocument } from '../manifests/objects.js';
import { lineOf } from '../manifests/place.js';
import { nearest } from '../nearest.js';
import { overStates, type State } from '../state.js';
import { unreadPods } from './checks/unread.js';

/** What a reference stands for. */
export type Target =
  | { readonly kind: 'pods'; readonly label: string; readonly pods: readonly ClusterPod[] }
  | {
      readonly kind: 'service';
      readonly label: string;
      readonly service: ClusterService;
      readonly viaName: string | null;
    }
  | { readonly kind: 'address'; readonly label: string; readonly address: Address }
  | { readonly kind: 'addresses'; readonly label: string; readonly first: Address; readonly last: Address }
  | { readonly kind: 'node'; readonly label: string; readonly node: ClusterNode }
  /** The node of the other end. */
  | { readonly kind: 'host'; readonly label: string }
  /** Anything outside, or what a name is looked up by that is of the world. */
  | { readonly kind: 'world'; readonly label: string; readonly name: string | null }
  /** Through an Ingress; null for whichever matches. */
  | { readonly kind: 'ingress'; readonly label: string; readonly ingress: Ingress | null }
  /** Recognised, but nothing that can be sent a packet yet, or ever. */
  | { readonly kind: 'unanswerable'; readonly label: string; readonly why: string };

export type Resolved = Target | { readonly error: string };

/** What `text` stands for. `from` is the namespace that a short DNS name is looked up from. */
export function resolveRef(state: State, text: string, from: string): Resolved {
  const ref = text.trim();
  if (ref === 'world') return { kind: 'world', label: ref, name: null };
  if (ref === 'host') return { kind: 'host', label: ref };
  if (ref === CONTROLLER_NAMESPACE) return resolveIngress(state, ref, '*');
  const colon = ref.indexOf(':');
  const scheme = colon < 0 ? '' : ref.slice(0, colon);
  const rest = ref.slice(colon + 1);
  switch (scheme) {
    case '':
      return resolveWorkload(state, ref);
    case 'svc':
      return resolveService(state, rest);
    case 'dns':
    case 'fqdn':
      return resolveName(state, rest, from);
    case 'ip':
      return resolveAddress(rest);
    case 'node': {
      const node = state.cluster.nodes.find(({ name }) => name === rest);
      return node ? { kind: 'node', label: ref, node } : { error: `there is no node ${rest}` };
    }
    case 'ingress':
      return resolveIngress(state, ref, rest);
    default:
      return { error: `${ref} is no reference: expected ns/name, svc:, dns:, ip:, node:, host, world or ingress:` };
  }
}

/** What is asked for, where one of these documents, which could not be read, is it. */
function unreadTarget(
  label: string,
  documents: readonly UnreadDocument[],
  namespace: string | undefined,
  name: string | undefined,
): Target | null {
  const found = documents.find((one) => one.name === name && (one.namespace === null || one.namespace === namespace));
  return found
    ? { kind: 'unanswerable', label, why: `${lineOf(found.at)}: ${unreadName(found)} could not be read` }
    : null;
}

const unreadServices = ({ manifests }: State): UnreadDocument[] =>
  manifests.unread.filter(({ kind }) => kind === 'Service');

const WORKLOAD = /^([^/\s[\]]+)\/([^/\s[\]]+)(?:\[(\w+)\])?$/;

function resolveWorkload(state: State, ref: string): Resolved {
  const [, namespace, name, kind] = WORKLOAD.exec(ref) ?? [];
  if (namespace === undefined || name === undefined) {
    const near = nearest(
      ref,
      state.cluster.workloads.map((workload) => workload.name),
    );
    const named = state.cluster.workloads.find((workload) => workload.name === (near ?? ref));
    const hint = suggestion(named ? `${named.namespace}/${named.name}` : null);
    return {
      error: `${ref} is no reference: expected ns/name, ns/name[Kind], svc:, dns:, ip:, node:, host or world${hint}`,
    };
  }
  const workloads = workloadsNamed(state, namespace, name).filter(
    (workload) => kind === undefined || workload.kind === kind,
  );
  if (workloads.length > 1)
    return { error: `${ref} could be ${workloads.map((workload) => workload.ref).join(' or ')}` };
  if (workloads[0]) return podsOf(ref, workloads[0]);
  const hidden = unreadPods(state).filter((document) => kind === undefined || kind === document.kind);
  const unread = unreadTarget(ref, hidden, namespace, name);
  if (unread) return unread;
  const pods = kind === undefined || kind === 'Pod' ? podsNamed(state, namespace, name) : [];
  return pods.length > 0
    ? { kind: 'pods', label: ref, pods }
    : { error: `nothing matches ${ref}${nearWorkload(state, namespace, name)}` };
}

interface Named {
  readonly namespace: string;
  readonly name: string;
}

const nameOf = ({ namespace, name }: Named): readonly [string] => [`${namespace}/${name}`];

/** By namespace and name. */
const byName = overStates(() => ({
  workloads: indexed<string, ClusterWorkload>(nameOf),
  pods: indexed<string, ClusterPod>(nameOf),
  services: indexed<string, ClusterService>(nameOf),
}));

const workloadsNamed = (state: State, namespace = '', name = ''): readonly ClusterWorkload[] =>
  byName(state).workloads(state.cluster.workloads).all(`${namespace}/${name}`);
const podsNamed = (state: State, namespace = '', name = ''): readonly ClusterPod[] =>
  byName(state).pods(state.cluster.pods).all(`${namespace}/${name}`);
const serviceNamed = (state: State, namespace = '', name = ''): ClusterService | undefined =>
  byName(state).services(state.cluster.services).all(`${namespace}/${name}`)[0];

/** A workload of a near name in that namespace, or of that very name in another. */
function nearWorkload(state: State, namespace: string, name: string): string {
  const { workloads } = state.cluster;
  const near = nearest(
    name,
    workloads.filter((workload) => workload.namespace === namespace).map((workload) => workload.name),
  );
  const elsewhere = workloads.find((workload) => workload.name === name);
  return suggestion(near ? `${namespace}/${near}` : elsewhere ? `${elsewhere.namespace}/${name}` : null);
}

function podsOf(label: string, workload: ClusterWorkload): Target {
  if (workload.pods.length === 0) return { kind: 'unanswerable', label, why: `${workload.ref} has no pods` };
  return { kind: 'pods', label, pods: workload.pods };
}

function resolveService(state: State, path: string, viaName: string | null = null): Resolved {
  const [namespace, name, ...more] = path.split('/');
  const service = more.length === 0 ? serviceNamed(state, namespace, name) : undefined;
  const unread = service ? null : unreadTarget(`svc:${path}`, unreadServices(state), namespace, name);
  if (unread) return unread;
  if (!service) {
    const full = state.cluster.services.map((candidate) => `${candidate.namespace}/${candidate.name}`);
    const near = full.find((candidate) => candidate.endsWith(`/${path}`)) ?? nearest(path, full);
    return { error: `there is no Service ${path}${suggestion(near)}` };
  }
  const label = viaName ? `dns:${viaName}` : `svc:${path}`;
  // Another name of the cluster's own is followed, as whoever looks it up is led on.
  if (isAliasWithin(state, service)) return aliasOf(state, service, label, 0);
  return { kind: 'service', label, service, viaName };
}

function resolveIngress({ cluster, manifests }: State, label: string, path: string): Resolved {
  const names = cluster.ingresses.map(({ metadata }) => `${metadata.namespace}/${metadata.name.value}`);
  const unread = manifests.unread.find(({ kind }) => kind === 'Ingress');
  if (unread && !names.includes(path) && (path !== '*' || names.length === 0))
    return { kind: 'unanswerable', label, why: `${lineOf(unread.at)}: Ingress could not be read` };
  if (names.length === 0) return { error: `${label}: there is no Ingress` };
  if (path === '*') return { kind: 'ingress', label, ingress: null };
  const ingress = cluster.ingresses[names.indexOf(path)];
  return ingress
    ? { kind: 'ingress', label, ingress }
    : { error: `there is no Ingress ${path}${suggestion(nearest(path, names))}` };
}

const RANGE = /^([\da-fA-F.:]+)-([\da-fA-F.:]+)$/;

function resolveAddress(text: string): Resolved {
  const [, first, last] = RANGE.exec(text) ?? [];
  const low = parseAddress(first ?? text);
  const high = parseAddress(last ?? text);
  if (low !== null && high !== null && familyOf(low) === familyOf(high) && low <= high) {
    return low === high
      ? { kind: 'address', label: `ip:${text}`, address: low }
      : { kind: 'addresses', label: `ip:${text}`, first: low, last: high };
  }
  return { error: `${text} is no address` };
}

/**
 * A name as a pod in `from` would type it: the search list of Kubernetes' resolver, then the name as it stands.
 * Kubernetes DNS specification 1.1.0.
 */
export function resolveName(state: State, typed: string, from: string): Resolved {
  const name = typed.replace(/\.$/, '').toLowerCase();
  const domain = state.settings.clusterDomain;
  if (parseAddress(name) !== null) return resolveAddress(name);
  if (!/^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/.test(name)) return { error: `${typed} is no DNS name` };
  const searched = typed.endsWith('.')
    ? [name]
    : [`${name}.${from}.svc.${domain}`, `${name}.svc.${domain}`, `${name}.${domain}`, name];
  for (const candidate of searched) {
    const found = lookUp(state, candidate, domain, `dns:${typed}`);
    if (found) return found;
  }
  if (isInside(state, name, domain)) return { error: `no DNS name ${typed} in the cluster${meant(state, name, from)}` };
  return { kind: 'world', label: `dns:${typed}`, name };
}

/** Whether a name that nothing answers to is meant for the cluster all the same: it must not pass for one of the world's. */
function isInside(state: State, name: string, domain: string): boolean {
  const labels = name.split('.');
  if (labels.length === 1 || /\.(svc|local|internal)$/.test(name) || name.endsWith(`.${domain}`)) return true;
  return (
    labels.some((label) => state.cluster.services.some((service) => service.name === label)) ||
    state.cluster.namespaces.has(labels.at(-1)!)
  );
}

/** What was probably meant: the Service whose name, in this namespace or with its own, is near. */
function meant(state: State, name: string, from: string): string {
  const names = state.cluster.services.flatMap((service) => [
    ...(service.namespace === from ? [service.name] : []),
    `${service.name}.${service.namespace}`,
  ]);
  return suggestion(nearest(name, names));
}

const suggestion = (near: string | null): string => (near === null ? '' : `; did you mean ${near}?`);

/** Names that lead to names, at most. */
const MAX_ALIASES = 8;

/** The name that a Service is looked up by. */
export const fullName = (state: State, { namespace, name }: ClusterService): string =>
  `${name}.${namespace}.svc.${state.settings.clusterDomain}`;

/** The full name that an ExternalName Service is another one for. */
const aliasedBy = ({ source }: ClusterService): string =>
  source.externalName?.value.replace(/\.$/, '').toLowerCase() ?? '';

const isAliasWithin = ({ settings }: State, service: ClusterService): boolean =>
  service.source.type === 'ExternalName' && aliasedBy(service).endsWith(`.${settings.clusterDomain}`);

/** What an ExternalName Service stands for: a full name, of the cluster or of the world. */
function aliasOf(state: State, service: ClusterService, label: string, depth: number): Target {
  const name = aliasedBy(service);
  if (name === '')
    return { kind: 'unanswerable', label, why: `${lineOf(service.source.at)}: ${label} has no externalName` };
  const domain = state.settings.clusterDomain;
  if (!isAliasWithin(state, service)) return { kind: 'world', label, name: fullName(state, service) };
  const found = depth < MAX_ALIASES ? lookUp(state, name, domain, label, depth + 1) : null;
  return (
    found ?? {
      kind: 'unanswerable',
      label,
      why: `${label} is another name for ${name}, which nothing in the cluster answers to`,
    }
  );
}

/** The record of a full name: `service.ns.svc.domain`, `pod-ip.ns.pod.domain`, `hostname.service.ns.svc.domain`. */
function lookUp(state: State, name: string, domain: string, label: string, depth = 0): Target | null {
  if (!name.endsWith(`.${domain}`)) return null;
  const labels = name.slice(0, -domain.length - 1).split('.');
  const kind = labels.pop();
  const namespace = labels.pop();
  if (kind === 'pod' && labels.length === 1) {
    // Dashes stand for the dots of IPv4, and for the colons of IPv6.
    const address = parseAddress(labels[0]!.replaceAll('-', '.')) ?? parseAddress(labels[0]!.replaceAll('-', ':'));
    return address === null ? null : { kind: 'address', label, address };
  }
  if (kind !== 'svc') return null;
  const serviceName = labels.pop();
  const service = serviceNamed(state, namespace, serviceName);
  if (!service) return unreadTarget(label, unreadServices(state), namespace, serviceName);
  if (labels.length === 0) {
    if (service.source.type === 'ExternalName') return aliasOf(state, service, label, depth);
    return { kind: 'service', label, service, viaName: label.replace(/^dns:/, '') };
  }
  const pods = service.selected.filter((pod) => (pod.spec.hostname ?? pod.name) === labels.join('.'));
  return service.source.headless && pods.length > 0 ? { kind: 'pods', label, pods } : null;
}

/** The families of the addresses that a target stands for. */
export function familiesOf({ cluster }: State, target: Target): Family[] {
  const among = (addresses: readonly Address[]): Family[] =>
    FAMILIES.filter((family) => addresses.some((address) => familyOf(address) === family));
  switch (target.kind) {
    case 'pods':
      return among(target.pods.flatMap(({ addresses }) => addresses));
    case 'service': {
      const { clusterIPs, ports } = target.service;
      return among([...clusterIPs, ...ports.flatMap(({ backends }) => backends.map(({ address }) => address))]);
    }
    case 'address':
      return [familyOf(target.address)];
    case 'addresses':
      return [familyOf(target.first)];
    case 'node':
    case 'host':
    case 'world':
      return [...cluster.families];
    case 'ingress':
    case 'unanswerable':
      return [];
  }
}
