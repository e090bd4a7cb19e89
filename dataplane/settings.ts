/** Settings: declared once, here. `.hopscope.yaml`, `--set` and VS Code's settings all read through this table. */
import { familyOf, parseAddress, parsePrefix, type Prefix } from './addresses.js';

/** The file at the root of the manifests that holds settings. */
export const SETTINGS_FILE = '.hopscope.yaml';

/** The table sizes that Cilium allows, all prime. Cilium `pkg/maglev`. */
export const MAGLEV_TABLE_SIZES = [251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071] as const;

const CNIS = [
  'cilium-vxlan',
  'cilium-geneve',
  'cilium-native',
  'flannel-vxlan',
  'flannel-host-gw',
  'calico-ipip',
  'calico-vxlan',
  'calico-bgp',
  'bridge',
] as const;

export type Cni = (typeof CNIS)[number];

export interface Settings {
  engine: 'cilium' | 'kube-proxy-iptables' | 'kube-proxy-nftables' | 'kube-proxy-ipvs';
  cni: Cni;
  /** One prefix, or one of each family with a comma between. */
  podCIDR: string;
  serviceCIDR: string;
  /** Names with addresses; none: two assumed nodes, unless the manifests have Node objects. */
  nodes: readonly { readonly name: string; readonly address: string; readonly addresses?: readonly string[] }[];
  /** Prefixes; none: each node's first address of each family (kube-proxy-iptables: all that it has). */
  nodePortAddresses: readonly string[];
  masqueradeAll: boolean;
  localDetector: boolean;
  serviceTopology: boolean;
  /** `cni`: as the plug-in does. */
  ipBlockMatchesPods: boolean | 'cni';
  hostNetworkPods: 'node' | 'pod';
  'loadBalancer.algorithm': 'maglev' | 'random';
  'loadBalancer.mode': 'snat' | 'dsr' | 'hybrid';
  'loadBalancer.dsrDispatch': 'opt' | 'geneve' | 'ipip';
  masquerade: boolean;
  /** One prefix, or one of each family with a comma between; none: pods' addresses mean something to pods alone. */
  nativeRoutingCIDR: string;
  'ipMasqAgent.nonMasqueradeCIDRs': readonly string[];
  'maglev.tableSize': number;
  undeclaredNamespaces: 'plain' | 'unknown';
  unreportedReadiness: 'ready' | 'unknown';
  undeclaredIngressParts: 'assumed' | 'unknown';
  socketLB: boolean | 'hostNamespaceOnly';
  policyAuditMode: boolean;
  hostFirewall: boolean;
  allowLocalhost: 'auto' | 'always' | 'policy';
  bandwidthManager: boolean;
  'encryption.type': 'none' | 'wireguard';
  /** An IPv4 prefix; none: what cannot be encrypted goes as it is. */
  'encryption.strictCIDR': string;
  unenforcedPolicies: 'void' | 'hold' | 'unknown';
  clusterDomain: string;
}

/** Settings as they are given: `auto` is what the manifests show (`cluster/shown.ts`). */
export type Given = {
  [Key in keyof Settings]: Key extends 'engine' | 'cni' ? Settings[Key] | 'auto' : Settings[Key];
};

interface Setting<Key extends keyof Settings> {
  readonly default: Given[Key];
  readonly description: string;
  /** The value that an untrusted one (a text of `--set`, a node of YAML, a VS Code setting) stands for; null when it is none. */
  readonly read: (value: unknown) => Given[Key] | null;
  readonly schema: Readonly<Record<string, unknown>>;
}

function oneOf<T extends string | number | boolean>(
  ...values: readonly T[]
): Pick<Setting<never>, 'schema'> & { read: (value: unknown) => T | null } {
  return {
    read: (value) => values.find((allowed) => allowed === value || String(allowed) === value) ?? null,
    schema: { enum: values },
  };
}

const flag = {
  read: (value: unknown): boolean | null =>
    value === true || value === 'true' ? true : value === false || value === 'false' ? false : null,
  schema: { type: 'boolean' },
};

/** The prefixes of a setting that holds such. */
export const prefixesIn = (text: string): Prefix[] => text.split(',').flatMap((part) => parsePrefix(part) ?? []);

/** A prefix, or one of each family: a list, or a text with a comma between. */
function readPrefixes(value: unknown): string | null {
  const parts: unknown[] = typeof value === 'string' ? value.split(',') : Array.isArray(value) ? value : [];
  const texts = parts.map((part) => (typeof part === 'string' ? part.trim() : ''));
  const families = new Set(prefixesIn(texts.join(',')).map(({ address }) => familyOf(address)));
  return texts.length > 0 && families.size === texts.length ? texts.join(',') : null;
}

const PREFIX = '[0-9a-fA-F.:]+/\\d+';

const prefixes = {
  read: readPrefixes,
  schema: { type: 'string', pattern: `^${PREFIX}(, *${PREFIX})?$` },
};

/** Any number of prefixes: a list, or a text with commas between. */
function readPrefixList(value: unknown): readonly string[] | null {
  const listed: unknown = typeof value === 'string' ? value.split(',').filter((text) => text.trim() !== '') : value;
  if (!Array.isArray(listed)) return null;
  const texts = listed.map((text: unknown) => (typeof text === 'string' ? text.trim() : ''));
  return texts.every((text) => parsePrefix(text) !== null) ? texts : null;
}

const NODE_NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;

/** `name=address`, or `name:address`. */
const NODE = /^([^=:]*)[=:](.*)$/;

/** Nodes as a list of {name, address}, a mapping of names to addresses, or `name=address,name=address`. */
function readNodes(value: unknown): Settings['nodes'] | null {
  const pairs: unknown[][] =
    typeof value === 'string'
      ? value.split(',').map((pair) => (NODE.exec(pair) ?? []).slice(1).map((part) => part.trim()))
      : Array.isArray(value)
        ? value.map((node: unknown) => (isRecord(node) ? [node['name'], node['address'], node['addresses']] : []))
        : isRecord(value)
          ? Object.entries(value)
          : [[]];
  if (value === '' || pairs.length > 5000) return value === '' ? [] : null;
  const nodes = pairs.map(([name, address, addresses]) =>
    addresses === undefined ? { name, address } : { name, address, addresses },
  );
  const isOne = (text: unknown): boolean => typeof text === 'string' && parseAddress(text) !== null;
  const valid = nodes.every(
    (node): node is { name: string; address: string; addresses?: string[] } =>
      typeof node.name === 'string' &&
      NODE_NAME.test(node.name) &&
      isOne(node.address) &&
      (node.addresses === undefined || (Array.isArray(node.addresses) && node.addresses.every(isOne))),
  );
  return valid && new Set(nodes.map((node) => node.name)).size === nodes.length ? nodes : null;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const SETTINGS: { readonly [Key in keyof Settings]: Setting<Key> } = {
  engine: {
    default: 'auto',
    description:
      'What translates Services. With kube-proxy, its rules about masquerade, endpoints and refused addresses hold. Unless set, what the manifests show, else Cilium.',
    ...oneOf('auto', 'cilium', 'kube-proxy-iptables', 'kube-proxy-nftables', 'kube-proxy-ipvs'),
  },
  cni: {
    default: 'auto',
    description:
      'The network plug-in: whether packets between nodes take a tunnel, and which. Where it is not Cilium, the answer says what is Cilium’s all the same. Unless set, what the manifests show, else `cilium-vxlan`.',
    ...oneOf('auto', ...CNIS),
  },
  podCIDR: {
    default: '10.244.0.0/16',
    description:
      'The range that pods without an address in the manifests get theirs from; with a comma between, one of IPv4 and one of IPv6.',
    ...prefixes,
  },
  serviceCIDR: {
    default: '10.96.0.0/12',
    description:
      'The range that Services without a clusterIP get theirs from; with a comma between, one of IPv4 and one of IPv6.',
    ...prefixes,
  },
  nodes: {
    default: [],
    description:
      'Node names with addresses, where the manifests have no Node objects. Unless set: worker-1 10.0.0.1 and worker-2 10.0.0.2.',
    read: readNodes,
    schema: {
      type: 'array',
      items: {
        type: 'object',
        required: ['name', 'address'],
        properties: {
          name: { type: 'string' },
          address: { type: 'string' },
          addresses: { type: 'array', items: { type: 'string' } },
        },
      },
    },
  },
  nodePortAddresses: {
    default: [],
    description:
      'Prefixes: NodePorts are open on the addresses of nodes in them. Unless set: on each node’s first of each family; with kube-proxy-iptables on all.',
    read: (value) => {
      const listed = typeof value === 'string' ? value.split(',').filter((text) => text !== '') : value;
      return Array.isArray(listed) && listed.every((text) => typeof text === 'string' && parsePrefix(text) !== null)
        ? (listed as string[])
        : null;
    },
    schema: { type: 'array', items: { type: 'string', pattern: `^${PREFIX}$` } },
  },
  masqueradeAll: {
    default: false,
    description: 'Whether kube-proxy gives everything that goes to a ClusterIP the node’s address as its source.',
    ...flag,
  },
  localDetector: {
    default: true,
    description: 'Whether kube-proxy knows which clients are pods, by the pod range.',
    ...flag,
  },
  serviceTopology: {
    default: false,
    description: 'Whether Cilium keeps to the zone and node hints of EndpointSlices; kube-proxy always does.',
    ...flag,
  },
  ipBlockMatchesPods: {
    default: 'cni',
    description:
      'Whether a NetworkPolicy’s `ipBlock` matches the addresses of pods too. Unless set, as the network plug-in does: not Cilium, but Calico.',
    ...oneOf<Settings['ipBlockMatchesPods']>('cni', true, false),
    schema: { type: ['boolean', 'string'], enum: ['cni', true, false] },
  },
  hostNetworkPods: {
    default: 'node',
    description:
      'What pods with `hostNetwork` are to policies: their node, as in Cilium, or pods like others, as plug-ins may have it (`pod`).',
    ...oneOf('node', 'pod'),
  },
  'loadBalancer.algorithm': {
    default: 'maglev',
    description: 'How a Service’s backend is picked for a new flow.',
    ...oneOf('maglev', 'random'),
  },
  'loadBalancer.mode': {
    default: 'snat',
    description: 'How traffic from outside reaches a backend on another node.',
    ...oneOf('snat', 'dsr', 'hybrid'),
  },
  'loadBalancer.dsrDispatch': {
    default: 'opt',
    description: 'With direct server return, how a backend’s node learns which Service was asked.',
    ...oneOf('opt', 'geneve', 'ipip'),
  },
  masquerade: {
    default: true,
    description: 'Whether what pods send out of the cluster goes in their node’s name.',
    ...flag,
  },
  nativeRoutingCIDR: {
    default: '',
    description:
      'Where pods keep their own addresses, since the network routes them there: one prefix of each family. Unless set, with native routing: to other pods.',
    read: (value) => (value === '' ? '' : readPrefixes(value)),
    schema: { type: 'string', pattern: '^$|^[0-9a-fA-F.:]+/\\d+(, *[0-9a-fA-F.:]+/\\d+)?$' },
  },
  'ipMasqAgent.nonMasqueradeCIDRs': {
    default: [],
    description:
      'Prefixes outside the cluster to which pods keep their own addresses, as Cilium’s ip-masq-agent has them.',
    read: readPrefixList,
    schema: { type: 'array', items: { type: 'string' } },
  },
  'maglev.tableSize': {
    default: 16381,
    description: 'Slots of each Service’s Maglev table.',
    ...oneOf(...MAGLEV_TABLE_SIZES),
  },
  undeclaredNamespaces: {
    default: 'plain',
    description:
      'A namespace without a Namespace object has no label but its name (`plain`), or its labels are not known (`unknown`).',
    ...oneOf('plain', 'unknown'),
  },
  unreportedReadiness: {
    default: 'ready',
    description: 'A pod without a reported state is ready, or its readiness is not known (`unknown`).',
    ...oneOf('ready', 'unknown'),
  },
  undeclaredIngressParts: {
    default: 'assumed',
    description:
      'The controller of an Ingress that the manifests do not hold, and its Services where they hold Ingresses alone, are taken to be there (`assumed`), or are not known (`unknown`).',
    ...oneOf('assumed', 'unknown'),
  },
  socketLB: {
    default: false,
    description:
      'Whether Services are translated where sockets are connected, before any packet: of pods and nodes, or of nodes alone (`hostNamespaceOnly`).',
    ...oneOf<Settings['socketLB']>(false, true, 'hostNamespaceOnly'),
    schema: { type: ['boolean', 'string'], enum: [false, true, 'hostNamespaceOnly'] },
  },
  policyAuditMode: {
    default: false,
    description: 'Whether what policies refuse passes all the same, and is only told of.',
    ...flag,
  },
  hostFirewall: {
    default: false,
    description: 'Whether policies can hold for the nodes themselves.',
    ...flag,
  },
  allowLocalhost: {
    default: 'auto',
    description:
      'Whether a pod’s own node always reaches it (`always`, and `auto` in Kubernetes), or only where a policy lets it (`policy`).',
    ...oneOf('auto', 'always', 'policy'),
  },
  bandwidthManager: {
    default: false,
    description:
      'Whether pods send no faster out of their node than their annotation `kubernetes.io/egress-bandwidth` says, as Cilium’s bandwidth manager sees to.',
    ...flag,
  },
  'encryption.type': {
    default: 'none',
    description: 'Whether what pods send to pods of other nodes is encrypted, by WireGuard.',
    ...oneOf('none', 'wireguard'),
  },
  'encryption.strictCIDR': {
    default: '',
    description:
      'With encryption, an IPv4 prefix of pods: what goes from there to there is dropped where it would leave a node unencrypted.',
    read: (value) => {
      const prefix = typeof value === 'string' ? parsePrefix(value) : null;
      return value === '' || (prefix !== null && familyOf(prefix.address) === 'IPv4') ? (value as string) : null;
    },
    schema: { type: 'string', pattern: '^$|^[0-9.]+/\\d+$' },
  },
  unenforcedPolicies: {
    default: 'void',
    description:
      'Policies where the network plug-in enforces none, and none in the language of another shows who does: they have no effect (`void`), another program enforces them (`hold`), or that is not known (`unknown`).',
    ...oneOf('void', 'hold', 'unknown'),
  },
  clusterDomain: {
    default: 'cluster.local',
    description: 'The DNS domain of the cluster.',
    read: (value) => (typeof value === 'string' && NODE_NAME.test(value) ? value : null),
    schema: { type: 'string' },
  },
};

/** Whether kube-proxy translates Services, by whatever means. */
export const isKubeProxy = ({ engine }: Settings): boolean => engine !== 'cilium';

/** Whether `ipBlock` matches pods. */
export const ipBlocksMatchPods = ({ ipBlockMatchesPods, cni }: Settings): boolean =>
  ipBlockMatchesPods === 'cni' ? cni.startsWith('calico') : ipBlockMatchesPods;

/** Whether Services are translated on sockets: of Cilium's own alone. */
export const hasSocketLB = (settings: Settings): boolean => settings.socketLB !== false && !isKubeProxy(settings);

export const DEFAULT_SETTINGS = Object.fromEntries(
  Object.entries(SETTINGS).map(([key, setting]) => [key, setting.default]),
) as unknown as Given;

export const isSetting = (key: string): key is keyof Settings => Object.hasOwn(SETTINGS, key);

/** `settings` with one more value; null when `key` is no setting or `value` none of its values. */
export function withSetting(settings: Given, key: string, value: unknown): Given | null {
  if (!isSetting(key)) return null;
  const read = SETTINGS[key].read(value);
  return read === null ? null : { ...settings, [key]: read };
}

/** The JSON schema of `.hopscope.yaml`, in which dotted keys may also be nested. */
export function settingsSchema(): object {
  const properties: Record<string, unknown> = {};
  const groups: Record<string, Record<string, unknown>> = {};
  for (const [key, setting] of Object.entries(SETTINGS)) {
    const property = { ...setting.schema, description: setting.description, default: setting.default };
    properties[key] = property;
    const [group, name] = key.split('.');
    if (group && name) (groups[group] ??= {})[name] = property;
  }
  for (const [group, nested] of Object.entries(groups))
    properties[group] = { type: 'object', properties: nested, additionalProperties: false };
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: '.hopscope.yaml',
    type: 'object',
    properties,
    additionalProperties: false,
  };
}
