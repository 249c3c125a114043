/** The status page in a browser, over a real server and a farm at work. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { after, afterEach, before, suite, test } from 'node:test';
import type { Page } from 'playwright-core';
import { readConfig } from '../../src/app/config.ts';
import { startGantryServer } from '../../src/app/server/server.ts';
import type { RunningServer } from '../../src/server/http.ts';
import { screenshots, TestBrowser } from '../support/browser.ts';
import { never } from '../support/clients.ts';
import { fill } from '../support/farm-images.ts';
import { TestFarm, until } from '../support/farm.ts';
import { cleanEnv } from '../support/process.ts';
import { faults, TestRegistry } from '../support/registry.ts';
import { image } from '../support/images.ts';
import { tempDir } from '../support/temp.ts';

const TOKEN = 'a-token-of-the-page-0123456789';
const IMAGES = 40;
/** Of those that wait for something in the registry, fewer than a worker has connections to it. */
const HELD = 2;
const opts = { signal: never };

interface World {
  readonly registry: TestRegistry;
  readonly farm: TestFarm;
  readonly browser: TestBrowser;
  readonly server: RunningServer;
  /** What the registry waits for; after each test it waits no more. */
  readonly gates: PromiseWithResolvers<void>[];
  readonly serve: (protectReads: boolean) => Promise<RunningServer>;
}

async function startWorld(stack: AsyncDisposableStack): Promise<World> {
  const registry = stack.use(await TestRegistry.start());
  const farm = stack.use(await TestFarm.start({ workers: 2, concurrency: 8 }));
  const temp = stack.use(await tempDir('gantry-page-'));
  await writeFile(temp.join('token'), TOKEN);
  const serve = async (protectReads: boolean): Promise<RunningServer> =>
    startGantryServer(
      readConfig(cleanEnv(temp.path)),
      {
        redis: farm.settings,
        hasStore: false,
        pullThrough: undefined,
        listen: { port: 0, host: '127.0.0.1' },
        tokenFile: temp.join('token'),
        protectReads,
        registries: {},
        log: () => undefined,
      },
      opts,
    );
  const server = stack.use(await serve(false));
  const browser = stack.use(await TestBrowser.start());
  return { registry, farm, browser, server, serve, gates: [] };
}

/** A run of images of which one lacks a blob and one has a wrong one; two wait for `gate`, and two for `end`. */
async function submitTroubled({ registry, farm }: World, seed: string, gate: Promise<void>, end: Promise<void>) {
  const corpus = fill(registry, { images: IMAGES, blobs: 10, seed });
  const configs = [...corpus.images.values()].map(({ config }) => config.digest);
  const [missing = '', wrong = ''] = configs;
  const order = (object: string, effect: ReturnType<typeof faults.hold>) =>
    registry.fault({ match: { kind: 'blob', object }, do: effect });
  const trouble = [order(missing, faults.status(404)), order(wrong, faults.flip(0))];
  for (const object of configs.slice(2, 2 + HELD)) order(object, faults.hold(gate));
  for (const object of configs.slice(-HELD)) order(object, faults.hold(end));
  const labels = { team: 'storage', note: '<img src=x onerror=alert(1)>' };
  const run = await farm.client.submit(await farm.roots(corpus.refs), { isNew: true, labels });
  return { run, refs: corpus.refs, mend: () => trouble.forEach((each) => each.remove()) };
}

function gateOf({ gates }: World): PromiseWithResolvers<void> {
  const gate = Promise.withResolvers<void>();
  gates.push(gate);
  return gate;
}

const progress = (page: Page, text: string): Promise<void> =>
  page.locator(`main > .progress [role=progressbar][aria-valuetext^="${text}"]`).waitFor();
const typeToken = async (page: Page, token: string): Promise<void> => {
  await page.getByLabel('Token of the server').fill(token);
  await page.getByRole('button', { name: 'Use token' }).click();
};

/** Thinks better of it once, and has a wrong token first. */
async function cancel(page: Page, { farm }: World, run: string): Promise<void> {
  await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  await page
    .getByRole('dialog', { name: `Cancel run ${run}?` })
    .getByText(`${HELD} images`)
    .waitFor();
  await screenshots(page, 'cancel');
  await page.getByRole('button', { name: 'Keep it as it is' }).click();
  assert.equal((await farm.client.run(run)).state, 'running');
  await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  await page.getByRole('button', { name: 'Cancel the run' }).click();
  await typeToken(page, 'not-the-token-of-this-server');
  await page.getByText('The server does not take that token.').waitFor();
  await screenshots(page, 'token');
  assert.equal((await farm.client.run(run)).state, 'running');
  await typeToken(page, TOKEN);
  await page.getByText(`run ${run} is cancelled`).waitFor();
  assert.equal((await farm.client.run(run)).state, 'cancelled');
}

/** First one reason, then the rest. */
async function retry(page: Page, run: string): Promise<void> {
  await page.getByRole('button', { name: 'Retry only DIGEST_MISMATCH' }).click();
  await page.getByRole('dialog', { name: 'Retry 1 image?' }).waitFor();
  await page.getByRole('button', { name: 'Start the new run' }).click();
  await progress(page, '1 of 1');
  await page.getByText('a retry of').getByRole('link', { name: run }).click();
  await page.getByRole('heading', { name: `Run ${run}` }).waitFor();
  await page.getByRole('button', { name: 'Retry', exact: true }).click();
  await page.getByRole('dialog', { name: `Retry ${2 + HELD} images?` }).waitFor();
  await page.getByRole('button', { name: 'Start the new run' }).click();
  await progress(page, `${2 + HELD} of ${2 + HELD}`);
}

suite('the status page over a farm', () => {
  const stack = new AsyncDisposableStack();
  let world: World;
  before(async () => {
    world = await startWorld(stack);
  });
  afterEach(() => {
    world.registry.clearFaults();
    for (const gate of world.gates.splice(0)) gate.resolve();
  });
  after(() => stack.disposeAsync());

  test('a run is watched, cancelled and retried', async () => {
    const { browser, server } = world;
    const page = await browser.open(`${server.url}/`);
    await page.getByText('No runs yet').waitFor();
    await screenshots(page, 'runs-none');

    const [gate, end] = [gateOf(world), gateOf(world)];
    const { run, refs, mend } = await submitTroubled(world, 'watched', gate.promise, end.promise);
    await page.getByRole('link', { name: run }).waitFor();
    await page.getByText('DIGEST_MISMATCH').waitFor();
    await page.getByText('NOT_FOUND').waitFor();
    await screenshots(page, 'runs');
    await page.getByRole('link', { name: run }).click();
    await page.getByRole('heading', { name: `Run ${run}` }).waitFor();
    await until('the title is that of the run', async () => (await page.title()) === `${run} · gantry`);
    await progress(page, `${IMAGES - 2 - 2 * HELD} of ${IMAGES}, 2 failed`);
    gate.resolve();
    await progress(page, `${IMAGES - 2 - HELD} of ${IMAGES}, 2 failed`);
    await page.locator('.plot canvas').waitFor();
    await screenshots(page, 'run');

    await page.getByRole('button', { name: 'Show 1 image' }).first().click();
    await page.getByText('1 image', { exact: true }).waitFor();
    const bad = page.locator('tr[aria-rowindex="2"]');
    await bad.getByRole('button', { name: /^127/ }).click();
    await page.getByRole('dialog', { name: /^127/ }).waitFor();
    await screenshots(page, 'image');
    await page.getByRole('button', { name: 'Close' }).click();
    assert.ok(refs.slice(0, 2).includes(await bad.getByRole('button').first().innerText()));

    await cancel(page, world, run);
    await progress(page, `${IMAGES - 2 - HELD} of ${IMAGES}, 2 failed, ${HELD} cancelled`);
    end.resolve();

    mend();
    await retry(page, run);
    await screenshots(page, 'run-done');

    await page.goBack();
    await page.getByRole('heading', { name: `Run ${run}` }).waitFor();
    await page.getByRole('button', { name: 'Forget token' }).click();
    assert.equal(await page.evaluate('sessionStorage.length + localStorage.length'), 0);
    await browser.finish(/status of 401/);
  });

  test('a lane is paused, resumed and limited', async () => {
    const { browser, farm, registry, server } = world;
    await farm.client.settings.set(registry.host, {});
    const page = await browser.open(`${server.url}/#/lanes`);
    const lane = async () => (await farm.client.lanes(opts)).find(({ name }) => name === registry.host);
    await page.getByRole('button', { name: `pause ${registry.host}` }).click();
    await typeToken(page, TOKEN);
    await page.getByText('paused', { exact: true }).waitFor();
    assert.equal((await lane())?.paused, true);
    await page.getByRole('button', { name: `limits of ${registry.host}` }).click();
    await page.getByRole('spinbutton', { name: 'Tickets at a time' }).fill('3');
    await page.getByRole('spinbutton', { name: 'Requests', exact: true }).fill('500');
    await page.getByRole('spinbutton', { name: 'in', exact: true }).fill('10');
    await page.getByLabel('unit of the period').selectOption('minutes');
    await screenshots(page, 'limits');
    await page.getByRole('button', { name: 'Set limits' }).click();
    await page.getByText('500 requests in 10 min').waitFor();
    const set = await lane();
    assert.deepEqual([set?.concurrency, set?.quota], [3, { requests: 500, periodMs: 600_000 }]);
    await screenshots(page, 'lanes');
    await page.getByRole('button', { name: `limits of ${registry.host}` }).click();
    assert.equal(await page.getByRole('spinbutton', { name: 'in', exact: true }).inputValue(), '10');
    await page.getByRole('spinbutton', { name: 'Tickets at a time' }).fill('');
    await page.getByRole('spinbutton', { name: 'Requests', exact: true }).fill('');
    await page.getByRole('button', { name: 'Set limits' }).click();
    await page.getByText('500 requests in 10 min').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: `resume ${registry.host}` }).click();
    await page.getByText('paused', { exact: true }).waitFor({ state: 'detached' });
    const free = await lane();
    assert.deepEqual([free?.paused, free?.concurrency, free?.quota], [false, undefined, undefined]);
    await browser.finish();
  });

  test('workers and what they transfer are shown as it moves', async () => {
    const { browser, farm, registry, server } = world;
    const refs: string[] = [];
    const underWay = /^[1-9][\d.]* [KM]iB of 2\.00 MiB$/;
    const end = gateOf(world);
    for (let i = 0; i < 4; i += 1) {
      const large = image({ seed: `large ${i}`, layers: [2 << 20] });
      registry.add('large', `v${i}`, large);
      refs.push(registry.ref('large', `v${i}`));
      const object = large.layers[0]?.digest ?? '';
      registry.fault({ match: { kind: 'blob', object }, do: faults.holdBody(1 << 20, end.promise) });
    }
    const run = await farm.submit(refs);
    const page = await browser.open(`${server.url}/#/ingests`);
    await until('a part of each is here', async () => (await page.getByText(underWay).count()) === 4);
    await screenshots(page, 'transfers');
    await page.getByRole('link', { name: 'Workers' }).click();
    await page.getByText(`process ${farm.pids[0]}`).waitFor();
    await page.getByText(underWay).first().waitFor();
    await screenshots(page, 'workers');
    end.resolve();
    await farm.ended(run);
    await until('nothing is transferred', async () => (await page.getByText('no transfer').count()) === 2);
    await browser.finish();
  });

  test('with the keyboard alone, from the first key to a cancelled run', async () => {
    const { browser, farm, server } = world;
    const end = gateOf(world);
    const { run } = await submitTroubled(world, 'keys', end.promise, end.promise);
    const page = await browser.open(`${server.url}/`);
    const keys = async (...names: string[]): Promise<void> => {
      for (const key of names) await page.keyboard.press(key);
    };
    const focused = (): Promise<string> =>
      page.evaluate(`document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim()`);
    const tabTo = async (name: string): Promise<void> => {
      for (let i = 0; i < 60 && (await focused()) !== name; i += 1) await keys('Tab');
      assert.equal(await focused(), name);
    };
    await page.getByRole('link', { name: run }).waitFor();
    await keys('Tab');
    assert.equal(await focused(), 'Skip to the content');
    await keys('Enter');
    assert.equal(await page.evaluate('document.activeElement.id'), 'main');
    await tabTo(run);
    await keys('Enter');
    await page.getByRole('heading', { name: `Run ${run}` }).waitFor();
    await page.locator('main:focus').waitFor();
    await tabTo('Cancel');
    await keys('Enter');
    await page.getByRole('dialog').waitFor();
    await keys('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    assert.equal(await focused(), 'Cancel');
    await keys('Enter');
    await page.getByRole('dialog').waitFor();
    assert.equal(await focused(), 'Keep it as it is');
    await keys('Enter');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    assert.equal(await focused(), 'Cancel');
    await keys('Enter');
    await page.getByRole('dialog').waitFor();
    await tabTo('Cancel the run');
    await keys('Enter');
    await page.getByLabel('Token of the server').waitFor();
    await page.keyboard.type(TOKEN);
    await keys('Enter');
    await page.getByText(`run ${run} is cancelled`).waitFor();
    assert.equal((await farm.client.run(run)).state, 'cancelled');
    await browser.finish();
  });

  test('the tree of accessibility has what a screen reader reads', async () => {
    const { browser, server, farm } = world;
    const troubled = (await farm.client.runs(opts)).find(({ images }) => images.failed > 0 && images.done > 0);
    const page = await browser.open(`${server.url}/#/runs/${troubled?.id}`);
    await page.getByRole('table', { name: 'Images of the run' }).waitFor();
    const tree = await page.locator('body').ariaSnapshot();
    for (const wanted of [
      /^- banner:/m,
      /navigation "Views":/,
      /link "Runs"/,
      /^- main:/m,
      /heading "Run r[0-9a-f]{10}" \[level=1\]/,
      /heading "Failures" \[level=2\]/,
      /progressbar "images"/,
      /figure "Bytes per second/,
      /search:/,
      /searchbox "Name"/,
      /combobox "State"/,
      /region "Images, \d+ rows"/,
      /columnheader "Digest"/,
      /rowheader "127/,
      /button "copy digest of 127/,
    ]) {
      assert.match(tree, wanted);
    }
    // Every control has a name, and every picture is either named or left out.
    assert.doesNotMatch(tree, /- (?:button|link|textbox|combobox|searchbox)(?: \[.*\])?:?$/m);
    assert.doesNotMatch(tree, /- img/);
    await browser.finish();
  });

  test('with protected reads the token is asked for first', async () => {
    const { browser, serve } = world;
    await using server = await serve(true);
    const page = await browser.open(`${server.url}/#/workers`);
    await page.getByText('This server shows nothing without its token.').waitFor();
    await page.getByRole('button', { name: 'Cancel', exact: true }).click();
    await page.getByRole('alert').waitFor();
    assert.equal(await page.getByText('process').count(), 0);
    await page.getByRole('button', { name: 'Enter token' }).click();
    await typeToken(page, TOKEN);
    await page.getByText('process').first().waitFor();
    await page.reload();
    await page.getByText('process').first().waitFor();
    await page.getByRole('button', { name: 'Forget token' }).click();
    await page.getByText('This server shows nothing without its token.').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('alert').waitFor();
    await page.getByText('process').first().waitFor({ state: 'detached' });
    await browser.finish(/status of 401/);
  });

  test('when Redis is away the page says so, how old its data is, and goes on when it is back', async () => {
    const { browser, farm, server } = world;
    const page = await browser.open(`${server.url}/#/workers`);
    await page.getByText('process').first().waitFor();
    await farm.redis.kill();
    await page.locator('#connection [role=status]').getByText('The server cannot reach its data').waitFor();
    await page.getByText(/What is shown is \d+ s old/).waitFor();
    assert.equal(await page.getByText('process').count(), 2, 'what was known stays');
    await screenshots(page, 'away');
    await farm.redis.start();
    await page.getByText('The server cannot reach its data').waitFor({ state: 'detached' });
    await until('workers are back', async () => (await page.getByText('process').count()) === 2);
    await browser.finish(/status of 503/);
  });

  test('a run that its Redis has lost is not taken for current', async () => {
    const { browser, farm, registry, server } = world;
    const corpus = fill(registry, { images: 2, blobs: 2, seed: 'lost' });
    const run = await farm.submit(corpus.refs);
    await farm.ended(run);
    const page = await browser.open(`${server.url}/#/runs/${run}`);
    await page.getByRole('heading', { name: `Run ${run}` }).waitFor();
    await page.getByText('2 of 2').waitFor();
    await farm.redis.command('DEL', `{gantry}:r:${run}:m`);
    const notice = page.locator('#connection [role=status]');
    await notice.getByText(`The server does not know this any more: there is no run ${run}`).waitFor();
    assert.doesNotMatch(await notice.innerText(), /tried again/);
    await browser.finish();
  });

  test('what is not there is said, and leads on', async () => {
    const { browser, server } = world;
    const page = await browser.open(`${server.url}/#/runs/r0123456789`);
    await page.getByRole('alert').getByText('there is no run r0123456789').waitFor();
    assert.equal(await page.locator('#connection').innerText(), '');
    await page.goto(`${server.url}/#/nonsense`);
    await page.getByText('There is no such view').waitFor();
    await page.getByRole('main').getByRole('link', { name: 'runs' }).click();
    await page.getByRole('heading', { name: 'Runs' }).waitFor();
    await browser.finish(/status of 404/);
  });
});
