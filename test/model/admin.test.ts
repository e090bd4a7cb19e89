/** The dataplane against the independent model of administrators' policies, over random clusters with NetworkPolicies between. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decide, type AdminPolicy, type Cluster, type Rule } from './admin.js';
import { clusters, toManifests } from './generate-admin.js';
import { findsOut, hold, RUNS, SEED, type Language } from './hold.js';
import { probesOf } from './probes.js';

const LANGUAGE: Language<Cluster> = { name: 'admin model', clusters, probesOf, toManifests, decide };

test(`the dataplane agrees with the model of administrators' policies on ${RUNS} random clusters (HOPSCOPE_SEED=${SEED})`, () => {
  hold(LANGUAGE);
});

const ofRules =
  (change: (rules: Rule[]) => Rule[]) =>
  ({ spec, ...policy }: AdminPolicy): AdminPolicy => ({
    ...policy,
    spec: {
      ...spec,
      ...(spec.ingress ? { ingress: change(spec.ingress) } : {}),
      ...(spec.egress ? { egress: change(spec.egress) } : {}),
    },
  });

/** Faults that a dataplane might plausibly have. */
const FAULTS: Readonly<Record<string, (policy: AdminPolicy) => AdminPolicy>> = {
  'rules are taken from the last to the first': ofRules((rules) => [...rules].reverse()),
  'Pass is passed over': ofRules((rules) => rules.filter(({ action }) => action !== 'Pass')),
  'Deny is passed over': ofRules((rules) => rules.filter(({ action }) => action !== 'Deny')),
  'greater priorities go first': (policy) => ({
    ...policy,
    spec: { ...policy.spec, ...(policy.spec.priority === undefined ? {} : { priority: 10 - policy.spec.priority }) },
  }),
  'the tiers are one': (policy) => ({
    ...policy,
    spec: { ...policy.spec, ...(policy.spec.tier ? { tier: 'Admin' as const } : {}) },
  }),
  'a rule is about every port': ofRules((rules) =>
    rules.map(({ action, from, to }) => ({ action, ...(from ? { from } : { to: to ?? [] }) })),
  ),
};

for (const [fault, change] of Object.entries(FAULTS)) {
  test(`the comparison finds out that ${fault}`, () => {
    assert.ok(findsOut(LANGUAGE, (cluster) => ({ ...cluster, admin: cluster.admin.map(change) })));
  });
}
