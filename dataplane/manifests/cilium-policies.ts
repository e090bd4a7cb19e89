import { problem } from '../problems.js';
import { contains, hasHostBits, isAddress, parseCidr } from './addresses.js';
import {
  AUTH_MODES,
  ENTITIES,
  SECTIONS,
  type AuthMode,
  type CiliumCIDRGroup,
  type CiliumPeer,
  type CiliumPolicy,
  type CiliumRule,
  type CiliumSection,
  type CiliumSpec,
  type Unevaluated,
} from './cilium.js';
import { readFqdn, readPorts } from './cilium-ports.js';
import { quote, type Fields } from './fields.js';
import type { Header } from './kinds.js';
import { isLabelKey, readSelector, readSelectorOf } from './labels.js';
import type { LabelSelector } from './objects.js';
import type { Located } from './place.js';

/**
 * cilium.io/v2 CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy. Cilium too takes a policy whole or not at all. What is well
 * written and not evaluated stays at its rule.
 */
export function readCiliumPolicy(kind: CiliumPolicy['kind']) {
  return (object: Fields, header: Header): CiliumPolicy => {
    const spec = object.fields('spec');
    const listed = object.mappings('specs');
    const specs = [
      ...(spec ? [readSpec(spec, '')] : []),
      ...(listed?.items ?? []).map((item, i) => item && readSpec(item, `specs[${i}].`)),
    ].filter((read) => read !== undefined);
    if (spec === null && (listed === null || listed?.items.length === 0)) object.required('spec', null);
    return { ...header, kind, specs };
  };
}

/** cilium.io/v2 and v2alpha1 CiliumCIDRGroup. */
export function readCIDRGroup(object: Fields, header: Header): CiliumCIDRGroup {
  const spec = object.within('spec');
  spec.only('externalCIDRs');
  const externalCIDRs = spec.strings('externalCIDRs');
  for (const cidr of externalCIDRs) checkBlock(spec, cidr);
  return { ...header, kind: 'CiliumCIDRGroup', externalCIDRs };
}

function readSpec(spec: Fields, path: string): CiliumSpec | undefined {
  spec.only('endpointSelector', 'nodeSelector', ...SECTIONS, 'enableDefaultDeny', 'description', 'labels', 'log');
  const endpoints = readSelector(spec, 'endpointSelector', isSourcedKey);
  const nodes = readSelector(spec, 'nodeSelector', isSourcedKey);
  const selector = endpoints ?? nodes;
  if (endpoints && nodes)
    spec.refuse('HS1010', 'nodeSelector', 'A policy is about endpoints or about nodes, not both.');
  else if (endpoints === null && nodes === null) spec.required('endpointSelector', null);
  const sections = SECTIONS.flatMap((name) => readSection(spec, name) ?? []);
  if (sections.every(({ rules }) => rules.length === 0)) {
    spec.problems.push(problem('HS1010', spec.at, `A policy needs a rule in one of ${SECTIONS.join(', ')}.`));
  }
  const defaults = spec.within('enableDefaultDeny');
  defaults.only('ingress', 'egress');
  const enableDefaultDeny = { ingress: readFlag(defaults, 'ingress'), egress: readFlag(defaults, 'egress') };
  return selector ? { at: spec.at, path, selector, aboutNodes: !endpoints, sections, enableDefaultDeny } : undefined;
}

const readFlag = (fields: Fields, name: string): boolean | null => (fields.has(name) ? fields.boolean(name) : null);

function readSection(spec: Fields, name: CiliumSection['name']): CiliumSection | null {
  const list = spec.mappings(name);
  if (!list) return null;
  const rules = list.items.flatMap((rule) => (rule ? [readRule(rule, name)] : []));
  return { name, at: list.at, rules };
}

/** Names of the fields of a rule that say who, by direction; for `ingress` they begin with `from`. */
const PEER_FIELDS = ['Endpoints', 'Entities', 'CIDR', 'CIDRSet', 'Nodes', 'Groups'] as const;

function readRule(rule: Fields, section: CiliumSection['name']): CiliumRule {
  const egress = section.startsWith('egress');
  const deny = section.endsWith('Deny');
  const prefix = egress ? 'to' : 'from';
  const peerFields = [
    ...PEER_FIELDS.map((name) => prefix + name),
    ...(egress ? ['toServices'] : []),
    ...(egress && !deny ? ['toFQDNs'] : []),
  ];
  rule.only(...peerFields, `${prefix}Requires`, 'toPorts', 'icmps', ...(deny ? [] : ['authentication']));
  const unevaluated: Unevaluated[] = [];
  for (const name of [`${prefix}Nodes`, `${prefix}Groups`, `${prefix}Requires`]) {
    if (rule.list(name)?.items.length) unevaluated.push({ at: rule.placeOf(name), what: name });
  }
  const named = peerFields.filter((name) => rule.list(name)?.items.length);
  if (named.length > 1)
    rule.refuse('HS1010', named[1]!, `${named.join(' and ')} cannot stand in one rule: write a rule for each.`);
  const read: CiliumRule = {
    at: rule.at,
    peers: peerFields.some((name) => rule.list(name)) ? readPeers(rule, prefix) : null,
    ports: readPorts(rule, { egress, deny }, unevaluated),
    authentication: readAuthentication(rule),
    unevaluated,
  };
  for (const { at, what } of unevaluated)
    rule.problems.push(problem('HS1012', at, `${what} is not evaluated yet; verdicts it could change are UNKNOWN.`));
  return read;
}

/** `authentication.mode`; null without one. */
function readAuthentication(rule: Fields): AuthMode | null {
  const authentication = rule.fields('authentication');
  if (!authentication) return null;
  authentication.only('mode');
  return authentication.required('mode', authentication.oneOf('mode', AUTH_MODES))?.value ?? null;
}

function readPeers(rule: Fields, prefix: 'from' | 'to'): CiliumPeer[] {
  const endpoints = readSelectors(rule, `${prefix}Endpoints`);
  const peers: CiliumPeer[] = endpoints.map((selector) => ({ kind: 'endpoints', at: selector.at, selector }));
  for (const { value, at } of rule.strings(`${prefix}Entities`)) {
    const entity = ENTITIES.find((one) => one === value);
    if (entity) peers.push({ kind: 'entity', at, entity });
    else rule.problems.push(problem('HS1010', at, `${quote(value)} is no entity; there are ${ENTITIES.join(', ')}.`));
  }
  for (const cidr of rule.strings(`${prefix}CIDR`)) {
    const block = isAddress(cidr.value)
      ? { ...cidr, value: `${cidr.value}/${cidr.value.includes(':') ? 128 : 32}` }
      : cidr;
    checkBlock(rule, block);
    peers.push({ kind: 'cidr', at: cidr.at, cidr: block, except: [] });
  }
  for (const item of rule.each(`${prefix}CIDRSet`)) peers.push(...readCidrRule(item));
  for (const item of rule.each('toServices')) peers.push(...readService(item));
  for (const item of rule.each('toFQDNs')) {
    const fqdn = readFqdn(item);
    if (fqdn) peers.push({ kind: 'fqdn', at: item.at, fqdn });
  }
  return peers;
}

const readSelectors = (rule: Fields, name: string): LabelSelector[] =>
  rule.each(name).flatMap((item) => readSelectorOf(item, isSourcedKey) ?? []);

/** A label key with the source that Cilium may be told of: `k8s:app`, `reserved:host`. Cilium `pkg/labels`. */
function isSourcedKey(text: string): boolean {
  const [, source, key] = /^([a-z0-9-]+):(.+)$/.exec(text) ?? [];
  if (source === undefined || key === undefined) return isLabelKey(text);
  return source === 'cidr' || isLabelKey(key);
}

/** Cilium `api.CIDRRule`: a block, or a group of blocks, less some. */
function readCidrRule(item: Fields): CiliumPeer[] {
  item.only('cidr', 'except', 'cidrGroupRef', 'cidrGroupSelector');
  const except = item.strings('except');
  for (const part of except) checkBlock(item, part);
  const cidr = item.string('cidr') ?? null;
  const named = item.string('cidrGroupRef') ?? null;
  const group = named ?? readSelector(item, 'cidrGroupSelector') ?? null;
  if ((cidr === null) === (group === null) || (named && item.has('cidrGroupSelector'))) {
    const message = 'One of cidr, cidrGroupRef and cidrGroupSelector must say which addresses.';
    item.problems.push(problem('HS1010', item.at, message));
    return [];
  }
  if (group !== null) return [{ kind: 'cidrGroup', at: item.at, group, except }];
  checkBlock(item, cidr!);
  const whole = parseCidr(cidr!.value);
  for (const part of except) {
    const range = parseCidr(part.value);
    if (!whole || !range || contains(whole, range)) continue;
    const related = [{ at: cidr!.at, message: 'The cidr.' }];
    const message = `except ${quote(part.value)} lies outside cidr ${quote(cidr!.value)}.`;
    item.problems.push(problem('HS3003', part.at, message, { related }));
  }
  return [{ kind: 'cidr', at: item.at, cidr: cidr!, except }];
}

function checkBlock(fields: Fields, { value, at }: Located<string>): void {
  const cidr = parseCidr(value);
  if (!cidr) fields.problems.push(problem('HS1010', at, `${quote(value)} is not an address block.`));
  else if (hasHostBits(cidr))
    fields.problems.push(problem('HS3007', at, `${quote(value)} has bits set beyond its prefix; they are ignored.`));
}

/** Cilium `api.Service`. */
function readService(item: Fields): CiliumPeer[] {
  item.only('k8sService', 'k8sServiceSelector');
  const named = item.fields('k8sService');
  const selected = item.fields('k8sServiceSelector');
  if (named) {
    named.only('serviceName', 'namespace');
    const service = named.required('serviceName', named.string('serviceName'));
    return service ? [{ kind: 'service', at: item.at, service, namespace: named.text('namespace') || null }] : [];
  }
  if (!selected) {
    item.problems.push(problem('HS1010', item.at, 'One of k8sService and k8sServiceSelector must say which Service.'));
    return [];
  }
  selected.only('selector', 'namespace');
  const service = selected.required('selector', readSelector(selected, 'selector', isSourcedKey));
  return service ? [{ kind: 'service', at: item.at, service, namespace: selected.text('namespace') || null }] : [];
}
