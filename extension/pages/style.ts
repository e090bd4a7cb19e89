/** What all pages look like: VS Code's own colours and fonts. */
export const STYLE = `
body { color: var(--vscode-foreground); font-family: var(--vscode-font-family); font-size: var(--vscode-font-size); padding: 0; }
main { max-width: 64rem; margin: 0 auto; padding: 1.25rem 1.5rem 3rem; line-height: 1.5; }
h1 { font-size: 1.35em; font-weight: 600; margin: 0 0 .35rem; overflow-wrap: anywhere; }
h2 { font-size: .85em; font-weight: 600; margin: 2rem 0 .75rem; text-transform: uppercase; letter-spacing: .06em; color: var(--vscode-descriptionForeground); }
p { margin: .25rem 0; }
code, .mono { font-family: var(--vscode-editor-font-family); font-size: .95em; color: inherit; background: none; padding: 0; }
.dim { color: var(--vscode-descriptionForeground); }
.toolbar { display: flex; flex-wrap: wrap; gap: .5rem; margin: 1rem 0 0; }
.toolbar button { color: var(--vscode-button-secondaryForeground); background: var(--vscode-button-secondaryBackground); border: 1px solid var(--vscode-button-border, transparent); border-radius: 3px; padding: .25rem .75rem; font: inherit; cursor: pointer; }
.toolbar button:hover { background: var(--vscode-button-secondaryHoverBackground); }
.link { color: var(--vscode-textLink-foreground); background: none; border: 0; padding: 0; font: inherit; cursor: pointer; text-align: left; overflow-wrap: anywhere; }
.link:hover { color: var(--vscode-textLink-activeForeground); text-decoration: underline; }
button:focus-visible, summary:focus-visible { outline: 1px solid var(--vscode-focusBorder); outline-offset: 2px; }
`;
