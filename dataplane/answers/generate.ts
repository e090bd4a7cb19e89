/** The least NetworkPolicies that let some flows: everything is refused, and each workload lets what it needs. */
import { NAME_LABEL, type ClusterWorkload } from '../cluster/cluster.js';
import { compare } from '../hash.js';
import { isIdentityLabel } from '../policy/identities.js';
import type { Direction } from '../policy/rules.js';
import type { State } from '../state.js';
import { flowText, type Flow, type FlowEnd } from './generate-flows.js';

type Labels = Readonly<Record<string, string>>;

/** Kubernetes API, `NetworkPolicyPeer`. */
type Peer =
  | {
      readonly namespaceSelector?: { readonly matchLabels: Labels };
      readonly podSelector: { readonly matchLabels: Labels };
    }
  | { readonly ipBlock: { readonly cidr: string } };

interface PeerRule {
  readonly from?: readonly Peer[];
  readonly to?: readonly Peer[];
  readonly ports: readonly { readonly protocol: string; readonly port: number }[];
}

/** A NetworkPolicy, as it is written. */
export interface Written {
  readonly apiVersion: 'networking.k8s.io/v1';
  readonly kind: 'NetworkPolicy';
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: {
    readonly podSelector: { readonly matchLabels?: Labels };
    readonly policyTypes: readonly ('Ingress' | 'Egress')[];
    readonly ingress?: readonly PeerRule[];
    readonly egress?: readonly PeerRule[];
  };
}

export interface Generated {
  readonly policies: readonly Written[];
  /** What no NetworkPolicy can say, a line each. */
  readonly skipped: readonly string[];
}

/** Namespaces of the cluster's own: whoever runs the cluster says what may pass there. */
const CLUSTERS_OWN = /^kube-/;

const isOnPodNetwork = ({ pods }: ClusterWorkload): boolean => pods.some((pod) => !pod.hostNetwork);

/** Policies for each namespace with workloads, but those of the cluster itself. */
export function generate(state: State, flows: readonly Flow[]): Generated {
  const workloads = state.cluster.workloads.filter(
    (workload) => isOnPodNetwork(workload) && !CLUSTERS_OWN.test(workload.namespace),
  );
  const namespaces = [...new Set(workloads.map(({ namespace }) => namespace))].sort(compare);
  const told = flows.map((flow) => ({ flow, why: unsayable(state, flow.from) ?? unsayable(state, flow.to) }));
  const sayable = told.filter(({ why }) => why === null).map(({ flow }) => flow);
  const names = new Names(state);
  return {
    policies: namespaces.flatMap((namespace) => [
      defaultDeny(names, namespace),
      ...subjectsIn(state, workloads, namespace).flatMap((subject) => policyOf(state, names, subject, sayable)),
    ]),
    skipped: told.flatMap(({ flow, why }) => (why === null ? [] : [`${flowText(flow)}: ${why}`])),
  };
}

/** Why no NetworkPolicy can name an end, and it alone; null where one can. */
function unsayable(state: State, end: FlowEnd): string | null {
  if (end.kind !== 'workload') return null;
  const { workload } = end;
  if (!isOnPodNetwork(workload)) return `${workload.ref} is on the network of its node, which no NetworkPolicy selects`;
  const labels = Object.entries(labelsOf(state, workload));
  if (labels.length === 0) return `${workload.ref} has no labels to select it by`;
  const own = JSON.stringify(labels);
  const other = state.cluster.workloads.find(
    (one) =>
      one.namespace === workload.namespace &&
      one.pods[0] !== undefined &&
      labels.every(([key, value]) => one.pods[0]!.labels.get(key) === value) &&
      JSON.stringify(Object.entries(labelsOf(state, one))) !== own,
  );
  return other ? `whatever selects ${workload.ref} selects ${other.ref} too` : null;
}

/** Names that no policy of the manifests has. */
class Names {
  private readonly taken: Set<string>;

  constructor({ cluster }: State) {
    const own = cluster.policies.filter(({ kind }) => kind === 'NetworkPolicy');
    this.taken = new Set(own.map(({ metadata }) => `${metadata.namespace}/${metadata.name.value}`));
  }

  free(namespace: string, wanted: string): string {
    let name = wanted;
    for (let number = 2; this.taken.has(`${namespace}/${name}`); number++) name = `${wanted}-${number}`;
    this.taken.add(`${namespace}/${name}`);
    return name;
  }
}

const written = (name: string, namespace: string, spec: Written['spec']): Written => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name, namespace },
  spec,
});

const defaultDeny = (names: Names, namespace: string): Written =>
  written(names.free(namespace, 'default-deny'), namespace, { podSelector: {}, policyTypes: ['Ingress', 'Egress'] });

/** Workloads that share their labels, which no policy tells apart. */
interface Subject {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Labels;
  readonly workloads: ReadonlySet<ClusterWorkload>;
}

function subjectsIn(state: State, workloads: readonly ClusterWorkload[], namespace: string): Subject[] {
  const found = new Map<string, { name: string; labels: Labels; workloads: Set<ClusterWorkload> }>();
  for (const workload of workloads.filter((one) => one.namespace === namespace)) {
    const labels = labelsOf(state, workload);
    const key = JSON.stringify(labels);
    const subject = found.get(key) ?? { name: workload.name, labels, workloads: new Set() };
    found.set(key, subject);
    subject.workloads.add(workload);
  }
  return [...found.values()].map((subject) => ({ ...subject, namespace }));
}

/** The labels that a workload is selected by: those of its own selector where they are its pods' alone, else all that it has. */
function labelsOf(state: State, workload: ClusterWorkload): Labels {
  const own = workload.pods[0]!.labels;
  const all = [...own].filter(([key]) => isIdentityLabel(key)).sort(([a], [b]) => compare(a, b));
  const { source } = workload;
  const selector = source.kind === 'Pod' ? null : source.selector;
  const chosen = all.filter(([key]) => selector?.matchLabels.has(key));
  const isAlone = state.cluster.pods.every(
    (pod) =>
      pod.namespace !== workload.namespace ||
      pod.workload === workload ||
      !chosen.every(([key, value]) => pod.labels.get(key) === value),
  );
  return Object.fromEntries(chosen.length > 0 && isAlone ? chosen : all);
}

function policyOf(state: State, names: Names, subject: Subject, flows: readonly Flow[]): Written[] {
  const isOwn = (end: FlowEnd): boolean => end.kind === 'workload' && subject.workloads.has(end.workload);
  const rules = (direction: Direction): PeerRule[] => {
    const [own, other] = direction === 'ingress' ? (['to', 'from'] as const) : (['from', 'to'] as const);
    const peers = flows.filter((flow) => isOwn(flow[own])).map((flow) => ({ flow, end: flow[other] }));
    return rulesOf(state, subject.namespace, peers, other);
  };
  const [ingress, egress] = [rules('ingress'), rules('egress')];
  if (ingress.length + egress.length === 0) return [];
  const name = names.free(subject.namespace, subject.name);
  return [
    written(name, subject.namespace, {
      podSelector: { matchLabels: subject.labels },
      policyTypes: [
        ...(ingress.length > 0 ? ['Ingress' as const] : []),
        ...(egress.length > 0 ? ['Egress' as const] : []),
      ],
      ...(ingress.length > 0 ? { ingress } : {}),
      ...(egress.length > 0 ? { egress } : {}),
    }),
  ];
}

/** Peers with the same ports stand in one rule. */
function rulesOf(
  state: State,
  namespace: string,
  flows: readonly { readonly flow: Flow; readonly end: FlowEnd }[],
  side: 'from' | 'to',
): PeerRule[] {
  const byPeer = new Map<string, { peer: Peer; ports: Map<string, { protocol: string; port: number }> }>();
  for (const { flow, end } of flows) {
    const peer = peerOf(state, namespace, end);
    const known = byPeer.get(JSON.stringify(peer)) ?? { peer, ports: new Map() };
    byPeer.set(JSON.stringify(peer), known);
    known.ports.set(`${flow.protocol} ${String(flow.port).padStart(5)}`, { protocol: flow.protocol, port: flow.port });
  }
  const byPorts = new Map<string, { peers: Peer[]; ports: PeerRule['ports'] }>();
  for (const { peer, ports } of byPeer.values()) {
    const sorted = [...ports].sort(([a], [b]) => compare(a, b));
    const key = sorted.map(([text]) => text).join();
    const rule = byPorts.get(key) ?? { peers: [], ports: sorted.map(([, port]) => port) };
    byPorts.set(key, rule);
    rule.peers.push(peer);
  }
  return [...byPorts.values()].map(({ peers, ports }) => ({ [side]: peers, ports }));
}

function peerOf(state: State, namespace: string, end: FlowEnd): Peer {
  if (end.kind === 'prefix') return { ipBlock: { cidr: end.cidr } };
  const [there, matchLabels] =
    end.kind === 'workload' ? [end.workload.namespace, labelsOf(state, end.workload)] : [end.namespace, end.labels];
  const elsewhere = { namespaceSelector: { matchLabels: { [NAME_LABEL]: there } } };
  return { ...(there === namespace ? {} : elsewhere), podSelector: { matchLabels } };
}
