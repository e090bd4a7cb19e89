/** The page of a benchmark: a bar for each profile, and the numbers. */
import type { Make, WebviewHost } from './dom.js';

export interface BarView {
  readonly label: string;
  readonly description: string;
  /** Shares of the widest bar, from 0 to 100. */
  readonly median: number;
  /** null for none. */
  readonly p99: number | null;
  readonly medianText: string;
  readonly p99Text: string | null;
}

export interface BenchView {
  readonly generation: number;
  readonly plots: readonly { readonly title: string; readonly bars: readonly BarView[] }[];
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly notes: readonly string[];
}

export const BENCH_STYLE = `
.plot { display: grid; grid-template-columns: max-content minmax(8rem, 1fr) max-content; gap: .3rem 1rem; align-items: center; margin: 0; }
.plot dt { text-align: right; }
.plot dd { margin: 0; }
.plot .value { font-variant-numeric: tabular-nums; white-space: nowrap; }
svg { display: block; width: 100%; height: 1.5rem; overflow: visible; }
.track { fill: var(--vscode-textBlockQuote-background, transparent); }
.bar { fill: var(--vscode-charts-blue); }
.whisker { stroke: var(--vscode-foreground); stroke-width: 1.5; opacity: .75; }
.legend { display: flex; gap: 1.5rem; margin: .75rem 0 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--vscode-widget-border, var(--vscode-panel-border)); white-space: nowrap; }
th { font-weight: 600; color: var(--vscode-descriptionForeground); }
.scroll { overflow-x: auto; }
`;

/** Runs in the webview; uses nothing but its parameters. */
export function benchPage(host: WebviewHost, make: Make): void {
  const root = document.getElementById('root')!;

  function barOf({ label, description, median, p99, medianText, p99Text }: BarView): Element[] {
    const svg = make(
      'svg',
      {
        attributes: {
          role: 'img',
          'aria-label': `${label}: ${medianText}${p99Text === null ? '' : `, 99th percentile ${p99Text}`}`,
        },
      },
      [
        make('rect', { class: 'track', attributes: { x: '0', y: '20%', width: '100%', height: '60%', rx: '2' } }),
        make('rect', { class: 'bar', attributes: { x: '0', y: '20%', width: `${median}%`, height: '60%', rx: '2' } }),
        ...(p99 === null
          ? []
          : [
              make('line', { class: 'whisker', attributes: { x1: `${median}%`, x2: `${p99}%`, y1: '50%', y2: '50%' } }),
              make('line', { class: 'whisker', attributes: { x1: `${p99}%`, x2: `${p99}%`, y1: '25%', y2: '75%' } }),
            ]),
      ],
    );
    return [
      make('dt', { class: 'mono', text: label, attributes: { title: description } }),
      make('dd', {}, [svg]),
      make('dd', { class: 'value' }, [
        make('span', { text: medianText }),
        ...(p99Text === null ? [] : [make('span', { class: 'dim', text: `  p99 ${p99Text}` })]),
      ]),
    ];
  }

  window.addEventListener('message', ({ data }: MessageEvent<BenchView | null>) => {
    if (!data) return;
    const { generation, plots, columns, rows, notes } = data;
    const button = (text: string, type: string): Element =>
      make('button', { text, onClick: () => host.postMessage({ type, generation }) });
    const row = (name: string, cells: readonly string[]): Element =>
      make(
        'tr',
        {},
        cells.map((text) => make(name, { text })),
      );
    root.replaceChildren(
      make('h1', { text: 'Dataplane benchmark' }),
      ...notes.map((text) => make('p', { class: 'dim', text })),
      make('div', { class: 'toolbar' }, [button('Copy as Markdown', 'copy'), button('Run Again…', 'again')]),
      ...plots.flatMap(({ title, bars }) => [
        make('h2', { text: title }),
        make('dl', { class: 'plot' }, bars.flatMap(barOf)),
      ]),
      make('h2', { text: 'Numbers' }),
      make('div', { class: 'scroll' }, [
        make('table', {}, [
          make('thead', {}, [row('th', columns)]),
          make(
            'tbody',
            {},
            rows.map((cells) => row('td', cells)),
          ),
        ]),
      ]),
    );
  });
  host.postMessage({ type: 'ready' });
}
