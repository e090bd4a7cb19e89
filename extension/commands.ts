/** Commands by their declared ids. Arguments come from links and other extensions as well, so each command checks its own. */
import * as vscode from 'vscode';
import { inMessage } from './literal.js';
import type { CommandId } from './meta.js';

/** Registers a command whose faults are shown and written down. */
export function registerCommand(
  id: CommandId,
  output: vscode.LogOutputChannel,
  run: (...args: readonly unknown[]) => unknown,
): vscode.Disposable {
  return vscode.commands.registerCommand(id, async (...args: unknown[]) => {
    try {
      return await run(...args);
    } catch (error) {
      output.error(`${id}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
      void vscode.window.showErrorMessage(
        `Hopscope: ${inMessage(error instanceof Error ? error.message : String(error))}`,
      );
      return undefined;
    }
  });
}
