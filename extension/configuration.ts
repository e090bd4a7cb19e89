/** The settings, as a person has set them; what is not allowed is ignored and said once. */
import * as vscode from 'vscode';
import { DEFAULT_SETTINGS, SETTINGS, withSetting } from '../dataplane/settings.js';
import { EDITOR_SETTINGS, type EditorSettings } from './meta.js';
import type { EngineOverrides } from './protocol.js';

const SECTION = 'hopscope';

export class Configuration {
  private readonly complained = new Set<string>();

  constructor(private readonly output: vscode.LogOutputChannel) {}

  /** Settings of the engine that are set somewhere; those that are not leave `.hopscope.yaml` its say. */
  engine(scope: vscode.Uri | null): EngineOverrides {
    const section = vscode.workspace.getConfiguration(SECTION, scope);
    const overrides: Record<string, unknown> = {};
    for (const key of Object.keys(SETTINGS)) {
      const set = section.inspect<unknown>(key);
      const value = set?.workspaceFolderValue ?? set?.workspaceValue ?? set?.globalValue;
      if (value === undefined) continue;
      if (withSetting(DEFAULT_SETTINGS, key, value)) overrides[key] = value;
      else this.complain(key, value);
    }
    return overrides;
  }

  editor<Key extends keyof EditorSettings>(key: Key, scope: vscode.Uri | null): EditorSettings[Key] {
    const { default: unset, allowed } = EDITOR_SETTINGS[key];
    const value = vscode.workspace.getConfiguration(SECTION, scope).get<unknown>(key);
    const read = allowed.find((one) => one === value);
    if (read === undefined && value !== undefined) this.complain(key, value);
    return read ?? unset;
  }

  private complain(key: string, value: unknown): void {
    const complaint = `${SECTION}.${key}: ${(JSON.stringify(value) ?? 'this').slice(0, 100)} is not allowed here and is ignored`;
    if (this.complained.has(complaint)) return;
    this.complained.add(complaint);
    this.output.warn(complaint);
  }
}

export function onDidChangeSettings(listener: () => void): vscode.Disposable {
  return vscode.workspace.onDidChangeConfiguration((event) => event.affectsConfiguration(SECTION) && listener());
}
