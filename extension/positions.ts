/** Positions count from 1 in the dataplane and from 0 in VS Code; both count UTF-16 units. */
import * as vscode from 'vscode';
import type { Position, Range } from '../dataplane/manifests/place.js';

export const toPosition = ({ line, column }: Position): vscode.Position => new vscode.Position(line - 1, column - 1);
export const toRange = ({ start, end }: Range): vscode.Range => new vscode.Range(toPosition(start), toPosition(end));
export const fromPosition = ({ line, character }: vscode.Position): Position => ({
  line: line + 1,
  column: character + 1,
});
