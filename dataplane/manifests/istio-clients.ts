/** What says how clients of the mesh connect, and which tokens their requests may have. */
import type { Fields } from './fields.js';
import { readSelector, readTargetRefs } from './istio-policies.js';
import type { DestinationRule, RequestAuthentication } from './istio.js';
import type { Header } from './kinds.js';
import type { Place } from './place.js';

/** Where Istio looks for a token that no rule names a place for. */
const HEADER = 'authorization';
const PARAMETER = 'access_token';

/** security.istio.io/v1 RequestAuthentication; `undefined` where any of it is refused. */
export function readRequestAuthentication(object: Fields, header: Header): RequestAuthentication | undefined {
  const spec = object.optional('spec');
  if (!spec) return undefined;
  const known = spec.only('selector', 'targetRef', 'targetRefs', 'jwtRules');
  const selector = readSelector(spec);
  const targetRefs = readTargetRefs(spec);
  if (!known || selector === undefined || targetRefs === undefined || spec.mappings('jwtRules') === undefined)
    return undefined;
  const rules = spec.each('jwtRules');
  const listed = (name: string): boolean => rules.some((rule) => rule.has(name));
  const places = listed('fromHeaders') || listed('fromParams') || listed('fromCookies');
  const isDefault =
    !places || rules.some((rule) => !['fromHeaders', 'fromParams', 'fromCookies'].some((name) => rule.has(name)));
  const headers = rules.flatMap((rule) => rule.each('fromHeaders').flatMap((from) => from.text('name') ?? []));
  return {
    ...header,
    kind: 'RequestAuthentication',
    selector,
    targetRefs,
    headers: [
      ...(isDefault ? [HEADER] : []),
      ...headers.map((name) => name.toLowerCase()),
      ...(listed('fromCookies') ? ['cookie'] : []),
    ],
    parameters: [
      ...(isDefault ? [PARAMETER] : []),
      ...rules.flatMap((rule) => rule.strings('fromParams').map(({ value }) => value)),
    ],
  };
}

/** networking.istio.io DestinationRule; `undefined` where it names no host. What else it has is about balancing load, and not read. */
export function readDestinationRule(object: Fields, header: Header): DestinationRule | undefined {
  const spec = object.required('spec', object.fields('spec'));
  const host = spec?.required('host', spec.string('host'));
  if (!spec || !host) return undefined;
  const policies = [spec, ...spec.each('subsets')].flatMap((part) => part.fields('trafficPolicy') ?? []);
  const levels = policies.flatMap((policy) => [policy, ...policy.each('portLevelSettings')]);
  const plain = levels.flatMap((level): Place[] => {
    const mode = level.fields('tls')?.string('mode');
    return mode && mode.value !== 'ISTIO_MUTUAL' ? [mode.at] : [];
  });
  return { ...header, kind: 'DestinationRule', host, plain };
}
