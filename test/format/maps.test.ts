/** The maps as text: what Cilium's own commands would list, entry by entry. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { maps, type MapDump } from '../../dataplane/answers/maps.js';
import { mapsText } from '../../dataplane/format/maps-text.js';
import { frameOf } from '../../dataplane/packet.js';
import { PROTOCOL_NUMBERS } from '../../dataplane/policy/networkpolicy.js';
import { address, Lab, pod, service, TWO_NODES } from '../lab.js';

const CLUSTER =
  TWO_NODES +
  pod('web', '10.1.0.2', 'n1') +
  pod('db', '10.2.0.2', 'n2') +
  service('db', '10.96.0.7', 80, 8080) +
  `
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.8
  selector: {app: web}
  sessionAffinity: ClientIP
  externalTrafficPolicy: Local
  loadBalancerSourceRanges: [203.0.113.0/24]
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
status: {loadBalancer: {ingress: [{ip: 198.51.100.7}]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 8080, endPort: 8083}, {protocol: UDP}]}]
`;

const dumped = (lab: Lab, map: string): Readonly<Record<string, readonly MapDump[]>> => {
  const found = maps(lab.state, map, null);
  if ('error' in found) throw new Error(found.error);
  return found.maps;
};

/** The listing without its heading and its origins. */
function listed(lab: Lab, map: string): string[] {
  const text = mapsText({ schema: 'hopscope.maps/1', maps: dumped(lab, map) }, (other) => dumped(lab, other)[other]!);
  return text
    .trim()
    .split('\n')
    .map((line) => line.replace(/ +(lab\.yaml:\d+ ?)*$| +ORIGIN$/, '').trim())
    .map((line) => line.replace(/(?<== ?| {2})(\d{3,5})(?= )/g, (number) => nameOf(lab, Number(number))));
}

const nameOf = (lab: Lab, number: number): string =>
  lab.state.identities.pods.find((identity) => identity.number === number)?.example.name ?? `${number}`;

test('frontends: `cilium bpf lb list`, and what belongs to it', () => {
  const lab = new Lab(CLUSTER);
  const services = listed(lab, 'cilium_lb4_services_v2');
  assert.deepEqual(services.slice(0, 5), [
    'cilium_lb4_services_v2 (27): cilium bpf lb list',
    'SERVICE ADDRESS                   BACKEND ADDRESS (REVNAT_ID) (SLOT)',
    '0.0.0.0:30080/TCP (0)             0.0.0.0:0 (1) (0) [NodePort, Local, sessionAffinity]',
    '0.0.0.0:30080/TCP (1)             10.1.0.2:8080/TCP (1) (1)',
    '0.0.0.0:30080/TCP (0) node 1      0.0.0.0:0 (2) (0) [NodePort, Local, sessionAffinity]',
  ]);
  assert.deepEqual(
    services.filter((line) => line.startsWith('10.96')),
    [
      '10.96.0.7:0/ANY (0)               0.0.0.0:0 (0) (0) [ClusterIP, non-routable]',
      '10.96.0.7:80/TCP (0)              0.0.0.0:0 (4) (0) [ClusterIP, non-routable]',
      '10.96.0.7:80/TCP (1)              10.2.0.2:8080/TCP (4) (1)',
      '10.96.0.8:0/ANY (0)               0.0.0.0:0 (0) (0) [ClusterIP, non-routable]',
      '10.96.0.8:80/TCP (0)              0.0.0.0:0 (5) (0) [ClusterIP, sessionAffinity, non-routable]',
      '10.96.0.8:80/TCP (1)              10.1.0.2:8080/TCP (5) (1)',
    ],
  );
  assert.ok(
    services.includes(
      '198.51.100.7:80/TCP (0)           0.0.0.0:0 (12) (0) [LoadBalancer, Local, sessionAffinity, check source-range]',
    ),
  );
  assert.deepEqual(listed(lab, 'cilium_lb4_backends_v3'), [
    'cilium_lb4_backends_v3 (2): cilium bpf lb list --backends',
    'ID  BACKEND ADDRESS (REVNAT_ID) (SLOT)',
    '1   TCP://10.1.0.2:8080',
    '2   TCP://10.2.0.2:8080',
  ]);
  assert.equal(
    listed(lab, 'cilium_lb4_reverse_nat').find((line) => line.startsWith('4 ')),
    '4   10.96.0.7:80',
  );
  assert.equal(listed(lab, 'cilium_lb4_source_range')[2], '203.0.113.0/24 (12)');
  assert.match(listed(lab, 'cilium_lb4_maglev')[2]!, /^1 +16381 slots: 1×16381$/);
});

test('who is where: `cilium bpf ipcache list`, `endpoint list`, `policy get`', () => {
  const lab = new Lab(CLUSTER);
  assert.deepEqual(listed(lab, 'cilium_ipcache_v2'), [
    'cilium_ipcache_v2 (5): cilium bpf ipcache list',
    'IP PREFIX/ADDRESS  IDENTITY',
    '0.0.0.0/0          identity=2 encryptkey=0 tunnelendpoint=0.0.0.0 flags=<none>',
    '10.1.0.2/32        identity=web encryptkey=0 tunnelendpoint=192.168.0.1 flags=hastunnel',
    '10.2.0.2/32        identity=db encryptkey=0 tunnelendpoint=192.168.0.2 flags=hastunnel',
    '192.168.0.1/32     identity=6 encryptkey=0 tunnelendpoint=0.0.0.0 flags=<none>',
    '192.168.0.2/32     identity=6 encryptkey=0 tunnelendpoint=0.0.0.0 flags=<none>',
  ]);
  assert.deepEqual(
    listed(lab, 'cilium_lxc')
      .slice(2)
      .map((line) => line.replace(/mac=\S+/g, 'mac=…')),
    [
      '10.1.0.2:0     id=2     sec_id=web flags=0x0000 ifindex=0   mac=… nodemac=…',
      '10.2.0.2:0     id=1     sec_id=db flags=0x0000 ifindex=0   mac=… nodemac=…',
      '192.168.0.1:0  (localhost)',
      '192.168.0.2:0  (localhost)',
    ],
  );
  assert.deepEqual(listed(lab, 'cilium_policy_v2').slice(1), [
    'ENDPOINT ID  POLICY  DIRECTION  IDENTITY  PORT/PROTO     PROXY PORT  AUTH TYPE  BYTES  PACKETS  PREFIX',
    '2            Allow   Ingress    0         ANY            NONE        disabled   -      -        0',
    'Allow   Egress     0         ANY            NONE        disabled   -      -        0',
    '1            Allow   Ingress    1         ANY            NONE        disabled   -      -        0',
    'Allow   Ingress    web     8080-8083/TCP  NONE        disabled   -      -        22',
    'Allow   Ingress    web     UDP            NONE        disabled   -      -        8',
    'Allow   Egress     0         ANY            NONE        disabled   -      -        0',
  ]);
});

test('after a packet: `cilium bpf ct list global`, `nat list`, `metrics list`', () => {
  const lab = new Lab(CLUSTER);
  const send = (destination: string, destinationPort: number): void => {
    const flow = { sourcePort: 40000, destinationPort, protocol: PROTOCOL_NUMBERS.TCP };
    lab.send('web', frameOf({ source: address('10.1.0.2'), destination: address(destination), ...flow }));
  };
  send('10.96.0.7', 80);
  send('203.0.113.9', 443);
  send('10.2.0.2', 9);
  const state = 'expires=60 Packets=1 Bytes=54 RxFlagsSeen=0x00 TxFlagsSeen=0x02 Flags=0x0000 [ ]';
  const received = 'expires=60 Packets=1 Bytes=54 RxFlagsSeen=0x02 TxFlagsSeen=0x00 Flags=0x0000 [ ]';
  assert.deepEqual(listed(lab, 'cilium_ct4_global').slice(2).sort(), [
    `TCP IN 10.1.0.2:40000 -> 10.2.0.2:8080     ${received} RevNAT=0 SourceSecurityID=web BackendID=0`,
    `TCP OUT 10.1.0.2:40000 -> 10.2.0.2:8080    ${state} RevNAT=4 SourceSecurityID=web BackendID=2`,
    `TCP OUT 10.1.0.2:40000 -> 10.2.0.2:9       ${state} RevNAT=0 SourceSecurityID=web BackendID=0`,
    `TCP OUT 10.1.0.2:40000 -> 203.0.113.9:443  ${state} RevNAT=0 SourceSecurityID=web BackendID=0`,
    `TCP SVC 10.1.0.2:40000 -> 10.96.0.7:80     ${state} RevNAT=4 SourceSecurityID=web BackendID=2`,
  ]);
  assert.deepEqual(listed(lab, 'cilium_snat_v4_external').slice(2).sort(), [
    'TCP IN 203.0.113.9:443 -> 192.168.0.1:40000  XLATE_DST 10.1.0.2:40000 Created=0sec',
    'TCP OUT 10.1.0.2:40000 -> 203.0.113.9:443    XLATE_SRC 192.168.0.1:40000 Created=0sec',
  ]);
  assert.deepEqual(listed(lab, 'cilium_metrics'), [
    'cilium_metrics (3): cilium bpf metrics list',
    'REASON         DIRECTION  PACKETS  BYTES',
    'Policy denied  INGRESS    1        54',
    'Success        EGRESS     1        54',
    'Success        INGRESS    1        54',
  ]);
});

test('a map that only this datapath has keeps its fields', () => {
  const lab = new Lab(TWO_NODES);
  assert.deepEqual(listed(lab, 'nodes'), [
    'nodes (2)',
    'KEY                  VALUE',
    'address=192.168.0.1  node=1',
    'address=192.168.0.2  node=2',
  ]);
});
