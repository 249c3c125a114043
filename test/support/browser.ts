/** Debian's chromium, driven by playwright-core, with nothing to reach but this machine. */
import assert from 'node:assert/strict';
import { accessSync, constants, mkdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core';

/** What tests leave to be looked at; git knows nothing of it. */
const SCREENSHOTS = join(import.meta.dirname, '../screenshots');

export const PHONE = { width: 360, height: 740 };
export const DESK = { width: 1280, height: 900 };

/** Scripts for the page are text here: the tests know no DOM. What the policy refuses is told as an error. */
const TELL_REFUSED = `addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) =>
  console.error('refused by the policy: ' + violatedDirective + ' ' + blockedURI))`;

const TOO_WIDE = `(() => {
  const { scrollWidth, clientWidth } = document.documentElement;
  if (scrollWidth <= clientWidth) return [];
  const wide = [...document.querySelectorAll('body *')]
    .filter((each) => each.getBoundingClientRect().right > clientWidth)
    .slice(0, 20)
    .map((each) => each.tagName + '.' + each.className + ' ' + Math.round(each.getBoundingClientRect().right));
  return [scrollWidth + ' instead of ' + clientWidth, ...wide];
})()`;

function onPath(program: string): string {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(directory, program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // in the next one
    }
  }
  return assert.fail(`no ${program} on PATH; \`node scripts/programs.ts\` installs it`);
}

export class TestBrowser implements AsyncDisposable {
  readonly #browser: Browser;
  readonly #script: string;
  /** What the page complained of: errors on the console, refused scripts and styles, exceptions, requests to elsewhere. */
  readonly problems: string[] = [];
  #context: BrowserContext | undefined;

  private constructor(browser: Browser, script: string) {
    this.#browser = browser;
    this.#script = `${TELL_REFUSED};${script}`;
  }

  /** @param script runs first in every page */
  static async start(script = ''): Promise<TestBrowser> {
    const browser = await chromium.launch({
      executablePath: onPath('chromium'),
      // As root there is no sandbox. Names lead nowhere: whatever the page asked of another host would fail, and be told.
      args: ['--no-sandbox', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', '--disable-dev-shm-usage'],
    });
    return new TestBrowser(browser, script);
  }

  /** A page with nothing stored, in the place of the one before. */
  async open(url: string, options: BrowserContextOptions = {}): Promise<Page> {
    await this.#context?.close();
    this.#context = await this.#browser.newContext({ viewport: DESK, ...options });
    const origin = new URL(url).origin;
    this.#context.on('request', (request) => {
      const to = request.url();
      if (!to.startsWith(`${origin}/`) && !to.startsWith('data:')) this.problems.push(`asked for ${to}`);
    });
    await this.#context.addInitScript({ content: this.#script });
    const page = await this.#context.newPage();
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') this.problems.push(message.text());
    });
    page.on('pageerror', (err) => this.problems.push(String(err)));
    page.on('dialog', (dialog) => {
      this.problems.push(`a dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.setDefaultTimeout(20_000);
    await page.goto(url);
    return page;
  }

  /** Closes the page, while its server is still there. Fails for problems other than the expected ones. */
  async finish(expected = /(?!)/): Promise<void> {
    await this.#context?.close();
    this.#context = undefined;
    assert.deepEqual(
      this.problems.splice(0).filter((problem) => !expected.test(problem)),
      [],
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
  }
}

/** Of all that the page has, in both colors and on a phone. */
export async function screenshots(page: Page, name: string): Promise<void> {
  mkdirSync(SCREENSHOTS, { recursive: true });
  const before = page.viewportSize() ?? DESK;
  for (const [suffix, colorScheme, size] of [
    ['light', 'light', DESK],
    ['dark', 'dark', DESK],
    ['phone', 'light', PHONE],
  ] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await page.setViewportSize(size);
    await settled(page);
    // A dialog lies over the window, not over all of the page.
    const fullPage = (await page.locator('dialog').count()) === 0;
    assert.deepEqual(await tooWide(page), [], `${name} is wider than the screen (${suffix})`);
    await page.screenshot({ path: join(SCREENSHOTS, `${name}-${suffix}.png`), fullPage });
  }
  await page.emulateMedia({ colorScheme: null, reducedMotion: null });
  await page.setViewportSize(before);
}

/** Two frames later: what was changed is rendered. */
export const settled = (page: Page): Promise<void> =>
  page.evaluate('new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => resolve())))');

/** What makes the page wider than its window, if it is: nobody should have to scroll sideways. */
export const tooWide = (page: Page): Promise<string[]> => page.evaluate(TOO_WIDE);
