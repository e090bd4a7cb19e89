/** The extension: what happens when VS Code opens a manifest, told in order. */
import * as vscode from 'vscode';
import { reveal } from './actions.js';
import { AnnotationSource } from './annotations.js';
import { registerBenchmark } from './bench-view.js';
import { registerCommand } from './commands.js';
import { Configuration } from './configuration.js';
import { Diagnostics } from './diagnostics.js';
import { registerEndpoints } from './endpoints.js';
import { provideHovers } from './hovers.js';
import { provideInlays } from './inlays.js';
import { provideLenses } from './lenses.js';
import { createOutput } from './output.js';
import { registerSearch } from './search.js';
import { showStatus } from './status.js';
import { registerTrace } from './trace-panel.js';
import { Workspace } from './workspace.js';

export async function activate({ extensionUri, subscriptions }: vscode.ExtensionContext): Promise<void> {
  const output = createOutput();
  const configuration = new Configuration(output);

  // The dataplane runs in workers, which start when the first question is asked.
  const inDist = (name: string): vscode.Uri => vscode.Uri.joinPath(extensionUri, 'dist', name);
  const script = inDist('worker.cjs').fsPath;
  const datapath = await vscode.workspace.fs.readFile(inDist('dataplane.trace.wasm'));
  const workspace = new Workspace({ script, datapath }, configuration, output);

  // What is seen without asking.
  const diagnostics = new Diagnostics(workspace, configuration, output);
  const annotations = new AnnotationSource(workspace);
  subscriptions.push(
    output,
    workspace,
    diagnostics,
    annotations,
    showStatus(workspace, diagnostics),
    provideHovers(workspace, configuration),
    provideLenses(annotations, configuration),
    provideInlays(annotations, configuration),
  );

  // What is asked for.
  subscriptions.push(
    registerTrace(workspace, output),
    registerSearch(workspace, output),
    registerEndpoints(workspace, output),
    registerBenchmark(extensionUri, output),
    registerCommand('hopscope.reveal', output, (id, location) => {
      const set = workspace.setById(id);
      return set && reveal(set, location);
    }),
    registerCommand('hopscope.showOutput', output, () => output.show()),
    registerCommand('hopscope.reload', output, () => workspace.reload()),
  );

  // Nothing waits for the manifests to be read.
  void workspace.openFolders();
}
