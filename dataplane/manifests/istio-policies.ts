import { parseAddress, parsePrefix } from '../addresses.js';
import { problem } from '../problems.js';
import { quote, type Fields } from './fields.js';
import {
  ACTIONS,
  MODES,
  type AuthorizationPolicy,
  type AuthorizationRule,
  type Clause,
  type MtlsMode,
  type PeerAuthentication,
  type TargetRef,
  type WorkloadSelector,
} from './istio.js';
import type { Header } from './kinds.js';
import { readValidLabels } from './labels.js';
import type { Located } from './place.js';

/**
 * security.istio.io/v1 AuthorizationPolicy; `undefined` where any of it is refused: a rule that is left out of a DENY, or a field
 * out of a rule, would let more than was meant.
 */
export function readAuthorizationPolicy(object: Fields, header: Header): AuthorizationPolicy | undefined {
  const spec = object.optional('spec');
  if (!spec) return undefined;
  const known = spec.only('selector', 'targetRef', 'targetRefs', 'action', 'provider', 'rules');
  const selector = readSelector(spec);
  const targetRefs = readTargetRefs(spec);
  const action = spec.oneOf('action', ACTIONS);
  const rules = spec.items('rules', (rule) => readRule(rule, header.metadata.namespace));
  if (!known || selector === undefined || targetRefs === undefined || action === undefined || rules === undefined)
    return undefined;
  if (selector && targetRefs)
    return spec.refuse('HS1010', 'selector', 'There may be a selector or targetRefs, not both.');
  if (action?.value === 'CUSTOM' && !spec.has('provider'))
    return spec.refuse('HS1009', 'action', 'provider is missing: CUSTOM asks one.');
  if (action?.value === 'CUSTOM') {
    const message = 'CUSTOM is decided by a service of yours; verdicts it could change are UNKNOWN.';
    spec.problems.push(problem('HS1012', action.at, message));
  }
  return {
    ...header,
    kind: 'AuthorizationPolicy',
    selector,
    targetRefs,
    action: action?.value ?? 'ALLOW',
    rules: rules ?? [],
  };
}

/** The items of a list that must not be empty where it is there. */
function readSome<Item>(
  fields: Fields,
  name: string,
  read: (item: Fields) => Item | undefined,
): Item[] | null | undefined {
  const items = fields.items(name, read);
  return items?.length === 0 ? fields.refuse('HS1010', name, `${name} is empty; leave it out for any.`) : items;
}

/** type.istio.io WorkloadSelector: labels alone. An empty one is none. */
export function readSelector(spec: Fields): WorkloadSelector | undefined {
  const selector = spec.fields('selector');
  if (!selector) return selector;
  const labels = readValidLabels(selector, 'matchLabels');
  if (!selector.only('matchLabels') || labels === undefined) return undefined;
  return labels && labels.size > 0 ? labels : null;
}

export function readTargetRefs(spec: Fields): readonly TargetRef[] | null | undefined {
  const read = (ref: Fields): TargetRef | undefined => {
    const kind = ref.required('kind', ref.string('kind'));
    const name = ref.required('name', ref.string('name'));
    if (!ref.only('group', 'kind', 'name', 'namespace') || !kind || !name) return undefined;
    return { group: ref.text('group') ?? '', kind: kind.value, name: name.value };
  };
  const single = spec.fields('targetRef');
  if (single === undefined) return undefined;
  if (single) {
    const ref = read(single);
    return ref && [ref];
  }
  const refs = spec.items('targetRefs', read);
  return refs?.length === 0 ? null : refs;
}

/** Fields of a source and of an operation, each with the attribute that it asks for; `not` before the name turns it round. */
const SOURCE: Readonly<Record<string, string>> = {
  principals: 'source.principal',
  requestPrincipals: 'request.auth.principal',
  namespaces: 'source.namespace',
  serviceAccounts: 'source.serviceAccount',
  ipBlocks: 'source.ip',
  remoteIpBlocks: 'remote.ip',
};
const OPERATION: Readonly<Record<string, string>> = {
  hosts: 'request.host',
  ports: 'destination.port',
  methods: 'request.method',
  paths: 'request.path',
};

function readRule(rule: Fields, namespace: string): AuthorizationRule | undefined {
  const known = rule.only('from', 'to', 'when');
  const from = readSome(rule, 'from', (item) => readPart(item, 'source', SOURCE, namespace));
  const to = readSome(rule, 'to', (item) => readPart(item, 'operation', OPERATION, namespace));
  const when = rule.items('when', readCondition);
  if (!known || from === undefined || to === undefined || when === undefined) return undefined;
  return { at: rule.at, from, to, when: (when ?? []).flat() };
}

function readPart(
  item: Fields,
  name: 'source' | 'operation',
  attributes: Readonly<Record<string, string>>,
  namespace: string,
): Clause[] | undefined {
  const part = item.required(name, item.fields(name));
  if (!item.only(name) || !part) return undefined;
  const fields = Object.entries(attributes).flatMap(([field, attribute]) => [
    { field, attribute, negated: false },
    { field: `not${field[0]!.toUpperCase()}${field.slice(1)}`, attribute, negated: true },
  ]);
  const known = part.only(...fields.map(({ field }) => field));
  const clauses = fields.map(({ field, attribute, negated }) => readClause(part, field, attribute, negated, namespace));
  if (!known || clauses.some((clause) => clause === undefined)) return undefined;
  const given = clauses.filter((clause) => !!clause);
  return given.length > 0 ? given : item.refuse('HS1010', name, `${name} is empty; leave it out for any.`);
}

/** The keys that a condition may have; those in brackets have a name of their own in them. */
const CONDITION =
  /^(request\.headers\[[^\]]+\]|source\.(ip|namespace|principal|serviceAccount)|remote\.ip|request\.auth\.(principal|audiences|presenter|claims(\[[^\]]+\])+)|destination\.(ip|port)|connection\.sni|experimental\.envoy\.filters\.[^[]+(\[[^\]]+\])+)$/;

/** Those that neither the manifests nor a request tell. */
const UNREAD = /^(connection\.sni$|experimental\.)/;

function readCondition(condition: Fields): Clause[] | undefined {
  const key = condition.required('key', condition.string('key'));
  if (!condition.only('key', 'values', 'notValues') || !key) return undefined;
  if (!CONDITION.test(key.value))
    return condition.refuse('HS1010', 'key', `${quote(key.value)} is no attribute that Istio knows.`);
  if (UNREAD.test(key.value)) {
    const message = `${quote(key.value)} is not evaluated yet; verdicts it could change are UNKNOWN.`;
    condition.problems.push(problem('HS1012', key.at, message));
  }
  const clauses = [
    readClause(condition, 'values', key.value, false, null),
    readClause(condition, 'notValues', key.value, true, null),
  ];
  if (clauses.some((clause) => clause === undefined)) return undefined;
  const given = clauses.filter((clause) => !!clause);
  return given.length > 0 ? given : condition.refuse('HS1009', 'key', 'values, or notValues, is missing.');
}

const ADDRESSES = ['source.ip', 'remote.ip', 'destination.ip'];

/** A service account without a namespace is of the policy's own. */
function readClause(
  fields: Fields,
  name: string,
  attribute: string,
  negated: boolean,
  namespace: string | null,
): Clause | null | undefined {
  const list = fields.list(name);
  if (!list) return list;
  const values = fields.strings(name);
  if (values.length === 0 || values.length < list.items.length)
    return fields.refuse('HS1010', name, `${name} is empty; leave it out for any.`);
  const wrong = values.find((value) => !isValue(attribute, value.value));
  if (wrong) {
    fields.problems.push(problem('HS1010', wrong.at, `${quote(wrong.value)} is nothing that ${name} can hold.`));
    return undefined;
  }
  const texts = values.map(({ value }) =>
    attribute === 'source.serviceAccount' && namespace !== null && !value.includes('/')
      ? `${namespace}/${value}`
      : value,
  );
  return { at: list.at, attribute, negated, values: texts };
}

function isValue(attribute: string, text: string): boolean {
  if (ADDRESSES.includes(attribute)) return parseAddress(text) !== null || parsePrefix(text) !== null;
  if (attribute === 'destination.port') return /^\d{1,5}$/.test(text) && Number(text) <= 65535;
  return text !== '';
}

/** security.istio.io/v1 PeerAuthentication; `undefined` where any of it is refused. */
export function readPeerAuthentication(object: Fields, header: Header): PeerAuthentication | undefined {
  const spec = object.optional('spec');
  if (!spec) return undefined;
  const known = spec.only('selector', 'mtls', 'portLevelMtls');
  const selector = readSelector(spec);
  const mode = readMode(spec, 'mtls');
  const ports = readPorts(spec);
  if (!known || selector === undefined || mode === undefined || ports === undefined) return undefined;
  return { ...header, kind: 'PeerAuthentication', selector, mode, ports };
}

function readMode(fields: Fields, name: string): Located<MtlsMode> | null | undefined {
  const mtls = fields.fields(name);
  if (!mtls) return mtls;
  const mode = mtls.oneOf('mode', MODES);
  return mtls.only('mode') ? mode : undefined;
}

function readPorts(spec: Fields): Map<number, Located<MtlsMode>> | undefined {
  const levels = spec.fields('portLevelMtls');
  if (!levels) return levels === null ? new Map() : undefined;
  const ports = new Map<number, Located<MtlsMode>>();
  for (const name of levels.names) {
    if (!/^\d{1,5}$/.test(name) || Number(name) < 1 || Number(name) > 65535)
      return levels.refuse('HS1010', name, `${quote(name)} is not a port number.`);
    const mode = readMode(levels, name);
    if (mode === undefined) return undefined;
    if (mode) ports.set(Number(name), mode);
  }
  return ports;
}
