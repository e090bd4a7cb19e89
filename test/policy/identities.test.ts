/** Identities of addresses outside: the world's, and those of the prefixes that policies name, of both families. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatPrefix } from '../../dataplane/addresses.js';
import { buildCluster } from '../../dataplane/cluster/build.js';
import { Manifests } from '../../dataplane/manifests/manifests.js';
import { PolicyCompiler, PolicyReader } from '../../dataplane/policy/compile.js';
import { buildIdentities } from '../../dataplane/policy/identities.js';
import { resolved } from '../../dataplane/cluster/shown.js';
import { DEFAULT_SETTINGS } from '../../dataplane/settings.js';

/** What a policy that lets a pod out to these blocks selects: the world by its number, prefixes by their text. */
function selected(blocks: string, podCIDR: string): string[] {
  const manifests = new Manifests();
  manifests.set(
    'm.yaml',
    `apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c}]}\n---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {podSelector: {}, policyTypes: [Egress], egress: [{to: [${blocks}]}]}\n`,
  );
  const settings = resolved({ ...DEFAULT_SETTINGS, podCIDR }, []);
  const cluster = buildCluster(manifests.objects, settings);
  const policies = new PolicyReader().read(cluster, settings);
  const identities = buildIdentities(cluster, policies, settings);
  const entries = new PolicyCompiler().compile(policies, cluster.nodes, identities, settings).policies[0]!.entries;
  const name = (number: number): string => {
    const held = identities.prefixes.find((identity) => identity.number === number);
    return held ? formatPrefix(held.prefix) : `${number}`;
  };
  return entries.filter(({ egress }) => egress).map(({ identity }) => name(identity));
}

const [ONLY_4, ONLY_6, BOTH] = ['10.244.0.0/16', 'fd01::/56', '10.244.0.0/16,fd01::/56'];
const block = (cidr: string, ...except: string[]): string =>
  `{ipBlock: {cidr: "${cidr}", except: [${except.map((one) => `"${one}"`).join(', ')}]}}`;

test('the world is one identity in a cluster of one family, and one for each in a dual-stack cluster', () => {
  const everywhere = [block('0.0.0.0/0'), block('::/0')].join(', ');
  assert.deepEqual(selected(everywhere, ONLY_4), ['2']);
  assert.deepEqual(selected(everywhere, ONLY_6), ['2']);
  assert.deepEqual(selected(everywhere, BOTH), ['9', '10']);
});

test('a block is of its own family alone, and of none that the cluster does not have', () => {
  assert.deepEqual(selected(block('::/0'), BOTH), ['10']);
  assert.deepEqual(selected(block('0.0.0.0/0'), BOTH), ['9']);
  assert.deepEqual(selected(block('::/0'), ONLY_4), []);
  assert.deepEqual(selected(block('2001:db8::/32'), ONLY_4), []);
});

test('what an except holds is not selected, and what lies in a block is', () => {
  const blocks = [block('2001:db8::/32', '2001:db8:1::/48'), block('2001:db8:2::/48'), block('192.0.2.0/24')].join(
    ', ',
  );
  assert.deepEqual(selected(blocks, BOTH).sort(), ['192.0.2.0/24', '2001:db8:2::/48', '2001:db8::/32']);
  assert.deepEqual(selected(block('::/0', '2001:db8::/32'), BOTH), ['10']);
});
