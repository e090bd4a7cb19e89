/** The one item in the status bar: how many errors and warnings there are, or that manifests are being read. */
import * as vscode from 'vscode';
import { count } from '../dataplane/words.js';
import type { Diagnostics } from './diagnostics.js';
import type { CommandId } from './meta.js';
import type { Workspace } from './workspace.js';

const SHOW_OUTPUT: CommandId = 'hopscope.showOutput';

export function showStatus(workspace: Workspace, diagnostics: Diagnostics): vscode.Disposable {
  const item = vscode.window.createStatusBarItem('hopscope.status', vscode.StatusBarAlignment.Left);
  item.name = 'Hopscope';
  let busy = false;
  const render = (): void => {
    const { errors, warnings } = diagnostics.total;
    const files = workspace.sets.reduce((sum, set) => sum + set.size, 0);
    const counts = [errors > 0 && `${errors} ✗`, warnings > 0 && `${warnings} !`].filter(Boolean).join('  ');
    item.text = busy ? '$(loading~spin) Hopscope' : `$(type-hierarchy) Hopscope: ${counts || '✓'}`;
    item.tooltip = busy
      ? 'Hopscope reads the manifests'
      : `${count(errors, 'error')} and ${count(warnings, 'warning')} in ${count(files, 'manifest file')}`;
    item.accessibilityInformation = { label: `Hopscope: ${item.tooltip}` };
    item.command = errors + warnings > 0 ? 'workbench.actions.view.problems' : SHOW_OUTPUT;
    if (files > 0) item.show();
    else item.hide();
  };
  return vscode.Disposable.from(
    item,
    workspace.onDidChangeBusy((now) => {
      busy = now;
      render();
    }),
    workspace.onDidChange(render),
    workspace.onDidClose(render),
    diagnostics.onDidPublish(render),
  );
}
