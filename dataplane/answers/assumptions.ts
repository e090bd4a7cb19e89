/** What an answer takes for granted. */
import { DropReason } from '../../assembly/abi.js';
import { compareAddresses, familyOf, formatAddress } from '../addresses.js';
import { addressIn, allAddresses, podBehind } from '../cluster/cluster.js';
import { CONTROLLER_NAMESPACE } from '../cluster/ingress.js';
import { compare } from '../hash.js';
import { modeAssumptions } from '../loader/modes.js';
import { kindName } from '../manifests/objects.js';
import { lineOf, type Place } from '../manifests/place.js';
import { authorizationOf, proxyOf } from '../policy/mesh.js';
import { PROTOCOL_NUMBERS } from '../policy/networkpolicy.js';
import { isKubeProxy } from '../settings.js';
import type { State } from '../state.js';
import { clusterDns } from './dns.js';
import { enforcementAssumed } from './enforced.js';
import { isUnlisted, podsOf } from './missing.js';
import { mistakesAssumed } from './mistakes.js';
import { isNamed } from './names.js';
import { nodeAt } from './at.js';
import { type Outcome } from './probe.js';
import type { Target } from './refs.js';
import { scopeAssumed } from './special-addresses.js';

/** What the verdict takes for granted. */
export function assumptions(state: State, to: Target, outcomes: readonly Outcome[]): string[] {
  const lines: string[] = [];
  const pods = [...podsOf(outcomes)];
  const { undeclaredNamespaces, unreportedReadiness } = state.settings;
  for (const name of [...new Set(pods.map((pod) => pod.namespace))].sort(compare)) {
    if (undeclaredNamespaces === 'unknown') break;
    if (!state.cluster.namespaces.get(name)?.declared && name !== CONTROLLER_NAMESPACE)
      lines.push(`namespace ${name} has no label but kubernetes.io/metadata.name: there is no Namespace object`);
  }
  const unreported = [
    ...new Set(
      outcomes.flatMap(({ backend }) => {
        const pod = podBehind(state.cluster, backend);
        return pod?.ready === null ? [pod.workload.ref] : [];
      }),
    ),
  ].sort(compare);
  if (unreportedReadiness !== 'unknown')
    for (const workload of unreported) lines.push(`the pods of ${workload} are ready: no state is reported`);
  const spread = pods.some(
    (pod) => pod.source === (pod.workload.source as { template?: { at: unknown } }).template?.at,
  );
  if (spread && state.cluster.nodes.length > 1)
    lines.push(
      `pods are spread over the nodes ${state.cluster.nodes.length <= 4 ? state.cluster.nodes.map(({ name }) => name).join(', ') : `(${state.cluster.nodes.length})`}`,
    );
  for (const object of state.manifests.stale) {
    lines.push(
      `${lineOf(object.at)}: last good state of ${object.kind} ${object.metadata.name.value}, since the document cannot be read now`,
    );
  }
  lines.push(...mistakesAssumed(state, pods, outcomes));
  const unlisted = outcomes.flatMap(({ probe, backend }) => [
    ...(probe.sender.kind === 'unlisted' ? [probe.sender.address] : []),
    ...(isUnlisted(state, backend) ? [backend!.address] : []),
  ]);
  for (const address of [...new Set(unlisted)].sort(compareAddresses))
    lines.push(`no policy is about ${formatAddress(address)}, which is no pod of the manifests`);
  for (const outcome of outcomes) lines.push(...closedPorts(state, outcome));
  const inName = outcomes.flatMap(({ masqueraded }) => masqueraded?.tuple.source ?? []);
  for (const address of [...new Set(inName)].sort(compareAddresses))
    lines.push(`kube-proxy sends the packet on in the name of ${formatAddress(address)}`);
  lines.push(...topologyAssumed(state, outcomes));
  lines.push(...firewallAssumed(state, outcomes));
  lines.push(...enforcementAssumed(state, outcomes));
  lines.push(...meshAssumed(state, outcomes));
  lines.push(...routesAssumed(state, outcomes));
  if (outcomes.some(({ reason }) => reason?.code === DropReason.POLICY_AUTH_REQUIRED))
    lines.push('no two identities have authenticated yet: Cilium begins with that at the first packet, and drops it');
  const audits = outcomes.flatMap(({ audited }) => (audited ? [`${audited.reason.text}, ${audited.direction}`] : []));
  for (const refusal of new Set(audits)) lines.push(`policyAuditMode: what policies would refuse passes (${refusal})`);
  const direct = outcomes.some(({ probe: { sender }, backend }) => {
    const pod = podBehind(state.cluster, backend);
    return sender.kind === 'external' && pod !== null && pod.node !== sender.node;
  });
  lines.push(...modeAssumptions(state.settings, direct));
  lines.push(...scopeAssumed(to));
  if (to.kind === 'world' && to.name !== null) lines.push(`${to.label} is an address outside the cluster`);
  const known = outcomes.find((outcome) => isNamed(state, outcome));
  if (known)
    lines.push(
      `${to.label} has the address ${formatAddress(known.probe.tuple.destination)}: none that a policy's prefix holds`,
    );
  if (to.label.startsWith('dns:') && !clusterDns(state))
    lines.push('names are looked up: the manifests hold no cluster DNS');
  return [...new Set(lines)];
}

/** Routes that are not read, where a Service of their namespace, or of its client's, was asked. */
function routesAssumed({ cluster }: State, outcomes: readonly Outcome[]): string[] {
  if (cluster.routes.length === 0) return [];
  const namespaces = outcomes.flatMap(({ probe: { sender }, frontend }) =>
    frontend ? [frontend.service?.namespace, ...(sender.kind === 'pod' ? [sender.pod.namespace] : [])] : [],
  );
  return cluster.routes
    .filter(({ metadata }) => namespaces.includes(metadata.namespace))
    .map(
      ({ actualKind, metadata: { name } }) =>
        `${lineOf(name.at)}: ${actualKind} ${name.value} is not read: requests go where their Service leads them`,
    );
}

/** Policies about nodes, which have no say in what nodes send and get unless they have a firewall, or Calico an endpoint for them. */
function firewallAssumed({ cluster, settings }: State, outcomes: readonly Outcome[]): string[] {
  const nodes = new Set(cluster.nodes.flatMap(allAddresses));
  const atNode = outcomes.some(
    ({ probe: { sender }, tuple }) =>
      sender.kind === 'host' || (sender.kind === 'pod' && sender.pod.hostNetwork) || nodes.has(tuple.destination),
  );
  if (!atNode) return [];
  return cluster.policies.flatMap((source) => {
    const say = (at: Place, what: string): string => {
      return `${lineOf(at)}: ${kindName(source)} ${source.metadata.name.value} is ${what}`;
    };
    if (source.kind === 'CalicoPolicy')
      return source.actualKind === 'GlobalNetworkPolicy'
        ? [say(source.metadata.name.at, 'about host endpoints too, and there is none')]
        : [];
    if (!('specs' in source) || settings.hostFirewall) return [];
    return source.specs
      .filter(({ aboutNodes }) => aboutNodes)
      .map(({ selector }) => say(selector.at, 'about nodes, and hostFirewall is off'));
  });
}

/** A hostPort that the packet does not find, since `hostIP` keeps it to another address, or the pod has none of that family. */
function closedPorts(state: State, { probe, tuple, frontend }: Outcome): string[] {
  const { destination, destinationPort, protocol } = probe.tuple;
  const node = nodeAt(state, destination);
  if (frontend || !node || tuple.destination !== destination) return [];
  const family = familyOf(destination);
  return state.cluster.pods
    .filter((pod) => pod.node === node && !pod.hostNetwork)
    .flatMap((pod) => pod.spec.containers.flatMap(({ ports }) => ports.map((port) => ({ pod, port }))))
    .filter(({ port }) => port.hostPort?.value === destinationPort && PROTOCOL_NUMBERS[port.protocol] === protocol)
    .map(({ pod, port }) => {
      const where = addressIn(pod, family) === null ? `not open over ${family}` : `open on ${port.hostIP} only`;
      return `hostPort ${destinationPort} of ${pod.namespace}/${pod.name} is ${where}`;
    });
}

/** Hints of topology that are not kept to, since Cilium does not unless told, or that nobody has written yet. */
function topologyAssumed({ settings }: State, outcomes: readonly Outcome[]): string[] {
  const keeps = isKubeProxy(settings) || settings.serviceTopology;
  const lines = outcomes.flatMap(({ frontend }) => {
    if (!frontend?.service) return [];
    const { namespace, name, source } = frontend.service;
    const leads = `Service ${namespace}/${name} leads to every zone`;
    const hinted = frontend.endpoints.some(({ forZones, forNodes }) => forZones.length + forNodes.length > 0);
    if (hinted) return keeps ? [] : [`${leads}: serviceTopology is off`];
    const mode = source.metadata.annotations.get('service.kubernetes.io/topology-mode')?.value ?? 'Disabled';
    return keeps && /^auto$/i.test(mode) ? [`${leads}: its EndpointSlices have no hints yet`] : [];
  });
  return [...new Set(lines)].sort(compare);
}

/** Policies of the mesh that have no say, since nothing of it is before the pod; and how pods of the mesh speak to each other. */
function meshAssumed({ cluster }: State, outcomes: readonly Outcome[]): string[] {
  return outcomes.flatMap(({ receiver, redirects, tuple }) => {
    if (!receiver || tuple.protocol !== PROTOCOL_NUMBERS.TCP) return [];
    const text = `pod ${receiver.namespace}/${receiver.name}`;
    const policies = proxyOf(cluster, receiver) === 'none' ? authorizationOf(cluster, receiver) : [];
    const idle = policies.map(
      ({ metadata: { name } }) =>
        `${lineOf(name.at)}: AuthorizationPolicy ${name.value} has no say: ${text} has no sidecar`,
    );
    const isSecured = redirects.some(({ client, mesh }) => mesh && client && proxyOf(cluster, client) === 'sidecar');
    return isSecured
      ? [
          ...idle,
          `the connection to ${text} is secured by mutual TLS, between sidecars: no DestinationRule says otherwise`,
        ]
      : idle;
  });
}
