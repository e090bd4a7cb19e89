/** Searches: two sides and a verdict are asked for, and the packet that is found is traced. */
import * as vscode from 'vscode';
import type { SearchOptions } from '../dataplane/answers/search.js';
import { searchText } from '../dataplane/format/search.js';
import { registerCommand } from './commands.js';
import { inMessage } from './literal.js';
import { pickSet } from './pick.js';
import { readSearch } from './protocol.js';
import type { Workspace } from './workspace.js';

/** The whole answer is handed back too, for whoever ran the command. */
export function registerSearch(workspace: Workspace, output: vscode.LogOutputChannel): vscode.Disposable {
  return registerCommand('hopscope.search', output, async (id, asked) => {
    const set = workspace.setById(id) ?? (await pickSet(workspace));
    const options = set && (readSearch(asked) ?? (await askFor()));
    if (!options) return null;
    const { result } = await workspace.askSet(set, 'search', options);
    if ('error' in result) void vscode.window.showWarningMessage(`Hopscope: ${inMessage(result.error)}`);
    else {
      const [found] = result.witnesses;
      // Nothing waits for the answer of a message, nor for the page.
      if (!found)
        void vscode.window.showInformationMessage(`Hopscope: ${inMessage(searchText(result).trimEnd(), 1000)}`);
      else {
        const { from, to, protocol, port } = found;
        void vscode.commands.executeCommand('hopscope.trace', set.id, { from, to, protocol, port });
      }
    }
    return result;
  });
}

const SIDE = 'nothing for anyone, a reference such as shop/cart or world, labels:app=db or namespace:shop';

/** null where one of the questions is left unanswered. */
async function askFor(): Promise<SearchOptions | null> {
  const title = 'Search for a packet';
  const from = await vscode.window.showInputBox({ title, prompt: `Who sends: ${SIDE}` });
  if (from === undefined) return null;
  const to = await vscode.window.showInputBox({ title, prompt: `Whom it is for: ${SIDE}` });
  if (to === undefined) return null;
  const verdicts: readonly { readonly label: SearchOptions['verdict'] }[] = [{ label: 'ALLOWED' }, { label: 'DENIED' }];
  const picked = await vscode.window.showQuickPick(verdicts, { title, placeHolder: 'How must it fare?' });
  return picked
    ? { from: from.trim() || null, to: to.trim() || null, protocol: null, port: null, verdict: picked.label, limit: 1 }
    : null;
}
