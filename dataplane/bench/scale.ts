/** A cluster of any size, as the manifests of its namespaces: the same texts for the same size. */
import { formatAddress } from '../addresses.js';

/** How many there are of each; `endpoints` are the addresses that all EndpointSlices list. */
export interface ClusterSize {
  readonly pods: number;
  readonly services: number;
  readonly policies: number;
  readonly endpoints: number;
}

/** The cluster that a control plane must hold. */
export const WHOLE: ClusterSize = { pods: 10_000, services: 5000, policies: 2000, endpoints: 250_000 };

/** The same cluster, larger or smaller. */
export const scaled = (part: number): ClusterSize => ({
  pods: WHOLE.pods * part,
  services: WHOLE.services * part,
  policies: WHOLE.policies * part,
  endpoints: WHOLE.endpoints * part,
});

/** Where the pods' addresses begin; the range that `CLUSTER_SETTINGS` name. */
const POD_BASE = 0x0a800000; // 10.128.0.0
export const CLUSTER_SETTINGS = { podCIDR: '10.128.0.0/9' } as const;

/** Namespaces share everything alike; each has these workloads. */
const PODS_PER_NAMESPACE = 50;
const APPS = ['web', 'cart', 'orders', 'queue', 'db'] as const;
const PODS_PER_NODE = 100;
/** The ports on which the pods of a namespace are asked by its Services. */
const FIRST_PORT = 8000;
const PORTS = 5;

/** Of `total` the share of each of `count`, the first with one more where they do not come out even. */
const share = (total: number, count: number, index: number): number =>
  Math.floor(total / count) + (index < total % count ? 1 : 0);

const podName = (app: string, ordinal: number): string => `${app}-${ordinal}`;
const namespaceName = (index: number): string => `team-${index}`;
export const fileName = (index: number): string => `${namespaceName(index)}.yaml`;

/** The file of each namespace, by name. */
export function clusterFiles(size: ClusterSize): Map<string, string> {
  const count = Math.max(1, Math.ceil(size.pods / PODS_PER_NAMESPACE));
  const files = new Map<string, string>();
  let first = 0;
  for (let index = 0; index < count; index++) {
    const pods = share(size.pods, count, index);
    const of = { index, count, first, pods };
    const services = share(size.services, count, index);
    const endpoints = share(size.endpoints, count, index);
    const documents = [
      namespaceText(of),
      ...Array.from({ length: pods }, (_, ordinal) => podText(of, ordinal)),
      ...Array.from({ length: services }, (_, number) => serviceText(of, number, share(endpoints, services, number))),
      ...Array.from({ length: share(size.policies, count, index) }, (_, number) => policyText(of, number)),
    ];
    files.set(fileName(index), documents.join('---\n'));
    first += pods;
  }
  return files;
}

/** One of `count` namespaces, whose pods are numbered in the cluster from `first` on. */
interface Team {
  readonly index: number;
  readonly count: number;
  readonly first: number;
  readonly pods: number;
}

const appOf = (ordinal: number): string => APPS[ordinal % APPS.length]!;
const addressOf = ({ first }: Team, ordinal: number): string => formatAddress(POD_BASE + 1 + first + ordinal);
const nodeOf = ({ first }: Team, ordinal: number): string => `node-${Math.floor((first + ordinal) / PODS_PER_NODE)}`;

const namespaceText = ({ index }: Team): string => `apiVersion: v1
kind: Namespace
metadata:
  name: ${namespaceName(index)}
  labels:
    tier: "${index % 10}"
`;

const podText = (team: Team, ordinal: number): string => `apiVersion: v1
kind: Pod
metadata:
  name: ${podName(appOf(ordinal), ordinal)}
  namespace: ${namespaceName(team.index)}
  labels:
    app: ${appOf(ordinal)}
spec:
  nodeName: ${nodeOf(team, ordinal)}
  containers:
  - name: main
    image: registry.example/${appOf(ordinal)}:1.${team.index}
    ports:
    - name: web
      containerPort: ${FIRST_PORT}
status:
  phase: Running
  podIP: ${addressOf(team, ordinal)}
  podIPs:
  - ip: ${addressOf(team, ordinal)}
  conditions:
  - type: Ready
    status: "True"
`;

/** A Service without a selector, and the slice that lists its endpoints: pods of its namespace, in turn. */
function serviceText(team: Team, number: number, endpoints: number): string {
  const name = `service-${number}`;
  const port = FIRST_PORT + (number % PORTS);
  const listed = Array.from({ length: Math.min(endpoints, team.pods) }, (_, i) => {
    const ordinal = (number + i) % team.pods;
    return `- addresses:
  - ${addressOf(team, ordinal)}
  conditions:
    ready: true
  nodeName: ${nodeOf(team, ordinal)}
`;
  });
  return `apiVersion: v1
kind: Service
metadata:
  name: ${name}
  namespace: ${namespaceName(team.index)}
spec:
  ports:
  - name: web
    port: 80
    targetPort: ${port}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: ${name}-1
  namespace: ${namespaceName(team.index)}
  labels:
    kubernetes.io/service-name: ${name}
addressType: IPv4
ports:
- name: web
  protocol: TCP
  port: ${port}
endpoints:
${listed.join('')}`;
}

/** What a namespace's policies are about, in turn: everything is isolated first, and each further one opens something. */
function policyText(team: Team, number: number): string {
  const app = appOf(number + Math.floor(number / APPS.length));
  const other = APPS[(number + 1) % APPS.length]!;
  const neighbour = namespaceName((team.index + 1 + number) % team.count);
  const port = FIRST_PORT + (number % PORTS);
  const specs = [
    `  podSelector: {}
  policyTypes:
  - Ingress
`,
    `  podSelector:
    matchLabels:
      app: ${app}
  ingress:
  - from:
    - podSelector:
        matchLabels:
          app: ${other}
    ports:
    - protocol: TCP
      port: ${port}
`,
    `  podSelector:
    matchLabels:
      app: ${app}
  ingress:
  - from:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: ${neighbour}
      podSelector:
        matchLabels:
          app: ${other}
    ports:
    - protocol: TCP
      port: web
`,
    `  podSelector:
    matchLabels:
      app: ${app}
  policyTypes:
  - Egress
  egress:
  - to:
    - podSelector: {}
  - to:
    - ipBlock:
        cidr: 203.0.113.${team.index % 256}/32
    ports:
    - protocol: TCP
      port: 443
`,
    `  podSelector:
    matchLabels:
      app: ${app}
  ingress:
  - from:
    - namespaceSelector:
        matchLabels:
          tier: "${(team.index + number) % 10}"
    ports:
    - protocol: TCP
      port: ${FIRST_PORT + 1000}
      endPort: ${FIRST_PORT + 1099}
`,
  ];
  return `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: policy-${number}
  namespace: ${namespaceName(team.index)}
spec:
${specs[number % specs.length]!}`;
}
