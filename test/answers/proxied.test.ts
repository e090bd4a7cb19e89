/** What becomes of a packet that a policy hands to a proxy, and of one that policies only tried out would refuse. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IpProto } from '../../assembly/abi.js';
import { flowsOf } from '../../dataplane/answers/flows.js';
import { hopText } from '../../dataplane/answers/hop-text.js';
import { notificationsOf } from '../../dataplane/answers/notifications.js';
import { casesOf } from '../../dataplane/answers/cases.js';
import { query } from '../../dataplane/answers/query.js';
import { replyTo, run, runTraced, type Probe } from '../../dataplane/answers/probe.js';
import { recordsOf } from '../../dataplane/answers/records.js';
import { resolveRef, type Target } from '../../dataplane/answers/refs.js';
import { capture } from '../../dataplane/answers/trace.js';
import { trafficOf } from '../../dataplane/answers/traffic.js';
import { hubbleCompact } from '../../dataplane/format/hubble-compact.js';
import { monitorText } from '../../dataplane/format/monitor.js';
import { Lab, pod, service, TWO_NODES } from '../lab.js';

const POLICY = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db}
spec: {podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 8080}]}]}
---
`;
const CLUSTER =
  TWO_NODES +
  pod('web', '10.1.0.2', 'n1') +
  pod('other', '10.1.0.4', 'n1') +
  pod('db', '10.2.0.3', 'n2') +
  service('db', '10.96.0.7', 80, 8080) +
  POLICY;
const WEB = { protocol: IpProto.TCP, dport: 8080, prefixLength: 24 };
const QUESTION = { to: 'svc:default/db', port: 80, protocol: 'TCP', sourcePort: 40000, node: null, http: null };

/** Both ends have a proxy: by entries put there by hand. */
function proxied(): Lab {
  const lab = new Lab(CLUSTER);
  const redirect = { proxyPort: 10000, proxyPortPriority: 26 };
  lab.policy('web', { ...WEB, egress: 1 }, redirect);
  lab.policy('db', { ...WEB, egress: 0, secLabel: lab.identity('web') }, redirect);
  return lab;
}

function probeOf(lab: Lab): Probe {
  const target = (ref: string): Target => resolveRef(lab.state, ref, 'default') as Target;
  const cases = casesOf(
    lab.state,
    target('default/web'),
    target('svc:default/db'),
    trafficOf('TCP', 80, null),
    40000,
    null,
  );
  return cases[0]!;
}

test('a packet passes both proxies to its receiver, and the answer is that of the last', () => {
  const lab = proxied();
  const [outcome] = run(lab.state, [probeOf(lab)]);
  assert.deepEqual(
    [outcome!.allowed, outcome!.receiver?.name, outcome!.frontend?.service?.name, outcome!.sourceIdentity],
    [true, 'db', 'db', lab.identity('web')],
  );
  assert.deepEqual(
    outcome!.redirects.map(({ direction, pod, node, port }) => [direction, pod?.name, node.name, port]),
    [
      ['egress', 'web', 'n1', 10000],
      ['ingress', 'db', 'n2', 10000],
    ],
  );
  const answered = query(lab.state, { ...QUESTION, from: 'default/web' });
  assert.ok(!('error' in answered) && answered.answer.verdict === 'ALLOWED');
});

test('a proxy that refuses ends the way, on the side of its policy', () => {
  const lab = proxied();
  const [outcome] = run(lab.state, [probeOf(lab)], ({ direction }) => ({
    fate: direction === 'egress' ? 'let' : 'refused',
    grants: [],
  }));
  assert.deepEqual(
    [outcome!.allowed, outcome!.direction, outcome!.refusedBy?.pod?.name, outcome!.refusedBy?.port],
    [false, 'ingress', 'db', 10000],
  );
  assert.equal(replyTo(lab.state, outcome!), null);
});

test('the trace tells each hop to a proxy and from it, and of the reply through both', () => {
  const lab = proxied();
  const captured = capture(lab.state, { ...QUESTION, from: 'default/web' });
  assert.ok(!('error' in captured));
  const told = (hops: readonly { node: string | null; point: string | null; text: string }[] | null): string[] =>
    hops!.filter(({ point }) => point?.endsWith('proxy')).map(({ node, point, text }) => `${node} ${point}: ${text}`);
  assert.deepEqual(told(captured.trace.forward), [
    'n1 to-proxy: handed to the proxy of n1 at port 10000',
    'n1 from-proxy: the proxy of n1 goes on for default/web[Pod]: TCP 8080 to default/db',
    'n2 to-proxy: handed to the proxy of n2 at port 10000',
    'n2 from-proxy: the proxy of n2 goes on for default/web[Pod]: TCP 8080 to default/db',
  ]);
  assert.deepEqual(told(captured.trace.reply), [
    'n2 to-proxy: a reply to the proxy of n2, whose connection this is',
    'n2 from-proxy: the proxy of n2 goes on for default/db[Pod]: TCP 40000 to default/web',
    'n1 to-proxy: a reply to the proxy of n1, whose connection this is',
    'n1 from-proxy: the proxy of n1 goes on for default/db[Pod]: TCP 40000 to default/web',
  ]);
  assert.equal(captured.trace.reply!.at(-1)!.after.source, '10.96.0.7');
});

test('Hubble calls the verdict REDIRECTED, and names the port; the monitor says redirect', () => {
  const lab = proxied();
  const notifications = notificationsOf(lab.state, runTraced(lab.state, probeOf(lab)));
  const flows = flowsOf(lab.state, notifications);
  assert.deepEqual(
    flows.flatMap(({ verdict, traffic_direction: direction }) => (verdict === 'REDIRECTED' ? [direction] : [])),
    ['INGRESS'],
  );
  assert.deepEqual(
    flows.flatMap(({ proxy_port: port }) => port ?? []),
    [10000, 10000],
  );
  assert.match(monitorText(notifications), /ingress, action redirect, auth: disabled, match L3-L4/);
  assert.match(monitorText(notifications), /-> proxy port 10000/);
  assert.match(monitorText(notifications), /<- proxy/);
  assert.match(hubbleCompact(flows), /to-proxy FORWARDED/);
});

test('what policies only tried out would refuse, passes: the answer, Hubble and the monitor say so', () => {
  const lab = new Lab(CLUSTER, { policyAuditMode: true });
  const captured = capture(lab.state, { ...QUESTION, from: 'default/other' });
  assert.ok(!('error' in captured));
  const { verdict, assumes, hints } = captured.trace;
  assert.equal(verdict, 'ALLOWED');
  assert.ok(assumes.includes('policyAuditMode: what policies would refuse passes (Policy denied, ingress)'));
  assert.match(hints[0]!, /default\/db ingress\[0\] .* but not from default\/other\[Pod\]/);
  const notifications = notificationsOf(lab.state, captured.recordings[0]!);
  const flows = flowsOf(lab.state, notifications);
  const verdicts = flows.filter(({ event_type: { type } }) => type === 5);
  assert.deepEqual(
    verdicts.map(({ verdict, drop_reason: reason, traffic_direction: direction }) => [verdict, reason, direction]),
    [['AUDIT', undefined, 'INGRESS']],
  );
  assert.match(monitorText(notifications), /ingress, action audit, auth: disabled, match none/);
  assert.match(hubbleCompact(flows), /policy-verdict:none INGRESS AUDITED/);
});

test('who has not authenticated is told so, with the way that was asked for', () => {
  const lab = new Lab(CLUSTER);
  lab.policy('db', { ...WEB, egress: 0, secLabel: lab.identity('web') }, { authType: 1 });
  const recording = runTraced(lab.state, probeOf(lab));
  assert.deepEqual([recording.outcome.reason?.code, recording.outcome.direction], [189, 'ingress']);
  const notifications = notificationsOf(lab.state, recording);
  assert.match(monitorText(notifications), /ingress, action deny, auth: spire, match L3-L4/);
  const texts = recordsOf(recording.events).map(({ record }) => hopText(lab.state, recording.outcome, record));
  assert.ok(texts.includes('ingress refused: both ends must have authenticated, and have not'));
});

test('the trace tells what each proxy says of the request, and ends where one refuses it', () => {
  const policy = (app: string, direction: string, method: string): string =>
    `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: ${app}}\nspec: {endpointSelector: {matchLabels: {app: ${app}}}, ${direction}: [{toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{method: ${method}}]}}]}]}\n---\n`;
  const lab = new Lab(
    CLUSTER.replace(POLICY, '') + policy('web', 'egress', 'GET|PUT') + policy('db', 'ingress', 'GET|POST'),
  );
  const said = (http: string | null): string[] => {
    const captured = capture(lab.state, { ...QUESTION, from: 'default/web', http });
    assert.ok(!('error' in captured));
    const { verdict, forward, reply } = captured.trace;
    const texts = forward.flatMap(({ node, program, text }) => (program === 'proxy' ? [`${node}: ${text}`] : []));
    return [`${verdict}${reply ? ' and answered' : ''}`, ...texts];
  };
  assert.deepEqual(said('GET db/a'), [
    'ALLOWED and answered',
    'n1: the proxy lets GET db/a',
    'n2: the proxy lets GET db/a',
  ]);
  assert.deepEqual(said('PUT db/a'), [
    'DENIED',
    'n1: the proxy lets PUT db/a',
    'n2: the proxy answers PUT db/a with 403: no rule lets it',
  ]);
  assert.deepEqual(said('POST db/a'), ['DENIED', 'n1: the proxy answers POST db/a with 403: no rule lets it']);
  const some = 'the proxy lets some: which request it is was not told';
  assert.deepEqual(said(null), ['CONDITIONAL and answered', `n1: ${some}`, `n2: ${some}`]);
});
