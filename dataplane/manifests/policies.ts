import { problem } from '../problems.js';
import { contains, hasHostBits, parseCidr, type Cidr } from './addresses.js';
import { quote, type Fields } from './fields.js';
import type { Header } from './kinds.js';
import { readSelector } from './labels.js';
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicyRule } from './objects.js';
import type { Located, Place } from './place.js';
import { readProtocol } from './pods.js';

/** networking.k8s.io/v1 NetworkPolicy; `undefined` where any of it is refused. */
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

/** By default Ingress, and Egress where the manifest has an egress rule. */
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
  const rules = spec.items(name, (rule) => readRule(rule, peers));
  return rules && { at: spec.placeOf(name), rules };
}

function readRule(rule: Fields, peersName: 'from' | 'to'): NetworkPolicyRule | undefined {
  const known = rule.only(peersName, 'ports');
  const peers = rule.items(peersName, readPeer);
  const ports = rule.items('ports', readPort);
  return known && peers !== undefined && ports !== undefined ? { at: rule.at, peers, ports } : undefined;
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
  for (const { part, range } of parts) {
    const misplaced = range && misplacement(whole, range);
    if (!misplaced) continue;
    const related: { at: Place; message: string }[] = [{ at: cidr.at, message: 'The cidr.' }];
    const message = `except ${quote(part.value)} ${misplaced} cidr ${quote(cidr.value)}.`;
    block.problems.push(problem('HS3003', part.at, message, { related }));
  }
  return { at: block.at, cidr, except: written };
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
