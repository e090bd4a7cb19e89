/** The page of a trace: the verdict and what decided it, then every hop, there and back. */
import type { Make, WebviewHost } from './dom.js';

/** A place that can be opened; `link` is its number in this view. */
export interface LinkView {
  readonly text: string;
  readonly link: number;
}

/** A part of a tuple; `changed`: by this hop. */
export interface PartView {
  readonly text: string;
  readonly changed: boolean;
}

export interface HopView {
  readonly node: string;
  /** Where it is on the first hop of a node, so the reader sees the packet travel. */
  readonly isNewNode: boolean;
  readonly place: string;
  readonly action: string;
  /** The packet goes no further. */
  readonly refuses: boolean;
  readonly text: string;
  readonly before: readonly PartView[];
  /** null: nothing changed. */
  readonly after: readonly PartView[] | null;
  readonly outer: string | null;
  readonly identities: string;
  readonly lookups: readonly { readonly map: string; readonly key: string; readonly value: string | null }[];
  readonly origins: readonly LinkView[];
}

export interface TraceView {
  /** Comes back with every message about this view. */
  readonly generation: number;
  readonly title: string;
  readonly verdict: 'ALLOWED' | 'DENIED' | 'CONDITIONAL' | 'UNKNOWN';
  readonly summary: string;
  readonly deciders: readonly (LinkView & { readonly effect: string; readonly rule: string })[];
  readonly notes: readonly { readonly label: string; readonly text: string }[];
  readonly ways: readonly { readonly title: string; readonly hops: readonly HopView[] }[];
}

export const TRACE_STYLE = `
.verdict { display: inline-block; font-weight: 700; letter-spacing: .04em; border-radius: 3px; padding: .1rem .6rem; border: 1px solid currentColor; margin-right: .6rem; }
.ALLOWED { color: var(--vscode-charts-green); }
.DENIED { color: var(--vscode-charts-red); }
.CONDITIONAL { color: var(--vscode-charts-yellow); }
.UNKNOWN { color: var(--vscode-charts-purple); }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 1rem 0 0; }
.facts dt { color: var(--vscode-descriptionForeground); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
ol { list-style: none; margin: 0; padding: 0; }
.hop { display: grid; grid-template-columns: 1.6rem minmax(0, 1fr); column-gap: .75rem; }
.rail { position: relative; }
.rail::before { content: ''; position: absolute; left: .72rem; top: 0; bottom: 0; width: 2px; background: var(--vscode-widget-border, var(--vscode-panel-border)); }
.hop:first-child .rail::before { top: .7rem; }
.hop:last-child .rail::before { bottom: auto; height: .7rem; }
.hop:only-child .rail::before { display: none; }
.dot { position: absolute; left: .4rem; top: .42rem; width: .7rem; height: .7rem; border-radius: 50%; background: var(--vscode-editor-background); border: 2px solid var(--vscode-descriptionForeground); box-sizing: border-box; }
.lb .dot, .nat .dot { border-color: var(--vscode-charts-blue); background: var(--vscode-charts-blue); }
.policy .dot { border-color: var(--vscode-charts-green); background: var(--vscode-charts-green); }
.encap .dot, .decap .dot { border-color: var(--vscode-charts-purple); background: var(--vscode-charts-purple); }
.drop .dot { border-color: var(--vscode-charts-red); background: var(--vscode-charts-red); border-radius: 0; transform: rotate(45deg); }
.deliver .dot { border-color: var(--vscode-charts-green); }
.body { padding-bottom: 1rem; min-width: 0; }
.node { font-weight: 600; margin: .1rem 0 .5rem; }
.line { overflow-wrap: anywhere; }
.action { font-weight: 600; margin-right: .6rem; }
.place { margin-left: .6rem; white-space: nowrap; }
.drop .action { color: var(--vscode-charts-red); }
.tuple { display: block; margin-top: .15rem; overflow-wrap: anywhere; }
.changed { font-weight: 700; color: var(--vscode-charts-blue); }
.was { text-decoration: line-through; text-decoration-color: var(--vscode-descriptionForeground); }
details { margin-top: .15rem; }
summary { cursor: pointer; color: var(--vscode-descriptionForeground); width: max-content; }
.lookup { margin: .4rem 0 0 1.05rem; overflow-wrap: anywhere; }
.origins { display: flex; flex-wrap: wrap; gap: 0 1rem; margin-top: .15rem; }
`;

/** Runs in the webview; uses nothing but its parameters. */
export function tracePage(host: WebviewHost, make: Make): void {
  const root = document.getElementById('root')!;
  let view: TraceView;

  const linkTo = ({ text, link }: LinkView): Element =>
    make('button', {
      class: 'link',
      text,
      onClick: () => host.postMessage({ type: 'reveal', generation: view.generation, link }),
    });
  const action = (text: string, type: string): Element =>
    make('button', { text, onClick: () => host.postMessage({ type, generation: view.generation }) });
  const tuple = (parts: readonly PartView[], mark: string, lead: string): Element =>
    make('code', { class: 'tuple' }, [
      make('span', { class: 'dim', text: lead }),
      ...parts.map(({ text, changed }) => make('span', { ...(changed ? { class: mark } : {}), text })),
    ]);

  function hopOf(hop: HopView): Element {
    const lookups = hop.lookups.map(({ map, key, value }) =>
      make('div', { class: 'lookup mono' }, [
        make('div', { text: map }),
        make('div', { class: 'dim', text: key }),
        make('div', { class: 'dim', text: `→ ${value ?? 'no entry'}` }),
      ]),
    );
    const count = `${lookups.length} map lookup${lookups.length === 1 ? '' : 's'}`;
    return make('li', { class: `hop ${hop.refuses ? 'drop' : hop.action}` }, [
      make('div', { class: 'rail', attributes: { 'aria-hidden': 'true' } }, [make('div', { class: 'dot' })]),
      make('div', { class: 'body' }, [
        hop.isNewNode ? make('div', { class: 'node', text: hop.node }) : null,
        make('div', { class: 'line' }, [
          make('span', { class: 'action', text: hop.action }),
          make('span', { text: hop.text }),
          make('code', { class: 'place dim', text: hop.place }),
        ]),
        tuple(hop.before, 'was', ''),
        hop.after && tuple(hop.after, 'changed', '⇒ '),
        hop.outer === null ? null : make('code', { class: 'tuple dim', text: hop.outer }),
        hop.origins.length > 0 ? make('div', { class: 'origins' }, hop.origins.map(linkTo)) : null,
        lookups.length > 0
          ? make('details', {}, [make('summary', { text: `${count}, ${hop.identities}` }), ...lookups])
          : null,
      ]),
    ]);
  }

  function render(): void {
    const open = new Set(
      Array.from(document.querySelectorAll('details')).flatMap((details, i) => (details.open ? [i] : [])),
    );
    const facts = [
      ...view.deciders.flatMap((decider) => [
        make('dt', { text: decider.effect }),
        make('dd', {}, [make('span', { text: `${decider.rule} ` }), linkTo(decider)]),
      ]),
      ...view.notes.flatMap(({ label, text }) => [make('dt', { text: label }), make('dd', { text })]),
    ];
    root.replaceChildren(
      make('h1', { text: view.title }),
      make('p', { attributes: { role: 'status' } }, [
        make('span', { class: `verdict ${view.verdict}`, text: view.verdict }),
        make('span', { text: view.summary }),
      ]),
      make('dl', { class: 'facts' }, facts),
      make('div', { class: 'toolbar' }, [
        action('Trace Another…', 'another'),
        action('Copy as Text', 'copyText'),
        action('Copy as JSON', 'copyJson'),
      ]),
      ...view.ways.flatMap(({ title, hops }) => [make('h2', { text: title }), make('ol', {}, hops.map(hopOf))]),
    );
    document.querySelectorAll('details').forEach((details, i) => (details.open = open.has(i)));
  }

  window.addEventListener('message', ({ data }: MessageEvent<TraceView | null>) => {
    if (!data) return;
    view = data;
    render();
  });
  host.postMessage({ type: 'ready' });
}
