/** The output channel. Its levels are VS Code's: "Developer: Set Log Level…". */
import * as vscode from 'vscode';

export const createOutput = (): vscode.LogOutputChannel => vscode.window.createOutputChannel('Hopscope', { log: true });
