/** The dataplane against the independent model of Calico's policies, over random clusters with NetworkPolicies beside them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decide, type CalicoPolicy, type Cluster, type Entity, type Rule } from './calico.js';
import { clusters, toManifests } from './generate-calico.js';
import { findsOut, hold, RUNS, SEED, type Language } from './hold.js';
import { probesOf } from './probes.js';

const LANGUAGE: Language<Cluster> = { name: 'calico model', clusters, probesOf, toManifests, decide };

test(`the dataplane agrees with the model of Calico's policies on ${RUNS} random clusters (HOPSCOPE_SEED=${SEED})`, () => {
  hold(LANGUAGE);
});

const ofPolicies =
  (change: (spec: CalicoPolicy['spec']) => CalicoPolicy['spec']) =>
  (cluster: Cluster): Cluster => ({
    ...cluster,
    calico: cluster.calico.map((policy) => ({ ...policy, spec: change(policy.spec) })),
  });

const ofRules = (change: (rules: Rule[]) => Rule[]): ((cluster: Cluster) => Cluster) =>
  ofPolicies((spec) => ({
    ...spec,
    ...(spec.ingress ? { ingress: change(spec.ingress) } : {}),
    ...(spec.egress ? { egress: change(spec.egress) } : {}),
  }));

const ofEntities = (change: (entity: Entity) => Entity): ((cluster: Cluster) => Cluster) =>
  ofRules((rules) =>
    rules.map(({ source, destination, ...rule }) => ({
      ...rule,
      ...(source ? { source: change(source) } : {}),
      ...(destination ? { destination: change(destination) } : {}),
    })),
  );

const without = <T extends object>(object: T, ...fields: (keyof T)[]): T =>
  Object.fromEntries(Object.entries(object).filter(([field]) => !fields.includes(field as keyof T))) as T;

/** Faults that a dataplane might plausibly have. */
const FAULTS: Readonly<Record<string, (cluster: Cluster) => Cluster>> = {
  'rules are taken from the last to the first': ofRules((rules) => [...rules].reverse()),
  'Pass is passed over': ofRules((rules) => rules.filter(({ action }) => action !== 'Pass')),
  'Log ends the search': ofRules((rules) =>
    rules.map((rule) => (rule.action === 'Log' ? { ...rule, action: 'Allow' } : rule)),
  ),
  'greater orders go first': ofPolicies((spec) => ({ ...spec, ...(spec.order ? { order: -spec.order } : {}) })),
  'policies have no order': ofPolicies((spec) => without(spec, 'order')),
  'there is one tier': ofPolicies((spec) => without(spec, 'tier')),
  'every tier ends in Deny': (cluster) => ({
    ...cluster,
    tiers: cluster.tiers.map((tier) => ({ ...tier, spec: without(tier.spec, 'defaultAction') })),
  }),
  'notNets are passed over': ofEntities((entity) => without(entity, 'notNets')),
  'notSelector is passed over': ofEntities((entity) => without(entity, 'notSelector')),
  'notPorts are passed over': ofEntities((entity) => without(entity, 'notPorts')),
  'service accounts are passed over': ofEntities((entity) => without(entity, 'serviceAccounts')),
  'namespaceSelector is passed over': ofEntities((entity) => without(entity, 'namespaceSelector')),
  'sets have no addresses': (cluster) => ({ ...cluster, sets: [] }),
};

for (const [fault, change] of Object.entries(FAULTS)) {
  test(`the comparison finds out that ${fault}`, () => {
    assert.ok(findsOut(LANGUAGE, change));
  });
}
