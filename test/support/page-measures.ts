/** What a run of many images costs a browser: measured by the browser itself. */
import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import { settled } from './browser.ts';

export interface Measures {
  /** Milliseconds from the start of the navigation. */
  readonly firstPaint: number;
  /** The longest that the page was busy without a pause, in milliseconds; 0: never over 50. */
  readonly longestTask: number;
  /** Bytes of its JavaScript heap, after what is garbage was collected. */
  readonly heap: number;
  /** Elements in the document. */
  readonly elements: number;
}

/** Notes tasks that take over 50 ms, from the first line of the page on. */
export const WATCH_TASKS = `window.longTasks = [];
new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map(({ duration }) => duration)))
  .observe({ type: 'longtask', buffered: true });`;

export async function measured(page: Page): Promise<Measures> {
  const session = await page.context().newCDPSession(page);
  await session.send('HeapProfiler.collectGarbage');
  const { usedSize } = await session.send('Runtime.getHeapUsage');
  await session.detach();
  const [firstPaint, longestTask, elements]: [number, number, number] = await page.evaluate(`[
    performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? Infinity,
    Math.max(0, ...window.longTasks.splice(0)),
    document.querySelectorAll('*').length,
  ]`);
  return { firstPaint: Math.round(firstPaint), longestTask: Math.round(longestTask), heap: usedSize, elements };
}

/** Goes through all rows in so many steps, and finds the last. */
export async function scrollThrough(page: Page, total: number, steps: number): Promise<void> {
  for (let i = 1; i <= steps; i += 1) {
    await page.evaluate(`{
      const box = document.querySelector('.window');
      box.scrollTop = (box.scrollHeight - box.clientHeight) * ${i / steps};
    }`);
    await settled(page);
  }
  await page.locator(`tr[aria-rowindex="${total + 1}"] button.link`).waitFor();
  const rows = await page.locator('tr[aria-rowindex]').count();
  assert.ok(rows < 100, `${rows} rows are in the document`);
}
