/** kube-proxy's rules, flow by flow: whom a Service takes, to which endpoints, and in whose name. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { query } from '../../dataplane/answers/query.js';
import { DEFAULT_SETTINGS, type Given, type Settings } from '../../dataplane/settings.js';
import { Engine, type State } from '../../dataplane/state.js';
import { modules } from '../datapath.js';

const SETTINGS: Given = {
  ...DEFAULT_SETTINGS,
  engine: 'kube-proxy-nftables',
  podCIDR: '10.0.0.0/8',
  serviceCIDR: '172.30.0.0/16',
  nodes: [{ name: 'here', address: '192.168.0.2', addresses: ['192.168.1.2'] }],
};

function load(settings: Partial<Settings>, ...documents: string[]): State {
  const engine = new Engine(modules.trace, { ...SETTINGS, ...settings });
  engine.manifests.set('m.yaml', documents.join('---\n'));
  assert.deepEqual(engine.manifests.problems, []);
  return engine.current;
}

/** A load balancer with a node port: ClusterIP 172.30.0.N, node port 300N, external address 1.2.3.N. */
const service = (n: number, more = ''): string => `
apiVersion: v1
kind: Service
metadata: {name: s${n}}
spec:
  type: LoadBalancer
  clusterIP: 172.30.0.${n}
  externalIPs: [192.168.99.${n}]
  ports: [{name: p, port: 80, nodePort: 300${n}}]
  ${more}
status: {loadBalancer: {ingress: [{ip: 1.2.3.${n}}]}}
`;

/** An endpoint here, 10.180.0.N, and one elsewhere, 10.180.1.N, with what is said of each. */
const slice = (n: number, here = '', there = ''): string => `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: s${n}-1, labels: {kubernetes.io/service-name: s${n}}}
endpoints:
  - {addresses: [10.180.0.${n}], nodeName: here${here}}
  - {addresses: [10.180.1.${n}], nodeName: there${there}}
ports: [{name: p, port: 80, protocol: TCP}]
`;

const POD = 'ip:10.0.0.2';
const NODE = 'ip:192.168.0.2';
const WORLD = 'ip:203.0.113.2';

/** `both masqueraded`, `here`, `there`, `rejects it`, …: the endpoints that 32 source ports lead to, or why there is none. */
function flow(state: State, from: string, to: string, port: number): string {
  const answers = Array.from({ length: 32 }, (_, i) => {
    const question = {
      from,
      to: `ip:${to}`,
      protocol: 'TCP',
      port,
      sourcePort: 40000 + 11 * i,
      node: null,
      http: null,
    };
    const answered = query(state, question);
    if ('error' in answered) throw new Error(answered.error);
    return answered.answer;
  });
  const words = answers.map(({ verdict, backend, snat, hints, service: found }) => {
    if (verdict === 'DENIED') return /(rejects|drops) it/.exec(hints.join())?.[0] ?? hints.join();
    if (verdict !== 'ALLOWED') return verdict;
    return found ? `${backend?.ip.startsWith('10.180.0.') ? 'here' : 'there'}${snat ? ' masqueraded' : ''}` : 'passes';
  });
  const found = [...new Set(words)].sort();
  return found.length === 2 ? found[0]!.replace('here', 'both') : found.join();
}

/** The same services, asked by all kinds of clients under all kinds of their addresses. */
const CLIENTS = ['pod', 'node', 'world'] as const;
const FROM = { pod: POD, node: NODE, world: WORLD };

test('masquerade and traffic policies, with and without a local detector', () => {
  const documents = [
    service(1),
    slice(1),
    service(2, 'externalTrafficPolicy: Local'),
    slice(2),
    service(3, 'internalTrafficPolicy: Local'),
    slice(3),
  ];
  const [both, both_, here, here_] = ['both', 'both masqueraded', 'here', 'here masqueraded'];
  // The ClusterIP, the node port and the load balancer of services 1, 2 and 3, for pod, node and world.
  const usual = [
    [both, both_, both_, both_, both_, both_, both_, both_, both_],
    [both, both, both, both_, both_, both_, both_, here, here],
    [here, both_, both_, here_, both_, both_, here_, both_, both_],
  ];
  const blind = [
    [both, both_, both_, both, both_, both_, both, both_, both_],
    [both, here, here, both, both_, both_, both, here, here],
    [here, both_, both_, here, both_, both_, here, both_, both_],
  ];
  const all = [
    [both_, both_, both_, both_, both_, both_, both_, both_, both_],
    [both_, both, both, both_, both_, both_, both_, here, here],
    [here_, both_, both_, here_, both_, both_, here_, both_, both_],
  ];
  const table: [Partial<Settings>, string[][]][] = [
    [{}, usual],
    [{ localDetector: false }, blind],
    [{ masqueradeAll: true }, all],
  ];
  for (const [settings, expected] of table) {
    const state = load(settings, ...documents);
    const found = [1, 2, 3].map((n) =>
      CLIENTS.flatMap((client) => [
        flow(state, FROM[client], `172.30.0.${n}`, 80),
        flow(state, FROM[client], '192.168.0.2', 3000 + n),
        flow(state, FROM[client], `1.2.3.${n}`, 80),
      ]),
    );
    assert.deepEqual(found, expected, JSON.stringify(settings));
  }
});

test('source ranges hold for the load balancer alone, and for pods and nodes too', () => {
  const state = load({}, service(1, 'loadBalancerSourceRanges: [192.168.0.0/24, " 203.0.113.0/25"]'), slice(1));
  const table: [string, string, number, string][] = [
    [POD, '172.30.0.1', 80, 'both'],
    [WORLD, '1.2.3.1', 80, 'both masqueraded'],
    ['ip:203.0.113.130', '1.2.3.1', 80, 'drops it'],
    ['ip:203.0.113.130', '192.168.0.2', 3001, 'both masqueraded'],
    [POD, '1.2.3.1', 80, 'drops it'],
    [NODE, '1.2.3.1', 80, 'both masqueraded'],
    ['ip:1.2.3.1', '1.2.3.1', 80, 'both masqueraded'],
  ];
  for (const [from, to, port, expected] of table) assert.equal(flow(state, from, to, port), expected, `${from} ${to}`);
});

test('endpoints that end serve on while there is no other, for each policy by itself', () => {
  const ends = ', conditions: {ready: false, serving: true, terminating: true}';
  const gone = ', conditions: {ready: false, serving: false, terminating: true}';
  const table: [string, string, string, string, string][] = [
    // here, there: pod to ClusterIP, world to load balancer, and pod to ClusterIP with Local
    ['', '', 'both', 'here', 'here'],
    [ends, '', 'there', 'here', 'here'],
    ['', ends, 'here', 'here', 'here'],
    [ends, ends, 'both', 'here', 'here'],
    [gone, '', 'there', 'drops it', 'drops it'],
    [gone, ends, 'there', 'drops it', 'drops it'],
    [gone, gone, 'rejects it', 'rejects it', 'rejects it'],
  ];
  for (const [here, there, cluster, outside, local] of table) {
    const state = load(
      {},
      service(1, 'externalTrafficPolicy: Local'),
      slice(1, here, there),
      service(2, 'internalTrafficPolicy: Local'),
      slice(2, here, there),
    );
    const got = [
      flow(state, POD, '172.30.0.1', 80),
      flow(state, WORLD, '1.2.3.1', 80),
      flow(state, POD, '172.30.0.2', 80),
    ];
    assert.deepEqual(got, [cluster, outside, local], `${here} / ${there}`);
  }
});

test('hints keep clients to their zone or node, where all that are ready have one and one has this', () => {
  const hint = (zone: string): string => `, hints: {forZones: [{name: ${zone}}]}`;
  const node = (name: string): string => `, hints: {forNodes: [{name: ${name}}], forZones: [{name: z}]}`;
  const NODES = `apiVersion: v1
kind: Node
metadata: {name: here, labels: {topology.kubernetes.io/zone: a}}
status: {addresses: [{type: InternalIP, address: 192.168.0.2}]}
`;
  const table: [string, string, string][] = [
    [hint('a'), hint('b'), 'here'],
    [hint('b'), hint('a'), 'there'],
    [hint('b'), hint('c'), 'both'],
    [hint('a'), '', 'both'],
    [node('there'), node('here'), 'there'],
    [node('n1'), node('n2'), 'both'],
  ];
  for (const [here, there, expected] of table) {
    const state = load({}, NODES, service(1), slice(1, here, there));
    assert.equal(flow(state, POD, '172.30.0.1', 80), expected, `${here} / ${there}`);
  }
});

test('which of a node’s addresses node ports are open on depends on the engine and the setting', () => {
  const table: [Partial<Settings>, string, string][] = [
    [{}, 'both masqueraded', 'passes'],
    [{ engine: 'kube-proxy-iptables' }, 'both masqueraded', 'both masqueraded'],
    [{ nodePortAddresses: ['192.168.1.0/24'] }, 'passes', 'both masqueraded'],
  ];
  for (const [settings, first, second] of table) {
    const state = load(settings, service(1), slice(1));
    const got = ['192.168.0.2', '192.168.1.2'].map((address) => flow(state, WORLD, address, 3001));
    assert.deepEqual(got, [first, second], JSON.stringify(settings));
  }
});

test('an address of the range of ClusterIPs that no Service has is dropped by nftables alone, else not known, and again free for one', () => {
  assert.equal(flow(load({}, service(1), slice(1)), POD, '172.30.0.9', 80), 'drops it');
  assert.equal(flow(load({ engine: 'cilium' }, service(1), slice(1)), POD, '172.30.0.9', 80), 'UNKNOWN');
  const state = load({}, service(1), slice(1));
  const held = state.loader.current.keys(0, 12).length;
  flow(state, POD, '172.30.0.9', 80);
  assert.equal(state.loader.current.keys(0, 12).length, held);
});

test('a pod behind the Service that only its slice names is UNKNOWN as soon as a policy may be about it', () => {
  const policy = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {}, policyTypes: [Ingress]}
`;
  assert.equal(flow(load({}, service(1), slice(1), policy), POD, '172.30.0.1', 80), 'UNKNOWN');
});

test('where a policy takes the node but not the client, in whose name kube-proxy sends on, the answer is UNKNOWN', () => {
  const pod = (name: string, address: string, node: string): string => `apiVersion: v1
kind: Pod
metadata: {name: ${name}, labels: {app: ${name}}}
spec: {nodeName: ${node}, containers: [{name: c}]}
status: {podIP: ${address}, conditions: [{type: Ready, status: "True"}]}
`;
  const policy = (from: string): string => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: ${from}}}}]}]}
`;
  const web = service(1).replace('spec:', 'spec:\n  selector: {app: web}');
  const pods = [pod('web', '10.0.1.1', 'here'), pod('client', '10.0.1.2', 'here'), web];
  const table: [string, string, string][] = [
    // Through the node port, which kube-proxy masquerades, and the ClusterIP, which it does not.
    ['client', 'ALLOWED', 'ALLOWED'],
    ['nobody', 'UNKNOWN', 'DENIED'],
  ];
  for (const [from, nodePort, clusterIP] of table) {
    const state = load({}, ...pods, policy(from));
    const verdicts = [['192.168.0.2', 3001] as const, ['172.30.0.1', 80] as const].map(([to, port]) => {
      const question = { from: 'default/client', to: `ip:${to}`, protocol: 'TCP', port, sourcePort: null, node: null };
      const answered = query(state, { ...question, http: null });
      return 'error' in answered ? answered.error : answered.answer.verdict;
    });
    assert.deepEqual(verdicts, [nodePort, clusterIP], from);
  }
});

test('a port that a load balancer’s Service lacks is nobody’s whom the manifests know: no answer is made up', () => {
  for (const engine of ['kube-proxy-iptables', 'kube-proxy-nftables', 'kube-proxy-ipvs'] as const) {
    const state = load({ engine }, service(1), slice(1));
    for (const from of Object.values(FROM)) {
      assert.match(flow(state, from, '1.2.3.1', 80), /both/);
      assert.equal(flow(state, from, '1.2.3.1', 81), 'UNKNOWN');
      assert.equal(flow(state, from, '192.168.99.1', 81), 'UNKNOWN');
      assert.equal(flow(state, from, '172.30.0.1', 81), 'rejects it');
      assert.equal(flow(state, from, '1.2.3.9', 81), 'passes');
    }
    // Where a node has the address, it is the node that is asked.
    const own = load({ engine }, service(1).replace('192.168.99.1', '192.168.0.2'), slice(1));
    assert.match(flow(own, WORLD, '192.168.0.2', 80), /both/);
    assert.equal(flow(own, WORLD, '192.168.0.2', 22), 'passes');
    assert.equal(flow(own, POD, '192.168.0.2', 22), 'passes');
  }
});
