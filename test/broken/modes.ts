/** Builds that are wrong in one of the datapath's modes: how packets get between nodes, who answers, who decides. */
import { wrong } from './wrong.js';
import type { Broken } from './table.js';

const ROUTING: readonly Broken[] = [
  wrong(
    'a route leads by no address',
    'lib/delivery.ts',
    'if (node == 0 || endpoint.nodeConfigs.lookup(node).address<A>() == unspecified<A>())',
    'if (node == 0)',
  ),
  wrong(
    'the network knows no way to pods',
    'netdev.ts',
    'if (node != 0 || !config.has(ConfigFlag.NATIVE_ROUTING)) return node;',
    'if (node != 0 || ctx.node != 0) return node;',
  ),
  wrong(
    "pods go in their node's name to nodes",
    'lib/masquerade.ts',
    'if (isNode(ctx.destinationIdentity)) return keep(KeptSource.NODE);',
    '',
  ),
  wrong(
    'ip-masq-agent is not asked',
    'lib/masquerade.ts',
    'if (config.has(ConfigFlag.IP_MASQ_AGENT) && isNonMasquerade<A>(ctx.daddr)) return keep(KeptSource.IP_MASQ_AGENT);',
    '',
  ),
  wrong(
    'the native routing CIDR is one address',
    'lib/config.ts',
    '((<u32>address) & config.nativeMask4) == config.nativeCidr4',
    '(<u32>address) == config.nativeCidr4',
  ),
  wrong(
    'an option that must be known is passed over',
    'lib/encap.ts',
    'if (!frontend.readOption(at) && (option.type & GENEVE_OPTION_CRITICAL) != 0) return -DropReason.INVALID_GENEVE;',
    'frontend.readOption(at);',
  ),
  wrong(
    "no option of Geneve's is critical",
    'lib/encap.ts',
    'header.flags = options == 0 ? 0 : GENEVE_CRITICAL;',
    'header.flags = 0;',
  ),
];

const DSR: readonly Broken[] = [
  wrong(
    'each packet of TCP tells the Service',
    'lib/dsr.ts',
    'return ctx.protocol != IpProto.TCP || (ctx.tcpFlags & TcpFlag.SYN) != 0;',
    'return true;',
  ),
  wrong(
    'hybrid is for all protocols',
    'lib/dsr.ts',
    'return mode == NodePortMode.HYBRID && ctx.protocol == IpProto.TCP;',
    'return mode == NodePortMode.HYBRID;',
  ),
  wrong('no Service says so itself', 'lib/dsr.ts', '|| (service.flags2 & SvcFlag2.FWD_MODE_DSR) != 0', ''),
  wrong(
    "the IPv4 option's port has its first byte first",
    'lib/frontend.ts',
    'store<u32>(at, OPTION4 | (ntohs(port) << 16));',
    'store<u32>(at, OPTION4 | (port << 16));',
  ),
  wrong(
    'what one packet told holds for the next',
    'lib/dsr.ts',
    '(dispatch == DsrDispatch.GENEVE && ctx.program == Program.FROM_OVERLAY)',
    'dispatch == DsrDispatch.GENEVE',
  ),
  wrong('what one header told holds for the next', 'lib/encap.ts', 'frontend.forget();', ''),
  wrong(
    'the outer IP header is from the client',
    'lib/dsr.ts',
    'ctx.saddr = endpoint.nodeConfigs.lookup(ctx.node).address<A>();',
    '',
  ),
  wrong(
    'IP in IP hides another port',
    'lib/dsr.ts',
    'if (ctx.dport != port) return -DropReason.DSR_ENCAP_UNSUPP_PROTO;',
    '',
  ),
  wrong("what was a Service's stays one", 'lib/dsr.ts', 'if (known && isTcp) forget<A>(ctx);', ''),
  wrong('a backend answers in its own name', 'lxc.ts', '} else if (ctx.dsr) dsr.reverse<A>(ctx);', '}'),
  wrong(
    'the option takes no room',
    'lib/dsr.ts',
    '<u32>(ctx.ipEnd - ctx.ip) + overhead > mtu',
    '<u32>(ctx.ipEnd - ctx.ip) > mtu',
  ),
  wrong(
    'the option repairs a wrong sum',
    'lib/dsr.ts',
    'ip.checksum = checksum.update(ip.checksum, change);',
    'ip.checksum = 0; ip.checksum = checksum.compute(ctx.ip, ip.headerLength);',
  ),
  wrong(
    'clients outside are looped back',
    'lib/lb.ts',
    'return ctx.program != Program.FROM_NETDEV && ',
    'return ctx.program != 0 && ',
  ),
];

const CONNECTIONS: readonly Broken[] = [
  wrong(
    'a connection without a Service stays so',
    'lib/conntrack.ts',
    'return entry.revNatIndex != revNatIndex || ((entry.flags',
    'return ((entry.flags',
  ),
  wrong(
    "a node's device takes another Service's connection for this one's",
    'lib/conntrack.ts',
    '(entry.flags & CtFlag.NODE_PORT) == 0 || entry.revNatIndex != revNatIndex)',
    '(entry.flags & CtFlag.NODE_PORT) == 0)',
  ),
];

const PROXIES: readonly Broken[] = [
  wrong(
    "a proxy's reply goes in the node's name",
    'lib/masquerade.ts',
    ' || (proxy.isFrom<A>(ctx) && ct.isReply<A>(ctx))',
    '',
  ),
  wrong(
    'what the proxy of the ingress sends is decided on again',
    'lxc.ts',
    'if (!looped && !proxy.isFromIngress<A>(ctx)) {',
    'if (!looped) {',
  ),
  wrong('a reply passes the proxy by', 'lxc.ts', 'if (ctx.proxied) return proxy.redirect<A>(ctx, 0);', ''),
  wrong(
    'SCTP goes to proxies',
    'lib/proxy.ts',
    'if (port != 0 && ctx.protocol != IpProto.TCP && ctx.protocol != IpProto.UDP) return -DropReason.PROXY_UNKNOWN_PROTO;',
    '',
  ),
  wrong(
    "a mark is the whole of a prefix's identity",
    'lib/proxy.ts',
    'return (known & MARKED) == marked ? known : marked;',
    'return marked;',
  ),
  wrong(
    'the lower priority goes first',
    'lib/policy.ts',
    'return l3.proxyPortPriority > l4.proxyPortPriority;',
    'return l3.proxyPortPriority < l4.proxyPortPriority;',
  ),
];

const DECISIONS: readonly Broken[] = [
  wrong(
    "a node's firewall lets in everybody",
    'lib/host-firewall.ts',
    'return min(ask<A>(ctx, CtDirection.INGRESS, ctx.sourceIdentity), 0);',
    'return 0;',
  ),
  wrong(
    "a node's firewall asks twice",
    'netdev.ts',
    ': delivery.isTunnelled(ipcache.lookup<A>(ctx.daddr));',
    ': true;',
  ),
  wrong(
    'what is tried out passes its proxy by',
    'lib/policy.ts',
    'if (result == 0 || audited) result = proxyPort;',
    'if (result == 0) result = proxyPort; else if (audited) result = 0;',
  ),
  wrong(
    'who has authenticated once need not again',
    'lib/auth.ts',
    'return entry !== null && ct.now < entry.expiration ?',
    'return entry !== null ?',
  ),
  wrong(
    'only the entry that decides says how to authenticate',
    'lib/auth.ts',
    'return (decisive & AuthType.EXPLICIT) == 0 && beside > own ? beside : own;',
    'return own;',
  ),
  wrong(
    "errors are undone as the firewall's connection",
    'lib/conntrack.ts',
    'if (entry !== null) forget<A>(ctx);',
    '',
  ),
];

const KUBE_PROXY: readonly Broken[] = [
  wrong(
    'kube-proxy masquerades whom a Service keeps to their node',
    'lib/masquerade.ts',
    'ctx.masquerade = (service.flags & SvcFlag.EXT_LOCAL_SCOPE) == 0 || client == Client.NODE;',
    'ctx.masquerade = true;',
  ),
  wrong(
    'kube-proxy masquerades nobody who asks himself',
    'lib/masquerade.ts',
    'if (ctx.saddr == ctx.daddr) ctx.masquerade = true;',
    'if (ctx.saddr == ctx.daddr) ctx.masquerade = false;',
  ),
  wrong(
    "what came in the node's name goes back to the node",
    'lxc.ts',
    'if (config.has(ConfigFlag.SERVICE_MASQUERADE) && nat.reverse<A>(ctx)) return route.back<A>(ctx);',
    '',
  ),
];

const SOCKETS: readonly Broken[] = [
  wrong(
    "pods' sockets have programs where only nodes' should",
    'sock.ts',
    ' && (ctx.endpoint == 0 || !config.has(ConfigFlag.SOCKET_LB_HOST_ONLY))',
    '',
  ),
  wrong('a Service takes over an address outside', 'sock.ts', 'if (isOutside<A>(ctx, service)) return 0;', ''),
  wrong('a socket hears from the backend', 'sock.ts', 'rewrite.source<A>(ctx, asked.address, asked.port);', ''),
  wrong(
    'a socket hears from a Service that has nobody left',
    'sock.ts',
    'service.revNatIndex != asked.revNatIndex || service.count == 0',
    'service.revNatIndex != asked.revNatIndex',
  ),
  wrong(
    'sockets keep to a backend by their address',
    'sock.ts',
    'affinity.remember<A>(ctx.saddr, reverseSk.netns<A>(ctx), ',
    'affinity.remember<A>(ctx.saddr, 0, ',
  ),
  wrong(
    'node ports are at one node alone',
    'sock.ts',
    ' && !(isNodePort && identity == ReservedIdentity.REMOTE_NODE)',
    '',
  ),
  wrong(
    "a node's loopback is not its own",
    'sock.ts',
    'if (ctx.endpoint == 0 && isLoopback<A>(address)) return ReservedIdentity.HOST;',
    '',
  ),
];

const ENCRYPTION: readonly Broken[] = [
  wrong('what is in a tunnel leaves readable', 'lib/wireguard.ts', 'if (ctx.outerDaddr != 0) return true;', ''),
  wrong(
    "nodes' own packets are encrypted",
    'lib/wireguard.ts',
    '    case ReservedIdentity.HOST:\n    case ReservedIdentity.WORLD:',
    '    case ReservedIdentity.WORLD:',
  ),
  wrong('pods without a key are encrypted for', 'lib/wireguard.ts', 'remote.key != 0', 'remote.tunnelEndpoint != 0'),
  wrong(
    'strict mode holds the nodes too',
    'lib/wireguard.ts',
    'if (endpoint.nodeOf<A>(ctx.saddr) == ctx.node) return true;',
    '',
  ),
  wrong(
    'messages tell no receiver',
    'lib/wireguard.ts',
    'message.receiver = endpoint.nodeOf<u32>(ctx.outerDaddr);',
    'message.receiver = 0;',
  ),
  wrong('whoever knows the port is a peer', 'lib/wireguard.ts', ' || endpoint.nodeOf<u32>(ctx.saddr) == 0', ''),
  wrong(
    'any port of the device will do',
    'lib/wireguard.ts',
    'ctx.ports == ((port << 16) | port)',
    'ctx.dport == port',
  ),
  wrong(
    'what was encrypted is known as its node',
    'wireguard.ts',
    'if (result == 0) ctx.sourceIdentity = ipcache.identityOf(ipcache.lookup<A>(ctx.saddr));',
    '',
  ),
  wrong('packets do not wait for one another', 'lib/edt.ts', 'info.tLast +', '0 +'),
  wrong(
    'what waits too long waits',
    'lib/edt.ts',
    'if (departure - now >= info.tHorizonDrop) return -DropReason.EDT_HORIZON;',
    '',
  ),
  wrong(
    'pods have no pace',
    'lxc.ts',
    '  const info = endpoint.lookup<A>(ctx.daddr, ctx.node);\n  if (info !== null) return endpoint.isHost(info) ? delivery.toStack<A>(ctx, true) : delivery.toEndpoint<A>(ctx, info);\n  ctx.aggregate = ctx.endpoint;',
    '  const info = endpoint.lookup<A>(ctx.daddr, ctx.node);\n  if (info !== null) return endpoint.isHost(info) ? delivery.toStack<A>(ctx, true) : delivery.toEndpoint<A>(ctx, info);',
  ),
];

export const MODES: readonly Broken[] = [
  ...ROUTING,
  ...DSR,
  ...CONNECTIONS,
  ...PROXIES,
  ...DECISIONS,
  ...KUBE_PROXY,
  ...SOCKETS,
  ...ENCRYPTION,
];
