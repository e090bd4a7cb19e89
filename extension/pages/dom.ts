/** What a page's script works with. These run in the webview. */

export interface WebviewHost {
  postMessage(message: unknown): void;
}

export interface ElementOptions {
  readonly class?: string;
  readonly text?: string;
  readonly attributes?: Readonly<Record<string, string>>;
  readonly onClick?: () => void;
}

/** Names of SVG elements that pages use; all others are HTML's. */
export type SvgName = 'svg' | 'rect' | 'line';
export type Make = (name: string, options?: ElementOptions, children?: readonly (Node | null)[]) => Element;

/** Makes an element. Its text becomes a text node, so it is never read as markup. */
export function element(name: string, options: ElementOptions = {}, children: readonly (Node | null)[] = []): Element {
  const isSvg = ['svg', 'rect', 'line'].includes(name);
  const made = isSvg ? document.createElementNS('http://www.w3.org/2000/svg', name) : document.createElement(name);
  if (options.class) made.setAttribute('class', options.class);
  for (const [attribute, value] of Object.entries(options.attributes ?? {})) made.setAttribute(attribute, value);
  if (options.text !== undefined) made.textContent = options.text;
  if (options.onClick) made.addEventListener('click', options.onClick);
  for (const child of children) if (child) made.append(child);
  return made;
}
