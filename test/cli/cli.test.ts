/** The command line as a script sees it: what goes in, what comes out, and the exit status. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';

const root = mkdtempSync(join(tmpdir(), 'hopscope-cli-'));
after(() => rmSync(root, { recursive: true }));

const program = join(process.cwd(), 'dist/hopscope.mjs');

function hopscope(
  args: readonly string[],
  input = '',
  env: Readonly<Record<string, string>> = {},
): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
    cwd: root,
    input,
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  return { status, stdout, stderr };
}

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

const POD = (name: string): string =>
  `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "${name}", "labels": {"app": "${name}"}}, "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 8080}]}]}}`;
write('app/a.yaml', `${POD('a')}\n---\n${POD('b')}\n`);
write(
  'app/nested/svc.json',
  '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"}, "spec": {"selector": {"app": "b"}, "ports": [{"port": 80, "targetPort": 8080}]}}',
);
const POLICY =
  'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: only-a}\nspec:\n  podSelector: {matchLabels: {app: b}}\n  ingress:\n    - from: [{podSelector: {matchLabels: {app: a}}}]\n      ports: [{port: 8080}]\n';
write('app/np.yml', POLICY);

mkdirSync(join(root, 'empty'));

const ask = (...questions: readonly unknown[]): string =>
  questions.map((question) => JSON.stringify(question)).join('\n');
const answers = (stdout: string): Record<string, unknown>[] =>
  stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

test('query answers each line in order, and a bad reference only spoils its own', () => {
  const { status, stdout } = hopscope(
    ['query', 'app', '--queries', '-'],
    `${ask({ id: 1, from: 'default/a', to: 'svc:default/b', port: 80 }, { id: 2, from: 'default/nobody', to: 'default/b', port: 80 })}\nnot json\n${ask({ id: { any: 'id' }, from: 'default/b', to: 'default/a', protocol: 'udp', port: 53 })}`,
  );
  const [one, two, three, four] = answers(stdout);
  assert.equal(status, 2);
  assert.deepEqual(
    [one!['id'], one!['verdict'], one!['service']],
    [1, 'ALLOWED', { namespace: 'default', name: 'b', port: 80 }],
  );
  assert.deepEqual(one!['deciders'], [
    {
      kind: 'NetworkPolicy',
      namespace: 'default',
      name: 'only-a',
      rule: 'ingress[0]',
      effect: 'allows',
      file: 'app/np.yml',
      line: 7,
      column: 7,
    },
  ]);
  assert.deepEqual(two, { id: 2, error: 'nothing matches default/nobody' });
  assert.deepEqual(three, { id: null, error: 'the line is not JSON' });
  assert.deepEqual([four!['id'], four!['verdict']], [{ any: 'id' }, 'ALLOWED']);
});

test('a key that was meant for another spoils its line, and says for which; the caller’s own keys do not', () => {
  const line = { id: 1, from: 'default/b', to: 'default/a', port: 80 };
  const table: readonly (readonly [more: Record<string, unknown>, error: string | undefined])[] = [
    [{ prot: 'UDP' }, 'there is no "prot": did you mean "protocol"?'],
    [{ Protocol: 'UDP' }, 'there is no "Protocol": did you mean "protocol"?'],
    [{ icmp_type: 8 }, 'there is no "icmp_type": did you mean "icmpType"?'],
    [{ form: 'default/b' }, 'there is no "form": did you mean "from"?'],
    [{ protocol: 6 }, '"protocol" is not a text'],
    [{ protocol: 'QUIC' }, 'QUIC is no protocol over IP: expected TCP, UDP, SCTP, ICMP or ICMPv6'],
    [{ http: { mehtod: 'GET' } }, '"http" has no "mehtod": did you mean "method"?'],
    [{ http: { body: '' } }, '"http" has no "body"'],
    [{ expect: 'allow', comment: 'ours' }, undefined],
  ];
  const { stdout, status } = hopscope(
    ['query', 'app', '--queries', '-'],
    ask(...table.map(([more]) => ({ ...line, ...more }))),
  );
  assert.equal(status, 2);
  assert.deepEqual(
    answers(stdout).map(({ error }) => error),
    table.map(([, error]) => error),
  );
});

test('an answer has the fields of the contract, in its order', () => {
  const { stdout, status } = hopscope(
    ['query', 'app', '--queries', '-'],
    ask({ id: 1, from: 'default/b', to: 'default/b', port: 80 }),
  );
  assert.equal(status, 0);
  assert.deepEqual(Object.keys(answers(stdout)[0]!), [
    'id',
    'verdict',
    'direction',
    'reason',
    'deciders',
    'backend',
    'service',
    'snat',
    'http',
    'depends',
    'assumes',
    'hints',
  ]);
});

test('a denial names the side, Cilium’s reason and each isolating policy', () => {
  const { stdout } = hopscope(
    ['query', 'app', '--queries', '-'],
    ask({ id: 1, from: 'ip:203.0.113.9', to: 'default/b', port: 8080 }),
  );
  const [{ verdict, direction, reason, deciders }] = answers(stdout) as [Record<string, unknown>];
  assert.deepEqual(
    [verdict, direction, reason],
    ['DENIED', 'ingress', { code: 133, name: 'POLICY_DENIED', text: 'Policy denied' }],
  );
  assert.deepEqual(deciders, [
    {
      kind: 'NetworkPolicy',
      namespace: 'default',
      name: 'only-a',
      rule: null,
      effect: 'isolates',
      file: 'app/np.yml',
      line: 3,
      column: 18,
    },
  ]);
});

test('reach lists the connections and no other, and reads standard input', () => {
  const { stdout, status } = hopscope(
    ['reach', '-', '--format', 'csv', '--protocol', 'TCP', '--from', 'default/a'],
    `${POD('a')}\n---\n${POD('b')}`,
  );
  assert.deepEqual(
    [status, stdout],
    [
      0,
      'from,to,protocol,first,last\r\ndefault/a[Pod],default/b[Pod],TCP,1,65535\r\ndefault/a[Pod],ip:0.0.0.0-255.255.255.255,TCP,1,65535\r\n',
    ],
  );
});

test('diff of a revision and the working tree: the flow lost under the line that was edited, and status 1', () => {
  const git = (...args: string[]): void => {
    const { status, stderr } = spawnSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t', ...args], { cwd: root });
    assert.equal(status, 0, String(stderr));
  };
  write('kept/np.yml', `${POD('a')}\n---\n${POD('b')}\n---\n${POLICY}`);
  git('init', '-q');
  git('add', 'kept');
  git('commit', '-q', '-m', 'kept');
  assert.deepEqual(hopscope(['diff', 'git:HEAD', 'kept']).stdout, 'No flow is gained or lost.\n');
  write('kept/np.yml', `${POD('a')}\n---\n${POD('b')}\n---\n${POLICY.replace('8080', '8081')}`);
  const { status, stdout } = hopscope(['diff', 'git:HEAD', 'kept']);
  assert.deepEqual(
    [status, stdout.split('\n').filter((line) => !line.includes(' by '))],
    [
      1,
      [
        'kept/np.yml:12  NetworkPolicy default/only-a ingress[0] changed',
        '  LOST    default/a[Pod] → default/b[Pod]  TCP 8080',
        '  GAINED  default/a[Pod] → default/b[Pod]  TCP 8081',
        '',
      ],
    ],
  );
  const [gained] = (
    JSON.parse(hopscope(['diff', 'git:HEAD', 'kept', '--format', 'json']).stdout) as { gained: object[] }
  ).gained;
  assert.deepEqual(Object.keys(gained!), ['from', 'to', 'ports', 'deciders', 'edits', 'together']);
});

test('reach --exposure adds what pods that are not there yet may, and each format has it', () => {
  const exposed = (format: string): string => hopscope(['reach', 'app', '--exposure', '--format', format]).stdout;
  const { exposure } = JSON.parse(exposed('json')) as { exposure: { from: string; to: string }[] };
  assert.deepEqual(
    exposure.map(({ from, to }) => `${from} → ${to}`),
    [
      'pods:*/* → default/a[Pod]',
      'pods:default/{app=a} → default/b[Pod]',
      'default/a[Pod] → pods:*/*',
      'default/b[Pod] → pods:*/*',
    ],
  );
  assert.match(exposed('table'), /^pods:default\/\{app=a\} +default\/b\[Pod\] +TCP 8080$/m);
  assert.match(exposed('csv'), /^pods:default\/\{app=a\},default\/b\[Pod\],TCP,8080,8080\r$/m);
  assert.match(exposed('dot'), /"pods:default\/\{app=a\}" \[shape=box, style=dotted\];/);
});

test('trace as JSON: forward and reply, each hop with its look-ups', () => {
  const { stdout } = hopscope(['trace', 'app', '--from', 'default/a', '--to', 'svc:default/b', '--format', 'json']);
  const trace = JSON.parse(stdout) as {
    schema: string;
    forward: { action: string; program: string; lookups: { map: string }[] }[];
    reply: { action: string }[];
  };
  assert.equal(trace.schema, 'hopscope.trace/1');
  const lb = trace.forward.find(({ action }) => action === 'lb')!;
  assert.deepEqual(
    [lb.program, lb.lookups.map(({ map }) => map)],
    [
      'cil_from_container',
      ['cilium_lb4_services_v2', 'cilium_ct4_global', 'cilium_lb4_maglev', 'cilium_lb4_backends_v3'],
    ],
  );
  assert.equal(trace.reply.at(-2)!.action, 'lb');
});

test('trace as Cilium shows it: flows as JSON Lines and compact, and the monitor’s lines', () => {
  const as = (format: string): string[] => {
    const asked = ['trace', 'app', '--from', 'default/b', '--to', 'default/a', '--port', '80', '--format', format];
    return hopscope(asked).stdout.trim().split('\n');
  };
  const flows = as('hubble-json').map((line) => JSON.parse(line) as { flow: { verdict: string }; node_name: string });
  assert.deepEqual(Object.keys(flows[0]!), ['flow', 'node_name', 'time']);
  assert.ok(flows.every(({ flow, node_name: node }) => flow.verdict === 'FORWARDED' && node.startsWith('worker-')));
  assert.match(
    as('hubble-compact')[0]!,
    /^Jan {2}1 00:00:00\.001: default\/b:40000 \(ID:\d+\) <> default\/a:80 \(ID:\d+\) from-endpoint FORWARDED \(TCP Flags: SYN\)$/,
  );
  assert.match(
    as('monitor').slice(0, 2).join('\n'),
    /^# worker-\d\n<- endpoint \d+ flow 0x[0-9a-f]+ , identity \d+->unknown state unknown ifindex 0 orig-ip 0\.0\.0\.0: .* tcp SYN$/,
  );
  assert.equal(as('hubble-json').length, as('hubble-compact').length);
});

test('maps as text: under the command that would list them, with their lines', () => {
  const { stdout, status } = hopscope(['maps', 'app', '--map', 'cilium_lb4_services_v2']);
  assert.equal(status, 0);
  assert.match(
    stdout,
    /^cilium_lb4_services_v2 \(3\): cilium bpf lb list\n {2}SERVICE ADDRESS +BACKEND ADDRESS \(REVNAT_ID\) \(SLOT\) +ORIGIN\n/,
  );
  assert.match(stdout, /:80\/TCP \(1\) +[\d.]+:8080\/TCP \(1\) \(1\) +app\/a\.yaml:\d+ app\/nested\/svc\.json:\d+\n/);
});

test('check exits 1 when it finds something, 0 below the threshold', () => {
  write(
    'bad/svc.yaml',
    'apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  selector: {app: none}\n  ports: [{port: 80}]\n',
  );
  assert.equal(hopscope(['check', 'bad']).status, 1);
  assert.equal(hopscope(['check', 'bad', '--fail-on', 'error']).status, 0);
  const sarif = JSON.parse(hopscope(['check', 'bad', '--format', 'sarif']).stdout) as {
    runs: { results: { ruleId: string; locations: { physicalLocation: { region: object } }[] }[] }[];
  };
  assert.deepEqual(
    [sarif.runs[0]!.results[0]!.ruleId, sarif.runs[0]!.results[0]!.locations[0]!.physicalLocation.region],
    ['HS2001', { startLine: 5, startColumn: 13, endLine: 5, endColumn: 24 }],
  );
});

test('ICMP is asked without a port, by its type', () => {
  const asked = { from: 'default/a', to: 'default/b', protocol: 'ICMP' };
  const { status, stdout } = hopscope(
    ['query', 'app', '--queries', '-'],
    ask({ id: 1, ...asked }, { id: 2, ...asked, icmpType: 3 }, { id: 3, ...asked, icmpType: 'echo' }),
  );
  const [one, two, three] = answers(stdout);
  assert.equal(status, 2);
  assert.deepEqual([one!['id'], two!['id']], [1, 2]);
  assert.ok(one!['verdict'] && two!['verdict']);
  assert.deepEqual(three, { id: 3, error: '"icmpType" is not an ICMP type' });
  const traced = hopscope(['trace', 'app', '--from', 'default/a', '--to', 'default/b', '--protocol', 'icmp']);
  assert.match(traced.stdout, /^(ALLOWED|DENIED)\b/);
});

const WRONG: readonly (readonly [what: string, args: readonly string[], says: RegExp])[] = [
  ['no command', ['nope'], /there is no command nope/],
  ['no path', ['reach'], /which manifests/],
  ['a path that is not there', ['reach', 'missing'], /missing: there is no such file/],
  ['an unknown option', ['reach', 'app', '--colour'], /--colour/],
  ['an unknown format', ['reach', 'app', '--format', 'pdf'], /--format pdf: expected table/],
  [
    'an unknown setting',
    ['reach', 'app', '--set', 'speed=fast'],
    /no setting speed; hopscope reach --help lists them$/m,
  ],
  ['a setting misspelt', ['reach', 'app', '--set', 'cnii=bridge'], /no setting cnii; did you mean cni\?$/m],
  [
    'a value that is not allowed',
    ['reach', 'app', '--set', 'maglev.tableSize=1000'],
    /maglev.tableSize cannot be 1000: it must be `251`, .* or `131071`$/m,
  ],
  [
    'a range that is none',
    ['reach', 'app', '--set', 'podCIDR=banana'],
    /podCIDR cannot be banana: it must be a prefix such as `10\.244\.0\.0\/16`, or one of each family\. The range that pods [^.]*\.$/m,
  ],
  ['nodes without addresses', ['reach', 'app', '--set', 'nodes=n1'], /such as n1=10\.0\.0\.1,n2=10\.0\.0\.2/],
  ['a folder without manifests', ['show', 'empty'], /empty: there are no manifests there/],
  ['a file that is not there', ['show', 'app', '--file', 'z.yaml'], /--file z\.yaml: no manifest of that name/],
  [
    'an ICMP type that is none',
    ['trace', 'app', '--from', 'default/a', '--to', 'default/b', '--protocol', 'icmp', '--icmp-type', '256'],
    /--icmp-type 256: expected a number from 0 to 255/,
  ],
  [
    'a protocol that is none to reach by',
    ['reach', 'app', '--protocol', 'igmp'],
    /--protocol igmp: expected TCP, UDP, SCTP, ICMP/,
  ],
  ['no end', ['trace', 'app', '--to', 'default/b'], /--from is needed/],
  [
    'a port that is none',
    ['trace', 'app', '--from', 'default/a', '--to', 'default/b', '--port', '70000'],
    /--port 70000/,
  ],
];

for (const [what, args, says] of WRONG) {
  test(`status 2, nothing on standard output: ${what}`, () => {
    const { status, stdout, stderr } = hopscope(args);
    assert.deepEqual([status, stdout], [2, '']);
    assert.match(stderr, says);
  });
}

test('a broken document spoils only itself, and what it could change is UNKNOWN', () => {
  write('half/pods.yaml', `${POD('a')}\n---\n${POD('b')}\n---\nkind: NetworkPolicy\nmetadata: {name: [\n`);
  write('half/other.yaml', 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: [\n');
  const { stdout, stderr } = hopscope(
    ['query', 'half', '--queries', '-'],
    ask({ id: 1, from: 'default/a', to: 'default/b', port: 80 }),
  );
  const [answer] = answers(stdout);
  assert.equal(answer!['verdict'], 'UNKNOWN');
  assert.match((answer!['depends'] as string[]).join(), /half\/pods.yaml:5: NetworkPolicy could not be read/);
  assert.match(stderr, /half\/other.yaml:4:1: HS1001|half\/other.yaml:3:\d+: HS1001/);
});

test('.hopscope.yaml beside the manifests holds settings, and --set overrides them', () => {
  write('set/pod.yaml', POD('a'));
  write('set/.hopscope.yaml', 'podCIDR: 10.7.0.0/16\n');
  const address = (args: readonly string[]): unknown =>
    (
      JSON.parse(hopscope(['maps', 'set', '--map', 'endpoint_config', '--format', 'json', ...args]).stdout) as {
        maps: { endpoint_config: { value: { address: string } }[] };
      }
    ).maps.endpoint_config[0]!.value.address;
  assert.match(address([]) as string, /^10\.7\./);
  assert.match(address(['--set', 'podCIDR=10.9.0.0/16']) as string, /^10\.9\./);
});

test('links that lead out of the folder are not followed', () => {
  write('outside/secret.yaml', POD('secret'));
  write('inside/pod.yaml', POD('a'));
  symlinkSync(join(root, 'outside'), join(root, 'inside/link'));
  symlinkSync(join(root, 'inside'), join(root, 'inside/loop'));
  assert.doesNotMatch(hopscope(['reach', 'inside', '--format', 'json']).stdout, /secret/);
});

test('the same input gives the same bytes, whatever the order of paths, locale and time zone', () => {
  const runs = [
    hopscope(['maps', 'app/a.yaml', 'app/np.yml', 'app/nested', '--format', 'json'], '', { LC_ALL: 'C', TZ: 'UTC' }),
    hopscope(['maps', 'app/nested', 'app/np.yml', 'app/a.yaml', '--format', 'json'], '', {
      LC_ALL: 'tr_TR.UTF-8',
      TZ: 'Asia/Tokyo',
    }),
  ];
  assert.equal(runs[0]!.stdout, runs[1]!.stdout);
  assert.ok(runs[0]!.stdout.length > 1000);
});

test('every command explains itself with an example, and each of its options', () => {
  for (const command of ['reach', 'query', 'trace', 'check', 'diff', 'maps', 'show', 'bench']) {
    const { stdout } = hopscope([command, '--help']);
    assert.match(stdout, /usage: hopscope[\s\S]*example: [\s\S]*options:\n( {2}--[\w-]+ \S+ +\S.*\n)+/);
  }
  assert.match(hopscope(['--help']).stdout, /1 check, diff and search found something/);
});

test('help lists what settings may be and how ends are written', () => {
  const { stdout } = hopscope(['trace', '--help']);
  assert.match(
    stdout,
    /^ {2}engine +auto \(default\), cilium, kube-proxy-iptables, kube-proxy-nftables, kube-proxy-ipvs$/m,
  );
  assert.match(stdout, /^ {2}nodes +.*--set nodes=n1=10\.0\.0\.1,n2=10\.0\.0\.2$/m);
  assert.match(stdout, /^ {2}ipBlockMatchesPods +cni \(default\), true, false$/m);
  for (const form of [
    'ns/name',
    'ns/name[Kind]',
    'svc:ns/name',
    'dns:NAME',
    'ip:ADDRESS',
    'node:NAME',
    'host',
    'world',
  ])
    assert.ok(stdout.includes(`\n  ${form} `), form);
});

test('bench tells a log of each profile once', () => {
  const { stderr, status } = hopscope(['bench', '--profile', 'established-1k', '--rounds', '2']);
  assert.deepEqual([status, stderr], [0, 'established-1k: preparing\n']);
});

test('search finds a packet that fares as asked, and says so by its exit status', () => {
  const found = hopscope(['search', 'app', '--to', 'labels:app=b', '--limit', '9', '--format', 'json']);
  assert.equal(found.status, 1);
  const { schema, witnesses } = JSON.parse(found.stdout) as {
    schema: string;
    witnesses: { from: string; port: number }[];
  };
  assert.equal(schema, 'hopscope.search/1');
  assert.deepEqual(
    witnesses.map(({ from, port }) => `${from} ${port}`),
    ['default/a[Pod] 8080'],
  );
  const none = hopscope(['search', 'app', '--from', 'world', '--to', 'labels:app=b']);
  assert.equal(none.status, 0);
  assert.equal(none.stdout, 'No packet from world to labels:app=b, TCP, UDP or SCTP, whatever its port, is ALLOWED.\n');
  assert.equal(hopscope(['search', 'app', '--to', 'labels:app=nobody']).status, 2);
});

test('generate writes manifests that can be read again, from what is announced or recorded', () => {
  const { status, stdout } = hopscope(['generate', 'app']);
  assert.equal(status, 0);
  assert.match(stdout, /^apiVersion: networking\.k8s\.io\/v1\nkind: NetworkPolicy\n/);
  const both = hopscope(['check', 'app', '-', '--format', 'json', '--fail-on', 'error'], stdout);
  assert.equal(both.status, 0, both.stdout);
  const recorded = hopscope(['generate', 'app', '--flows', '-'], 'not a flow\n');
  assert.equal(recorded.status, 0);
  assert.equal(recorded.stderr, 'left out: 1 line that is no flow\n');
  assert.equal(hopscope(['generate', 'app', '--flows', 'nowhere.jsonl']).status, 2);
});
