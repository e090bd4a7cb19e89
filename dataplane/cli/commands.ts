/** The commands: what each takes, does and prints. */
import { annotationsText } from '../format/annotations-text.js';
import { diff, isDifferent } from '../answers/diff.js';
import { checkJson } from '../format/check-json.js';
import { checkJunit } from '../format/check-junit.js';
import { checkMarkdown } from '../format/check-md.js';
import { checkSarif } from '../format/check-sarif.js';
import { checkText } from '../format/check-text.js';
import { diffJson, diffMarkdown, diffText } from '../format/diff.js';
import { hubbleCompact } from '../format/hubble-compact.js';
import { hubbleJson } from '../format/hubble-json.js';
import { mapsText } from '../format/maps-text.js';
import { monitorText } from '../format/monitor.js';
import { policiesYaml } from '../format/policies-yaml.js';
import { reachCsv, reachDot, reachJson, reachMarkdown, reachTable } from '../format/reach.js';
import { searchJson, searchText } from '../format/search.js';
import { tracePcapng } from '../format/trace-pcapng.js';
import { traceText } from '../format/trace-text.js';
import type { Question } from '../answers/query.js';
import { lossesOf } from '../answers/trace.js';
import { PROTOCOLS } from '../manifests/pods.js';
import type { Severity } from '../problems.js';
import { runBench } from './bench.js';
import {
  CallError,
  choice,
  Exit,
  number,
  required,
  type Call,
  type Command,
  type Option,
  type Output,
} from './call.js';
import type { Session } from '../session.js';
import { readPaths, readText } from './files.js';
import { runQueries } from './queries.js';
import { readRevision } from './revisions.js';

const option = (value: string, description: string): Option => ({ type: 'string', value, description });

const flag = (description: string): Option => ({ type: 'boolean', value: '', description });

/** The first word is what it is unless given. */
const formats = (...words: readonly string[]): Option =>
  option(words.join('|'), `how it is written: ${words[0]} unless given`);

const set: Option = { ...option('KEY=VALUE', 'overrides a setting; may be given again for another'), multiple: true };

const done = (text: Output['text']): Output => ({ text, exit: Exit.DONE });

/** An answer, or the call's fault. */
function must<T extends object>(result: T | { readonly error: string }): T {
  if ('error' in result) throw new CallError(result.error);
  return result;
}

/** One of these protocols, in any case; null where none is given. */
function protocolOf<T extends string>(call: Call, protocols: readonly T[]): T | null {
  const value = call.options['protocol'];
  if (value === undefined) return null;
  const found = protocols.find((protocol) => protocol.toUpperCase() === value.toUpperCase());
  if (!found) throw new CallError(`--protocol ${value}: expected ${protocols.join(', ')}`);
  return found;
}

function runReach(call: Call): Output {
  const format = choice(call, 'format', ['table', 'json', 'csv', 'md', 'dot'], 'table');
  const session = call.session();
  const options = {
    from: call.options['from'] ?? null,
    to: call.options['to'] ?? null,
    protocol: protocolOf(call, [...PROTOCOLS, 'ICMP'] as const),
  };
  const found = must(call.flags.has('exposure') ? session.exposure(options) : session.reach(options));
  return done({ table: reachTable, json: reachJson, csv: reachCsv, md: reachMarkdown, dot: reachDot }[format](found));
}

const VERDICTS = ['ALLOWED', 'DENIED'] as const;

function runSearch(call: Call): Output {
  const format = choice(call, 'format', ['text', 'json'], 'text');
  const asked = choice(call, 'verdict', VERDICTS, 'ALLOWED');
  const session = call.session();
  const found = must(
    session.search({
      from: call.options['from'] ?? null,
      to: call.options['to'] ?? null,
      protocol: protocolOf(call, PROTOCOLS),
      port: number(call, 'port', 1, 65535),
      verdict: asked,
      limit: number(call, 'limit', 1, 999_999) ?? 1,
    }),
  );
  const isNothing = found.witnesses.length + found.unknown.length === 0;
  return { text: { text: searchText, json: searchJson }[format](found), exit: isNothing ? Exit.DONE : Exit.FOUND };
}

function runGenerate(call: Call): Output {
  const recorded = call.options['flows'];
  const session = call.session();
  const { policies, skipped } = session.generate(recorded === undefined ? null : readText(recorded));
  for (const line of skipped) call.tell(`left out: ${line}`);
  return done(policiesYaml(policies));
}

function questionOf(call: Call): Question {
  return {
    from: required(call, 'from'),
    to: required(call, 'to'),
    protocol: protocolOf(call, [...PROTOCOLS, 'ICMP', 'ICMPv6']) ?? 'TCP',
    port: number(call, 'port', 0, 65535),
    icmpType: number(call, 'icmp-type', 0, 255),
    sourcePort: number(call, 'source-port', 0, 65535),
    node: call.options['node'] ?? null,
    http: call.options['http'] ?? null,
  };
}

const TRACE_FORMATS = ['text', 'json', 'pcapng', 'hubble-json', 'hubble-compact', 'monitor'] as const;

function runTrace(call: Call): Output {
  const format = choice(call, 'format', TRACE_FORMATS, 'text');
  const session = call.session();
  const captured = must(session.capture(questionOf(call)));
  // The text and JSON hold it themselves.
  if (format !== 'text' && format !== 'json') lossesOf(captured.recordings).forEach(call.tell);
  switch (format) {
    case 'text':
      return done(traceText(captured.trace));
    case 'json':
      return done(`${JSON.stringify(captured.trace, null, 1)}\n`);
    case 'pcapng':
      return done(tracePcapng(captured.captures));
    case 'hubble-json':
      return done(hubbleJson(session.observe(captured).flows));
    case 'hubble-compact':
      return done(hubbleCompact(session.observe(captured).flows));
    case 'monitor':
      return done(monitorText(session.observe(captured).notifications));
  }
}

const SEVERITIES: readonly Severity[] = ['error', 'warning', 'info'];

function runCheck(call: Call): Output {
  const format = choice(call, 'format', ['text', 'json', 'sarif', 'junit', 'md'], 'text');
  const threshold = choice(call, 'fail-on', ['error', 'warning', 'info', 'never'], 'warning');
  const session = call.session();
  const problems = session.problems();
  const failing =
    threshold === 'never'
      ? []
      : problems.filter(({ severity }) => SEVERITIES.indexOf(severity) <= SEVERITIES.indexOf(threshold));
  const text =
    format === 'text'
      ? checkText(problems, (file) => session.state.manifests.text(file))
      : format === 'json'
        ? checkJson(problems)
        : format === 'sarif'
          ? checkSarif(problems)
          : format === 'junit'
            ? checkJunit(problems)
            : checkMarkdown(problems);
  return { text, exit: failing.length > 0 ? Exit.FOUND : Exit.DONE };
}

/** One side of a diff. A revision is read below the other side's path. */
function sideOf(call: Call, side: string, other: string): Session {
  const revision = /^git:(.*)$/.exec(side)?.[1];
  if (revision === undefined) return call.session(readPaths([side]));
  return call.session(readRevision(revision, other.startsWith('git:') ? [] : [other]));
}

function runDiff(call: Call): Output {
  const format = choice(call, 'format', ['text', 'json', 'md'], 'text');
  const [old, now, ...more] = call.paths;
  if (old === undefined || now === undefined || more.length > 0)
    throw new CallError('diff takes two sides: OLD NEW, each a path or git:REF');
  const found = diff(sideOf(call, old, now).state, sideOf(call, now, old).state, call.modules.trace);
  const text = { text: diffText, json: diffJson, md: diffMarkdown }[format](found);
  return { text, exit: isDifferent(found) ? Exit.FOUND : Exit.DONE };
}

function runMaps(call: Call): Output {
  const format = choice(call, 'format', ['text', 'json'], 'text');
  const session = call.session();
  const maps = must(session.maps(call.options['map'] ?? null, call.options['node'] ?? null));
  if (format === 'json') return done(`${JSON.stringify(maps)}\n`);
  return done(mapsText(maps, (map) => must(session.maps(map, null)).maps[map] ?? []));
}

function runShow(call: Call): Output {
  const session = call.session();
  const wanted = call.options['file'];
  const { manifests } = session.state;
  const files = manifests.files.filter(
    (file) => wanted === undefined || file === wanted || file.endsWith(`/${wanted}`),
  );
  if (files.length === 0 && wanted === undefined)
    throw new CallError(`${call.paths.join(' ')}: there are no manifests there, no .yaml, .yml or .json`);
  if (files.length === 0) throw new CallError(`--file ${wanted}: no manifest of that name`);
  const problems = session.problems();
  const shown = files.map((file) =>
    annotationsText(
      file,
      manifests.text(file) ?? '',
      session.annotations(file),
      problems.filter((problem) => problem.file === file),
    ),
  );
  return done(shown.join('\n'));
}

export const COMMANDS: Readonly<Record<string, Command>> = {
  reach: {
    summary: 'who can talk to whom',
    usage:
      'hopscope reach PATH... [--from REF] [--to REF] [--protocol P] [--exposure] [--format table|json|csv|md|dot]',
    help: 'Lists every allowed connection between workloads, and to and from addresses outside, over every port of TCP, UDP and SCTP and every type of ICMP: what is not listed is denied. Where a proxy looks at requests, what it lets stands behind the ports. With --exposure, pods that are not there yet are listed too: pods:*/* is any pod, whatever its namespace and labels, and pods:shop/{app=web} one with these and no others, where that may do something else.',
    example: 'hopscope reach examples/shop --to shop/cart',
    options: {
      from: option('REF', 'only what it may reach'),
      to: option('REF', 'only who may reach it'),
      protocol: option('TCP|UDP|SCTP|ICMP', 'only this protocol: all of them unless given'),
      exposure: flag('besides, what is open to and from pods that are not there yet, by their namespace and labels'),
      format: formats('table', 'json', 'csv', 'md', 'dot'),
      set,
    },
    takesReferences: true,
    run: runReach,
  },
  query: {
    summary: 'many questions, one line each',
    usage: 'hopscope query PATH... --queries FILE|- [--set key=value]',
    help: 'Answers JSON Lines of {"id", "from", "to", "protocol", "port"}, of ICMP "icmpType", with one JSON line each, in the same order.',
    example: `echo '{"id": 1, "from": "shop/frontend", "to": "svc:shop/cart", "port": 7070}' | hopscope query examples/shop --queries -`,
    options: { queries: option('FILE', 'the questions; - for standard input'), set },
    takesReferences: true,
    run: (call) => runQueries(call.session(), call.options['queries']),
  },
  trace: {
    summary: 'one packet, hop by hop, and back',
    usage:
      'hopscope trace PATH... --from REF --to REF [--port N] [--protocol TCP] [--icmp-type N] [--source-port N] [--node NAME] [--format text|json|pcapng|hubble-json|hubble-compact|monitor]',
    help: 'Sends one packet through the dataplane and tells what each program did with it, and who decided, there and back. The last three formats are what `hubble observe -o json`, `hubble observe -o compact` and `cilium monitor` would show of it.',
    example: 'hopscope trace examples/echo --from default/busybox --to dns:echo --port 5678',
    options: {
      from: option('REF', 'who sends the packet'),
      to: option('REF', 'whom it is for'),
      port: option('N', 'its destination port; where the destination has only one, that one unless given'),
      protocol: option(
        'TCP|UDP|SCTP|ICMP|ICMPv6',
        'of the packet: TCP unless given; ICMP is ICMPv6 between IPv6 addresses',
      ),
      'icmp-type': option('N', 'the type of an ICMP message: echo request unless given'),
      'source-port': option('N', 'its source port'),
      http: option('REQUEST', "an HTTP request that the packet is for: 'GET host/path'"),
      node: option('NAME', 'where a packet from outside enters: the node of its destination unless given'),
      format: formats(...TRACE_FORMATS),
      set,
    },
    takesReferences: true,
    run: runTrace,
  },
  search: {
    summary: 'any packet that satisfies a condition',
    usage:
      'hopscope search PATH... [--from SIDE] [--to SIDE] [--port N] [--protocol P] [--verdict ALLOWED|DENIED] [--limit N] [--format text|json]',
    help: 'Looks for a packet that fares as asked, over every port and every address that policies tell apart, and shows one with who decided. A SIDE is anyone unless given, a REF, or pods by their labels: labels:app=db,tier!=back, namespace:shop or namespace:shop/app=db. Exit status 1 when there is one, or when that could not be told for all that was not read.',
    example: 'hopscope search examples/shop --from world --to labels:app=orders-db',
    options: {
      from: option('SIDE', 'who sends: anyone unless given'),
      to: option('SIDE', 'whom it is for: anyone unless given'),
      port: option('N', 'its destination port, or that of the pod behind a Service: any unless given'),
      protocol: option('TCP|UDP|SCTP', 'only this protocol: all three unless given'),
      verdict: option('ALLOWED|DENIED', 'how it must fare: ALLOWED unless given'),
      limit: option('N', 'how many pairs of ends are told of, each with one packet: 1 unless given'),
      format: formats('text', 'json'),
      set,
    },
    takesReferences: true,
    run: runSearch,
  },
  generate: {
    summary: 'the least NetworkPolicies for what must pass',
    usage: 'hopscope generate PATH... [--flows FILE|-] [--set key=value]',
    help: 'Writes NetworkPolicies that refuse everything in each namespace but those of the cluster itself (kube-…), and let what the manifests announce: addresses and names in variables, arguments and ConfigMaps, the cluster DNS for whoever looks up such a name, and clients outside of Services that are open to them. With --flows, what Hubble recorded instead. What no NetworkPolicy can say is told on standard error.',
    example: 'hopscope generate examples/shop > policies.yaml',
    options: {
      flows: option('FILE', 'JSON Lines of `hubble observe -o json`; - for standard input'),
      set,
    },
    run: runGenerate,
  },
  check: {
    summary: 'problems in the manifests',
    usage: 'hopscope check PATH... [--format text|json|sarif|junit|md] [--fail-on error|warning|info|never]',
    help: 'Lists problems with their lines. Exit status 1 when there are any of at least the --fail-on severity (warning unless given).',
    example: 'hopscope check examples/shop --format sarif',
    options: {
      format: formats('text', 'json', 'sarif', 'junit', 'md'),
      'fail-on': option(
        'error|warning|info|never',
        'the severity from which on the exit status is 1: warning unless given',
      ),
      set,
    },
    run: runCheck,
  },
  diff: {
    summary: 'what an edit gains and loses',
    usage: 'hopscope diff OLD NEW [--format text|json|md]',
    help: 'Compares who can talk to whom before and after, each side a path or git:REF: the flows gained and lost, under the change that, made alone, brings them about. Exit status 1 when a flow is gained or lost, or can no longer be told.',
    example: 'hopscope diff git:HEAD examples/shop',
    options: { format: formats('text', 'json', 'md'), set },
    run: runDiff,
  },
  maps: {
    summary: "the dataplane's maps, as loaded",
    usage: 'hopscope maps PATH... [--map NAME] [--node NAME] [--format text|json]',
    help: 'Reads the maps back from the dataplane, each entry with the manifest lines that put it there. As text, in the words of the `cilium bpf … list` commands.',
    example: 'hopscope maps examples/echo --map cilium_lb4_maglev',
    options: {
      map: option('NAME', 'only the map of this name'),
      node: option('NAME', 'only the maps of this node'),
      format: formats('text', 'json'),
      set,
    },
    run: runMaps,
  },
  show: {
    summary: 'what the editor shows, in the terminal',
    usage: 'hopscope show PATH... [--file NAME]',
    help: 'Prints the manifests with the lenses, hints and problems that the editor shows on them.',
    example: 'hopscope show examples/shop --file cart.yaml',
    options: { file: option('NAME', 'only this file, by its path or the end of it'), set },
    run: runShow,
  },
  bench: {
    summary: "the dataplane's speed",
    usage: 'hopscope bench [--profile NAME|all] [--rounds N] [--format table|json|md]',
    help: 'Measures the dataplane on this machine: nanoseconds per packet by profile, rounds interleaved, results verified.',
    example: 'hopscope bench --profile established-1k',
    options: {
      profile: option(
        'NAMES',
        'a profile, or several with commas between: unless given all, but for clusters of 10,000 pods',
      ),
      rounds: option('N', 'how often each is measured'),
      format: formats('table', 'json', 'md'),
    },
    run: runBench,
  },
};
