/** What Hubble and the monitor would show of a packet: every format from the same notifications. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Flow } from '../../dataplane/answers/flows.js';
import { notificationsOf } from '../../dataplane/answers/notifications.js';
import { capture } from '../../dataplane/answers/trace.js';
import { hubbleCompact } from '../../dataplane/format/hubble-compact.js';
import { hubbleJson } from '../../dataplane/format/hubble-json.js';
import { monitorText } from '../../dataplane/format/monitor.js';
import { Loader } from '../../dataplane/loader/load.js';
import { Session } from '../../dataplane/session.js';
import { modules } from '../datapath.js';
import { pod, service, TWO_NODES } from '../lab.js';

const POLICY = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-web}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 8080}]}]
`;
const CLUSTER =
  TWO_NODES +
  pod('web', '10.1.0.2', 'n1') +
  pod('other', '10.1.0.3', 'n1') +
  pod('db', '10.2.0.2', 'n2') +
  service('db', '10.96.0.7', 80, 8080) +
  POLICY;

function sessionOf(manifests: string): Session {
  const session = new Session(modules.trace);
  session.setFile('lab.yaml', manifests);
  return session;
}

function observed(manifests: string, from: string, to: string, port: number | null, protocol = 'TCP') {
  const session = sessionOf(manifests);
  const captured = session.capture({ from, to, port, protocol, sourcePort: 40000, node: null, http: null });
  if ('error' in captured) throw new Error(captured.error);
  return session.observe(captured);
}

/** Numbers of identities come from hashes; here they stand for what they are. */
const named = (text: string): string => {
  const names = new Map<string, string>();
  for (const { identities } of [sessionOf(CLUSTER).state])
    for (const { number, example } of identities.pods) names.set(`${number}`, example.name.toUpperCase());
  return text.replace(/\b\d{3,5}\b/g, (number) => names.get(number) ?? number);
};

const compact = (...question: Parameters<typeof observed>): string[] =>
  named(hubbleCompact(observed(...question).flows))
    .trim()
    .split('\n');

test('compact: through a Service to the other node and back, as `hubble observe -o compact` prints it', () => {
  assert.deepEqual(compact(CLUSTER, 'default/web', 'svc:default/db', 80), [
    'Jan  1 00:00:00.001: default/web:40000 (ID:WEB) <> default/db:80 (world) from-endpoint FORWARDED (TCP Flags: SYN)',
    'Jan  1 00:00:00.002: default/web:40000 (ID:WEB) -> default/db:8080 (ID:DB) to-overlay FORWARDED (TCP Flags: SYN)',
    'Jan  1 00:00:00.003: default/web:40000 (ID:WEB) <> default/db:8080 (ID:DB) to-network FORWARDED (TCP Flags: SYN)',
    'Jan  1 00:00:00.004: default/web:40000 (remote-node) <> default/db:8080 (ID:DB) from-network FORWARDED (TCP Flags: SYN)',
    'Jan  1 00:00:00.005: default/web:40000 (ID:WEB) <> default/db:8080 (ID:DB) from-overlay FORWARDED (TCP Flags: SYN)',
    'Jan  1 00:00:00.006: default/web:40000 (ID:WEB) -> default/db:8080 (ID:DB) policy-verdict:L3-L4 INGRESS ALLOWED (TCP Flags: SYN)',
    'Jan  1 00:00:00.007: default/web:40000 (ID:WEB) -> default/db:8080 (ID:DB) to-endpoint FORWARDED (TCP Flags: SYN)',
    'Jan  1 00:00:00.008: default/db:8080 (ID:DB) <> default/web:40000 (ID:WEB) from-endpoint FORWARDED (TCP Flags: SYN, ACK)',
    'Jan  1 00:00:00.009: default/web:40000 (ID:WEB) <- default/db:8080 (ID:DB) to-overlay FORWARDED (TCP Flags: SYN, ACK)',
    'Jan  1 00:00:00.010: default/db:8080 (ID:DB) <> default/web:40000 (ID:WEB) to-network FORWARDED (TCP Flags: SYN, ACK)',
    'Jan  1 00:00:00.011: default/db:8080 (remote-node) <> default/web:40000 (ID:WEB) from-network FORWARDED (TCP Flags: SYN, ACK)',
    'Jan  1 00:00:00.012: default/db:8080 (ID:DB) <> default/web:40000 (ID:WEB) from-overlay FORWARDED (TCP Flags: SYN, ACK)',
    'Jan  1 00:00:00.013: default/web:40000 (ID:WEB) <- default/db:80 (ID:DB) to-endpoint FORWARDED (TCP Flags: SYN, ACK)',
  ]);
});

test('compact: a refusal is a verdict and a drop, and an endpoint that no policy isolates tells no verdict', () => {
  assert.deepEqual(compact(CLUSTER, 'default/other', 'default/db', 8080, 'UDP').slice(-2), [
    'Jan  1 00:00:00.006: default/other:40000 (ID:OTHER) <> default/db:8080 (ID:DB) policy-verdict:none INGRESS DENIED (UDP)',
    'Jan  1 00:00:00.007: default/other:40000 (ID:OTHER) <> default/db:8080 (ID:DB) Policy denied DROPPED (UDP)',
  ]);
});

test('compact: from outside, and from the node itself', () => {
  assert.deepEqual(compact(CLUSTER, 'ip:203.0.113.9', 'default/web', 8080), [
    'Jan  1 00:00:00.001: 203.0.113.9:40000 (world) <> default/web:8080 (ID:WEB) from-network FORWARDED (TCP Flags: SYN)',
    'Jan  1 00:00:00.002: 203.0.113.9:40000 (world) -> default/web:8080 (ID:WEB) to-endpoint FORWARDED (TCP Flags: SYN)',
    'Jan  1 00:00:00.003: default/web:8080 (ID:WEB) <> 203.0.113.9:40000 (world) from-endpoint FORWARDED (TCP Flags: SYN, ACK)',
    'Jan  1 00:00:00.004: 203.0.113.9:40000 (world) <- default/web:8080 (ID:WEB) to-stack FORWARDED (TCP Flags: SYN, ACK)',
    'Jan  1 00:00:00.005: 203.0.113.9:40000 (world) <- default/web:8080 (ID:WEB) to-network FORWARDED (TCP Flags: SYN, ACK)',
  ]);
  assert.deepEqual(compact(CLUSTER, 'node:n2', 'default/db', 8080).slice(0, 3), [
    'Jan  1 00:00:00.001: 192.168.0.2:40000 (host) <> default/db:8080 (ID:DB) from-host FORWARDED (TCP Flags: SYN)',
    'Jan  1 00:00:00.002: 192.168.0.2:40000 (host) -> default/db:8080 (ID:DB) policy-verdict:L3-Only INGRESS ALLOWED (TCP Flags: SYN)',
    'Jan  1 00:00:00.003: 192.168.0.2:40000 (host) -> default/db:8080 (ID:DB) to-endpoint FORWARDED (TCP Flags: SYN)',
  ]);
});

test('monitor: one node after the other, with the tunnel around and the original source', () => {
  const { notifications } = observed(CLUSTER, 'default/web', 'svc:default/db', 80);
  const lines = named(monitorText(notifications))
    .replace(/flow 0x[0-9a-f]+/g, 'flow 0x…')
    .replace(/(192\.168\.0\.1:)\d+/g, '$1…')
    .trim()
    .split('\n');
  assert.deepEqual(lines.slice(0, 10), [
    '# n1',
    '<- endpoint 3 flow 0x… , identity WEB->unknown state unknown ifindex 0 orig-ip 0.0.0.0: 10.1.0.2:40000 -> 10.96.0.7:80 tcp SYN',
    '-> overlay flow 0x… , identity WEB->DB state new ifindex 0 orig-ip 0.0.0.0: 10.1.0.2:40000 -> 10.2.0.2:8080 tcp SYN',
    '-> network flow 0x… , identity WEB->DB state unknown ifindex 0 orig-ip 0.0.0.0: 10.1.0.2:40000 -> 10.2.0.2:8080 tcp SYN [tunnel 192.168.0.1:… -> 192.168.0.2:8472 vxlan]',
    '# n2',
    '<- network flow 0x… , identity remote-node->unknown state unknown ifindex 0 orig-ip 0.0.0.0: 10.1.0.2:40000 -> 10.2.0.2:8080 tcp SYN [tunnel 192.168.0.1:… -> 192.168.0.2:8472 vxlan]',
    '<- overlay flow 0x… , identity WEB->unknown state unknown ifindex 0 orig-ip 0.0.0.0: 10.1.0.2:40000 -> 10.2.0.2:8080 tcp SYN',
    'Policy verdict log: flow 0x… local EP ID 1, remote ID WEB, proto 6, ingress, action allow, auth: disabled, match L3-L4, 10.1.0.2:40000 -> 10.2.0.2:8080 tcp SYN',
    '-> endpoint 1 flow 0x… , identity WEB->DB state new ifindex 0 orig-ip 10.1.0.2: 10.1.0.2:40000 -> 10.2.0.2:8080 tcp SYN',
    '<- endpoint 1 flow 0x… , identity DB->unknown state unknown ifindex 0 orig-ip 0.0.0.0: 10.2.0.2:8080 -> 10.1.0.2:40000 tcp SYN, ACK',
  ]);
  assert.equal(
    lines.at(-1),
    '-> endpoint 3 flow 0x… , identity DB->WEB state reply ifindex 0 orig-ip 10.2.0.2: 10.96.0.7:80 -> 10.1.0.2:40000 tcp SYN, ACK',
  );
  const dropped = named(monitorText(observed(CLUSTER, 'default/other', 'default/db', 8080).notifications));
  assert.match(
    dropped,
    /xx drop \(Policy denied\) flow 0x[0-9a-f]+ to endpoint 1, ifindex 0, file bpf_lxc\.c:0, , identity OTHER->DB: 10\.1\.0\.3:40000 -> 10\.2\.0\.2:8080 tcp SYN\n$/,
  );
});

const flowAt = (flows: readonly Flow[], point: string): Flow =>
  flows.find((flow) => flow.trace_observation_point === point)!;

test('JSON: the reply from a Service tells the backend, and the address that the client sees', () => {
  const { flows } = observed(CLUSTER, 'default/web', 'svc:default/db', 80);
  const flow = flows.at(-1)!;
  const line = hubbleJson([flow]);
  assert.deepEqual(Object.keys(JSON.parse(line) as object), ['flow', 'node_name', 'time']);
  assert.deepEqual((JSON.parse(line) as { flow: unknown }).flow, {
    time: '1970-01-01T00:00:00.013Z',
    uuid: flow.uuid,
    verdict: 'FORWARDED',
    ethernet: flow.ethernet,
    IP: { source: '10.2.0.2', source_xlated: '10.96.0.7', destination: '10.1.0.2', ipVersion: 'IPv4' },
    l4: { TCP: { source_port: 80, destination_port: 40000, flags: { SYN: true, ACK: true } } },
    source: {
      identity: flow.source.identity,
      cluster_name: 'default',
      namespace: 'default',
      labels: [
        'k8s:app=db',
        'k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=default',
        'k8s:io.cilium.k8s.policy.cluster=default',
        'k8s:io.kubernetes.pod.namespace=default',
      ],
      pod_name: 'db',
    },
    destination: {
      ID: 3,
      identity: flow.destination.identity,
      cluster_name: 'default',
      namespace: 'default',
      labels: [
        'k8s:app=web',
        'k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=default',
        'k8s:io.cilium.k8s.policy.cluster=default',
        'k8s:io.kubernetes.pod.namespace=default',
      ],
      pod_name: 'web',
      workloads: [{ name: 'web', kind: 'Pod' }],
    },
    Type: 'L3_L4',
    node_name: 'n1',
    reply: true,
    event_type: { type: 4 },
    traffic_direction: 'EGRESS',
    trace_observation_point: 'TO_ENDPOINT',
    trace_reason: 'REPLY',
    is_reply: true,
    Summary: 'TCP Flags: SYN, ACK',
  });
  assert.match(flow.uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

test('JSON: the tunnel around a packet, a verdict with its policy, and why a packet was dropped', () => {
  const { flows } = observed(CLUSTER, 'default/web', 'default/db', 8080);
  const tunnel = flowAt(flows, 'TO_NETWORK').tunnel!;
  assert.deepEqual(
    [tunnel.protocol, tunnel.IP, tunnel.l4?.UDP?.destination_port, tunnel.vni],
    [
      'VXLAN',
      { source: '192.168.0.1', source_xlated: undefined, destination: '192.168.0.2', ipVersion: 'IPv4' },
      8472,
      flows[0]!.source.identity,
    ],
  );
  assert.equal(flowAt(flows, 'TO_OVERLAY').tunnel, undefined);
  const verdict = flows.find(({ event_type: { type } }) => type === 5)!;
  assert.deepEqual(
    [verdict.policy_match_type, verdict.traffic_direction, verdict.ingress_allowed_by],
    [
      2,
      'INGRESS',
      [
        {
          name: 'only-web',
          namespace: 'default',
          labels: [
            'k8s:io.cilium.k8s.policy.derived-from=NetworkPolicy',
            'k8s:io.cilium.k8s.policy.name=only-web',
            'k8s:io.cilium.k8s.policy.namespace=default',
          ],
          kind: 'NetworkPolicy',
        },
      ],
    ],
  );
  const dropped = observed(CLUSTER, 'default/other', 'default/db', 8080).flows.at(-1)!;
  assert.deepEqual(
    [
      dropped.verdict,
      dropped.drop_reason,
      dropped.drop_reason_desc,
      dropped.event_type,
      dropped.traffic_direction,
      dropped.file,
    ],
    ['DROPPED', 133, 'POLICY_DENIED', { type: 1, sub_type: 133 }, 'INGRESS', { name: 'bpf_lxc.c' }],
  );
});

test('a pod that leaves in its node’s name: to-network tells both addresses', () => {
  const { flows } = observed(CLUSTER, 'default/web', 'ip:203.0.113.9', 443);
  const { IP, traffic_direction: direction, trace_reason: reason } = flowAt(flows, 'TO_NETWORK');
  assert.deepEqual([IP?.source, IP?.source_xlated, direction, reason], ['10.1.0.2', '192.168.0.1', 'EGRESS', 'NEW']);
});

test('every record that Cilium would tell of becomes a notification, a flow and a line, whatever is asked', () => {
  const session = sessionOf(CLUSTER);
  const ends = [
    'default/web',
    'default/other',
    'default/db',
    'svc:default/db',
    'node:n1',
    'ip:203.0.113.9',
    'ip:10.2.0.99',
  ];
  fc.assert(
    fc.property(
      fc.constantFrom(...ends),
      fc.constantFrom(...ends),
      fc.constantFrom('TCP', 'UDP', 'SCTP'),
      fc.constantFrom(80, 8080, 9, 8472),
      (from, to, protocol, port) => {
        const captured = session.capture({ from, to, port, protocol, sourcePort: null, node: null, http: null });
        if ('error' in captured) return;
        const { notifications, flows } = session.observe(captured);
        const hops = [...captured.trace.forward, ...(captured.trace.reply ?? [])];
        const told = hops.filter(({ point, action }) => point !== null || action === 'drop').length;
        const verdicts = flows.filter(({ event_type: { type } }) => type === 5);
        assert.equal(flows.length, told + verdicts.length);
        const dropped = hops.some(({ action }) => action === 'drop');
        assert.equal(
          flows.some(({ verdict }) => verdict === 'DROPPED'),
          dropped,
        );
        for (const text of [hubbleCompact(flows), monitorText(notifications)]) {
          assert.ok(text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length === flows.length);
          assert.doesNotMatch(text, /undefined|null|NaN/);
        }
        for (const flow of flows) assert.ok(flow.IP && flow.l4 && flow.node_name !== '');
      },
    ),
    { numRuns: 150, seed: Number(process.env['HOPSCOPE_SEED'] ?? 1) },
  );
});

test('each flow of a trace has a uuid of its own, and the same question gives the same bytes', () => {
  const once = hubbleJson(observed(CLUSTER, 'default/web', 'svc:default/db', 80).flows);
  assert.equal(once, hubbleJson(observed(CLUSTER, 'default/web', 'svc:default/db', 80).flows));
  const ids = [...once.matchAll(/"uuid":"(.*?)"/g)].map(([, id]) => id);
  assert.equal(new Set(ids).size, ids.length);
});

test('records that did not fit into the ring are missed, and the trace says so', () => {
  const { state } = sessionOf(CLUSTER);
  const loader = new Loader(modules.trace, 8);
  loader.load(state.desired, state.settings['maglev.tableSize']);
  const captured = capture(
    { ...state, loader },
    { from: 'default/web', to: 'svc:default/db', port: 80, protocol: 'TCP', sourcePort: null, node: null, http: null },
  );
  if ('error' in captured) throw new Error(captured.error);
  const lost = captured.recordings.reduce((sum, recording) => sum + recording.lost, 0);
  assert.ok(lost > 8);
  assert.equal(captured.trace.verdict, 'ALLOWED');
  assert.deepEqual(captured.trace.hints, [
    `${lost} records of the datapath did not fit into cilium_events: hops are missing here`,
  ]);
  assert.ok(captured.recordings.flatMap((recording) => notificationsOf(state, recording)).length < 13);
});
