/**
 * An independent model of what Istio's proxies say: sidecars, ztunnel, AuthorizationPolicy and PeerAuthentication. Written from
 * Istio's documentation; shares no code with the dataplane. What is not told is a range of what may be: [least, most].
 */
export interface Selector {
  readonly matchLabels: Readonly<Record<string, string>>;
}

type Texts = readonly string[];
export type Source = Readonly<
  Partial<
    Record<
      | 'principals'
      | 'notPrincipals'
      | 'requestPrincipals'
      | 'notRequestPrincipals'
      | 'namespaces'
      | 'notNamespaces'
      | 'serviceAccounts'
      | 'notServiceAccounts'
      | 'ipBlocks'
      | 'notIpBlocks'
      | 'remoteIpBlocks'
      | 'notRemoteIpBlocks',
      Texts
    >
  >
>;
export type Operation = Readonly<
  Partial<Record<'hosts' | 'notHosts' | 'ports' | 'notPorts' | 'methods' | 'notMethods' | 'paths' | 'notPaths', Texts>>
>;
export interface Condition {
  readonly key: string;
  readonly values?: Texts;
  readonly notValues?: Texts;
}
export interface Rule {
  readonly from?: readonly { readonly source: Source }[];
  readonly to?: readonly { readonly operation: Operation }[];
  readonly when?: readonly Condition[];
}

interface Meta {
  readonly namespace: string;
  readonly name: string;
}
export interface AuthorizationPolicy extends Meta {
  readonly selector?: Selector;
  readonly action?: 'ALLOW' | 'DENY' | 'AUDIT' | 'CUSTOM';
  readonly rules?: readonly Rule[];
}
export type Mode = 'UNSET' | 'DISABLE' | 'PERMISSIVE' | 'STRICT';
export interface PeerAuthentication extends Meta {
  readonly selector?: Selector;
  readonly mtls?: { readonly mode: Mode };
  readonly portLevelMtls?: Readonly<Record<string, { readonly mode: Mode }>>;
}

export interface Pod extends Meta {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  readonly ip: string;
  readonly hasProxy: boolean;
}
export interface Cluster {
  /** Those with a Namespace object, with its labels. */
  readonly namespaces: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly pods: readonly Pod[];
  readonly authorization: readonly AuthorizationPolicy[];
  readonly peers: readonly PeerAuthentication[];
}

export interface Request {
  readonly method: string;
  readonly host: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}
export interface Probe {
  readonly from: Pod | string;
  readonly to: Pod;
  readonly port: number;
  readonly http: Request | null;
}
export interface Expectation {
  readonly verdict: 'ALLOWED' | 'DENIED' | 'CONDITIONAL' | 'UNKNOWN';
  readonly status: number | null;
  /** `namespace/name rules[0] effect`; null where they do not matter. */
  readonly deciders: readonly string[] | null;
}

/** From the least to the most that something may be, 0 or 1; `blind` where nobody can tell who reads manifests and requests. */
interface Range {
  readonly least: number;
  readonly most: number;
  readonly blind: boolean;
}
const exactly = (holds: boolean): Range => ({ least: Number(holds), most: Number(holds), blind: false });
const UNTOLD: Range = { least: 0, most: 1, blind: false };
const BLIND: Range = { least: 0, most: 1, blind: true };
const combined = (ranges: readonly Range[], pick: (...numbers: number[]) => number, empty: number): Range => {
  const least = pick(empty, ...ranges.map((range) => range.least));
  const most = pick(empty, ...ranges.map((range) => range.most));
  return { least, most, blind: least !== most && ranges.some((range) => range.blind) };
};
const every = (ranges: readonly Range[]): Range => combined(ranges, Math.min, 1);
const some = (ranges: readonly Range[]): Range => combined(ranges, Math.max, 0);
const opposite = ({ least, most, blind }: Range): Range => ({ least: 1 - most, most: 1 - least, blind });

interface Seen {
  readonly sourceIp: string;
  readonly targetIp: string;
  readonly port: number;
  readonly peer: { readonly namespace: string; readonly account: string } | null;
  readonly http: Request | null;
  readonly ownNamespace: string;
}

/** Istio's patterns as regular expressions. */
function pattern(value: string, flags = ''): RegExp {
  const literal = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  if (value === '*') return /^.+$/s;
  if (value.endsWith('*')) return new RegExp(`^${literal(value.slice(0, -1))}.*$`, `s${flags}`);
  if (value.startsWith('*')) return new RegExp(`^.*${literal(value.slice(1))}$`, `s${flags}`);
  return new RegExp(`^${literal(value)}$`, flags);
}

function pathPattern(value: string): RegExp {
  if (!/\{\*{1,2}\}/.test(value)) return pattern(value);
  const parts = value
    .split('/')
    .map((part) => (part === '{*}' ? '[^/]+' : part === '{**}' ? '.*' : part.replace(/[.]/g, '\\.')));
  return new RegExp(`^${parts.join('/')}$`);
}

const bits = (ip: string): bigint => ip.split('.').reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
function inBlock(block: string, ip: string): boolean {
  const [network = '', length = '32'] = block.split('/');
  const shift = 32n - BigInt(length);
  return bits(network) >> shift === bits(ip) >> shift;
}

const matchesAny = (patterns: readonly RegExp[], text: string | null | undefined): Range =>
  exactly(typeof text === 'string' && patterns.some((one) => one.test(text)));

/** The value of a field of a request, where that was told. */
const ofRequest = ({ http }: Seen, test: (request: Request) => Range): Range => (http === null ? UNTOLD : test(http));

function holds(attribute: string, values: Texts, seen: Seen, namespace: string): Range {
  const { peer } = seen;
  const plain = values.map((value) => pattern(value));
  const header = /^request\.headers\[(.+)\]$/.exec(attribute);
  if (header)
    return ofRequest(seen, ({ headers }) => {
      const name = Object.keys(headers).find((one) => one.toLowerCase() === header[1]!.toLowerCase());
      return matchesAny(plain, name === undefined ? null : headers[name]);
    });
  switch (attribute) {
    case 'principals':
    case 'source.principal':
      return matchesAny(plain, peer && `cluster.local/ns/${peer.namespace}/sa/${peer.account}`);
    case 'namespaces':
    case 'source.namespace':
      return matchesAny(plain, peer && peer.namespace);
    case 'serviceAccounts': {
      const full = values.map((value) => pattern(value.includes('/') ? value : `${namespace}/${value}`));
      return matchesAny(full, peer && `${peer.namespace}/${peer.account}`);
    }
    case 'ipBlocks':
    case 'source.ip':
      return exactly(values.some((block) => inBlock(block, seen.sourceIp)));
    case 'remoteIpBlocks':
    case 'remote.ip':
      return seen.http && 'x-forwarded-for' in seen.http.headers
        ? BLIND
        : exactly(values.some((block) => inBlock(block, seen.sourceIp)));
    case 'destination.ip':
      return exactly(values.some((block) => inBlock(block, seen.targetIp)));
    case 'ports':
    case 'destination.port':
      return exactly(values.includes(`${seen.port}`));
    case 'requestPrincipals':
    case 'request.auth.principal':
      return ofRequest(seen, ({ headers }) => ('authorization' in headers ? BLIND : exactly(false)));
    case 'hosts':
      return ofRequest(seen, ({ host }) =>
        matchesAny(
          values.map((value) => pattern(value, 'i')),
          host,
        ),
      );
    case 'methods':
      return ofRequest(seen, ({ method }) => matchesAny(plain, method));
    case 'paths':
      return ofRequest(seen, ({ path }) => matchesAny(values.map(pathPattern), path.split('?')[0]));
    default:
      return BLIND;
  }
}

/** The fields of a source or an operation, of which all must hold. */
const fields = (part: Source | Operation, seen: Seen, namespace: string): Range =>
  every(
    Object.entries(part).map(([name, values]) =>
      name.startsWith('not')
        ? opposite(holds(`${name[3]!.toLowerCase()}${name.slice(4)}`, values, seen, namespace))
        : holds(name, values, seen, namespace),
    ),
  );

const ruleRange = ({ from, to, when }: Rule, seen: Seen, namespace: string): Range =>
  every([
    from ? some(from.map(({ source }) => fields(source, seen, namespace))) : exactly(true),
    to ? some(to.map(({ operation }) => fields(operation, seen, namespace))) : exactly(true),
    ...(when ?? []).flatMap(({ key, values, notValues }) => [
      ...(values ? [holds(key, values, seen, namespace)] : []),
      ...(notValues ? [opposite(holds(key, notValues, seen, namespace))] : []),
    ]),
  ]);

const selected = (selector: Selector | undefined, pod: Pod): boolean =>
  Object.entries(selector?.matchLabels ?? {}).every(([key, value]) => pod.labels[key] === value);

type Proxy = 'sidecar' | 'ztunnel' | 'nothing';

/** What may stand before a pod: several where its namespace is not declared. */
function proxies({ namespaces }: Cluster, pod: Pod): Proxy[] {
  if (pod.hasProxy) return ['sidecar'];
  const declared = namespaces[pod.namespace];
  const labels = declared ?? {};
  const mode = pod.labels['istio.io/dataplane-mode'] ?? labels['istio.io/dataplane-mode'];
  const otherwise: Proxy = mode === 'ambient' ? 'ztunnel' : 'nothing';
  const own = pod.labels['sidecar.istio.io/inject'] ?? pod.annotations['sidecar.istio.io/inject'];
  if (own === 'false' || labels['istio-injection'] === 'disabled') return [otherwise];
  const says = [
    own === 'true',
    labels['istio-injection'] === 'enabled',
    'istio.io/rev' in pod.labels,
    'istio.io/rev' in labels,
  ];
  if (says.includes(true)) return ['sidecar'];
  return declared || otherwise === 'ztunnel' ? [otherwise] : ['sidecar', 'nothing'];
}

const excluded = ({ annotations }: Pod, port: number): boolean =>
  [15020, 15021, 15090].includes(port) ||
  (annotations['traffic.sidecar.istio.io/excludeInboundPorts'] ?? '').split(',').includes(`${port}`);

interface Modes {
  readonly modes: readonly Mode[];
  readonly by: readonly PeerAuthentication[];
}

/** The narrowest that sets a mode: the port, the pod, its namespace, the mesh. */
function modesOf({ peers }: Cluster, pod: Pod, port: number): Modes {
  const local = peers.filter((one) => one.namespace === pod.namespace && selected(one.selector, pod));
  const mine = local.filter(({ selector }) => selector);
  const wide = local.filter(({ selector }) => !selector);
  const mesh = peers.filter(({ namespace, selector }) => namespace === 'istio-system' && !selector);
  const candidates: [PeerAuthentication, Mode | undefined][][] = [
    mine.map((one) => [one, one.portLevelMtls?.[`${port}`]?.mode]),
    mine.map((one) => [one, one.mtls?.mode]),
    wide.map((one) => [one, one.mtls?.mode]),
    mesh.map((one) => [one, one.mtls?.mode]),
  ];
  for (const level of candidates) {
    const set = level.filter(([, mode]) => mode !== undefined && mode !== 'UNSET');
    if (set.length > 0) return { modes: set.map(([, mode]) => mode!), by: set.map(([one]) => one) };
  }
  return { modes: ['PERMISSIVE'], by: [] };
}

const REQUEST_FIELDS = /^(not)?(requestPrincipals|hosts|methods|paths|remoteIpBlocks)$/i;
const asksForRequests = ({ rules = [] }: AuthorizationPolicy): boolean =>
  rules.some(
    ({ from = [], to = [], when = [] }) =>
      [...from.map(({ source }) => source), ...to.map(({ operation }) => operation)].some((part) =>
        Object.keys(part).some((name) => REQUEST_FIELDS.test(name)),
      ) || when.some(({ key }) => key.startsWith('request.') || key === 'remote.ip'),
  );

const UNKNOWN: Expectation = { verdict: 'UNKNOWN', status: null, deciders: null };
const PASSES: Expectation = { verdict: 'ALLOWED', status: 200, deciders: [] };

function inWorld(cluster: Cluster, { from, to, port, http }: Probe, proxy: Proxy, clientProxy: Proxy): Expectation {
  // Ports are kept from sidecars alone.
  if (proxy === 'nothing' || (proxy === 'sidecar' && excluded(to, port))) return PASSES;
  const { modes, by } = modesOf(cluster, to, port);
  if (new Set(modes).size > 1) return UNKNOWN;
  const canSecure = clientProxy !== 'nothing';
  if (modes[0] === 'STRICT' && !canSecure)
    return {
      verdict: 'DENIED',
      status: null,
      deciders: by.map(({ namespace, name }) => `${namespace}/${name} denies`),
    };
  const policies = cluster.authorization.filter(
    (policy) =>
      (policy.namespace === to.namespace || policy.namespace === 'istio-system') && selected(policy.selector, to),
  );
  if (proxy === 'ztunnel' && policies.some(asksForRequests)) return UNKNOWN;
  const isSecured = canSecure && modes[0] !== 'DISABLE' && typeof from !== 'string';
  const seen: Seen = {
    sourceIp: typeof from === 'string' ? from : from.ip,
    targetIp: to.ip,
    port,
    peer: isSecured ? { namespace: from.namespace, account: from.serviceAccount } : null,
    http: proxy === 'ztunnel' ? null : http,
    ownNamespace: to.namespace,
  };
  const ranges = (action: string): { range: Range; name: string }[] =>
    policies
      .filter((policy) => (policy.action ?? 'ALLOW') === action)
      .flatMap((policy) =>
        (policy.rules ?? []).map((rule, i) => ({
          range: ruleRange(rule, seen, policy.namespace),
          name: `${policy.namespace}/${policy.name} rules[${i}]`,
        })),
      );
  const status = proxy === 'sidecar' && http !== null ? 403 : null;
  const denies = ranges('DENY');
  const surely = denies.filter(({ range }) => range.least === 1);
  if (surely.length > 0) return { verdict: 'DENIED', status, deciders: surely.map(({ name }) => `${name} denies`) };
  const allowing = policies.filter(({ action = 'ALLOW' }) => action === 'ALLOW');
  const allows = ranges('ALLOW');
  const isLet = allowing.length === 0 ? exactly(true) : some(allows.map(({ range }) => range));
  if (isLet.most === 0)
    return {
      verdict: 'DENIED',
      status,
      deciders: allowing.map(({ namespace, name }) => `${namespace}/${name} isolates`),
    };
  const isDenied = some(denies.map(({ range }) => range));
  const asks = ranges('CUSTOM').some(({ range }) => range.most === 1);
  if (asks || isDenied.blind || isLet.blind) return UNKNOWN;
  if (isDenied.most === 1 || isLet.least === 0) return { verdict: 'CONDITIONAL', status: null, deciders: null };
  const matched = allows.filter(({ range }) => range.least === 1);
  return { verdict: 'ALLOWED', status: 200, deciders: matched.map(({ name }) => `${name} allows`) };
}

/** All that may be must agree. */
export function decide(cluster: Cluster, probe: Probe): Expectation {
  const { from, to, http } = probe;
  const answered = (expected: Expectation): Expectation => (http === null ? { ...expected, status: null } : expected);
  if (cluster.authorization.length + cluster.peers.length === 0) return answered(PASSES);
  const clients: Proxy[] = typeof from === 'string' ? ['nothing'] : proxies(cluster, from);
  const worlds = proxies(cluster, to).flatMap((proxy) =>
    clients.map((client) => inWorld(cluster, probe, proxy, client)),
  );
  const [first] = worlds;
  const isOne = worlds.every(({ verdict }) => verdict === first!.verdict);
  if (!isOne) return UNKNOWN;
  return answered(worlds.length === 1 ? first! : { ...first!, deciders: null });
}
