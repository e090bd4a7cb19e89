import { problem } from '../problems.js';
import { compileRegex } from '../regex.js';
import type { CiliumPort, FqdnSelector, HttpRule, L7Rules, Unevaluated } from './cilium.js';
import { isPortName, quote, type Fields } from './fields.js';
import type { Located } from './place.js';

/** Of which list of rules a rule is. */
interface Section {
  readonly egress: boolean;
  readonly deny: boolean;
}

/** `toPorts` and `icmps` of a rule; null where it has neither, and so is about any traffic. */
export function readPorts(rule: Fields, section: Section, unevaluated: Unevaluated[]): readonly CiliumPort[] | null {
  const ports = rule.each('toPorts');
  const icmps = rule.each('icmps');
  if (ports.length > 0 && icmps.length > 0)
    rule.refuse('HS1010', 'icmps', 'icmps and toPorts cannot stand in one rule: write a rule for each.');
  if (ports.length === 0 && icmps.length === 0) return null;
  return [
    ...ports.flatMap((item) => readPortRule(item, section, unevaluated)),
    ...icmps.flatMap((item) => readIcmp(item)),
  ];
}

/** What of a port rule hands the connection to a proxy that we know nothing of. Cilium `api.PortRule`. */
const PROXIED = ['listener', 'terminatingTLS', 'originatingTLS', 'serverNames'] as const;

function readPortRule(item: Fields, { egress, deny }: Section, unevaluated: Unevaluated[]): CiliumPort[] {
  item.only('ports', ...(deny ? [] : ['rules', ...PROXIED]));
  for (const name of PROXIED) if (!deny && item.has(name)) unevaluated.push({ at: item.placeOf(name), what: name });
  const l7 = deny ? null : readL7(item, egress, unevaluated);
  const ports = item.each('ports');
  if (ports.length === 0) unevaluated.push({ at: item.at, what: 'toPorts without ports' });
  return ports.flatMap((port) => {
    const read = readPort(port, l7);
    if (read && l7?.kind === 'http' && read.protocol !== 'TCP')
      port.refuse('HS1010', 'protocol', 'rules.http is for TCP ports only.');
    if (read && l7 && read.port === null) port.refuse('HS1010', 'port', 'rules need a port other than 0.');
    return read ?? [];
  });
}

const PORTLESS = ['ICMP', 'ICMPV6', 'VRRP', 'IGMP'] as const;
const PROTOCOLS = ['TCP', 'UDP', 'SCTP', 'ANY', ...PORTLESS] as const;

/** 0 is every port, and protocols without ports need none. */
function readPort(item: Fields, l7: L7Rules | null): CiliumPort | undefined {
  item.only('port', 'endPort', 'protocol');
  const endPort = item.integer('endPort', 0, 65535)?.value ?? 0;
  const protocol = item.oneOf('protocol', PROTOCOLS)?.value ?? 'ANY';
  if (PORTLESS.some((one) => one === protocol)) {
    if (item.has('port')) return item.refuse('HS1010', 'port', `${protocol} has no ports.`);
    return { at: item.at, protocol, port: null, endPort: null, l7 };
  }
  const port = item.required('port', readNumber(item));
  if (!port) return undefined;
  if (port.value === 0 && endPort === 0) return { at: item.at, protocol, port: null, endPort: null, l7 };
  if (endPort !== 0 && (typeof port.value === 'string' || endPort < port.value))
    return item.refuse('HS1010', 'endPort', `endPort ${endPort} needs a port that is a number, and not a greater one.`);
  return { at: item.at, protocol, port, endPort: endPort || null, l7 };
}

/** A number in quotes, or the name of a container port, which Cilium compares in lower case. */
function readNumber(item: Fields): Located<number | string> | null | undefined {
  const found = item.string('port');
  if (!found) return found;
  const { value, at } = found;
  if (/^(0|[1-9]\d{0,4})$/.test(value) && Number(value) <= 65535) return { value: Number(value), at };
  if (isPortName(value.toLowerCase())) return { value: value.toLowerCase(), at };
  return item.refuse('HS1010', 'port', `${quote(value)} is not a port number or the name of a port.`);
}

/** Numbers of the types that have names. Cilium `pkg/policy/api/icmp.go`, IANA ICMP parameters. */
const ICMP_TYPES: Readonly<Record<'IPv4' | 'IPv6', Readonly<Record<string, number>>>> = {
  IPv4: {
    EchoReply: 0,
    DestinationUnreachable: 3,
    Redirect: 5,
    Echo: 8,
    EchoRequest: 8,
    RouterAdvertisement: 9,
    RouterSelection: 10,
    TimeExceeded: 11,
    ParameterProblem: 12,
    Timestamp: 13,
    TimestampReply: 14,
    Photuris: 40,
    ExtendedEchoRequest: 42,
    ExtendedEchoReply: 43,
  },
  IPv6: {
    DestinationUnreachable: 1,
    PacketTooBig: 2,
    TimeExceeded: 3,
    ParameterProblem: 4,
    EchoRequest: 128,
    EchoReply: 129,
    MulticastListenerQuery: 130,
    MulticastListenerReport: 131,
    MulticastListenerDone: 132,
    RouterSolicitation: 133,
    RouterAdvertisement: 134,
    NeighborSolicitation: 135,
    NeighborAdvertisement: 136,
    RedirectMessage: 137,
    RouterRenumbering: 138,
    ICMPNodeInformationQuery: 139,
    ICMPNodeInformationResponse: 140,
    InverseNeighborDiscoverySolicitation: 141,
    InverseNeighborDiscoveryAdvertisement: 142,
    HomeAgentAddressDiscoveryRequest: 144,
    HomeAgentAddressDiscoveryReply: 145,
    MobilePrefixSolicitation: 146,
    MobilePrefixAdvertisement: 147,
    DuplicateAddressRequestCodeSuffix: 157,
    DuplicateAddressConfirmationCodeSuffix: 158,
    ExtendedEchoRequest: 160,
    ExtendedEchoReply: 161,
  },
};

function readIcmp(item: Fields): CiliumPort[] {
  item.only('fields');
  return item.each('fields').flatMap((field) => {
    field.only('family', 'type');
    const family = field.oneOf('family', ['IPv4', 'IPv6'])?.value ?? 'IPv4';
    const port = field.required('type', readIcmpType(field, family));
    return port
      ? [{ at: field.at, protocol: family === 'IPv4' ? 'ICMP' : 'ICMPV6', port, endPort: null, l7: null }]
      : [];
  });
}

/** A number, in quotes or not, or a name. */
function readIcmpType(field: Fields, family: 'IPv4' | 'IPv6'): Located<number> | null | undefined {
  if (typeof field.scalar('type') === 'number') return field.integer('type', 0, 255);
  const found = field.string('type');
  if (!found) return found;
  const number = /^\d{1,3}$/.test(found.value) ? Number(found.value) : ICMP_TYPES[family][found.value];
  if (number !== undefined && number <= 255) return { value: number, at: found.at };
  return field.refuse('HS1010', 'type', `${quote(found.value)} is no ${family} ICMP type.`);
}

/** One kind of rules at most. Cilium `api.L7Rules`. */
function readL7(item: Fields, egress: boolean, unevaluated: Unevaluated[]): L7Rules | null {
  const rules = item.fields('rules');
  if (!rules) return null;
  rules.only('http', 'dns', 'kafka', 'l7', 'l7proto');
  const kinds = ['http', 'dns', 'kafka', 'l7proto'].filter((name) => rules.has(name));
  if (kinds.length > 1) rules.refuse('HS1010', kinds[1]!, `rules are of one kind: ${kinds.join(' or ')}.`);
  if (rules.has('kafka')) unevaluated.push({ at: rules.placeOf('kafka'), what: 'rules.kafka, which is deprecated,' });
  if (rules.has('l7proto')) unevaluated.push({ at: rules.placeOf('l7proto'), what: 'rules.l7proto' });
  if (rules.has('dns')) {
    if (!egress) rules.refuse('HS1010', 'dns', 'rules.dns is for egress only.');
    const names = rules.each('dns').flatMap((name) => readFqdn(name) ?? []);
    if (names.length > 0) return { kind: 'dns', rules: names };
  }
  if (rules.has('http')) {
    const requests = rules.each('http').map((request) => readHttp(request, unevaluated));
    if (requests.length > 0) return { kind: 'http', rules: requests };
  }
  if (kinds.length === 0 || rules.has('http') || rules.has('dns'))
    unevaluated.push({ at: rules.at, what: 'rules without a rule' });
  return null;
}

/** Cilium `pkg/fqdn/matchpattern`. */
export function readFqdn(item: Fields): FqdnSelector | undefined {
  item.only('matchName', 'matchPattern');
  const matchName = readName(item, 'matchName', /^[-\w]+(\.[-\w]+)*\.?$/);
  const matchPattern = readName(item, 'matchPattern', /^[-\w.*]+$/);
  if (matchName || matchPattern) return { at: item.at, matchName, matchPattern };
  item.problems.push(problem('HS1010', item.at, 'One of matchName and matchPattern must say which names.'));
  return undefined;
}

function readName(item: Fields, field: string, valid: RegExp): string | null {
  const found = item.string(field);
  if (!found?.value) return null;
  const name = found.value.trim();
  if (name.length <= 255 && valid.test(name)) return name.toLowerCase();
  item.refuse(
    'HS1010',
    field,
    `${quote(found.value)} is no ${field === 'matchName' ? 'DNS name' : 'pattern of DNS names'}.`,
  );
  return null;
}

/** Cilium `api.PortRuleHTTP`. */
function readHttp(item: Fields, unevaluated: Unevaluated[]): HttpRule {
  item.only('method', 'path', 'host', 'headers', 'headerMatches');
  // As Cilium's agent cuts them: `Name: value`, or a name alone.
  const headers = item.strings('headers').map(({ value }) => {
    const space = value.indexOf(' ');
    return space < 0
      ? { name: value.replace(/:+$/, ''), value: null }
      : { name: value.slice(0, space).replace(/:+$/, ''), value: value.slice(space + 1) };
  });
  return {
    at: item.at,
    method: readRegex(item, 'method'),
    path: readRegex(item, 'path'),
    host: readRegex(item, 'host'),
    headers: [...headers, ...item.each('headerMatches').flatMap((match) => readHeaderMatch(match, unevaluated))],
  };
}

function readRegex(item: Fields, name: string): string | null {
  const found = item.string(name);
  if (!found?.value) return null;
  if (compileRegex(found.value) !== null) return found.value;
  item.refuse('HS1010', name, `${quote(found.value)} is no regular expression that can be evaluated.`);
  return null;
}

/** A header that may differ, as the proxy then logs or corrects it, keeps no request out. */
function readHeaderMatch(match: Fields, unevaluated: Unevaluated[]): HttpRule['headers'] {
  match.only('name', 'value', 'secret', 'mismatch');
  const name = match.required('name', match.string('name'));
  const mismatch = match.oneOf('mismatch', ['LOG', 'ADD', 'DELETE', 'REPLACE']);
  if (match.has('secret')) unevaluated.push({ at: match.placeOf('secret'), what: 'headerMatches.secret' });
  return !name || mismatch ? [] : [{ name: name.value, value: match.text('value') || null }];
}
