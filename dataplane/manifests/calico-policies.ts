import { IpProto } from '../../assembly/abi.js';
import { problem } from '../problems.js';
import { hasHostBits, isAddress, parseCidr } from './addresses.js';
import type {
  CalicoEntity,
  CalicoNetworkSet,
  CalicoPolicy,
  CalicoPort,
  CalicoRule,
  CalicoRules,
  CalicoSelector,
  CalicoTier,
} from './calico.js';
import type { Unevaluated } from './cilium.js';
import { quote, type Fields } from './fields.js';
import type { Header } from './kinds.js';
import type { Located } from './place.js';
import { parseExpression } from './selector-expressions.js';

/** NetworkPolicy and GlobalNetworkPolicy of projectcalico.org/v3. What is well written and not evaluated stays at its rule. */
export function readCalicoPolicy(actualKind: CalicoPolicy['actualKind']) {
  return (object: Fields, header: Header): CalicoPolicy => {
    const spec = object.within('spec');
    const global = actualKind === 'GlobalNetworkPolicy';
    spec.only(
      ...['tier', 'order', 'selector', 'serviceAccountSelector', 'types', 'ingress', 'egress', 'performanceHints'],
      ...(global ? ['namespaceSelector', 'doNotTrack', 'preDNAT', 'applyOnForward'] : []),
    );
    const ingress = readRules(spec, 'ingress');
    const egress = readRules(spec, 'egress');
    const preDNAT = spec.boolean('preDNAT');
    const doNotTrack = spec.boolean('doNotTrack');
    if (preDNAT && doNotTrack) spec.refuse('HS1010', 'preDNAT', 'preDNAT and doNotTrack cannot stand together.');
    if (preDNAT && egress?.rules.length) spec.refuse('HS1010', 'egress', 'A policy before DNAT has no egress rules.');
    if ((preDNAT || doNotTrack) && spec.scalar('applyOnForward') === false)
      spec.refuse('HS1010', 'applyOnForward', 'preDNAT and doNotTrack need applyOnForward.');
    const tier = spec.string('tier');
    return {
      ...header,
      kind: 'CalicoPolicy',
      actualKind,
      tier: tier?.value ? tier : { value: 'default', at: header.metadata.name.at },
      order: readOrder(spec),
      selectors: {
        own: readExpression(spec, 'selector'),
        namespace: global ? readExpression(spec, 'namespaceSelector') : null,
        serviceAccount: readExpression(spec, 'serviceAccountSelector'),
      },
      aboutHosts: preDNAT || doNotTrack,
      types: readTypes(spec, ingress, egress),
      ingress,
      egress,
    };
  };
}

export function readTier(object: Fields, header: Header): CalicoTier {
  const spec = object.within('spec');
  spec.only('order', 'defaultAction');
  const defaultAction = spec.oneOf('defaultAction', ['Deny', 'Pass'])?.value ?? 'Deny';
  return { ...header, kind: 'Tier', order: readOrder(spec), defaultAction };
}

export function readNetworkSet(kind: CalicoNetworkSet['kind']) {
  return (object: Fields, header: Header): CalicoNetworkSet => {
    const spec = object.within('spec');
    spec.only('nets');
    return { ...header, kind, nets: readNets(spec, 'nets') };
  };
}

/** A number of any kind; the last of all without one. */
function readOrder(spec: Fields): number {
  if (!spec.has('order')) return Infinity;
  const order = spec.scalar('order');
  if (typeof order === 'number' && Number.isFinite(order)) return order;
  spec.refuse('HS1008', 'order', 'order must be a number.');
  return Infinity;
}

/** An expression in a field; null for none. */
function readExpression(fields: Fields, name: string): CalicoSelector | null {
  const found = fields.string(name);
  if (!found || found.value.trim() === '') return null;
  const expression = parseExpression(found.value);
  if (expression) return { at: found.at, expression };
  fields.refuse('HS1010', name, `${quote(found.value)} is no selector.`);
  return null;
}

/** Ingress unless there are egress rules alone; Egress where there are egress rules. */
function readTypes(spec: Fields, ingress: CalicoRules | null, egress: CalicoRules | null): CalicoPolicy['types'] {
  const words = spec.strings('types');
  for (const { value, at } of words)
    if (value !== 'Ingress' && value !== 'Egress')
      spec.problems.push(problem('HS1010', at, `types are Ingress and Egress, not ${quote(value)}.`));
  if (words.length > 0)
    return (['Ingress', 'Egress'] as const).filter((type) => words.some(({ value }) => value === type));
  if (!egress?.rules.length) return ['Ingress'];
  return ingress?.rules.length ? ['Ingress', 'Egress'] : ['Egress'];
}

function readRules(spec: Fields, name: 'ingress' | 'egress'): CalicoRules | null {
  const list = spec.mappings(name);
  return list ? { at: list.at, rules: list.items.flatMap((rule) => (rule && readRule(rule)) ?? []) } : null;
}

function readRule(rule: Fields): CalicoRule | undefined {
  rule.only(
    ...['action', 'ipVersion', 'protocol', 'notProtocol', 'icmp', 'notICMP'],
    ...['source', 'destination', 'http', 'metadata'],
  );
  const unevaluated: Unevaluated[] = [];
  const action = rule.required('action', rule.oneOf('action', ['Allow', 'Deny', 'Log', 'Pass']))?.value;
  const ipVersion = rule.integer('ipVersion', 4, 6) ?? null;
  if (ipVersion?.value === 5) rule.refuse('HS1010', 'ipVersion', 'ipVersion is 4 or 6.');
  const protocol = readProtocol(rule, 'protocol');
  const notProtocol = readProtocol(rule, 'notProtocol');
  if (rule.has('http')) unevaluated.push({ at: rule.placeOf('http'), what: 'http' });
  const source = readEntity(rule, 'source', protocol);
  if (source.ports.length + source.notPorts.length > 0)
    unevaluated.push({ at: source.at, what: 'the port that a packet comes from' });
  const domains = rule.within('destination');
  if (domains.has('domains')) unevaluated.push({ at: domains.placeOf('domains'), what: 'domains' });
  const read = {
    at: rule.at,
    ipVersion,
    protocol,
    notProtocol,
    icmpType: readIcmp(rule, 'icmp', protocol, unevaluated),
    notIcmpType: readIcmp(rule, 'notICMP', protocol, unevaluated),
    source,
    destination: readEntity(rule, 'destination', protocol),
    unevaluated,
  };
  for (const { at, what } of unevaluated)
    rule.problems.push(problem('HS1012', at, `${what} is not evaluated yet; verdicts it could change are UNKNOWN.`));
  return action && { ...read, action };
}

/** IANA protocol-numbers, by the words that Calico knows. */
const PROTOCOLS: Readonly<Record<string, number>> = {
  tcp: IpProto.TCP,
  udp: IpProto.UDP,
  sctp: IpProto.SCTP,
  icmp: IpProto.ICMP,
  icmpv6: IpProto.ICMPV6,
  udplite: 136,
};

/** A word or a number; null for none. */
function readProtocol(rule: Fields, name: 'protocol' | 'notProtocol'): number | null {
  if (typeof rule.scalar(name) === 'number') return rule.integer(name, 1, 255)?.value ?? null;
  const found = rule.string(name);
  if (!found?.value) return null;
  const number = /^\d{1,3}$/.test(found.value) ? Number(found.value) : PROTOCOLS[found.value.toLowerCase()];
  if (number !== undefined && number >= 1 && number <= 255) return number;
  rule.refuse('HS1010', name, `${quote(found.value)} is no protocol.`);
  return null;
}

/** The type; the policymap knows no codes. */
function readIcmp(
  rule: Fields,
  name: 'icmp' | 'notICMP',
  protocol: number | null,
  unevaluated: Unevaluated[],
): number | null {
  const icmp = rule.fields(name);
  if (!icmp) return null;
  icmp.only('type', 'code');
  if (protocol !== IpProto.ICMP && protocol !== IpProto.ICMPV6)
    rule.refuse('HS1010', name, `${name} needs protocol ICMP or ICMPv6.`);
  const type = icmp.integer('type', 0, 255) ?? null;
  if (icmp.has('code')) {
    if (type === null) icmp.refuse('HS1010', 'code', 'code needs a type.');
    else unevaluated.push({ at: icmp.placeOf('code'), what: `${name}.code` });
  }
  return type?.value ?? null;
}

const WITH_PORTS: readonly (number | null)[] = [IpProto.TCP, IpProto.UDP, IpProto.SCTP];

function readEntity(rule: Fields, name: 'source' | 'destination', protocol: number | null): CalicoEntity {
  const entity = rule.within(name);
  const own = ['selector', 'notSelector', 'nets', 'notNets', 'ports', 'notPorts'];
  entity.only(
    ...own,
    'namespaceSelector',
    'serviceAccounts',
    'services',
    ...(name === 'destination' ? ['domains'] : []),
  );
  const accounts = entity.within('serviceAccounts');
  accounts.only('names', 'selector');
  const services = entity.fields('services');
  services?.only('name', 'namespace');
  const named = services?.required('name', services.string('name'));
  const beside = own.find((field) => entity.has(field));
  if (services && beside) entity.refuse('HS1010', beside, `services and ${beside} cannot stand together.`);
  const ports = readPorts(entity, 'ports');
  const notPorts = readPorts(entity, 'notPorts');
  if (ports.length + notPorts.length > 0 && !WITH_PORTS.includes(protocol))
    entity.refuse('HS1010', ports.length > 0 ? 'ports' : 'notPorts', 'Ports need protocol TCP, UDP or SCTP.');
  return {
    at: entity.at,
    selectors: {
      own: readExpression(entity, 'selector'),
      namespace: readExpression(entity, 'namespaceSelector'),
      serviceAccount: readExpression(accounts, 'selector'),
    },
    serviceAccounts: accounts.strings('names').map(({ value }) => value),
    notSelector: readExpression(entity, 'notSelector'),
    nets: readNets(entity, 'nets'),
    notNets: readNets(entity, 'notNets'),
    services: services && named ? { at: services.at, name: named.value, namespace: services.text('namespace') } : null,
    ports,
    notPorts,
  };
}

/** Blocks; an address alone is a block of one. */
function readNets(fields: Fields, name: string): Located<string>[] {
  return fields.strings(name).map(({ value, at }) => {
    const block = isAddress(value) ? `${value}/${value.includes(':') ? 128 : 32}` : value;
    const cidr = parseCidr(block);
    if (!cidr) fields.problems.push(problem('HS1010', at, `${quote(value)} is not an address block.`));
    else if (hasHostBits(cidr))
      fields.problems.push(problem('HS3007', at, `${quote(value)} has bits set beyond its prefix; they are ignored.`));
    return { value: block, at };
  });
}

/** Numbers, `first:last`, and names. */
function readPorts(fields: Fields, name: 'ports' | 'notPorts'): CalicoPort[] {
  return (fields.list(name)?.items ?? []).flatMap((item): CalicoPort[] => {
    const { at } = item;
    const text = item.type === 'scalar' ? item.text : '';
    const [, first, last] = /^(\d{1,5})(?::(\d{1,5}))?$/.exec(text) ?? [];
    const range = { first: Number(first), last: Number(last ?? first) };
    if (first !== undefined && range.first <= range.last && range.last <= 65535) return [{ value: range, at }];
    // A number that is no port is no name either.
    const isName = item.type === 'scalar' && typeof item.value === 'string' && /^[a-zA-Z0-9_.-]{1,128}$/.test(text);
    if (first === undefined && isName) return [{ value: text, at }];
    fields.problems.push(problem('HS1010', at, `${quote(text)} is no port, range of ports or name of one.`));
    return [];
  });
}
