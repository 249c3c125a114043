/** Text of others on the status page, and what the page does where there is little to show: over a stand-in that tells whatever is wanted. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import type { Page } from 'playwright-core';
import type { FailureGroupJson, ImageJson } from '../../src/server/api/schema.ts';
import { PHONE, screenshots, settled, TestBrowser, tooWide } from '../support/browser.ts';
import { ago, imageOf, runOf, StandIn, type StandInData, usualData } from '../support/page-stand-in.ts';

const HOSTILE = [
  '<img src=x onerror="window.hacked=1">',
  '"><script>window.hacked=1</script>',
  `'; window.hacked=1; //`,
  'javascript:window.hacked=1',
  '</title></style></textarea><svg onload=window.hacked=1>',
  '${window.hacked=1}{{constructor.constructor("window.hacked=1")()}}',
  '\u202Egnp.exe\u202C \u0000\u001B[31m\u2028\u200B',
  'W'.repeat(10_000),
  'many words '.repeat(900),
];

/** Hostile text wherever the API has text of others. */
function hostileData(): StandInData {
  const data = usualData();
  const text = (i: number): string => HOSTILE[i % HOSTILE.length] ?? '';
  const failures = HOSTILE.map((message, i): FailureGroupJson => ({
    code: text(i + 1),
    origin: text(i + 2),
    count: i + 1,
    examples: [{ name: message, message, host: message }],
  }));
  const images = HOSTILE.map((name, i): ImageJson =>
    imageOf(i, {
      name,
      state: 'failed',
      digest: text(i + 3),
      mediaType: text(i + 4),
      error: { code: text(i + 1), origin: 'source', message: name, host: name, digest: name, hint: name },
    }),
  );
  const labels = Object.fromEntries(HOSTILE.map((value, i) => [text(i + 5), value]));
  return {
    ...data,
    info: { ...data.info, version: text(0) },
    runs: [
      runOf('r0000000001', {
        labels: { ...labels, retryOf: 'javascript:window.hacked=1' },
        waiting: HOSTILE,
        failures,
        failuresByCode: Object.fromEntries(HOSTILE.map((code, i) => [code, i])),
      }),
    ],
    images,
    lanes: HOSTILE.map((blockedBecause, i) => ({
      ...(data.lanes[0] ?? assert.fail()),
      name: text(i + 1).slice(0, 9000),
      blockedBecause,
      headroom: [{ identity: text(i + 2), limit: 5, remaining: 1 }],
    })),
    workers: HOSTILE.map((id, i) => ({
      ...(data.workers[0] ?? assert.fail()),
      id,
      host: text(i + 1),
      version: text(i + 2),
      lanes: HOSTILE,
      store: text(i + 3),
    })),
    ingests: HOSTILE.map((ref, i) => ({
      ...(data.ingests[0] ?? assert.fail()),
      ref,
      worker: text(i + 1),
      run: text(i + 2),
      lane: text(i + 3),
    })),
  };
}

/** Nothing has run, nothing of it is markup, nothing leads anywhere but to a view, and nothing hides what it is. */
async function assertHarmless(page: Page): Promise<void> {
  await settled(page);
  assert.equal(await page.evaluate('window.hacked'), undefined);
  const foreign = await page.locator('#app :is(img, script, svg, iframe, object, embed, style)').count();
  assert.equal(foreign, 0, 'text became markup');
  const links: string[] = await page.evaluate(`[...document.links].map((link) => link.getAttribute('href'))`);
  assert.deepEqual(
    links.filter((href) => !/^#(?:\/(?:runs|ingests|lanes|workers)(?:\/[\w%.'!~*()-]*)?|main)$/.test(href)),
    [],
  );
  const handlers = `[...document.querySelectorAll('*')].flatMap((each) => each.getAttributeNames()).filter((name) => name.startsWith('on'))`;
  assert.deepEqual(await page.evaluate(handlers), []);
  const shown = await page.locator('#app').innerText();
  assert.deepEqual(
    ['\u0000', '\u001B', '\u2028', '\u200B', '\u202E'].filter((char) => shown.includes(char)),
    [],
  );
  assert.deepEqual(await tooWide(page), []);
}

suite('the status page and what it is told', () => {
  const stack = new AsyncDisposableStack();
  let browser: TestBrowser;
  before(async () => {
    browser = stack.use(await TestBrowser.start());
  });
  after(() => stack.disposeAsync());

  test('text of others is text, in every view, at every width', async () => {
    await using standIn = await StandIn.start(hostileData());
    const page = await browser.open(`${standIn.url}/`);
    for (const path of ['runs', 'runs/r0000000001', 'ingests', 'lanes', 'workers']) {
      await page.goto(`${standIn.url}/#/${path}`);
      await page.locator('table').first().waitFor();
      await assertHarmless(page);
      if (path.includes('/')) await screenshots(page, 'hostile');
      await page.setViewportSize(PHONE);
      await assertHarmless(page);
      await page.setViewportSize({ width: 1280, height: 900 });
    }
    await page.goto(`${standIn.url}/#/runs/r0000000001`);
    for (let i = 0; i < HOSTILE.length; i += 1) {
      await page.locator(`tr[aria-rowindex="${i + 2}"] button.link`).click();
      await page.locator('dialog').waitFor();
      await assertHarmless(page);
      await page.keyboard.press('Escape');
      await page.locator('dialog').waitFor({ state: 'detached' });
    }
    await page.getByText('<img src=x onerror="window.hacked=1">').first().waitFor();
    await page.getByText('<U+202E>gnp.exe').first().waitFor();
    await browser.finish();
  });

  test('the page may load and do nothing but its own, and says so in each answer', async () => {
    await using standIn = await StandIn.start(usualData());
    const page = await fetch(`${standIn.url}/`);
    const policy = page.headers.get('content-security-policy') ?? '';
    for (const wanted of ["default-src 'none'", "script-src 'self';", "style-src 'self';", "frame-ancestors 'none'"]) {
      assert.ok(policy.includes(wanted), wanted);
    }
    assert.doesNotMatch(policy, /unsafe|\*|https?:/);
    assert.equal(page.headers.get('referrer-policy'), 'no-referrer');
    assert.equal(page.headers.get('cross-origin-opener-policy'), 'same-origin');
    assert.equal(page.headers.get('x-content-type-options'), 'nosniff');
    assert.equal(page.headers.get('cache-control'), 'no-cache');
    const text = await page.text();
    const files = [...text.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(([, path = '']) => path);
    assert.ok(files.length > 10);
    for (const path of files) {
      const file = await fetch(`${standIn.url}${path}`);
      assert.equal(file.status, 200, path);
      assert.match(path, /^\/assets\/[0-9a-f]{16}\//, 'its address changes with its content');
      assert.match(file.headers.get('cache-control') ?? '', /immutable/);
      assert.equal(file.headers.get('content-security-policy'), policy);
      assert.doesNotMatch(
        await file.text(),
        /^(?:import|export)\b[^;]*?\bfrom\s*['"](?![./])/m,
        `${path} names a package`,
      );
    }
    assert.equal((await fetch(`${standIn.url}/assets/0000000000000000/app.js`)).status, 404);
    assert.equal((await fetch(`${standIn.url}/`, { method: 'POST' })).status, 405);
    assert.equal((await fetch(`${standIn.url}/`, { method: 'HEAD' })).status, 200);
  });

  test('inline scripts and styles that got into the page would not run', async () => {
    await using standIn = await StandIn.start(usualData());
    const page = await browser.open(`${standIn.url}/`);
    await page.evaluate(`{
      const script = document.createElement('script');
      try { script.text = 'window.hacked = 1'; } catch { /* refused here already */ }
      document.body.append(script);
      const link = document.createElement('a');
      try { link.setAttribute('onclick', 'window.hacked = 1'); } catch { /* and here */ }
      document.body.append(link);
      link.click();
    }`);
    await settled(page);
    assert.equal(await page.evaluate('window.hacked'), undefined);
    assert.ok(browser.problems.some((problem) => /refused by the policy/.test(problem)));
    await browser.finish(/policy|TrustedScript/);
  });

  test('without a farm it shows transfers and says why there is no more', async () => {
    const data = usualData();
    await using standIn = await StandIn.start({ ...data, info: { ...data.info, farm: false, changes: false } });
    const page = await browser.open(`${standIn.url}/`);
    await page.getByText('This server shows no farm').waitFor();
    await page.getByRole('main').getByRole('link', { name: 'Transfers' }).click();
    await page.locator('table').waitFor();
    assert.deepEqual(await page.getByRole('navigation').getByRole('link').allInnerTexts(), ['Transfers']);
    assert.equal(await page.getByRole('button', { name: 'token' }).count(), 0);
    await browser.finish();
  });

  test('where nothing can be changed there are no buttons for it', async () => {
    const data = usualData();
    data.info = { ...data.info, changes: false };
    await using standIn = await StandIn.start(data);
    const page = await browser.open(`${standIn.url}/#/runs/r0000000002`);
    await page.getByRole('heading', { name: 'Run r0000000002' }).waitFor();
    assert.equal(await page.getByRole('button', { name: /Retry|Cancel/ }).count(), 0);
    await page.goto(`${standIn.url}/#/lanes`);
    await page.getByText('started without --token-file').waitFor();
    assert.equal(await page.getByRole('button', { name: /pause|resume|limits/i }).count(), 0);
    await browser.finish();
  });

  test('a question that follows another within a frame is asked', async () => {
    await using standIn = await StandIn.start(usualData());
    const page = await browser.open(`${standIn.url}/#/runs/r0000000001`);
    await page.getByRole('button', { name: 'Cancel', exact: true }).click();
    await page.getByRole('dialog').waitFor();
    await page.evaluate(`(async () => {
      const dialog = document.querySelector('dialog');
      const closed = new Promise((resolve) => dialog.addEventListener('close', resolve));
      dialog.close();
      await closed;
      document.querySelector('main button.danger').click();
    })()`);
    await page.getByRole('dialog').waitFor();
    await browser.finish();
  });

  test('a server that goes away is told, and found again when it is back', async () => {
    const data = usualData();
    const first = await StandIn.start(data);
    const page = await browser.open(`${first.url}/#/workers`);
    await page.getByText('node-1.rack.example').waitFor();
    await first[Symbol.asyncDispose]();
    await page.locator('#connection [role=status]').getByText('The connection to the server is lost').waitFor();
    await page.getByText(/What is shown is .* old/).waitFor();
    const [worker] = data.workers;
    data.workers = worker === undefined ? [] : [{ ...worker, host: 'node-9.rack.example' }];
    await using _again = await StandIn.start(data, Number(new URL(first.url).port));
    await page.getByText('node-9.rack.example').waitFor();
    await page.getByText('The connection to the server is lost').waitFor({ state: 'detached' });
    await browser.finish(/net::ERR/);
  });

  test('runs can be filtered and one is followed by its filter', async () => {
    const data = usualData();
    data.runs = data.runs.map((run) => (run.state === 'running' ? { ...run, createdAt: ago(5_000_000) } : run));
    await using standIn = await StandIn.start(data);
    const page = await browser.open(`${standIn.url}/`);
    await page.getByRole('link', { name: 'r0000000001' }).waitFor();
    const shown = (): Promise<string[]> => page.getByRole('rowheader').allInnerTexts();
    assert.deepEqual(await shown(), ['r0000000001', 'r0000000002', 'r0000000003'], 'what runs comes first');
    await page.getByLabel('State').selectOption('cancelled');
    await page.getByRole('link', { name: 'r0000000001' }).waitFor({ state: 'detached' });
    assert.deepEqual(await shown(), ['r0000000003']);
    standIn.data.runs = standIn.data.runs.map((run) => ({ ...run, state: 'cancelled' }));
    standIn.tell();
    await page.getByRole('link', { name: 'r0000000001' }).waitFor();
    await browser.finish();
  });
});
