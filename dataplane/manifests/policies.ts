import { problem } from '../problems.js';
import { contains, hasHostBits, parseCidr, type Cidr } from './addresses.js';
import { quote, type Fields } from './fields.js';
import type { Header } from './kinds.js';
import { readSelector } from './labels.js';
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicyRule } from './objects.js';
import type { Located, Place } from './place.js';
import { readProtocol } from './pods.js';

/**
 * networking.k8s.io/v1 NetworkPolicy. No mistake in it may lead to a reading that allows more than was meant:
 * 1. A refused port or peer is left out of its rule.
 * 2. A rule is left out when a list of it is refused, or keeps none of its items: it would else mean "every".
 * 3. The policy is `undefined`, and verdicts it could change are UNKNOWN, when its pods, its directions or a whole
 *    list of rules are refused.
 */
export function readNetworkPolicy(object: Fields, header: Header): NetworkPolicy | undefined {
  const spec = object.optional('spec');
  if (!spec) return undefined;
  const known = spec.only('podSelector', 'policyTypes', 'ingress', 'egress');
  const podSelector = readSelector(spec, 'podSelector');
  const ingress = readRules(spec, 'ingress', 'from');
  const egress = readRules(spec, 'egress', 'to');
  const policyTypes = readPolicyTypes(spec);
  if (!known || podSelector === undefined || ingress === undefined || egress === undefined || !policyTypes) {
    return undefined;
  }
  return {
    ...header,
    kind: 'NetworkPolicy',
    podSelector: podSelector ?? { at: spec.at, matchLabels: new Map(), matchExpressions: [] },
    policyTypes,
    policyTypesAt: spec.list('policyTypes')?.items.length ? spec.placeOf('policyTypes') : null,
    ingress,
    egress,
  };
}

const DIRECTIONS = ['Ingress', 'Egress'] as const;

/** By default Ingress, and Egress where the manifest has an egress rule, be it a refused one. */
function readPolicyTypes(spec: Fields): NetworkPolicy['policyTypes'] | undefined {
  const list = spec.list('policyTypes');
  if (list === undefined) return undefined;
  if (!list?.items.length) return spec.list('egress')?.items.length ? DIRECTIONS : ['Ingress'];
  const words = spec.strings('policyTypes');
  const valid = DIRECTIONS.filter((direction) => words.some(({ value }) => value === direction));
  const refused = words.filter(({ value }) => !DIRECTIONS.some((direction) => direction === value));
  for (const { value, at } of refused) {
    spec.problems.push(problem('HS1010', at, `policyTypes are Ingress and Egress, not ${quote(value)}.`));
  }
  return refused.length > 0 || words.length < list.items.length ? undefined : valid;
}

function readRules(
  spec: Fields,
  name: 'ingress' | 'egress',
  peers: 'from' | 'to',
): NetworkPolicy['ingress'] | undefined {
  const list = spec.mappings(name);
  return list && { at: list.at, rules: list.items.flatMap((rule) => (rule && readRule(rule, peers)) ?? []) };
}

function readRule(rule: Fields, peersName: 'from' | 'to'): NetworkPolicyRule | undefined {
  const known = rule.only(peersName, 'ports');
  const peers = readItems(rule, peersName, readPeer);
  const ports = readItems(rule, 'ports', readPort);
  return known && peers !== undefined && ports !== undefined ? { at: rule.at, peers, ports } : undefined;
}

/** The items that can be read; `undefined` where there are items and none of them can. */
function readItems<Item>(
  rule: Fields,
  name: string,
  read: (item: Fields) => Item | undefined,
): Item[] | null | undefined {
  const list = rule.mappings(name);
  if (!list) return list;
  const items = list.items.map((item) => item && read(item)).filter((item) => item !== undefined);
  return items.length > 0 || list.items.length === 0 ? items : undefined;
}

function readPort(item: Fields): NetworkPolicyPort | undefined {
  const known = item.only('port', 'endPort', 'protocol');
  const port = item.portOrName('port');
  const endPort = item.port('endPort');
  const protocol = readProtocol(item);
  if (!known || port === undefined || endPort === undefined || !protocol) return undefined;
  if (endPort && typeof port?.value !== 'number') {
    item.refuse('HS1010', 'endPort', 'endPort needs a port that is a number.');
    return;
  }
  if (endPort && endPort.value < Number(port?.value)) {
    item.refuse('HS1010', 'endPort', `endPort ${endPort.value} is less than port ${port?.value}.`);
    return;
  }
  return { at: item.at, protocol, port, endPort };
}

function readPeer(item: Fields): NetworkPolicyPeer | undefined {
  const known = item.only('podSelector', 'namespaceSelector', 'ipBlock');
  const podSelector = readSelector(item, 'podSelector');
  const namespaceSelector = readSelector(item, 'namespaceSelector');
  const ipBlock = readIPBlock(item);
  if (!known || podSelector === undefined || namespaceSelector === undefined || ipBlock === undefined) return undefined;
  if (ipBlock && (podSelector || namespaceSelector)) {
    item.refuse('HS1010', 'ipBlock', 'A peer with an ipBlock can have no selector.');
    return;
  }
  if (!ipBlock && !podSelector && !namespaceSelector) {
    item.problems.push(problem('HS1010', item.at, 'A peer needs a podSelector, a namespaceSelector or an ipBlock.'));
    return undefined;
  }
  return { at: item.at, podSelector, namespaceSelector, ipBlock };
}

function readIPBlock(peer: Fields): NetworkPolicyPeer['ipBlock'] | undefined {
  const block = peer.fields('ipBlock');
  if (!block) return block;
  const known = block.only('cidr', 'except');
  const cidr = block.required('cidr', block.string('cidr'));
  const list = block.list('except');
  const written = block.strings('except');
  if (!known || !cidr || list === undefined || written.length < (list?.items.length ?? 0)) return undefined;

  const whole = checkCidr(block, cidr);
  const parts = written.map((part) => ({ part, range: checkCidr(block, part) }));
  if (!whole) return undefined;
  const except: Located<string>[] = [];
  for (const { part, range } of parts) {
    if (!range) return undefined;
    const misplaced = misplacement(whole, range);
    if (!misplaced) except.push(part);
    else {
      const related: { at: Place; message: string }[] = [{ at: cidr.at, message: 'The cidr.' }];
      const message = `except ${quote(part.value)} ${misplaced} cidr ${quote(cidr.value)}.`;
      block.problems.push(problem('HS3003', part.at, message, { related }));
      // Kubernetes refuses it; what was meant is a block of which nothing is left.
      if (contains(range, whole)) return undefined;
    }
  }
  return { at: block.at, cidr, except };
}

/** Kubernetes wants each `except` to be a proper part of `cidr`. */
function misplacement(whole: Cidr, part: Cidr): string | null {
  if (contains(part, whole)) return 'covers the whole';
  return contains(whole, part) ? null : 'lies outside';
}

function checkCidr(block: Fields, { value, at }: Located<string>): Cidr | null {
  const cidr = parseCidr(value);
  if (!cidr) block.problems.push(problem('HS1010', at, `${quote(value)} is not an address block.`));
  else if (hasHostBits(cidr)) {
    block.problems.push(problem('HS3007', at, `${quote(value)} has bits set beyond its prefix; they are ignored.`));
  }
  return cidr;
}
