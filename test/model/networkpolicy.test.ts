/**
 * The model against truth tables written by hand from the Kubernetes documentation and the well-known recipes, and
 * against those of other projects: an oracle must itself be beyond doubt.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { parse, parseAllDocuments } from 'yaml';
import {
  decide,
  type Cluster,
  type End,
  type Expectation,
  type Namespace,
  type NetworkPolicy,
  type Pod,
  type Probe,
  type Protocol,
} from './networkpolicy.js';

/** What the tests below take place in. `plain` has no Namespace object. */
const NEIGHBOURHOOD = `
namespaces:
  - { name: default, labels: { project: home } }
  - { name: prod, labels: { purpose: production } }
  - { name: dev, labels: { purpose: testing } }
pods:
  - { pod: default/web, ip: 10.244.0.2, labels: { app: web, role: api }, ports: [http TCP 80, metrics TCP 5000, dns UDP 53] }
  - { pod: default/db, ip: 10.244.0.3, labels: { app: db, role: db }, ports: [redis TCP 6379] }
  - { pod: default/front, ip: 10.244.0.4, labels: { app: front, role: frontend }, ports: [http TCP 8080] }
  - { pod: default/bare, ip: 10.244.0.5 }
  - { pod: prod/mon, ip: 10.244.1.2, labels: { type: monitoring }, ports: [http TCP 80] }
  - { pod: prod/job, ip: 10.244.1.3, labels: { type: batch, role: frontend } }
  - { pod: dev/mon, ip: 10.244.2.2, labels: { type: monitoring } }
  - { pod: plain/web, ip: 10.244.3.2, labels: { app: web }, ports: [http UDP 80] }
`;

interface Neighbourhood {
  namespaces: { name: string; labels: Record<string, string> }[];
  pods: { pod: string; ip: string; labels?: Record<string, string>; ports?: string[] }[];
}

/** The neighbourhood under policies, each given as YAML `{ name, namespace, ...spec }`. */
function under(policies: string): Cluster {
  const { namespaces, pods } = parse(NEIGHBOURHOOD) as Neighbourhood;
  const specs = parseAllDocuments(policies).map((document) => {
    assert.deepEqual(document.errors, []);
    return document.toJS() as { name: string; namespace?: string };
  });
  return {
    namespaces: namespaces.map((metadata): Namespace => ({ apiVersion: 'v1', kind: 'Namespace', metadata })),
    pods: pods.map(({ pod, ip, labels, ports }): Pod => {
      const [namespace = '', name = ''] = pod.split('/');
      const open = (ports ?? []).map((text) => {
        const [portName = '', protocol, number] = text.split(' ');
        return { name: portName, protocol: protocol as Protocol, containerPort: Number(number) };
      });
      return {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name, namespace, labels: labels ?? null },
        spec: { containers: [{ name: 'main', ports: open }] },
        status: { podIP: ip },
      };
    }),
    policies: specs.map(({ name, namespace, ...spec }): NetworkPolicy => ({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name, namespace: namespace ?? null },
      spec,
    })),
  };
}

function endOf(text: string): End {
  return text.includes('/') ? { pod: text } : { ip: text };
}

/** 'default/web -> 8.8.8.8 TCP 80'. */
function probeOf(text: string): Probe {
  const [from = '', , to = '', protocol, port] = text.trim().split(/\s+/);
  return { from: endOf(from), to: endOf(to), protocol: protocol as Protocol, port: Number(port) };
}

function ask(policies: string, probe: string, ipBlockMatchesPods = false): Expectation {
  return decide(under(policies), probeOf(probe), { ipBlockMatchesPods });
}

/** A table has a line for each probe, which ends in `allowed` or in the side that refuses. */
function holds(policies: string, table: string, ipBlockMatchesPods = false): void {
  const lines = table.trim().split('\n');
  const answers = lines.map((line) => {
    const probe = line.trim().replace(/\s+\S+$/, '');
    return `${probe} ${ask(policies, probe, ipBlockMatchesPods).refusedAt ?? 'allowed'}`;
  });
  assert.deepEqual(
    answers,
    lines.map((line) => line.trim().replace(/\s+(\S+)$/, ' $1')),
  );
}

describe('Concepts, Network Policies', () => {
  test('without a policy everything is allowed', () => {
    holds(
      '',
      `default/web -> prod/mon TCP 80 allowed
       8.8.8.8 -> default/web UDP 53 allowed
       default/web -> 8.8.8.8 SCTP 9 allowed`,
    );
  });

  const testNetworkPolicy = `
    name: test-network-policy
    podSelector: { matchLabels: { role: db } }
    policyTypes: [Ingress, Egress]
    ingress:
      - from:
          - ipBlock: { cidr: 172.17.0.0/16, except: [172.17.1.0/24] }
          - namespaceSelector: { matchLabels: { project: home } }
          - podSelector: { matchLabels: { role: frontend } }
        ports: [{ protocol: TCP, port: 6379 }]
    egress:
      - to: [{ ipBlock: { cidr: 10.0.0.0/24 } }]
        ports: [{ protocol: TCP, port: 5978 }]`;

  test('the NetworkPolicy resource: the example at the head of the page', () => {
    holds(
      testNetworkPolicy,
      `172.17.0.255     -> default/db TCP 6379 allowed
       172.17.1.0       -> default/db TCP 6379 ingress
       172.17.1.255     -> default/db TCP 6379 ingress
       172.17.2.0       -> default/db TCP 6379 allowed
       172.18.0.0       -> default/db TCP 6379 ingress
       default/bare     -> default/db TCP 6379 allowed
       default/front    -> default/db TCP 6380 ingress
       default/front    -> default/db UDP 6379 ingress
       prod/job         -> default/db TCP 6379 ingress
       default/db       -> 10.0.0.255 TCP 5978 allowed
       default/db       -> 10.0.1.0   TCP 5978 egress
       default/db       -> 10.0.0.1   TCP 5979 egress
       default/db       -> default/web TCP 80  egress
       default/web      -> prod/mon   TCP 80   allowed`.replace(/ +/g, ' '),
    );
  });

  test('one element of `from` with two selectors is an AND', () => {
    holds(
      `
       name: and
       podSelector: { matchLabels: { app: web } }
       ingress: [{ from: [{ namespaceSelector: { matchLabels: { purpose: production } }, podSelector: { matchLabels: { type: monitoring } } }] }]`,
      `prod/mon -> default/web TCP 80 allowed
       prod/job -> default/web TCP 80 ingress
       dev/mon -> default/web TCP 80 ingress
       default/db -> default/web TCP 80 ingress`,
    );
  });

  test('two elements of `from` with a selector each are an OR, the pod selector for the own namespace', () => {
    holds(
      `
       name: or
       podSelector: { matchLabels: { app: web } }
       ingress: [{ from: [{ namespaceSelector: { matchLabels: { purpose: production } } }, { podSelector: { matchLabels: { role: db } } }] }]`,
      `prod/mon -> default/web TCP 80 allowed
       prod/job -> default/web TCP 80 allowed
       dev/mon -> default/web TCP 80 ingress
       default/db -> default/web TCP 80 allowed
       default/front -> default/web TCP 80 ingress`,
    );
  });

  test('default deny all ingress', () => {
    holds(
      '{ name: deny, podSelector: {}, policyTypes: [Ingress] }',
      `default/web -> default/db TCP 1 ingress
       8.8.8.8 -> default/bare TCP 1 ingress
       default/web -> prod/mon TCP 1 allowed
       default/web -> 8.8.8.8 TCP 1 allowed`,
    );
  });

  test('allow all ingress, whatever else selects the pods', () => {
    holds(
      `{ name: deny, podSelector: {}, policyTypes: [Ingress] }
---
       { name: allow, podSelector: {}, ingress: [{}], policyTypes: [Ingress] }`,
      `default/web -> default/db UDP 1 allowed
       8.8.8.8 -> default/bare SCTP 65535 allowed`,
    );
  });

  test('default deny all egress', () => {
    holds(
      '{ name: deny, podSelector: {}, policyTypes: [Egress] }',
      `default/web -> default/db TCP 1 egress
       default/web -> 8.8.8.8 TCP 1 egress
       prod/mon -> default/web TCP 1 allowed`,
    );
  });

  test('allow all egress', () => {
    holds(
      `{ name: deny, podSelector: {}, policyTypes: [Egress] }
---
       { name: allow, podSelector: {}, egress: [{}], policyTypes: [Egress] }`,
      `default/web -> 8.8.8.8 UDP 1 allowed
       default/web -> prod/mon TCP 1 allowed`,
    );
  });

  test('deny both: egress is the side that refuses', () => {
    holds(
      '{ name: deny, podSelector: {}, policyTypes: [Ingress, Egress] }',
      `default/web -> default/db TCP 1 egress
       prod/mon -> default/db TCP 1 ingress`,
    );
  });

  test('targeting a range of ports', () => {
    holds(
      `
       name: multi-port-egress
       podSelector: { matchLabels: { role: db } }
       policyTypes: [Egress]
       egress: [{ to: [{ ipBlock: { cidr: 10.0.0.0/24 } }], ports: [{ protocol: TCP, port: 32000, endPort: 32768 }] }]`,
      `default/db -> 10.0.0.1 TCP 31999 egress
       default/db -> 10.0.0.1 TCP 32000 allowed
       default/db -> 10.0.0.1 TCP 32500 allowed
       default/db -> 10.0.0.1 TCP 32768 allowed
       default/db -> 10.0.0.1 TCP 32769 egress
       default/db -> 10.0.0.1 UDP 32000 egress`,
    );
  });

  test('targeting several namespaces by label', () => {
    holds(
      `
       name: egress-namespaces
       podSelector: { matchLabels: { app: web } }
       policyTypes: [Egress]
       egress: [{ to: [{ namespaceSelector: { matchExpressions: [{ key: purpose, operator: In, values: [production, testing] }] } }] }]`,
      `default/web -> prod/job TCP 80 allowed
       default/web -> dev/mon TCP 80 allowed
       default/web -> default/db TCP 80 egress
       default/web -> plain/web TCP 80 egress
       default/web -> 8.8.8.8 TCP 80 egress`,
    );
  });

  test('targeting a namespace by its name, with an object and without', () => {
    holds(
      `
       name: by-name
       podSelector: {}
       ingress: [{ from: [{ namespaceSelector: { matchExpressions: [{ key: kubernetes.io/metadata.name, operator: In, values: [plain, dev] }] } }] }]`,
      `plain/web -> default/web TCP 80 allowed
       dev/mon -> default/web TCP 80 allowed
       prod/mon -> default/web TCP 80 ingress`,
    );
  });

  test('a pod cannot block access to itself, by its name or its address', () => {
    holds(
      '{ name: deny, podSelector: {}, policyTypes: [Ingress, Egress] }',
      `default/web -> default/web TCP 80 allowed
       default/web -> 10.244.0.2 TCP 80 allowed
       default/web -> 10.244.0.3 TCP 80 egress`,
    );
  });
});

describe('network policy recipes', () => {
  test('01 deny all traffic to an application', () => {
    holds(
      '{ name: web-deny-all, podSelector: { matchLabels: { app: web } }, ingress: [] }',
      `default/bare -> default/web TCP 80 ingress
       default/bare -> default/db TCP 80 allowed
       default/bare -> plain/web TCP 80 allowed
       default/web -> default/db TCP 80 allowed`,
    );
  });

  test('02 limit traffic to an application', () => {
    holds(
      '{ name: api-allow, podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ podSelector: { matchLabels: { role: frontend } } }] }] }',
      `default/front -> default/web TCP 80 allowed
       default/bare -> default/web TCP 80 ingress
       prod/job -> default/web TCP 80 ingress`,
    );
  });

  test('02a allow all traffic to an application', () => {
    holds(
      `{ name: web-allow-all, podSelector: { matchLabels: { app: web } }, ingress: [{}] }
---
       { name: web-deny-all, podSelector: { matchLabels: { app: web } }, ingress: [] }`,
      'dev/mon -> default/web TCP 80 allowed',
    );
  });

  test('04 deny all traffic from other namespaces', () => {
    holds(
      '{ name: deny-from-other-namespaces, podSelector: { matchLabels: }, ingress: [{ from: [{ podSelector: {} }] }] }',
      `default/bare -> default/web TCP 80 allowed
       prod/mon -> default/web TCP 80 ingress
       8.8.8.8 -> default/web TCP 80 ingress`,
    );
  });

  test('05 allow traffic from all namespaces: pods, not the world', () => {
    holds(
      '{ name: web-allow-all-namespaces, podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ namespaceSelector: {} }] }] }',
      `plain/web -> default/web TCP 80 allowed
       default/bare -> default/web TCP 80 allowed
       8.8.8.8 -> default/web TCP 80 ingress`,
    );
  });

  test('06 allow traffic from a namespace', () => {
    holds(
      '{ name: web-allow-prod, podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ namespaceSelector: { matchLabels: { purpose: production } } }] }] }',
      `prod/job -> default/web TCP 80 allowed
       dev/mon -> default/web TCP 80 ingress
       default/db -> default/web TCP 80 ingress`,
    );
  });

  test('08 allow external clients, on one port', () => {
    holds(
      `{ name: web-allow-external, podSelector: { matchLabels: { app: web } }, ingress: [{ ports: [{ port: 80 }], from: [] }] }`,
      `8.8.8.8 -> default/web TCP 80 allowed
       prod/mon -> default/web TCP 80 allowed
       8.8.8.8 -> default/web TCP 443 ingress`,
    );
  });

  test('09 allow traffic only to a port of an application', () => {
    holds(
      '{ name: api-allow-5000, podSelector: { matchLabels: { app: web } }, ingress: [{ ports: [{ port: 5000 }], from: [{ podSelector: { matchLabels: { role: frontend } } }] }] }',
      `default/front -> default/web TCP 5000 allowed
       default/front -> default/web TCP 80 ingress
       default/bare -> default/web TCP 5000 ingress`,
    );
  });

  test('11 deny egress from an application but DNS', () => {
    holds(
      '{ name: foo-deny-egress, podSelector: { matchLabels: { app: db } }, policyTypes: [Egress], egress: [{ ports: [{ port: 53, protocol: UDP }, { port: 53, protocol: TCP }] }] }',
      `default/db -> prod/mon UDP 53 allowed
       default/db -> 8.8.8.8 TCP 53 allowed
       default/db -> 8.8.8.8 SCTP 53 egress
       default/db -> default/web TCP 80 egress
       default/web -> default/db TCP 80 allowed`,
    );
  });

  test('14 deny external egress', () => {
    holds(
      '{ name: foo-deny-external-egress, podSelector: { matchLabels: { app: db } }, policyTypes: [Egress], egress: [{ to: [{ namespaceSelector: {} }] }] }',
      `default/db -> plain/web TCP 80 allowed
       default/db -> 8.8.8.8 TCP 80 egress`,
    );
  });
});

describe('policyTypes, when not given', () => {
  const inward = 'default/web -> default/db TCP 80';
  const outward = 'default/db -> default/web TCP 80';
  const cases: [spec: string, inward: string, outward: string][] = [
    ['', 'ingress', 'allowed'],
    ['policyTypes: [],', 'ingress', 'allowed'],
    ['ingress: [{}],', 'allowed', 'allowed'],
    ['egress: [],', 'ingress', 'allowed'],
    ['egress: ,', 'ingress', 'allowed'],
    ['egress: [{}],', 'ingress', 'allowed'],
    ['egress: [{ ports: [{ port: 1 }] }],', 'ingress', 'egress'],
    ['policyTypes: [Egress], ingress: [],', 'allowed', 'egress'],
    ['policyTypes: [Ingress], egress: [{ ports: [{ port: 1 }] }],', 'ingress', 'allowed'],
    ['policyTypes: [Egress], egress: [{}],', 'allowed', 'allowed'],
  ];
  for (const [spec, into, outOf] of cases) {
    test(`{${spec}}`, () => {
      holds(
        `{ name: p, ${spec} podSelector: { matchLabels: { role: db } } }`,
        `${inward} ${into}
         ${outward} ${outOf}`,
      );
    });
  }
});

describe('LabelSelector: the pods of prod and default that a selector lets in', () => {
  const cases: [selector: string, selected: string][] = [
    ['{}', 'front bare job mon'],
    ['{ matchLabels: {}, matchExpressions: [] }', 'front bare job mon'],
    ['{ matchLabels: { role: frontend } }', 'front job'],
    ['{ matchLabels: { role: frontend, type: batch } }', 'job'],
    ['{ matchExpressions: [{ key: type, operator: In, values: [monitoring, batch] }] }', 'job mon'],
    ['{ matchExpressions: [{ key: type, operator: NotIn, values: [batch] }] }', 'front bare mon'],
    ['{ matchExpressions: [{ key: role, operator: Exists }] }', 'front job'],
    ['{ matchExpressions: [{ key: role, operator: DoesNotExist }] }', 'bare mon'],
    ['{ matchExpressions: [{ key: role, operator: Exists }, { key: type, operator: DoesNotExist }] }', 'front'],
    [
      '{ matchLabels: { role: frontend }, matchExpressions: [{ key: type, operator: NotIn, values: [batch] }] }',
      'front',
    ],
  ];
  for (const [selector, selected] of cases) {
    test(selector, () => {
      const policy = `{ name: p, podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ namespaceSelector: {}, podSelector: ${selector} }] }] }`;
      const clients = ['default/front', 'default/bare', 'prod/job', 'prod/mon'];
      const answers = clients.filter((client) => ask(policy, `${client} -> default/web TCP 80`).allowed);
      assert.equal(answers.map((client) => client.split('/')[1]).join(' '), selected);
    });
  }

  test('NotIn and DoesNotExist take in a namespace without labels', () => {
    holds(
      `
       name: p
       podSelector: { matchLabels: { app: web } }
       ingress:
         - from: [{ namespaceSelector: { matchExpressions: [{ key: purpose, operator: NotIn, values: [production] }] } }]
           ports: [{ port: 1 }]
         - from: [{ namespaceSelector: { matchExpressions: [{ key: purpose, operator: DoesNotExist }] } }]
           ports: [{ port: 2 }]`,
      `plain/web -> default/web TCP 1 allowed
       dev/mon -> default/web TCP 1 allowed
       prod/mon -> default/web TCP 1 ingress
       plain/web -> default/web TCP 2 allowed
       dev/mon -> default/web TCP 2 ingress`,
    );
  });
});

describe('NetworkPolicyPort', () => {
  test('an empty element is every port of TCP; a protocol alone is every port of that protocol', () => {
    holds(
      `
       name: p
       podSelector: {}
       ingress:
         - { ports: [{}], from: [{ podSelector: { matchLabels: { app: db } } }] }
         - { ports: [{ protocol: SCTP }], from: [{ podSelector: { matchLabels: { app: front } } }] }`,
      `default/db -> default/web TCP 65535 allowed
       default/db -> default/web UDP 53 ingress
       default/front -> default/web SCTP 1 allowed
       default/front -> default/web TCP 1 ingress`,
    );
  });

  test('ingress: a name is looked up in the pod that is selected', () => {
    holds(
      '{ name: p, podSelector: {}, ingress: [{ ports: [{ port: http }] }] }',
      `default/bare -> default/web TCP 80 allowed
       default/bare -> default/web TCP 8080 ingress
       default/bare -> default/front TCP 8080 allowed
       default/bare -> default/front TCP 80 ingress
       default/bare -> default/db TCP 80 ingress
       8.8.8.8 -> default/web TCP 80 allowed`,
    );
  });

  test('egress: a name is looked up in the pod that is sent to, and no address outside has one', () => {
    holds(
      '{ name: p, podSelector: {}, policyTypes: [Egress], egress: [{ ports: [{ port: http }] }] }',
      `default/bare -> default/web TCP 80 allowed
       default/bare -> default/front TCP 8080 allowed
       default/bare -> default/front TCP 80 egress
       default/bare -> prod/job TCP 80 egress
       default/bare -> 8.8.8.8 TCP 80 egress`,
    );
  });

  test('name and protocol must both match', () => {
    holds(
      `{ name: p, namespace: plain, podSelector: {}, ingress: [{ ports: [{ port: http, protocol: UDP }] }] }
---
       { name: p, podSelector: {}, ingress: [{ ports: [{ port: http, protocol: UDP }, { port: dns }] }] }`,
      `prod/mon -> plain/web UDP 80 allowed
       prod/mon -> plain/web TCP 80 ingress
       prod/mon -> default/web TCP 80 ingress
       prod/mon -> default/web UDP 80 ingress
       prod/mon -> default/web UDP 53 ingress`,
    );
  });
});

describe('ipBlock', () => {
  const policy = `
    name: p
    podSelector: { matchLabels: { app: web } }
    policyTypes: [Ingress, Egress]
    ingress: [{ from: [{ ipBlock: { cidr: 0.0.0.0/0, except: [10.244.1.2/31, 8.0.0.0/8] } }] }]
    egress: [{ to: [{ ipBlock: { cidr: 10.244.1.9/24 } }], ports: [{ port: http }, { port: 81 }] }]`;

  test('which takes in pods, as in the tests of Kubernetes', () => {
    holds(
      policy,
      `prod/mon -> default/web TCP 80 ingress
       prod/job -> default/web TCP 80 ingress
       dev/mon -> default/web TCP 80 allowed
       7.255.255.255 -> default/web TCP 80 allowed
       8.8.8.8 -> default/web TCP 80 ingress
       default/web -> prod/mon TCP 80 allowed
       default/web -> 10.244.1.2 TCP 80 allowed
       default/web -> prod/job TCP 81 allowed
       default/web -> dev/mon TCP 81 egress
       default/web -> 10.244.1.200 TCP 81 allowed
       default/web -> 10.244.1.200 TCP 80 egress`,
      true,
    );
  });

  test('which leaves pods out, as in Cilium', () => {
    holds(
      policy,
      `dev/mon -> default/web TCP 80 ingress
       7.255.255.255 -> default/web TCP 80 allowed
       8.8.8.8 -> default/web TCP 80 ingress
       default/web -> prod/job TCP 81 egress
       default/web -> 10.244.1.3 TCP 81 egress`,
    );
  });

  test('a hole in one policy is filled by another', () => {
    holds(
      `{ name: a, podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: 203.0.113.0/24, except: [203.0.113.0/25] } }] }] }
---
       { name: b, podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: 203.0.113.0/25, except: [203.0.113.64/26, 203.0.113.64/27] } }] }] }`,
      `203.0.113.63 -> default/web TCP 1 allowed
       203.0.113.64 -> default/web TCP 1 ingress
       203.0.113.127 -> default/web TCP 1 ingress
       203.0.113.128 -> default/web TCP 1 allowed
       203.0.112.255 -> default/web TCP 1 ingress
       203.0.114.0 -> default/web TCP 1 ingress`,
    );
  });
});

describe('who decided', () => {
  const policies = `
    { name: z-deny, podSelector: {}, policyTypes: [Ingress, Egress] }
---
    { name: a-web, podSelector: { matchLabels: { app: web } }, ingress: [{ ports: [{ port: 80 }] }, { ports: [{ port: 81 }] }, { from: [{ podSelector: {} }] }] }
---
    { name: out, podSelector: { matchLabels: { app: db } }, policyTypes: [Egress], egress: [{}] }
---
    { name: elsewhere, namespace: prod, podSelector: {} }`;

  test('allowed: every rule that allows, on both sides', () => {
    assert.deepEqual(ask(policies, 'default/db -> default/web TCP 80'), {
      allowed: true,
      refusedAt: null,
      isolatedBy: [],
      allowedBy: {
        egress: ['default/out egress[0]'],
        ingress: ['default/a-web ingress[0]', 'default/a-web ingress[2]'],
      },
    });
  });

  test('a side that is not isolated names no rule', () => {
    assert.deepEqual(ask(policies, '8.8.8.8 -> default/web TCP 81').allowedBy, {
      egress: [],
      ingress: ['default/a-web ingress[1]'],
    });
    assert.deepEqual(ask('', 'default/db -> default/web TCP 80').allowedBy, { egress: [], ingress: [] });
  });

  test('refused: every policy that isolates the refusing side, and only that side', () => {
    assert.deepEqual(ask(policies, '8.8.8.8 -> default/web TCP 443'), {
      allowed: false,
      refusedAt: 'ingress',
      isolatedBy: ['default/a-web', 'default/z-deny'],
      allowedBy: { egress: [], ingress: [] },
    });
    assert.deepEqual(ask(policies, 'default/db -> prod/mon TCP 80'), {
      allowed: false,
      refusedAt: 'ingress',
      isolatedBy: ['prod/elsewhere'],
      allowedBy: { egress: ['default/out egress[0]'], ingress: [] },
    });
    assert.deepEqual(ask(policies, 'default/web -> prod/mon TCP 80').isolatedBy, ['default/z-deny']);
  });
});

/** A row of the corpus: from, to, protocol, port, 1 for allowed, and a flag where engines differ. */
type Row = [string, string, Protocol, number, 0 | 1, string?];

interface Vector {
  id: string;
  corpus: string;
  flags: string[];
  manifests: string[];
  bulk?: Row[];
}

const shared = process.env['HOPSCOPE_SHARED'];

describe('truth tables of other projects', () => {
  for (const corpus of ['cyclonus', 'k8s-e2e-netpol']) {
    test(corpus, (context) => {
      if (shared === undefined || !existsSync(join(shared, 'corpus', 'vectors.jsonl.gz'))) {
        console.log(
          `*** SKIPPED: ${corpus} was NOT checked: HOPSCOPE_SHARED does not name the folder of the corpus ***`,
        );
        context.skip('no corpus');
        return;
      }
      const vectors = readVectors(join(shared, 'corpus')).filter((vector) => vector.corpus === corpus);
      const outcomes = vectors.flatMap((vector) => outcomesOf(join(shared, 'corpus', 'manifests'), vector));
      const wrong = outcomes.filter(({ right }) => !right).map(({ text }) => text);
      console.log(
        `${corpus}: ${vectors.length} sets, ${outcomes.length - wrong.length} of ${outcomes.length} rows agree`,
      );
      assert.ok(outcomes.length > 0);
      assert.deepEqual(wrong, []);
    });
  }
});

function readVectors(folder: string): Vector[] {
  const lines = gunzipSync(readFileSync(join(folder, 'vectors.jsonl.gz')))
    .toString()
    .trim()
    .split('\n');
  return lines.map((line) => JSON.parse(line) as Vector);
}

/** Every row must hold where ipBlock matches pods; where it does not, those must that have no flag for the difference. */
function outcomesOf(folder: string, vector: Vector): { right: boolean; text: string }[] {
  const cluster = readCluster(vector.manifests.map((name) => join(folder, name)));
  return (vector.bulk ?? []).map((row) => {
    const [from, to, protocol, port, expected, flag] = row;
    const differs = flag === 'ipblock-vs-pod-ip' || vector.flags.includes('has-ipblock-vs-pod-ip');
    const right = (differs ? [true] : [true, false]).every((ipBlockMatchesPods) => {
      const probe = { from: endOf(from), to: endOf(to), protocol, port };
      return decide(cluster, probe, { ipBlockMatchesPods }).allowed === (expected === 1);
    });
    return { right, text: `${vector.id} ${JSON.stringify(row)}` };
  });
}

function readCluster(files: string[]): Cluster {
  const objects = files
    .flatMap((file) => parseAllDocuments(readFileSync(file, 'utf8')))
    .map((document) => document.toJS() as Namespace | Pod | NetworkPolicy | null);
  return {
    namespaces: objects.flatMap((object) => (object?.kind === 'Namespace' ? [object] : [])),
    pods: objects.flatMap((object) => (object?.kind === 'Pod' ? [object] : [])),
    policies: objects.flatMap((object) => (object?.kind === 'NetworkPolicy' ? [object] : [])),
  };
}
