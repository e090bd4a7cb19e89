import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ManifestObject, Service } from '../../dataplane/manifests/objects.js';
import { line, load, namesOf, pod, problemsOf } from './reading.js';

const service = (spec: string, metadata = 'name: s'): Service => {
  const object = load(`apiVersion: v1\nkind: Service\nmetadata: {${metadata}}\nspec: {${spec}}`).objects[0];
  assert.ok(object?.kind === 'Service');
  return object;
};

test('a kind is known by its exact apiVersion', () => {
  const object = (apiVersion: string, kind: string): string[] =>
    namesOf(load(`apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: {name: x}\nspec: {template: {}}`));
  assert.deepEqual(object('v1', 'Service'), ['Service default/x']);
  assert.deepEqual(object('serving.knative.dev/v1', 'Service'), []);
  assert.deepEqual(object('apps/v1', 'Deployment'), ['Deployment default/x']);
  assert.deepEqual(object('batch/v1beta1', 'Job'), []);
  assert.deepEqual(object('v1', 'Node'), ['Node /x']);
  assert.deepEqual(object('security.istio.io/v1', 'AuthorizationPolicy'), [], 'refused: it has no template');
  assert.deepEqual(object('security.istio.io/v1alpha1', 'AuthorizationPolicy'), []);
  assert.deepEqual(object('cilium.io/v2', 'CiliumClusterwideNetworkPolicy'), [], 'refused: it has no rule');
  assert.deepEqual(object('projectcalico.org/v3', 'HostEndpoint'), ['UnevaluatedPolicy /x']);
  assert.deepEqual(object('projectcalico.org/v3', 'StagedNetworkPolicy'), []);
  assert.deepEqual(object('extensions/v1beta1', 'NetworkPolicy'), []);
  for (const kind of ['__proto__', 'constructor', 'toString']) assert.deepEqual(object('v1', kind), []);
});

test('an unevaluated policy says so at its kind', () => {
  assert.deepEqual(problemsOf('apiVersion: cilium.io/v2alpha1\nkind: CiliumNetworkPolicy\nmetadata: {name: x}'), [
    'HS1012 2:7 CiliumNetworkPolicy',
  ]);
});

test('lists are flattened, whatever their depth', () => {
  let nested = '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}';
  for (let depth = 0; depth < 100; depth++) nested = `{"apiVersion":"v1","kind":"List","items":[${nested}]}`;
  assert.deepEqual(namesOf(load(nested)), ['Pod default/a']);
  assert.deepEqual(namesOf(load('apiVersion: v1\nkind: PodList\nitems: [{metadata: {name: b}}]')), ['Pod default/b']);
  assert.deepEqual(namesOf(load(nested.replaceAll('{"', '{\n\t"'))), ['Pod default/a']);
});

test('names: required, generated, and checked', () => {
  assert.deepEqual(problemsOf('apiVersion: v1\nkind: Pod\nmetadata: {labels: {a: b}}'), [
    'HS1009 3:11 {labels: {a: b}}',
  ]);
  assert.deepEqual(namesOf(load('apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}')), ['Pod default/a-xxxxx']);
  assert.deepEqual(problemsOf(pod('$(trash)')), ['HS1010 4:9 $(trash)']);
  assert.deepEqual(problemsOf(pod('123')), ['HS1008 4:9 123']);
});

test('labels: what is no string is reported with its remedy, and read as its text', () => {
  const manifests = load(pod('a', '  labels: {a: yes, b: 1.10, c: “d”, e: }\n'));
  const labels = manifests.objects[0]!.metadata.labels;
  assert.deepEqual(
    [...labels].map(([key, { value }]) => `${key}=${value}`),
    ['a=yes', 'b=1.10', 'c=“d”', 'e='],
  );
  assert.deepEqual(
    manifests.problems.map(({ code, fixes }) => [code, ...fixes]),
    [
      ['HS1008', 'Quote it: "yes"'],
      ['HS1008', 'Quote it: "1.10"'],
      ['HS1010', 'Use plain quotes, or none: d'],
    ],
  );
});

test('a Service: defaults, headless, ports', () => {
  const plain = service('ports: [{port: 80}]');
  assert.deepEqual(
    [
      plain.type,
      plain.headless,
      plain.selector,
      plain.affinitySeconds,
      plain.ports[0]?.protocol,
      plain.ports[0]?.targetPort,
    ],
    ['ClusterIP', false, null, null, 'TCP', null],
  );
  assert.equal(service('clusterIP: none').headless, true);
  assert.equal(service('', 'name: s, labels: {service.kubernetes.io/headless: ""}').headless, true);
  assert.deepEqual(
    service('clusterIPs: [10.0.0.1, "fd00::1"], clusterIP: 10.0.0.1').clusterIPs.map(({ value }) => value),
    ['10.0.0.1', 'fd00::1'],
  );
  assert.equal(service('sessionAffinity: ClientIP').affinitySeconds, 10_800);
  assert.equal(
    service('sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}').affinitySeconds,
    5,
  );
  assert.equal(service('ports: [{port: 80, targetPort: 0}]').ports[0]?.targetPort, null);
  assert.equal(service('ports: [{port: 80, targetPort: web}]').ports[0]?.targetPort?.value, 'web');

  const problems = (spec: string): string[] =>
    problemsOf(`apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {${spec}}`);
  assert.deepEqual(problems('type: Nodeport'), ['HS1010 4:14 Nodeport']);
  assert.deepEqual(problems('sessionAffinity: Cookie'), ['HS1010 4:25 Cookie']);
  assert.deepEqual(problems('clusterIP: 10.0.0.256'), ['HS1010 4:19 10.0.0.256']);
  assert.deepEqual(problems('ports: x'), ['HS1008 4:15 x']);
  assert.deepEqual(problems('ports: [{}, {port: 0}, {port: 1, targetPort: "2"}]'), [
    'HS1009 4:16 {}',
    'HS1010 4:27 0',
    'HS1010 4:53 "2"',
  ]);
});

test('workloads: the template, the sidecars and the selector', () => {
  const template =
    'template: {metadata: {labels: {app: a}}, spec: {containers: [{name: c, ports: [{containerPort: 80}]}], initContainers: [{name: once}, {name: side, restartPolicy: Always}]}}';
  for (const [apiVersion, kind, spec, replicas] of [
    ['apps/v1', 'Deployment', `replicas: 3, selector: {matchLabels: {app: a}}, ${template}`, 3],
    ['batch/v1', 'Job', `parallelism: 2, ${template}`, 2],
    ['batch/v1beta1', 'CronJob', `jobTemplate: {spec: {parallelism: 2, ${template}}}`, 2],
    ['v1', 'ReplicationController', `selector: {app: a}, ${template}`, undefined],
  ] as const) {
    const workload = load(`apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: {name: w}\nspec: {${spec}}`).objects[0];
    assert.ok(workload && 'template' in workload);
    assert.equal(workload.replicas?.value, replicas);
    assert.equal(workload.template.labels.get('app')?.value, 'a');
    assert.deepEqual(
      workload.template.spec.containers.map(({ name }) => name),
      ['c', 'side'],
    );
    assert.equal(workload.selector?.matchLabels.size, apiVersion.startsWith('batch') ? undefined : 1);
  }
});

test('hints that are no mapping are told of once', () => {
  const { objects, problems } = load(
    `apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s}
endpoints: [{addresses: [10.0.0.1, 10.0.0.2], nodeName: node-1, hints: 3}]`,
  );
  assert.deepEqual(
    problems.map(({ message }) => message),
    ['hints must be a mapping, not the number 3.'],
  );
  assert.ok(objects[0]?.kind === 'EndpointSlice');
  assert.deepEqual(
    objects[0].subsets[0]!.endpoints.map(({ address, nodeName, forZones }) => [address, nodeName, forZones]),
    [
      [0x0a000001, 'node-1', []],
      [0x0a000002, 'node-1', []],
    ],
  );
});

test('an EndpointSlice takes absent conditions as Kubernetes does', () => {
  const slice = load(
    `apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s, labels: {kubernetes.io/service-name: front}}
ports: [{name: web, port: 80}]
endpoints:
- {addresses: [10.0.0.1]}
- {addresses: [10.0.0.2], conditions: {ready: false}}
- {addresses: [10.0.0.3], conditions: {ready: false, serving: true, terminating: true}}`,
  ).objects[0];
  assert.ok(slice?.kind === 'EndpointSlice');
  assert.equal(slice.service, 'front');
  assert.deepEqual(
    slice.subsets[0]!.endpoints.map(({ ready, serving, terminating }) => [ready, serving, terminating]),
    [
      [true, true, false],
      [false, false, false],
      [false, true, true],
    ],
  );
});

test('wrong types anywhere are problems, never exceptions', () => {
  const kinds: [string, string][] = [
    ['v1', 'Pod'],
    ['v1', 'Service'],
    ['v1', 'Node'],
    ['v1', 'Endpoints'],
    ['v1', 'ConfigMap'],
    ['apps/v1', 'Deployment'],
    ['batch/v1', 'CronJob'],
    ['discovery.k8s.io/v1', 'EndpointSlice'],
    ['networking.k8s.io/v1', 'NetworkPolicy'],
  ];
  const objects: ManifestObject[] = [];
  for (const [apiVersion, kind] of kinds) {
    for (const value of ['x', '[]', '[x]', '{}', '{a: {}}', '5', 'null', 'true']) {
      for (const field of ['metadata', 'spec', 'status', 'data', 'endpoints', 'ports', 'subsets']) {
        const rest = field === 'metadata' ? '' : 'metadata: {name: x}\n';
        objects.push(...load(`apiVersion: ${apiVersion}\nkind: ${kind}\n${rest}${field}: ${value}\n`).objects);
      }
    }
  }
  assert.ok(objects.length > 250, `${objects.length} objects`);
});

test('the ConfigMaps of a pod: by variable, by all of them, by volume and by projected volume', () => {
  const spec = `
  initContainers: [{name: i, envFrom: [{configMapRef: {name: init}}]}]
  containers:
    - name: c
      envFrom: [{configMapRef: {name: all}}, {secretRef: {name: secret}}]
      env: [{name: A, valueFrom: {configMapKeyRef: {name: one, key: a}}}, {name: B, value: b}]
  volumes:
    - {name: v, configMap: {name: files}}
    - {name: p, projected: {sources: [{configMap: {name: part}}, {configMap: {name: all}}, {secret: {name: secret}}]}}
    - {name: e, emptyDir: {}}
`;
  const manifests = load(`apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:${spec}`);
  const [object] = manifests.objects;
  assert.ok(object?.kind === 'Pod');
  assert.deepEqual(object.spec.configMaps, ['init', 'all', 'one', 'files', 'part']);
  assert.deepEqual(manifests.problems, []);
  // What is amiss in a reference is not about traffic.
  const amiss = load(
    'apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {volumes: 5, containers: [{name: c, env: [5]}]}',
  );
  assert.equal(amiss.problems.length, 1);
});

test('fields that there are not, where an object counts without them', () => {
  const fixes = (text: string): string[] =>
    load(text).problems.map((found) => [line(found).replace(/ \d+:\d+/, ''), ...found.fixes].join(' | '));
  const table: readonly (readonly [text: string, problems: string[]])[] = [
    ['apiVersion: v1\nkind: Pod\nmetadata: {name: a, label: {app: a}}\n', ['HS1016 label | change to labels']],
    [
      'apiVersion: v1\nkind: Namespace\nmetadata: {name: a, annotation: {}}\n',
      ['HS1016 annotation | change to annotations'],
    ],
    [pod('a', 'spec: {hostnetwork: true}\n'), ['HS1016 hostnetwork | change to hostNetwork']],
    [pod('a', 'spec: {containers: [{name: c, port: []}]}\n'), ['HS1016 port | change to ports']],
    [
      pod('a', 'spec: {containers: [{name: c, ports: [{containerport: 80}]}]}\n'),
      ['HS1016 containerport | change to containerPort', 'HS1009 {containerport: 80}'],
    ],
    [
      'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {metadata: {}, sepc: {}}}\n',
      ['HS1016 sepc | change to spec'],
    ],
    [pod('a', 'spec: {anything: 1}\n'), ['HS1016 anything']],
    [
      'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replica: 2, template: {metadata: {label: {}}}}\n',
      ['HS1016 replica | change to replicas', 'HS1016 label | change to labels'],
    ],
  ];
  for (const [text, expected] of table) assert.deepEqual(fixes(text), expected, text);
});

test('an object without its kind, or one of a known kind without its apiVersion, is told and unread', () => {
  const table: readonly (readonly [text: string, problems: string[], unread: (string | null)[]])[] = [
    ['apiVersion: v1\nmetadata: {name: a}\nspec: {}\n', ['HS1009 1:1 apiVersion'], [null]],
    ['kind: Pod\nmetadata: {name: a}\n', ['HS1009 1:1 kind'], ['Pod']],
    ['kind: NetworkPolicy\nmetadata: {name: a}\n', ['HS1012 1:7 NetworkPolicy'], ['NetworkPolicy']],
    ['apiVersion: v2\nname: chart\nversion: 0.1.0\n', [], []],
    ['apiVersion: argoproj.io/v1alpha1\nmetadata: {name: a}\n', [], []],
    ['kind: Kustomization\nresources: [a.yaml]\n', [], []],
  ];
  for (const [text, problems, unread] of table) {
    const manifests = load(text);
    assert.deepEqual(
      [manifests.problems.map(line), manifests.unread.map(({ kind }) => kind)],
      [problems, unread],
      text,
    );
  }
});
