/** A dual-stack cluster of two nodes, and its addresses in each family, so that a test says once what holds for both. */
import { packet } from './packet.js';

const node = (name: string, number: number): string => `
apiVersion: v1
kind: Node
metadata: {name: ${name}}
spec: {podCIDRs: [10.${number}.0.0/24, "fd00:${number}::/64"]}
status: {addresses: [{type: InternalIP, address: 192.168.0.${number}}, {type: InternalIP, address: "fd00::${number}"}]}
---`;
const pod = (name: string, node: string, four: string, six: string): string => `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, labels: {app: ${name}}}
spec: {nodeName: ${node}, containers: [{name: c, ports: [{containerPort: 8080}]}]}
status: {podIP: ${four}, podIPs: [{ip: ${four}}, {ip: "${six}"}]}
---`;
const service = (name: string, number: number, more = ''): string => `
apiVersion: v1
kind: Service
metadata: {name: ${name}}
spec:
  type: NodePort
  clusterIPs: [10.96.0.${number}, "fd00:96::${number}"]
  ipFamilyPolicy: RequireDualStack
  ipFamilies: [IPv4, IPv6]
  selector: {app: ${name}}
  ports: [{port: 80, targetPort: 8080, nodePort: 300${number}, name: t}, {port: 53, targetPort: 8053, nodePort: 301${number}, protocol: UDP, name: u}]${more}
---`;

/** A client and its neighbour on n1, a pod on n2. */
export const DUAL_PODS = `${node('n1', 1)}${node('n2', 2)}
${pod('client', 'n1', '10.1.0.5', 'fd00:1::5')}
${pod('near', 'n1', '10.1.0.6', 'fd00:1::6')}
${pod('far', 'n2', '10.2.0.7', 'fd00:2::7')}
`;

/** Each of them has a Service, and there is one without any backend. */
export const DUAL = `${DUAL_PODS}${service('client', 10)}${service('near', 20)}${service('far', 30)}${service('nobody', 40)}`;

const FOUR = {
  family: 'IPv4',
  client: '10.1.0.5',
  near: '10.1.0.6',
  far: '10.2.0.7',
  clientService: '10.96.0.10',
  nearService: '10.96.0.20',
  farService: '10.96.0.30',
  nobody: '10.96.0.40',
  outside: '203.0.113.9',
  loopback: '127.0.0.1',
  n1: '192.168.0.1',
  n2: '192.168.0.2',
} as const;
const SIX = {
  family: 'IPv6',
  client: 'fd00:1::5',
  near: 'fd00:1::6',
  far: 'fd00:2::7',
  clientService: 'fd00:96::10',
  nearService: 'fd00:96::20',
  farService: 'fd00:96::30',
  nobody: 'fd00:96::40',
  outside: '2001:db8::9',
  loopback: '::1',
  n1: 'fd00::1',
  n2: 'fd00::2',
} as const;

/** A frame of a family as far as its IP header. */
const ip =
  (six: boolean) =>
  (source: string, destination: string, more = {}): ReturnType<typeof packet> =>
    six ? packet().eth().ipv6(source, destination, more) : packet().eth().ipv4(source, destination, more);

export const FAMILIES = [
  { ...FOUR, ip: ip(false) },
  { ...SIX, ip: ip(true) },
];
