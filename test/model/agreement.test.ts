/**
 * The comparison against answerers of known quality: the model itself must agree, and the model with one fault must be
 * found out. Each fault is one that a dataplane might plausibly have, so this also proves that the random clusters
 * reach the corner where it lives.
 */
import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import { compare, type Answer, type Ask } from './agreement.js';
import {
  decide,
  type Cluster,
  type Expectation,
  type LabelSelector,
  type Namespace,
  type NetworkPolicy,
  type NetworkPolicyPort,
  type Pod,
} from './networkpolicy.js';

const SEED = 20240607;

// A replay is for the test that failed, not for these.
delete process.env['HOPSCOPE_SEED'];
delete process.env['HOPSCOPE_PATH'];

function read(manifests: string): Cluster {
  const objects = manifests.split('---\n').map((document) => JSON.parse(document) as Namespace | Pod | NetworkPolicy);
  return {
    namespaces: objects.flatMap((object) => (object.kind === 'Namespace' ? [object] : [])),
    pods: objects.flatMap((object) => (object.kind === 'Pod' ? [object] : [])),
    policies: objects.flatMap((object) => (object.kind === 'NetworkPolicy' ? [object] : [])),
  };
}

function answerOf(expectation: Expectation): Answer {
  const { allowed, refusedAt, isolatedBy, allowedBy } = expectation;
  const decider = (text: string, effect: string): Answer['deciders'][number] => {
    const [id = '', rule = null] = text.split(' ');
    const [namespace = '', name = ''] = id.split('/');
    return { namespace, name, rule, effect };
  };
  return {
    verdict: allowed ? 'ALLOWED' : 'DENIED',
    direction: refusedAt,
    deciders: [
      ...isolatedBy.map((id) => decider(id, 'isolates')),
      ...[...allowedBy.egress, ...allowedBy.ingress].map((id) => decider(id, 'allows')),
    ],
  };
}

/** Answers by the model, from manifests that a fault has changed first, and changes the answer by it after. */
function faulty(change: (cluster: Cluster) => Cluster, spoil: (answer: Answer) => Answer = (answer) => answer): Ask {
  return (manifests, probes, options) => {
    const cluster = change(read(manifests));
    return Promise.resolve(probes.map((probe) => spoil(answerOf(decide(cluster, probe, options)))));
  };
}

const same = (cluster: Cluster): Cluster => cluster;

/** Walks every object of the policies, so that a fault can change all selectors, or all ports, wherever they stand. */
function everywhere(revive: (key: string, value: unknown) => unknown): (cluster: Cluster) => Cluster {
  return (cluster) => ({
    ...cluster,
    policies: cluster.policies.map((policy) => JSON.parse(JSON.stringify(policy), revive) as NetworkPolicy),
  });
}

/** Applied to each element of a list `ports`. */
function eachPort(change: (port: NetworkPolicyPort) => NetworkPolicyPort): (cluster: Cluster) => Cluster {
  return everywhere((key, value) => (key === 'ports' ? (value as NetworkPolicyPort[]).map(change) : value));
}

const FAULTS: Record<string, Ask> = {
  'NotIn wants the key': faulty(
    everywhere((key, value) =>
      key === 'matchExpressions'
        ? (value as NonNullable<LabelSelector['matchExpressions']>).flatMap((requirement) =>
            requirement.operator === 'NotIn'
              ? [requirement, { key: requirement.key, operator: 'Exists' as const }]
              : [requirement],
          )
        : value,
    ),
  ),
  'an empty value is no value': faulty((cluster) => ({
    ...cluster,
    pods: cluster.pods.map((pod) => ({
      ...pod,
      metadata: {
        ...pod.metadata,
        labels: Object.fromEntries(Object.entries(pod.metadata.labels ?? {}).filter(([, value]) => value !== '')),
      },
    })),
  })),
  'an empty list of peers matches nothing': faulty(
    everywhere((key, value) =>
      (key === 'from' || key === 'to') && (value as unknown[]).length === 0
        ? [{ ipBlock: { cidr: '192.0.2.99/32' } }]
        : value,
    ),
  ),
  'a port without protocol is of every protocol': faulty(
    everywhere((key, value) =>
      key === 'ports'
        ? (value as NetworkPolicyPort[]).flatMap((port) =>
            port.protocol == null
              ? (['TCP', 'UDP', 'SCTP'] as const).map((protocol) => ({ ...port, protocol }))
              : [port],
          )
        : value,
    ),
  ),
  'endPort is exclusive': faulty(
    eachPort((port) =>
      port.endPort != null && typeof port.port === 'number' && port.endPort > port.port
        ? { ...port, endPort: port.endPort - 1 }
        : port,
    ),
  ),
  'a port name is the same number in every pod': faulty(
    eachPort((port) => (typeof port.port === 'string' ? { ...port, port: port.port === 'dns' ? 53 : 80 } : port)),
  ),
  'no namespace is labelled with its name': faulty((cluster) => {
    const policies = JSON.stringify(cluster.policies).replaceAll('kubernetes.io/metadata.name', 'no.such/label');
    return { ...cluster, policies: JSON.parse(policies) as NetworkPolicy[] };
  }),
  'only the first hole counts': faulty(
    everywhere((key, value) => (key === 'except' ? (value as string[]).slice(0, 1) : value)),
  ),
  'policyTypes without Egress when egress has rules': faulty((cluster) => ({
    ...cluster,
    policies: cluster.policies.map((policy) => ({
      ...policy,
      spec: { ...policy.spec, policyTypes: policy.spec.policyTypes ?? ['Ingress'] },
    })),
  })),
  'an empty egress isolates': faulty((cluster) => ({
    ...cluster,
    policies: cluster.policies.map((policy) => ({
      ...policy,
      spec: {
        ...policy.spec,
        policyTypes:
          policy.spec.policyTypes ?? (policy.spec.egress === undefined ? ['Ingress'] : ['Ingress', 'Egress']),
      },
    })),
  })),
  'a denial names one policy only': faulty(same, (answer) => ({ ...answer, deciders: answer.deciders.slice(0, 1) })),
  'the other direction': faulty(same, (answer) => ({
    ...answer,
    direction: answer.direction === 'egress' ? 'ingress' : answer.direction,
  })),
};

/** Runs without the report of the disagreement, which is wanted here, and returns it. */
async function quietly<T>(run: () => Promise<T>): Promise<{ result: T; printed: string }> {
  const log = mock.method(console, 'log', () => undefined);
  try {
    const result = await run();
    return { result, printed: log.mock.calls.map((call) => call.arguments.join(' ')).join('\n') };
  } finally {
    log.mock.restore();
  }
}

describe('compare', () => {
  test('the model agrees with itself', async () => {
    const { clusters: asked, probes, mismatches } = await compare(300, SEED, faulty(same));
    assert.deepEqual({ asked, probes, mismatches }, { asked: 300, probes: 3000, mismatches: [] });
  });

  for (const [fault, ask] of Object.entries(FAULTS)) {
    test(`is found: ${fault}`, async () => {
      const { result, printed } = await quietly(() => compare(1000, SEED, ask));
      assert.ok(result.mismatches.length > 0);
      assert.match(printed, /Replay: HOPSCOPE_SEED=-?\d+ HOPSCOPE_PATH=[\d:]+/);
    });
  }

  test('an answerer that throws is found, with the smallest cluster for which it does', async () => {
    const ask: Ask = (manifests, ...rest) =>
      manifests.includes('endPort') ? Promise.reject(new Error('no ranges')) : faulty(same)(manifests, ...rest);
    const { printed } = await quietly(() => assert.rejects(compare(1000, SEED, ask), /no ranges/));
    assert.equal(printed.split('"kind": "NetworkPolicy"').length - 1, 1);
    assert.match(printed, /Replay: /);
  });

  test('a failure replays from the printed line', async () => {
    const ask = FAULTS['endPort is exclusive'] as Ask;
    const first = await quietly(() => compare(1000, SEED, ask));
    const [, seed = '', path = ''] = /HOPSCOPE_SEED=(\S+) HOPSCOPE_PATH=(\S+)/.exec(first.printed) ?? [];
    Object.assign(process.env, { HOPSCOPE_SEED: seed, HOPSCOPE_PATH: path });
    try {
      const again = await quietly(() => compare(1000, 1, ask));
      assert.deepEqual(again.result.mismatches, first.result.mismatches);
      assert.equal(again.printed, first.printed);
    } finally {
      delete process.env['HOPSCOPE_SEED'];
      delete process.env['HOPSCOPE_PATH'];
    }
  });
});
