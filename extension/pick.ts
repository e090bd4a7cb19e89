/** Pick lists: a set of manifests, the ends of a flow, its port. What is typed counts as well as what is listed. */
import * as vscode from 'vscode';
import type { EndChoice } from '../dataplane/answers/ends.js';
import { inLabel } from './literal.js';
import type { ManifestSet } from './manifest-set.js';
import type { Workspace } from './workspace.js';

/** The set of the manifest in the active editor; else the only one there is, or the one that is picked. */
export async function pickSet(workspace: Workspace): Promise<ManifestSet | null> {
  const active = vscode.window.activeTextEditor?.document.uri;
  const here = active && workspace.setOf(active);
  const { sets } = workspace;
  if (here && sets.includes(here)) return here;
  if (sets.length === 0)
    void vscode.window.showInformationMessage('Hopscope: there are no Kubernetes manifests in this workspace.');
  if (sets.length < 2) return sets[0] ?? null;
  const items = sets.map((set) => ({ label: inLabel(set.name), description: `${set.size} files`, set }));
  return (await vscode.window.showQuickPick(items, { placeHolder: 'Which manifests?' }))?.set ?? null;
}

const KINDS: Readonly<Record<EndChoice['kind'], readonly [icon: string, title: string]>> = {
  workload: ['$(server-process)', 'Workloads'],
  service: ['$(symbol-interface)', 'Services'],
  node: ['$(server)', 'Nodes'],
  world: ['$(globe)', 'Outside'],
};

interface EndItem extends vscode.QuickPickItem {
  readonly ref?: string;
}

export const pickFrom = (ends: readonly EndChoice[], to: string | undefined): Promise<string | null> =>
  pickEnd(
    ends.filter(({ sends }) => sends),
    to ? `Trace to ${to}` : 'Trace',
    'Who sends? Pick one, or type a reference such as ip:192.0.2.9',
  );

export const pickTo = (ends: readonly EndChoice[], from: string): Promise<string | null> =>
  pickEnd(ends, `Trace from ${from}`, 'To whom? Pick one, or type a reference such as dns:cart or ip:203.0.113.20');

/** References need not be listed: an address or a name is one too. */
const LOOKS_LIKE_REF = /^\S+[:/]\S+$|^host$/;

function pickEnd(ends: readonly EndChoice[], title: string, placeholder: string): Promise<string | null> {
  const listed = (Object.keys(KINDS) as EndChoice['kind'][]).flatMap((kind): EndItem[] => {
    const [icon, heading] = KINDS[kind];
    const items = ends
      .filter((end) => end.kind === kind)
      .map(({ ref, detail }) => ({ label: `${icon} ${inLabel(ref)}`, description: inLabel(detail), ref }));
    return items.length > 0 ? [{ label: heading, kind: vscode.QuickPickItemKind.Separator }, ...items] : [];
  });
  const quickPick = vscode.window.createQuickPick<EndItem>();
  Object.assign(quickPick, { title, placeholder, matchOnDescription: true });
  quickPick.items = listed;
  return new Promise((resolve) => {
    quickPick.onDidChangeValue((value) => {
      const typed = value.trim();
      const isNew = LOOKS_LIKE_REF.test(typed) && !ends.some(({ ref }) => ref === typed);
      quickPick.items = isNew
        ? [...listed, { label: `$(edit) ${inLabel(typed)}`, description: 'as typed', alwaysShow: true, ref: typed }]
        : listed;
    });
    quickPick.onDidAccept(() => {
      resolve(quickPick.selectedItems[0]?.ref ?? null);
      quickPick.hide();
    });
    quickPick.onDidHide(() => {
      resolve(null);
      quickPick.dispose();
    });
    quickPick.show();
  });
}

interface Port {
  readonly protocol: string;
  readonly port: number;
}

/** The only port that an end has; else the one that is picked or typed. */
export async function pickPort(ends: readonly EndChoice[], to: string): Promise<Port | null> {
  const ports = ends.find(({ ref }) => ref === to)?.ports ?? [];
  if (ports.length === 1) return ports[0]!;
  const items: (vscode.QuickPickItem & { readonly port: Port | null })[] = ports.map(({ protocol, port, name }) => ({
    label: `${port}/${protocol}`,
    description: inLabel(name ?? ''),
    port: { protocol, port },
  }));
  const other = { label: '$(edit) Another port…', description: '', port: null };
  const picked =
    items.length > 0
      ? await vscode.window.showQuickPick([...items, other], { title: `Trace to ${to}`, placeHolder: 'Which port?' })
      : other;
  return picked ? (picked.port ?? (await typePort(to))) : null;
}

const PORT = /^(\d{1,5})(?:\/(tcp|udp|sctp))?$/i;

async function typePort(to: string): Promise<Port | null> {
  const text = await vscode.window.showInputBox({
    title: `Trace to ${to}`,
    prompt: 'Which port?',
    value: '80/TCP',
    validateInput: (value) => (readPort(value) ? null : 'A port from 1 to 65535, such as 80, 53/UDP or 443/TCP'),
  });
  return text === undefined ? null : readPort(text);
}

function readPort(text: string): Port | null {
  const [, number, protocol = 'TCP'] = PORT.exec(text.trim()) ?? [];
  const port = Number(number);
  return port >= 1 && port <= 65535 ? { protocol: protocol.toUpperCase(), port } : null;
}
