/** Answers with Services translated at sockets: the same as packet by packet; and what Hubble and the monitor show of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { query } from '../../dataplane/answers/query.js';
import { hubbleCompact } from '../../dataplane/format/hubble-compact.js';
import { monitorText } from '../../dataplane/format/monitor.js';
import { Session } from '../../dataplane/session.js';
import { modules } from '../datapath.js';
import { Lab, pod, service, TWO_NODES } from '../lab.js';

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 20260);
const RUNS = 60;
const APPS = ['a', 'b', 'c'] as const;

const pods = fc.array(
  fc.record({
    app: fc.constantFrom(...APPS),
    node: fc.constantFrom('n1', 'n2'),
    host: fc.boolean(),
    ready: fc.boolean(),
  }),
  { minLength: 2, maxLength: 6 },
);
const services = fc.array(
  fc.record({
    app: fc.constantFrom(...APPS),
    type: fc.constantFrom('ClusterIP', 'NodePort'),
    local: fc.boolean(),
    sticky: fc.boolean(),
    protocol: fc.constantFrom('TCP', 'UDP'),
  }),
  { minLength: 1, maxLength: 3 },
);
const policies = fc.array(
  fc.record({ app: fc.constantFrom(...APPS), from: fc.constantFrom(...APPS, null), egress: fc.boolean() }),
  { maxLength: 3 },
);

type Pods = typeof pods extends fc.Arbitrary<infer T> ? T : never;
type Services = typeof services extends fc.Arbitrary<infer T> ? T : never;
type Policies = typeof policies extends fc.Arbitrary<infer T> ? T : never;

const podOf = ({ app, node, host, ready }: Pods[number], i: number): string => `
apiVersion: v1
kind: Pod
metadata: {name: p${i}, labels: {app: ${app}}}
spec: {nodeName: ${node}, hostNetwork: ${host}, containers: [{name: c}]}
status: {podIP: ${host ? (node === 'n1' ? '192.168.0.1' : '192.168.0.2') : `10.${node === 'n1' ? 1 : 2}.0.${10 + i}`}, conditions: [{type: Ready, status: "${ready ? 'True' : 'False'}"}]}
---`;
const serviceOf = ({ app, type, local, sticky, protocol }: Services[number], i: number): string => `
apiVersion: v1
kind: Service
metadata: {name: s${i}}
spec:
  type: ${type}
  clusterIP: 10.96.0.${10 + i}
  selector: {app: ${app}}
  internalTrafficPolicy: ${local ? 'Local' : 'Cluster'}
  sessionAffinity: ${sticky ? 'ClientIP' : 'None'}
  ports: [{port: 80, targetPort: 8080, protocol: ${protocol}${type === 'NodePort' ? `, nodePort: ${30080 + i}` : ''}}]
---`;
const policyOf = ({ app, from, egress }: Policies[number], i: number): string => `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: n${i}}
spec:
  podSelector: {matchLabels: {app: ${app}}}
  policyTypes: [${egress ? 'Egress' : 'Ingress'}]
  ${egress ? 'egress' : 'ingress'}: [${from === null ? '' : `{${egress ? 'to' : 'from'}: [{podSelector: {matchLabels: {app: ${from}}}}], ports: [{port: 8080}]}`}]
---`;

/** What is answered, and by which backends, to whoever asks each Service and node port. */
function answers(yaml: string, cluster: { pods: Pods; services: Services }, socketLB: boolean): string[] {
  const { state } = new Lab(yaml, { socketLB, 'maglev.tableSize': 251 });
  const senders = [...cluster.pods.map((_, i) => `default/p${i}`), 'node:n1', 'node:n2'];
  const asked = cluster.services.flatMap(({ type, protocol }, i) => [
    { to: `svc:default/s${i}`, port: 80, protocol },
    ...(type === 'NodePort' ? [{ to: 'node:n2', port: 30080 + i, protocol }] : []),
  ]);
  return senders.flatMap((from) =>
    asked.map(({ to, port, protocol }) => {
      const answered = query(state, { from, to, port, protocol, sourcePort: null, node: null, http: null });
      if ('error' in answered) return `${from} ${to}: ${answered.error}`;
      const { answer, outcomes } = answered;
      const backends = new Set(outcomes.map(({ backend }) => (backend ? `${backend.address}:${backend.port}` : '')));
      return `${from} ${to} ${port} ${protocol}: ${answer.verdict} by ${[...backends].sort().join(' ')}`;
    }),
  );
}

test('with sockets translating, every verdict and every backend is the same', () => {
  fc.assert(
    fc.property(fc.record({ pods, services, policies }), (cluster) => {
      const yaml =
        TWO_NODES +
        cluster.pods.map(podOf).join('') +
        cluster.services.map(serviceOf).join('') +
        cluster.policies.map(policyOf).join('');
      assert.deepEqual(answers(yaml, cluster, true), answers(yaml, cluster, false));
    }),
    { seed: SEED, numRuns: RUNS },
  );
});

const CLUSTER =
  TWO_NODES + pod('web', '10.1.0.2', 'n1') + pod('db', '10.1.0.3', 'n1') + service('db', '10.96.0.7', 80, 8080);

function observed(from: string, settings: object) {
  const session = new Session(modules.trace, { socketLB: true, ...settings });
  session.setFile('lab.yaml', CLUSTER);
  const captured = session.capture({
    from,
    to: 'svc:default/db',
    port: 80,
    protocol: 'TCP',
    sourcePort: 40000,
    node: null,
    http: null,
  });
  if ('error' in captured) throw new Error(captured.error);
  return session.observe(captured);
}

test('Hubble tells of a socket before and after translation, there and back', () => {
  const { flows } = observed('default/web', {});
  const socket = flows.filter(({ Type }) => Type === 'SOCK');
  const cookies = new Set(socket.map(({ socket_cookie: cookie }) => cookie));
  assert.deepEqual(
    [
      cookies.size,
      socket.map(({ verdict, sock_xlate_point: point, IP, l4 }) => [verdict, point, IP?.source, IP?.destination, l4]),
    ],
    [
      1,
      [
        ['TRACED', 'SOCK_XLATE_POINT_PRE_DIRECTION_FWD', '10.1.0.2', '10.96.0.7', { TCP: { destination_port: 80 } }],
        [
          'TRANSLATED',
          'SOCK_XLATE_POINT_POST_DIRECTION_FWD',
          '10.1.0.2',
          '10.1.0.3',
          { TCP: { destination_port: 8080 } },
        ],
        ['TRACED', 'SOCK_XLATE_POINT_PRE_DIRECTION_REV', '10.1.0.3', '10.1.0.2', { TCP: { source_port: 8080 } }],
        ['TRANSLATED', 'SOCK_XLATE_POINT_POST_DIRECTION_REV', '10.96.0.7', '10.1.0.2', { TCP: { source_port: 80 } }],
      ],
    ],
  );
  assert.deepEqual(
    hubbleCompact(socket)
      .replace(/ID:\d+/g, 'ID:N')
      .trim()
      .split('\n'),
    [
      'Jan  1 00:00:00.001: default/web (ID:N) <> default/db:80 (world) pre-xlate-fwd TRACED (TCP)',
      'Jan  1 00:00:00.002: default/web (ID:N) <> default/db:8080 (ID:N) post-xlate-fwd TRANSLATED (TCP)',
      'Jan  1 00:00:00.007: default/db:8080 (ID:N) <> default/web (ID:N) pre-xlate-rev TRACED (TCP)',
      'Jan  1 00:00:00.008: default/db:80 (world) <> default/web (ID:N) post-xlate-rev TRANSLATED (TCP)',
    ],
  );
});

test('no packet carries the address of the Service', () => {
  const packets = observed('default/web', {}).flows.filter(({ Type }) => Type !== 'SOCK');
  assert.ok(packets.length > 3);
  for (const { IP } of packets) assert.ok(IP?.source !== '10.96.0.7' && IP?.destination !== '10.96.0.7');
});

test('the monitor shows them too, with the number of the socket', () => {
  const lines = monitorText(observed('default/web', {}).notifications)
    .split('\n')
    .filter((line) => line.includes('xlate'));
  const [, cookie] = /sock_cookie: (\d+)/.exec(lines[0]!)!;
  assert.deepEqual(lines, [
    `[pre-xlate-fwd] cgroup_id: 0 sock_cookie: ${cookie}, dst [10.96.0.7]:80 tcp`,
    `[post-xlate-fwd] cgroup_id: 0 sock_cookie: ${cookie}, dst [10.1.0.3]:8080 tcp`,
    `[pre-xlate-rev] cgroup_id: 0 sock_cookie: ${cookie}, dst [10.1.0.3]:8080 tcp`,
    `[post-xlate-rev] cgroup_id: 0 sock_cookie: ${cookie}, dst [10.96.0.7]:80 tcp`,
  ]);
});

test("of a node's own sockets the monitor tells, and Hubble, which knows no pod there, does not", () => {
  const { flows, notifications } = observed('node:n1', {});
  assert.equal(flows.filter(({ Type }) => Type === 'SOCK').length, 0);
  assert.match(monitorText(notifications), /\[post-xlate-fwd\]/);
});
