/** Hovering an Ingress: where a request to a path ends, by the packets that it makes. */
import type { Ingress, IngressPath, IngressRule } from '../../manifests/ingress.js';
import type { State } from '../../state.js';
import type { TraceRequest } from '../annotations.js';
import { headAt, linksOf, MAX_LINES, text, traceLines, within, withLinks, type Card, type Line } from './card.js';

export function ingressCard(state: State, ingress: Ingress, offset: number): Card | null {
  const to = `ingress:${ingress.metadata.namespace}/${ingress.metadata.name.value}`;
  const rule = ingress.rules.find(({ at }) => within(at, offset)) ?? null;
  const path = rule?.paths.find(({ at }) => within(at, offset)) ?? null;
  const place = path?.path.at ?? (rule?.host && within(rule.host.at, offset) ? rule.host.at : null);
  const isDefault = ingress.defaultBackend !== null && within(ingress.defaultBackend.at, offset);
  const at = place ?? (isDefault ? ingress.defaultBackend.at : headAt(ingress, offset));
  if (!at) return null;
  const asked = rule ?? (isDefault ? null : (ingress.rules[0] ?? null));
  const http = requestFor(ingress, asked, path ?? asked?.paths[0] ?? null);
  const request: TraceRequest = { from: 'world', to, protocol: 'TCP', port: null, http };
  const lines: Line[] = traceLines(state, request, MAX_LINES - 2);
  if (path?.pathType === 'ImplementationSpecific')
    lines.push([text('pathType ImplementationSpecific: the controller reads the path as it likes')]);
  return { at, lines: withLinks(lines, linksOf({ to, protocol: 'TCP', port: null }, request)) };
}

/** A request that a path is for: `any` stands for whatever a wildcard lets stand there. */
function requestFor({ tls }: Ingress, rule: IngressRule | null, path: IngressPath | null): string {
  const host = rule?.host?.value.replace(/^\*/, 'any') ?? '';
  const isSecure = tls.some(({ hosts }) => hosts.length === 0 || hosts.includes(rule?.host?.value ?? ''));
  const name = host === '' ? 'any' : host;
  return `GET ${isSecure ? 'https' : 'http'}://${name}${path?.path.value || '/'}`;
}
