/** Flows that the manifests themselves announce: names and ports in environment variables, arguments and ConfigMap values. */
import { parseAddress } from '../addresses.js';
import type { ClusterWorkload } from '../cluster/cluster.js';
import { indexed } from '../indexed.js';
import type { ConfigMap, ManifestObject } from '../manifests/objects.js';
import type { Located, Place } from '../manifests/place.js';
import { overStates, type State } from '../state.js';
import { resolveName, type Resolved } from './refs.js';

/** A host that a value names, and where in the value it stands. */
export interface Host {
  readonly name: string;
  readonly port: number | null;
  readonly at: Place;
}

/** A flow that a workload's configuration announces. */
export interface Announced {
  readonly workload: ClusterWorkload;
  readonly host: Host;
  readonly target: Exclude<Resolved, { readonly error: string }>;
}

/** Ports that a URL's scheme stands for. IANA service names. */
const SCHEME_PORTS: ReadonlyMap<string, number> = new Map(
  Object.entries({
    http: 80,
    https: 443,
    ws: 80,
    wss: 443,
    postgres: 5432,
    postgresql: 5432,
    mysql: 3306,
    redis: 6379,
    rediss: 6379,
    amqp: 5672,
    amqps: 5671,
    mongodb: 27017,
    nats: 4222,
    ldap: 389,
    ldaps: 636,
    kafka: 9092,
    memcached: 11211,
  }),
);

/** A host with what stands before it, and its port. Each part has an end of its own, so matching is linear. */
const HOST =
  /(?:([a-z][a-z0-9+.-]{0,20}):\/\/(?:[^\s/@]{0,128}@)?)?([a-z0-9][a-z0-9-]{0,62}(?:\.[a-z0-9][a-z0-9-]{0,62}){0,8})\.?(?::(\d{1,5}))?(?![\w.-])/gi;

/** Names of variables whose bare value is a host. */
const HOST_VARIABLE = /HOST|ADDR|URL|URI|SERVICE|ENDPOINT|SERVER|TARGET|BACKEND|UPSTREAM/i;

/** Values longer than this are files, not addresses; only their beginning is looked at. */
const MAX_VALUE = 4096;

/** The hosts in a value. `name` is the variable's, where it has one: a bare word is a host only under a telling name. */
export function hostsIn({ value, at }: Located<string>, name: string): Host[] {
  const hosts: Host[] = [];
  const text = value.slice(0, MAX_VALUE);
  const offset = at.source.text.indexOf(value, at.start);
  const base = offset >= 0 && offset < at.end ? offset : at.start;
  for (const match of text.matchAll(HOST)) {
    const [whole, scheme, host, digits] = match;
    // A number or a version is no host; an address is.
    if (!host || (/^[\d.]+$/.test(host) && parseAddress(host) === null)) continue;
    const before = text[match.index - 1];
    if (before !== undefined && /[\w.-]/.test(before)) continue;
    const telling =
      scheme !== undefined ||
      digits !== undefined ||
      host.includes('.') ||
      (whole === text.trim() && HOST_VARIABLE.test(name));
    const port = digits === undefined ? (SCHEME_PORTS.get(scheme?.toLowerCase() ?? '') ?? null) : Number(digits);
    if (!telling || (port !== null && port > 65535)) continue;
    const start = base + match.index + whole.lastIndexOf(host);
    hosts.push({
      name: host,
      port,
      at: { source: at.source, start, end: start + host.length + (digits === undefined ? 0 : digits.length + 1) },
    });
  }
  return hosts;
}

const workloads = overStates(() => ({
  byConfigMap: indexed(({ namespace, pods: [pod], source }: ClusterWorkload) => {
    const { configMaps } = pod?.spec ?? (source.kind === 'Pod' ? source.spec : source.template.spec);
    return configMaps.map((name) => `${namespace}/${name}`);
  }),
  /** By the file in which their pods' spec stands. */
  byFile: indexed(({ pods: [pod] }: ClusterWorkload) => (pod ? [pod.source.source.file] : [])),
}));

/** The workloads whose pods take variables or files from a ConfigMap, in order of their refs. */
export const usersOf = (state: State, { metadata }: ConfigMap): readonly ClusterWorkload[] =>
  workloads(state).byConfigMap(state.cluster.workloads).all(`${metadata.namespace}/${metadata.name.value}`);

const memo = new WeakMap<State, readonly Announced[]>();

/** Every flow that a workload announces to something of the cluster. */
export function announced(state: State): readonly Announced[] {
  const known = memo.get(state);
  if (known) return known;
  const found = announcedAnywhere(state).filter(({ target }) => target.kind !== 'world');
  memo.set(state, found);
  return found;
}

/** Those of them that stand in one file. */
export const announcedIn = (state: State, file: string): readonly Announced[] =>
  announcedBy(
    state,
    workloads(state).byFile(state.cluster.workloads).all(file),
    state.manifests.objectsIn(file),
  ).filter(({ target }) => target.kind !== 'world');

/** Every flow that a workload announces, outside too. */
export const announcedAnywhere = (state: State): readonly Announced[] =>
  announcedBy(state, state.cluster.workloads, state.cluster.objects);

/** What these workloads announce, and the ConfigMaps among these objects. */
function announcedBy(
  state: State,
  workloads: readonly ClusterWorkload[],
  objects: readonly ManifestObject[],
): Announced[] {
  const found: Announced[] = [];
  const add = (workload: ClusterWorkload, host: Host): void => {
    const target = resolveName(state, host.name, workload.namespace);
    if (!('error' in target) && target.kind !== 'unanswerable') found.push({ workload, host, target });
  };
  for (const workload of workloads) {
    const pod = workload.pods[0];
    if (!pod) continue;
    for (const container of pod.spec.containers) {
      const values = [
        ...container.env.map(({ name, value }) => [name, value] as const),
        ...container.args.map((value) => ['', value] as const),
      ];
      for (const [name, value] of values) for (const host of hostsIn(value, name)) add(workload, host);
    }
  }
  for (const object of objects) {
    if (object.kind !== 'ConfigMap') continue;
    const running = usersOf(state, object).filter(({ pods }) => pods.length > 0);
    if (running.length === 0) continue;
    for (const host of hostsOf(object)) for (const workload of running) add(workload, host);
  }
  return found;
}

/** The hosts in a ConfigMap's values. */
export const hostsOf = (configMap: ConfigMap): Host[] =>
  [...configMap.data].flatMap(([name, value]) => hostsIn(value, name));
