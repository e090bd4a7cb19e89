/**
 * The packed extension as a person sees it: installed into a real VS Code, driven through its window, with screenshots.
 * Needs hopscope.vsix (`npm run package`).
 *
 * VSCODE_BOOT        module that boots a workbench and hands over a playwright page; skips loudly without it
 * VSCODE_EXECUTABLE  the same VS Code's command line, to install with
 * HOPSCOPE_SHOTS     folder for the screenshots; a new one in the temporary folder unless set
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { HOSTILE_FILE } from './hostile.js';
import { shopCopy } from './shop.js';

// The little of playwright that is used here.
interface Locator {
  first(): Locator;
  locator(selector: string, options?: { hasText?: string | RegExp }): Locator;
  waitFor(options?: { state?: 'attached' | 'hidden'; timeout?: number }): Promise<void>;
  click(options?: { button?: 'right' }): Promise<void>;
  fill(text: string): Promise<void>;
  press(key: string): Promise<void>;
  innerText(): Promise<string>;
  getAttribute(name: string): Promise<string | null>;
  evaluateAll<T>(read: (elements: { getAttribute(name: string): string | null }[]) => T): Promise<T>;
  count(): Promise<number>;
}
interface Frame {
  frameLocator(selector: string): Frame;
  locator(selector: string, options?: { hasText?: string | RegExp }): Locator;
}
interface Page extends Frame {
  readonly keyboard: { press(key: string): Promise<void>; type(text: string): Promise<void> };
  readonly mouse: { move(x: number, y: number): Promise<void> };
  setDefaultTimeout(ms: number): void;
  waitForSelector(selector: string): Promise<unknown>;
  waitForTimeout(ms: number): Promise<void>;
  screenshot(options: { path: string }): Promise<unknown>;
}
interface Workbench {
  readonly page: Page;
  close(): Promise<void>;
}
type Boot = (options: {
  folder: string;
  openFile: string;
  extensionsDir: string;
  settings: Readonly<Record<string, unknown>>;
}) => Promise<Workbench>;

const { VSCODE_BOOT, VSCODE_EXECUTABLE, HOPSCOPE_SHOTS, HOPSCOPE_THEME } = process.env;
const PACKAGE = 'hopscope.vsix';

async function main(boot: Boot, executable: string): Promise<void> {
  const shots = HOPSCOPE_SHOTS ?? mkdtempSync(join(tmpdir(), 'hopscope-shots-'));
  mkdirSync(shots, { recursive: true });
  const extensionsDir = mkdtempSync(join(tmpdir(), 'hopscope-extensions-'));
  const { root, shop: folder } = shopCopy();
  const install = spawnSync(
    executable,
    [`--extensions-dir=${extensionsDir}`, '--install-extension', resolve(PACKAGE), '--force'],
    { encoding: 'utf8' },
  );
  assert.equal(install.status, 0, install.stdout + install.stderr);
  const settings = { 'workbench.colorTheme': HOPSCOPE_THEME ?? 'Default Dark Modern', 'editor.fontSize': 13 };
  const workbench = await boot({ folder, openFile: join(folder, 'cart.yaml'), extensionsDir, settings });
  const ui = new Ui(workbench.page, shots);
  try {
    await ui.story();
    console.log(`${ui.passed} passed, 0 failed; screenshots in ${shots}`);
  } catch (error) {
    await ui.shot('failure');
    console.log(`${ui.passed} passed, 1 failed; screenshots in ${shots}`);
    throw error;
  } finally {
    await workbench.close();
    for (const path of [extensionsDir, root]) rmSync(path, { recursive: true, force: true });
  }
}

class Ui {
  passed = 0;
  private number = 0;

  constructor(
    private readonly page: Page,
    private readonly shots: string,
  ) {
    page.setDefaultTimeout(30_000);
  }

  async shot(name: string): Promise<void> {
    await this.page.screenshot({ path: join(this.shots, `${++this.number}-${name}.png`) });
  }

  async story(): Promise<void> {
    await this.step('lenses, inlay hints and the status bar', () => this.editor());
    await this.step('a hover on a Service', () => this.hover());
    await this.step('a trace, from the hover', () => this.trace());
    await this.step('the trace follows an edit', () => this.liveTrace());
    await this.step('the problems panel', () => this.problems());
    await this.step('hostile text stays text', () => this.hostile());
    await this.step('the endpoints of a Service', () => this.endpoints());
    await this.step('picking the ends of a trace', () => this.pickEnds());
    await this.step('a benchmark, cancelled', () => this.cancelledBenchmark());
    await this.step('a benchmark', () => this.benchmark());
  }

  private async step(name: string, run: () => Promise<void>): Promise<void> {
    const start = Date.now();
    await run();
    this.passed++;
    console.log(`  ok    ${name} (${Date.now() - start} ms)`);
  }

  private async editor(): Promise<void> {
    const { page } = this;
    await page.waitForSelector('.tab[data-resource-name="cart.yaml"]');
    await page.locator('.codelens-decoration a', { hasText: 'reached by' }).first().waitFor();
    await page
      .locator('#hopscope\\.hopscope\\.hopscope\\.status, [id*="hopscope.status"]', { hasText: '!' })
      .first()
      .waitFor();
    await page.waitForTimeout(500);
    await this.shot('editor');
  }

  /** Shows the hover at the cursor. */
  private async showHover(): Promise<Locator> {
    const { page } = this;
    await page.keyboard.press('Control+k');
    await page.keyboard.press('Control+i');
    const hover = page
      .locator('.monaco-hover:not(.hidden) .hover-contents', { hasText: /ALLOWED|DENIED|UNKNOWN|CONDITIONAL/ })
      .first();
    await hover.waitFor();
    return hover;
  }

  private async goTo(file: string, line: number, column = 1): Promise<void> {
    const { page } = this;
    await this.palette(file, '');
    await page
      .locator(`.tab.active[data-resource-name="${file.split('/').pop()!}"]`)
      .first()
      .waitFor();
    await page.keyboard.press('Control+g');
    await this.palette(`:${line}:${column}`, null);
    await page.waitForTimeout(400);
  }

  /** Runs what the quick input lists first for a text; `key` opens it unless it is open already (null). */
  private async palette(text: string, key: string | null): Promise<void> {
    const { page } = this;
    const input = page.locator('.quick-input-widget input[type=text]').first();
    if (key !== null) await page.keyboard.press(key || 'Control+p');
    // A window that is just closing takes the key with it.
    await input.waitFor({ timeout: 3000 }).catch(() => page.keyboard.press(key ?? 'Escape'));
    await input.waitFor();
    await input.fill(text);
    await page.locator('.quick-input-list .monaco-list-row').first().waitFor();
    await page.waitForTimeout(300);
    await page.keyboard.press('Enter');
  }

  private async hover(): Promise<void> {
    await this.goTo('cart.yaml', 48, 10);
    const hover = await this.showHover();
    assert.match(await hover.innerText(), /^✓ ALLOWED/);
    await this.page.waitForTimeout(300);
    await this.shot('hover');
  }

  private webview(): Frame {
    return this.page.frameLocator('iframe.webview.ready').frameLocator('iframe#active-frame');
  }

  private async trace(): Promise<void> {
    const hover = await this.showHover();
    await hover.locator('a', { hasText: 'Whole trace' }).click();
    await this.page.mouse.move(5, 5);
    await this.webview().locator('.verdict', { hasText: 'ALLOWED' }).waitFor();
    await this.page.waitForTimeout(500);
    await this.shot('trace');
    await this.webview().locator('summary').first().press('Enter');
    await this.webview().locator('.lookup').first().waitFor();
    await this.shot('trace-lookups');
  }

  private async liveTrace(): Promise<void> {
    const { page } = this;
    await page.locator('.tab[data-resource-name="cart.yaml"]').click();
    await this.goTo('policies/cart.yaml', 18);
    await this.replaceAll('app: checkout', 'app: checkin');
    await this.webview().locator('.verdict', { hasText: 'DENIED' }).waitFor();
    await page.waitForTimeout(500);
    await this.shot('trace-denied');
    await page.keyboard.press('Control+z');
    await this.webview().locator('.verdict', { hasText: 'ALLOWED' }).waitFor();
    // A decider's link leads to its line.
    await this.webview().locator('.facts .link').first().click();
    await page.waitForTimeout(300);
    await page.keyboard.press('Control+s');
    await this.webview().locator('h1').waitFor();
    await page.locator('.tab', { hasText: 'Trace ' }).first().click();
    await page.keyboard.press('Control+w');
  }

  private async replaceAll(text: string, replacement: string): Promise<void> {
    const { page } = this;
    await page.keyboard.press('Control+h');
    const widget = page.locator('.find-widget.visible');
    await widget.locator('.find-part textarea, .find-part .input').first().fill(text);
    await widget.locator('.replace-part textarea, .replace-part .input').first().fill(replacement);
    await page.waitForTimeout(300);
    await page.keyboard.press('Control+Alt+Enter');
    await page.keyboard.press('Escape');
  }

  private async problems(): Promise<void> {
    const { page } = this;
    await this.palette('>Problems: Focus on Problems View', 'F1');
    const panel = page.locator('.markers-panel');
    for (const code of ['HS2001', 'HS3004', 'HS3005'])
      await panel.locator('.monaco-list-row', { hasText: code }).first().waitFor();
    await this.goTo('policies/email.yaml', 18);
    await page.waitForTimeout(500);
    await this.shot('problems');
    await page.keyboard.press('Control+j');
  }

  private async hostile(): Promise<void> {
    await this.goTo(HOSTILE_FILE, 24, 10);
    const hover = await this.showHover();
    await this.shot('hostile');
    const links = await hover
      .locator('a')
      .evaluateAll((all) => all.map((one) => one.getAttribute('data-href') ?? one.getAttribute('href') ?? ''));
    assert.ok(links.length > 0);
    for (const link of links) assert.match(link, /^command:hopscope\.\w+\?/);
    for (const selector of ['img', '.codicon']) assert.equal(await hover.locator(selector).count(), 0, selector);
    assert.ok((await hover.innerText()).includes(HOSTILE_FILE), await hover.innerText());
  }

  private async endpoints(): Promise<void> {
    await this.palette('>Hopscope: Show Endpoints', 'F1');
    const input = this.page.locator('.quick-input-widget input[type=text]').first();
    await this.page.locator('.quick-input-list .monaco-list-row', { hasText: 'shop/cart' }).first().waitFor();
    await this.shot('services');
    await input.fill('shop/cart');
    await this.page.keyboard.press('Enter');
    await this.page.locator('.quick-input-list .monaco-list-row', { hasText: 'The Service itself' }).first().waitFor();
    await this.shot('endpoints');
    await this.page.keyboard.press('Enter');
    await this.page.locator('.tab.active[data-resource-name="cart.yaml"]').first().waitFor();
  }

  private async pickEnds(): Promise<void> {
    const { page } = this;
    await this.palette('>Hopscope: Trace', 'F1');
    const rows = page.locator('.quick-input-list .monaco-list-row', { hasText: 'frontend' });
    await rows.first().waitFor();
    await this.shot('pick-from');
    await page.locator('.quick-input-widget input[type=text]').first().fill('shop/frontend');
    await page.keyboard.press('Enter');
    await page.locator('.quick-input-title', { hasText: 'Trace from' }).first().waitFor();
    await page.locator('.quick-input-widget input[type=text]').first().fill('svc:shop/orders-db');
    await page.keyboard.press('Enter');
    await this.webview().locator('.verdict', { hasText: 'DENIED' }).waitFor();
    await page.waitForTimeout(500);
    await this.shot('trace-picked');
    await page.keyboard.press('Control+w');
  }

  private async cancelledBenchmark(): Promise<void> {
    const { page } = this;
    await this.palette('>Hopscope: Run Dataplane Benchmark', 'F1');
    await page.locator('.quick-input-list .monaco-list-row', { hasText: 'All profiles' }).first().waitFor();
    await this.shot('profiles');
    await page.keyboard.press('Enter');
    const toast = page.locator('.notification-toast', { hasText: 'Dataplane benchmark' }).first();
    await toast.waitFor();
    await page.waitForTimeout(1500);
    await this.shot('benchmark-progress');
    await toast.locator('a.monaco-button', { hasText: 'Cancel' }).click();
    await page.locator('.notification-toast', { hasText: 'cancelled' }).first().waitFor();
    await page.keyboard.press('Escape');
  }

  private async benchmark(): Promise<void> {
    const { page } = this;
    await this.palette('>Hopscope: Run Dataplane Benchmark', 'F1');
    await page.locator('.quick-input-list .monaco-list-row', { hasText: 'All profiles' }).first().waitFor();
    await page.keyboard.press('Enter');
    const row = this.webview().locator('td', { hasText: 'established-1k' }).first();
    await row.waitFor({ timeout: 240_000 });
    await page.waitForTimeout(500);
    await this.shot('benchmark');
    await this.webview().locator('button', { hasText: 'Copy as Markdown' }).click();
    await page.waitForTimeout(300);
  }
}

if (!VSCODE_BOOT || !VSCODE_EXECUTABLE)
  console.log('SKIP: VSCODE_BOOT and VSCODE_EXECUTABLE are not set, so the interface is not tested.');
else if (!existsSync(PACKAGE)) console.log(`SKIP: there is no ${PACKAGE}, so the interface is not tested.`);
else {
  const { boot } = createRequire(resolve('package.json'))(resolve(VSCODE_BOOT)) as { boot: Boot };
  main(boot, VSCODE_EXECUTABLE).catch((error: unknown) => {
    console.error(error instanceof Error ? error.stack : error);
    process.exitCode = 1;
  });
}
