/** Generated from package.json by scripts/meta.mjs. */

export type CommandId =
  | 'hopscope.trace'
  | 'hopscope.search'
  | 'hopscope.showEndpoints'
  | 'hopscope.runBenchmark'
  | 'hopscope.showOutput'
  | 'hopscope.reload'
  | 'hopscope.traceFrom'
  | 'hopscope.traceTo'
  | 'hopscope.reveal';

/** Settings that are the editor's alone; those of the engine are in dataplane/settings.ts. */
export interface EditorSettings {
  readonly 'codeLens.enabled': boolean;
  readonly 'inlayHints.enabled': boolean;
  readonly 'hover.enabled': boolean;
  readonly 'diagnostics.minimumSeverity': 'error' | 'warning' | 'info' | 'none';
}

export const EDITOR_SETTINGS: {
  readonly [Key in keyof EditorSettings]: {
    readonly default: EditorSettings[Key];
    readonly allowed: readonly EditorSettings[Key][];
  };
} = {
  'codeLens.enabled': { default: true, allowed: [true, false] },
  'inlayHints.enabled': { default: true, allowed: [true, false] },
  'hover.enabled': { default: true, allowed: [true, false] },
  'diagnostics.minimumSeverity': { default: 'info', allowed: ['error', 'warning', 'info', 'none'] },
};
