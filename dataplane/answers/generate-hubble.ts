/** Flows as Hubble recorded them: JSON Lines of `hubble observe -o json`. Cilium `api/v1/flow/flow.proto`. */
import { parseAddress } from '../addresses.js';
import type { Protocol } from '../manifests/objects.js';
import { PROTOCOL_NUMBERS } from '../policy/networkpolicy.js';
import { DERIVED } from '../policy/selectors.js';
import { isIdentityLabel } from '../policy/identities.js';
import type { State } from '../state.js';
import { addressEnd, flowsToAddress, sortedFlows, workloadEnd, type Flow, type FlowEnd } from './generate-flows.js';

export interface Recorded {
  readonly flows: readonly Flow[];
  /** Lines that are no flow. */
  readonly unread: number;
}

/** The connections that were let, as who opened them asked. */
export function recordedFlows(state: State, text: string): Recorded {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  const read = lines.map((line) => readLine(state, line));
  return {
    flows: sortedFlows(read.flatMap((flows) => flows ?? [])),
    unread: read.filter((flows) => flows === null).length,
  };
}

type Fields = Readonly<Record<string, unknown>>;

const fieldsOf = (value: unknown): Fields | null =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : null;
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

const LET = new Set(['FORWARDED', 'REDIRECTED', 'TRACED', 'TRANSLATED', 'AUDIT']);

/** What else stands in lines of Hubble: flows of what has no addresses, and what is told of nodes. `api/v1/observer/observer.proto`. */
const OTHERS = ['flow', 'node_status', 'lost_events', 'agent_event', 'debug_event'];

const isPort = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65535;

/** What a line asks for: nothing of a reply, or of what was dropped. null for a line that is no flow. */
function readLine(state: State, line: string): Flow[] | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  const record = fieldsOf(value);
  if (!record) return null;
  const flow = fieldsOf(record['flow']) ?? record;
  const ip = fieldsOf(flow['IP']);
  if (!ip) return OTHERS.some((field) => field in record) ? [] : null;
  // Where that is not known, on the way between nodes, the ends tell of the same packet.
  if (!LET.has(textOf(flow['verdict'])) || flow['is_reply'] !== false) return [];
  const l4 = fieldsOf(flow['l4']);
  const protocol = (Object.keys(PROTOCOL_NUMBERS) as Protocol[]).find((name) => fieldsOf(l4?.[name]));
  const port = protocol && fieldsOf(l4?.[protocol])?.['destination_port'];
  if (!protocol || !isPort(port)) return [];
  const from = endOf(state, fieldsOf(flow['source']), textOf(ip['source']));
  const to = endOf(state, fieldsOf(flow['destination']), textOf(ip['destination']));
  if (!from || !to) return [];
  const address = to.kind === 'prefix' ? parseAddress(textOf(ip['destination'])) : null;
  return address === null ? [{ from, to, protocol, port }] : flowsToAddress(state, from, address, protocol, port);
}

/** Who an endpoint of Hubble is: a pod by its name, or its workload's, or its labels; an address outside; null for a node. */
function endOf({ cluster }: State, endpoint: Fields | null, address: string): FlowEnd | null {
  const namespace = textOf(endpoint?.['namespace']);
  const labels = (Array.isArray(endpoint?.['labels']) ? endpoint['labels'] : []).map(textOf);
  if (namespace === '') {
    const parsed = parseAddress(address);
    const isOutside = labels.length === 0 || labels.some((label) => /^(reserved:world|cidr:)/.test(label));
    return isOutside && parsed !== null ? addressEnd(parsed) : null;
  }
  const pod = cluster.pods.find((one) => one.namespace === namespace && one.name === endpoint?.['pod_name']);
  if (pod) return workloadEnd(pod.workload);
  const [top] = (Array.isArray(endpoint?.['workloads']) ? endpoint['workloads'] : []).map(fieldsOf);
  const workload = cluster.workloads.find(
    (one) => one.namespace === namespace && one.name === top?.['name'] && one.kind === top['kind'],
  );
  if (workload) return workloadEnd(workload);
  const own = labels.flatMap((label): [string, string][] => {
    const [, key, value] = /^k8s:([^=]+)=(.*)$/.exec(label) ?? [];
    return key !== undefined && value !== undefined && isOwn(key) ? [[key, value]] : [];
  });
  const alike = cluster.pods.find(
    (one) =>
      one.namespace === namespace && own.length > 0 && own.every(([key, value]) => one.labels.get(key) === value),
  );
  if (alike) return workloadEnd(alike.workload);
  return own.length > 0 ? { kind: 'pods', namespace, labels: Object.fromEntries(own.sort()) } : null;
}

/** Whether a label is the pod's own, and not one that Cilium adds. */
const isOwn = (key: string): boolean =>
  isIdentityLabel(key) && !key.startsWith(DERIVED.namespaceLabels) && !Object.values<string>(DERIVED).includes(key);
