/** After any edits, what is kept from before is what a cold start computes: every map, every annotation, every connection. */
import fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MapId } from '../../assembly/abi.js';
import { annotate } from '../../dataplane/answers/annotate.js';
import { check } from '../../dataplane/answers/check.js';
import { maps } from '../../dataplane/answers/maps.js';
import { query } from '../../dataplane/answers/query.js';
import { reachedBy } from '../../dataplane/answers/reach-counts.js';
import { endsOf, unreadOf } from '../../dataplane/answers/reach-ends.js';
import { findOpen } from '../../dataplane/answers/reach-open.js';
import { pairsOf } from '../../dataplane/answers/reach-pairs.js';
import { reach } from '../../dataplane/answers/reach.js';
import { compare, Numbers } from '../../dataplane/hash.js';
import { groupedBy } from '../../dataplane/kept.js';
import { DEFAULT_SETTINGS } from '../../dataplane/settings.js';
import { Engine, identityOf, type State } from '../../dataplane/state.js';
import { podBehind, type ClusterPod } from '../../dataplane/cluster/cluster.js';
import { modules } from '../datapath.js';

const RUNS = Number(process.env['HOPSCOPE_RUNS'] ?? 40);
const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 1);

const pod = (name: string, labels: string, ip: string, more = ''): string =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, labels: {${labels}}}\nspec: {containers: [{name: c, ports: [{containerPort: 8080, name: web}]}]${more}}\nstatus: {podIP: ${ip}}\n`;
const networkPolicy = (name: string, spec: string): string =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: ${name}}\nspec: {${spec}}\n`;
const ciliumPolicy = (name: string, spec: string): string =>
  `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: ${name}}\nspec: {${spec}}\n`;
const service = (name: string, spec: string): string =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {${spec}}\n`;
const slice = (name: string, of: string, addresses: string): string =>
  `apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: ${name}, labels: {kubernetes.io/service-name: ${of}}}\naddressType: IPv4\nports: [{name: web, port: 8080}]\nendpoints: [${addresses}]\n`;

const elsewhere = (document: string): string => document.replace('metadata: {', 'metadata: {namespace: far, ');

const DOCUMENTS = [
  pod('a', 'app: a', '10.244.0.11'),
  pod('a', 'app: a, tier: x', '10.244.0.11'),
  pod('a', 'app: a', '10.244.1.99'),
  pod('b', 'app: b', '10.244.0.12', ', nodeName: worker-2'),
  pod('c', 'app: b', '10.244.0.12'),
  pod('d', 'app: d', '10.244.0.14', ', hostNetwork: true'),
  'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, env: [{name: DB_HOST, value: "one:80"}], ports: [{containerPort: 8080, name: web, hostPort: 9000}]}]}}}\n',
  'apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec: {replicas: 2, selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, ports: [{containerPort: 9090, name: web}]}]}}}\n',
  service('one', 'selector: {app: a}, ports: [{name: web, port: 80, targetPort: web}]'),
  service('one', 'selector: {app: b}, ports: [{name: web, port: 80, targetPort: 8080}], clusterIP: 10.96.7.7'),
  service(
    'two',
    'selector: {app: web}, type: NodePort, externalTrafficPolicy: Local, ports: [{port: 80, targetPort: web, nodePort: 30080}]',
  ),
  service('three', 'ports: [{name: web, port: 80}], sessionAffinity: ClientIP'),
  slice(
    'three-1',
    'three',
    '{addresses: [10.244.0.11]}, {addresses: [10.244.0.12], conditions: {ready: false, serving: true, terminating: true}}',
  ),
  slice('three-2', 'three', '{addresses: [10.244.0.77], nodeName: worker-1}, {addresses: [203.0.113.9]}'),
  // Another namespace, whose Service leads to pods of both.
  elsewhere(pod('a', 'app: a', '10.244.0.21')),
  elsewhere(pod('a', 'app: b', '10.244.0.21')),
  elsewhere(pod('e', 'app: a, tier: e', '10.244.0.11')),
  elsewhere(service('one', 'selector: {app: a}, ports: [{port: 80, targetPort: web}]')),
  elsewhere(
    service('far', 'ports: [{name: web, port: 81}], type: LoadBalancer, loadBalancerSourceRanges: [203.0.113.0/30]'),
  ),
  elsewhere(slice('far-1', 'far', '{addresses: [10.244.0.11]}, {addresses: [10.244.0.21]}')),
  elsewhere(networkPolicy('all', 'podSelector: {}, policyTypes: [Ingress, Egress], egress: [{ports: [{port: web}]}]')),
  elsewhere(
    networkPolicy(
      'far',
      'podSelector: {matchLabels: {app: a}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: x}}}, {namespaceSelector: {}, podSelector: {matchLabels: {app: b}}}], ports: [{port: 8000, endPort: 8099}]}]',
    ),
  ),
  pod('host', 'app: h', '10.244.0.31').replace('name: web}', 'name: web, hostPort: 9000}'),
  pod('f', 'app: f', '""'),
  networkPolicy('all', 'podSelector: {}, policyTypes: [Ingress]'),
  networkPolicy(
    'a',
    'podSelector: {matchLabels: {app: a}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 8080}]}]',
  ),
  networkPolicy(
    'a',
    'podSelector: {matchLabels: {app: a}}, ingress: [{from: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: web}]}]',
  ),
  networkPolicy(
    'out',
    'podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.8/29]}}]}, {to: [{podSelector: {}}], ports: [{port: web}]}]',
  ),
  networkPolicy(
    'out',
    'podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {team: x}}}]}]',
  ),
  networkPolicy('stateful', 'podSelector: {matchLabels: {statefulset.kubernetes.io/pod-name: db-0}}, ingress: []'),
  ciliumPolicy(
    'l7',
    'endpointSelector: {matchLabels: {app: db}}, ingress: [{fromEndpoints: [{}], toPorts: [{ports: [{port: "9090", protocol: TCP}], rules: {http: [{method: GET}]}}]}]',
  ),
  ciliumPolicy(
    'l7',
    'endpointSelector: {matchLabels: {app: db}}, ingress: [{fromEndpoints: [{}], toPorts: [{ports: [{port: "9090", protocol: TCP}], rules: {http: [{method: PUT}]}}]}]',
  ),
  ciliumPolicy(
    'deny',
    'endpointSelector: {}, egress: [{toServices: [{k8sService: {serviceName: one, namespace: default}}]}], ingressDeny: [{fromEndpoints: [{matchLabels: {tier: x}}]}]',
  ),
  'apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: admin}\nspec: {priority: 5, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: d}}}}]}]}\n',
  'apiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {team: x}}\n',
  'apiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n',
  'apiVersion: v1\nkind: Node\nmetadata: {name: worker-2, labels: {topology.kubernetes.io/zone: z}}\nspec: {podCIDR: 10.244.9.0/24}\nstatus: {addresses: [{type: InternalIP, address: 10.0.0.2}]}\n',
  'apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict}\nspec: {mtls: {mode: STRICT}}\n',
  'apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i}\nspec: {defaultBackend: {service: {name: one, port: {number: 80}}}}\n',
  'apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: kube-proxy, namespace: kube-system}\nspec: {selector: {}, template: {metadata: {}, spec: {hostNetwork: true, containers: [{name: c}]}}}\n',
  'apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: calico-node, namespace: kube-system}\nspec: {selector: {}, template: {metadata: {}, spec: {hostNetwork: true, containers: [{name: c}]}}}\n',
];
const FILES = ['a.yaml', 'b.yaml', 'c.yaml'];

const edit = fc.record({
  file: fc.constantFrom(...FILES),
  content: fc.option(
    fc.array(fc.constantFrom(...DOCUMENTS), { minLength: 1, maxLength: 9 }).map((documents) => documents.join('---\n')),
    { freq: 12 },
  ),
});

const engine = (): Engine => new Engine(modules.trace, { ...DEFAULT_SETTINGS, 'maglev.tableSize': 251 });

/** The numbers that history gives stand for these: names in their place. */
function namesOf({ desired, policies }: State): Record<string, (number: number) => string> {
  const backend = (id: number): string => {
    const found = desired.backendsById.get(id);
    return found ? `backend ${found.address} ${found.port}` : `${id}`;
  };
  const frontend = (index: number): string => {
    const found = desired.frontendsByIndex.get(index);
    return found
      ? `frontend ${found.address} ${found.number} ${found.protocol} ${found.scope} ${found.node}`
      : `${index}`;
  };
  const pods = new Map([...desired.endpointIds].map(([{ namespace, name }, id]) => [id, `pod ${namespace}/${name}`]));
  const endpoint = (id: number): string => pods.get(id) ?? `${id}`;
  const policy = (id: number): string => {
    const found = policies.policies.find((one) => one.id === id);
    return found ? `policy ${found.applied.map(({ key }) => key).join()} ${JSON.stringify(found.boundaries)}` : `${id}`;
  };
  return { backendId: backend, backendIds: backend, revNatIndex: frontend, endpoint, lxcId: endpoint, policy };
}

/** All that can be seen of a state. */
function seen(state: State): Record<string, string> {
  const names = namesOf(state);
  const named = (key: string, value: unknown): unknown => {
    const name = names[key];
    if (!name) return value;
    return Array.isArray(value)
      ? value.map((one) => name(one as number))
      : typeof value === 'number'
        ? name(value)
        : value;
  };
  // What questions before left in conntrack is none of an edit's.
  state.loader.current.flushConnections();
  const dumped = maps(state, null, null);
  if ('error' in dumped) throw new Error(dumped.error);
  const entries = Object.entries(dumped.maps)
    .filter(([map]) => map !== 'cilium_metrics')
    .map(([map, found]): [string, string] => [
      map,
      found
        .map((entry) => JSON.stringify(entry, named))
        .sort()
        .join('\n'),
    ]);
  const told = (value: unknown): string => JSON.stringify(value, null, 1);
  const { pods, services, podsByAddress } = state.cluster;
  const nameOf = (pod: ClusterPod | null | undefined): string =>
    pod ? `${pod.namespace}/${pod.name}${pods.includes(pod) ? '' : ', which is no more'}` : 'nobody';
  return {
    pods: told(
      pods.map((pod) => [
        nameOf(pod),
        identityOf(state, pod)?.key,
        nameOf(state.desired.endpointIds.podOf(state.desired.endpointIds.get(pod) ?? 0)),
        pod.addresses.map((address) => podsByAddress.all(address).map(nameOf)),
      ]),
    ),
    behind: told(
      services.map(({ namespace, name, ports }) => [
        `${namespace}/${name}`,
        ports.flatMap(({ endpoints }) =>
          endpoints.map((one) => [`${one.address} ${one.port}`, nameOf(podBehind(state.cluster, one))]),
        ),
      ]),
    ),
    ...Object.fromEntries(entries),
    ...Object.fromEntries(FILES.map((file) => [file, told(annotate(state, file))])),
    reach: told(reach(state, { from: null, to: null, protocol: null })),
    toService: told(reach(state, { from: null, to: 'svc:default/one', protocol: null })),
    reachedBy: told(['default/a', 'default/web', 'svc:default/one'].map((ref) => reachedBy(state, ref))),
    check: told(check(state, [])),
  };
}

/** What is seen after edits is what a cold start with the same files shows. */
function assertLikeCold(edited: Engine): void {
  const cold = engine();
  for (const name of edited.manifests.files) cold.manifests.set(name, edited.manifests.text(name));
  assert.deepEqual(seen(edited.current), seen(cold.current));
}

test('what is kept over edits is what a cold start computes', () => {
  fc.assert(
    fc.property(fc.array(edit, { minLength: 2, maxLength: 7 }), (edits) => {
      const edited = engine();
      for (const { file, content } of edits) {
        edited.manifests.set(file, content);
        assertLikeCold(edited);
      }
    }),
    { numRuns: RUNS, seed: SEED },
  );
});

/** The documents of each object, that is the versions of it that there may be. */
const OBJECTS = [
  ...groupedBy(
    DOCUMENTS,
    (text) => `${/kind: \w+/.exec(text)![0]} ${/metadata: {[^}]*?name: [\w-]+/.exec(text)![0]}`,
  ).values(),
];
/** What makes another cluster of it all is not there from the start. */
const isRare = (text: string): boolean => /kind: (DaemonSet|PeerAuthentication|AdminNetworkPolicy|Ingress)/.test(text);

/** Which version of an object there is; 0 for none. */
const change = fc
  .nat({ max: OBJECTS.length - 1 })
  .chain((object) => fc.record({ object: fc.constant(object), version: fc.nat({ max: OBJECTS[object]!.length }) }));
const start = fc.tuple(...OBJECTS.map(([text], i) => fc.nat({ max: isRare(text!) ? 0 : OBJECTS[i]!.length })));

test('what an edit to one object of many leaves is what a cold start computes', () => {
  fc.assert(
    fc.property(start, fc.array(change, { minLength: 3, maxLength: 9 }), (versions, changes) => {
      const edited = engine();
      const there: number[] = [...versions];
      const textOf = (one: number): string =>
        OBJECTS.flatMap((texts, i) => (i % FILES.length === one && there[i]! > 0 ? texts[there[i]! - 1]! : [])).join(
          '---\n',
        );
      FILES.forEach((file, i) => edited.manifests.set(file, textOf(i)));
      seen(edited.current);
      for (const { object, version } of changes) {
        there[object] = version;
        edited.manifests.set(FILES[object % FILES.length]!, textOf(object % FILES.length));
        assertLikeCold(edited);
      }
    }),
    { numRuns: RUNS, seed: SEED },
  );
});

test('what is asked of a pair of rows is so of every pair of ends', () => {
  const contents = fc.array(fc.constantFrom(...DOCUMENTS), { minLength: 4, maxLength: 14 });
  fc.assert(
    fc.property(contents, (documents) => {
      const one = engine();
      one.manifests.set('a.yaml', documents.join('---\n'));
      const state = one.current;
      const ends = endsOf(state).filter((end) => !unreadOf(state, [end]).has(end));
      const pairs = ends.flatMap((from) =>
        ends
          .filter((to) => to !== from && (from.external === null || to.external === null))
          .map((to) => ({ from, to, boundaries: null })),
      );
      pairsOf(state).ask(pairs.map(({ from, to }) => [from, to]));
      const kept = pairs.map(({ from, to }) => pairsOf(state).between(from, to));
      assert.deepEqual(kept, findOpen(state, pairs));
    }),
    { numRuns: RUNS, seed: SEED },
  );
});

test('of many Services, the Maglev tables are there that packets ask for, and those that are dumped', () => {
  const count = 600;
  const documents = Array.from({ length: count }, (_, i) =>
    service(
      `s${i}`,
      `selector: {app: a}, clusterIP: 10.96.${i >> 8}.${i & 255}, ports: [{port: 80, targetPort: 8080}]`,
    ),
  );
  const one = new Engine(modules.trace, { ...DEFAULT_SETTINGS, 'maglev.tableSize': 32749 });
  one.manifests.set(
    'a.yaml',
    [pod('a', 'app: a', '10.244.0.11'), pod('b', 'app: b', '10.244.0.12'), ...documents].join('---\n'),
  );
  const { loader, report } = one.current;
  assert.equal(report.tables, 0);
  for (let i = 0; i < count; i++) {
    const to = `svc:default/s${i}`;
    const asked = { from: 'default/b', to, protocol: 'TCP', port: 80, sourcePort: null, node: null, http: null };
    const answered = query(one.current, asked);
    assert.equal('answer' in answered && answered.answer.verdict, 'ALLOWED', to);
  }
  assert.equal(loader.current.wasm.mapCount(MapId.LB4_MAGLEV), 512);
  const dumped = maps(one.current, 'cilium_lb4_maglev', null);
  assert.equal('maps' in dumped && dumped.maps['cilium_lb4_maglev']!.length, count);
});

/** Numbers from 1 on: those that names have, and for the others the lowest that are free. */
function assigned(held: ReadonlyMap<string, number>, names: readonly string[]): ReadonlyMap<string, number> {
  const sorted = [...new Set(names)].sort(compare);
  const numbers = new Map(sorted.filter((name) => held.has(name)).map((name) => [name, held.get(name)!]));
  const taken = new Set(numbers.values());
  let free = 1;
  for (const name of sorted.filter((one) => !held.has(one))) {
    while (taken.has(free)) free++;
    numbers.set(name, free++);
  }
  return numbers;
}

test('numbers told by what changes are those told by what is there', () => {
  const names = fc.array(fc.constantFrom(...'abcdefgh'), { maxLength: 8 });
  fc.assert(
    fc.property(fc.array(names, { maxLength: 8 }), (steps) => {
      const numbers = new Numbers();
      let before: readonly string[] = [];
      let held: ReadonlyMap<string, number> = new Map();
      for (const now of steps) {
        numbers.change(before, now);
        before = now;
        held = assigned(held, now);
        for (const [name, number] of held) assert.equal(numbers.get(name), number, name);
      }
    }),
    { numRuns: RUNS * 20, seed: SEED },
  );
});

/** Edits that touch what seems to be another's. */
const FAR_REACHING: Readonly<Record<string, readonly (readonly [file: string, text: string])[]>> = {
  'another policy names a part of a prefix': [
    [
      'a.yaml',
      networkPolicy(
        'wide',
        'podSelector: {matchLabels: {app: m1}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: m2}}}]}, {to: [{ipBlock: {cidr: 203.0.113.0/24}}]}]',
      ),
    ],
    [
      'b.yaml',
      networkPolicy(
        'part',
        'podSelector: {matchLabels: {app: m4}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 203.0.113.0/25}}]}]',
      ),
    ],
  ],
  'a pod behind a slice changes its node and keeps its address': [
    [
      'a.yaml',
      ['1', '2']
        .map(
          (n) =>
            `apiVersion: v1\nkind: Node\nmetadata: {name: worker-${n}}\nstatus: {addresses: [{type: InternalIP, address: 10.0.0.${n}}]}\n`,
        )
        .join('---\n'),
    ],
    [
      'b.yaml',
      [
        service('two', 'ports: [{name: web, port: 80, nodePort: 30080}], type: NodePort, externalTrafficPolicy: Local'),
        slice('two-1', 'two', '{addresses: [10.244.0.11]}'),
      ].join('---\n'),
    ],
    ['c.yaml', pod('a', 'app: a', '10.244.0.11', ', nodeName: worker-1')],
    ['c.yaml', pod('a', 'app: a', '10.244.0.11', ', nodeName: worker-2')],
  ],
};

/** So many that a change to one of them leaves most as they are. */
const MANY = Array.from({ length: 12 }, (_, i) => pod(`m${i}`, `app: m${i}`, `10.244.1.${i + 20}`)).join('---\n');

for (const [name, edits] of Object.entries(FAR_REACHING))
  test(`${name}: what a cold start computes`, () => {
    const edited = engine();
    edited.manifests.set('many.yaml', MANY);
    for (const [file, text] of edits) {
      edited.manifests.set(file, text);
      assertLikeCold(edited);
    }
  });
