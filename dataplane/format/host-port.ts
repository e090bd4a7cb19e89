/** A host and a port as Go's `net.JoinHostPort` writes them: an IPv6 address in brackets; no port, no colon. */
export function hostPort(host: string, port: number): string {
  if (port === 0) return host;
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
