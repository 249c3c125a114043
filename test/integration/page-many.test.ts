/** A run of twenty thousand images on the status page: only what is visible is there, and it stays so however long it is looked at. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import type { Page } from 'playwright-core';
import { TestBrowser } from '../support/browser.ts';
import { until } from '../support/farm.ts';
import { measured, scrollThrough, WATCH_TASKS } from '../support/page-measures.ts';
import { imageOf, runOf, StandIn, usualData } from '../support/page-stand-in.ts';

const IMAGES = 20_000;
const RUN = 'r0000000001';
const MIB = 1 << 20;

async function startMany(): Promise<StandIn> {
  const images = Array.from({ length: IMAGES }, (_, i) =>
    imageOf(i, i < 5000 ? {} : { state: i % 1000 === 0 ? 'failed' : 'waiting', digest: null, bytes: null }),
  );
  return StandIn.start({ ...usualData(), runs: [runOf(RUN)], images });
}

/** The run goes on by so many images, and everybody is told. */
function goOn({ data, tell }: { data: StandIn['data']; tell: () => void }, by: number): void {
  const [run] = data.runs;
  assert.ok(run);
  const done = run.images.done + by;
  for (let i = run.images.done; i < done; i += 1) data.images[i] = imageOf(i);
  data.runs = [{ ...run, images: { ...run.images, done }, bytesPerSecondNow: 1e8 + done }];
  tell();
}

const progress = (page: Page, done: number): Promise<void> =>
  page
    .locator(`[role=progressbar][aria-valuetext^="${done.toLocaleString('en')} of"]`)
    .first()
    .waitFor();

suite('a run of twenty thousand images', () => {
  const stack = new AsyncDisposableStack();
  let browser: TestBrowser;
  before(async () => {
    browser = stack.use(await TestBrowser.start(WATCH_TASKS));
  });
  after(() => stack.disposeAsync());

  test('is shown by the rows that are visible, through updates and to its end', async (t) => {
    await using standIn = await startMany();
    const page = await browser.open(`${standIn.url}/#/runs/${RUN}`);
    await page.locator('tr[aria-rowindex="2"] button.link').waitFor();
    const start = await measured(page);
    assert.equal(await page.getByRole('table', { name: 'Images of the run' }).getAttribute('aria-rowcount'), '20001');
    const world = { data: standIn.data, tell: () => standIn.tell() };
    for (let i = 1; i <= 10; i += 1) {
      goOn(world, 100);
      await progress(page, 2238 + i * 100);
    }
    const updated = await measured(page);
    await scrollThrough(page, IMAGES, 100);
    await scrollThrough(page, IMAGES, 50);
    const scrolled = await measured(page);
    // Times are told, not judged: another test may have the machine.
    t.diagnostic(JSON.stringify({ start, updated, scrolled }));
    assert.ok(scrolled.elements < start.elements + 400, `${scrolled.elements} elements`);
    assert.ok(scrolled.heap < start.heap + 8 * MIB, `the heap grew from ${start.heap} to ${scrolled.heap} bytes`);
    await browser.finish();
  });

  test('is gone through by keys, searched and filtered', async () => {
    await using standIn = await startMany();
    const page = await browser.open(`${standIn.url}/#/runs/${RUN}`);
    await page.locator('tr[aria-rowindex="2"] button.link').waitFor();
    const top = (): Promise<number> => page.evaluate(`document.querySelector('.window').scrollTop`);
    await page.locator('.window').focus();
    await page.keyboard.press('ArrowDown');
    await until('a line further', async () => (await top()) > 0);
    const before = await top();
    await page.keyboard.press('PageDown');
    await until('a page further', async () => (await top()) > before + 100);
    await page.keyboard.press('End');
    await page.locator(`tr[aria-rowindex="${IMAGES + 1}"] button.link`).waitFor();
    // The button that has the focus is scrolled out of the document: the keys still move the images.
    await page.locator(`tr[aria-rowindex="${IMAGES + 1}"] button.link`).focus();
    await page.evaluate(`document.querySelector('.window').scrollTop = 0`);
    await page.locator('.window:focus').waitFor();

    await page.getByLabel('Name').fill('service-7:v57');
    await page.getByText('3 images').waitFor();
    await page.locator('tr[aria-rowindex="2"]').getByText('service-7:v57').waitFor();
    await page.getByLabel('Name').fill('');
    await page.getByLabel('State').selectOption('failed');
    await page.getByText('15 images').waitFor();
    await page.getByLabel('Name').fill('nothing like it');
    await page.getByText('0 images').waitFor();
    await browser.finish();
  });

  test('asks for what is looked at, and closes its stream when the view is left', async () => {
    await using standIn = await startMany();
    const page = await browser.open(`${standIn.url}/#/runs/${RUN}`);
    const asked: string[] = [];
    page.on('request', (request) => asked.push(request.url()));
    await page.locator('tr[aria-rowindex="2"] button.link').waitFor();
    assert.equal(standIn.listeners, 1);
    await scrollThrough(page, IMAGES, 2);
    const pages = asked.filter((url) => url.includes('/images?'));
    assert.ok(pages.length <= 6, `asked for ${pages.join(' ')}`);
    for (const view of ['Lanes', 'Workers', 'Runs']) {
      await page.getByRole('link', { name: view }).first().click();
      await page.getByRole('heading', { name: view }).waitFor();
    }
    await page.getByRole('link', { name: RUN }).waitFor();
    const look = (hidden: boolean): Promise<void> =>
      page.evaluate(`Object.defineProperty(document, 'hidden', { value: ${hidden}, configurable: true });
        document.dispatchEvent(new Event('visibilitychange'));`);
    await look(true);
    await until('nobody listens for a page that is not seen', () => standIn.listeners === 0, 5000);
    await look(false);
    await until('the streams of the views that were left are closed', () => standIn.listeners === 1, 5000);
    await browser.finish();
  });
});
