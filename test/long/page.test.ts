/** The status page over a real run of twenty thousand images, from its start to its end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readConfig } from '../../src/app/config.ts';
import { startGantryServer } from '../../src/app/server/server.ts';
import { TestBrowser } from '../support/browser.ts';
import { never } from '../support/clients.ts';
import { fill } from '../support/farm-images.ts';
import { TestFarm, until } from '../support/farm.ts';
import { type Measures, measured, scrollThrough, WATCH_TASKS } from '../support/page-measures.ts';
import { cleanEnv } from '../support/process.ts';
import { TestRegistry } from '../support/registry.ts';
import { tempDir } from '../support/temp.ts';

const IMAGES = 20_000;
const MIB = 1 << 20;

test(
  '20,000 images: what is visible is there, and no more, from the first to the last',
  { timeout: 1_200_000 },
  async (t) => {
    await using temp = await tempDir('gantry-page-');
    await using registry = await TestRegistry.start();
    await using farm = await TestFarm.start({ workers: 2, concurrency: 16 });
    const { refs } = fill(registry, { images: IMAGES, blobs: 200 });
    const settings = {
      redis: farm.settings,
      hasStore: false,
      pullThrough: undefined,
      listen: { port: 0, host: '127.0.0.1' },
      tokenFile: undefined,
      protectReads: false,
      registries: {},
      log: () => undefined,
    };
    await using server = await startGantryServer(readConfig(cleanEnv(temp.path)), settings, { signal: never });
    await using browser = await TestBrowser.start(WATCH_TASKS);
    const run = await farm.submit(refs);
    const done = async (): Promise<number> => (await farm.client.run(run)).images.done;
    await until('it is under way', async () => (await done()) > 1000, 120_000);

    const page = await browser.open(`${server.url}/#/runs/${run}`);
    await page.locator('tr[aria-rowindex="2"] button.link').waitFor();
    const seen: Measures[] = [await measured(page)];
    for (let part = 1; part <= 9; part += 1) {
      await until(`${part} tenths`, async () => (await done()) >= (IMAGES * part) / 10, 300_000);
      await scrollThrough(page, IMAGES, 100);
      seen.push(await measured(page));
    }
    await farm.ended(run, 300_000);
    await page.locator(`[role=progressbar][aria-valuetext="20,000 of 20,000"]`).waitFor();
    seen.push(await measured(page));
    const [first, second] = seen;
    const last = seen.at(-1);
    assert.ok(first && second && last);
    // Wanted: the first paint within 1 s, no task over 200 ms. Told and not judged: others may have the machine.
    t.diagnostic(JSON.stringify({ first, second, last, longestTask: seen.map(({ longestTask }) => longestTask) }));
    assert.ok(last.heap < second.heap + 4 * MIB, `the heap grew from ${second.heap} to ${last.heap} bytes`);
    assert.ok(last.elements < first.elements + 400);
    await browser.finish();
  },
);
