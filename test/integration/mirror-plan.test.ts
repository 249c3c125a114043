/** `gantry mirror plan`, and runs that do what a plan says. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { image, multiPlatform } from '../support/images.ts';
import { MirrorWorld, outcomesOf, requestsOf } from '../support/mirror/world.ts';

/** What a test looks at in a plan. */
interface Plan {
  readonly document: string;
  readonly version: number;
  readonly images: readonly { readonly tag: string; readonly outcome: string; readonly pinned: string }[];
  readonly unchanged: number;
  readonly failures: readonly object[];
  readonly targets: readonly {
    readonly registry: string;
    readonly send: { readonly blobs: number; readonly bytes: number };
    readonly mount: { readonly blobs: number; readonly bytes: number };
    readonly present: { readonly blobs: number; readonly bytes: number };
    readonly manifests: number;
  }[];
  readonly requests: { readonly run: readonly { readonly registry: string; readonly manifestGets: number }[] };
  readonly eta: { readonly seconds: number; readonly bytesPerSecond: number; readonly basis: string } | null;
}

async function planOf(world: MirrorWorld, ...args: readonly string[]): Promise<Plan> {
  const { code, stderr } = await world.mirror('plan', '-o', world.path('plan.json'), ...args);
  assert.equal(code, 0, stderr);
  const plan: Plan = JSON.parse(await readFile(world.path('plan.json'), 'utf8'));
  return plan;
}

test('a plan says what is sent, mounted and there already, and what the run then costs', async () => {
  await using world = await MirrorWorld.start();
  const shared = { raw: Buffer.alloc(5000, 'shared') };
  const one = image({ seed: 'one', layers: [shared, { raw: Buffer.alloc(100, '1') }] });
  const two = image({ seed: 'two', layers: [shared, { raw: Buffer.alloc(200, '2') }] });
  world.source.add('app', '1', one);
  world.source.add('app', '2', two);
  world.source.add('db', '1', one);
  // The target has the small layer of one of them in one place.
  const [, small] = one.layers;
  assert.ok(small);
  const content = one.blobs.get(small.digest);
  assert.ok(content);
  world.target.stored.putBlob('app', content);
  const file = await world.says([world.repository('app'), world.repository('db')]);
  const plan = await planOf(world, '-f', file, '--rate', '1K');
  assert.deepEqual([plan.document, plan.version, plan.unchanged, plan.failures], ['mirror-plan', 1, 0, []]);
  assert.deepEqual(
    plan.images.map(({ tag, outcome }) => `${tag} ${outcome}`),
    ['1 missing', '2 missing', '1 missing'],
  );
  const [target] = plan.targets;
  const bytes = 5000 + 200 + one.config.size + two.config.size;
  assert.deepEqual(target?.send, { blobs: 4, bytes });
  assert.deepEqual(target.mount, { blobs: 3, bytes: 5000 + 100 + one.config.size });
  assert.deepEqual(target.present, { blobs: 1, bytes: 100 });
  assert.deepEqual(plan.eta, {
    seconds: Math.ceil(bytes / 1024),
    bytesPerSecond: 1024,
    basis: 'the rate that --rate gives',
  });
  assert.equal(world.target.count({ where: ({ method }) => method !== 'HEAD' }), 0, 'a plan writes nothing');
  world.clear();
  const { code, stderr } = await world.mirror('run', '--plan', world.path('plan.json'));
  assert.equal(code, 0, stderr);
  world.assertMirrored('app');
  world.assertMirrored('db');
  const gets = world.source.count({ kind: 'manifest', method: 'GET' });
  assert.deepEqual(plan.requests.run, [{ registry: world.source.host, manifestGets: gets }]);
  assert.equal(world.target.count({ kind: 'upload-end' }), target.send.blobs);
  assert.equal(world.source.count({ kind: 'tags' }), 0, 'the plan says it all');
});

test('a plan counts no manifest that is there, though a new tag comes to mean it', async () => {
  await using world = await MirrorWorld.start();
  const many = multiPlatform({ seed: 'tagged anew', layers: [500] });
  world.source.add('app', '1', many);
  world.target.add('app', 'before', many);
  const file = await world.says([world.repository('app')]);
  const plan = await planOf(world, '-f', file, '--rate', '1K');
  assert.deepEqual(
    plan.images.map(({ tag, outcome }) => `${tag} ${outcome}`),
    ['1 missing'],
  );
  assert.equal(plan.targets[0]?.manifests, 0);
  world.clear();
  const { code, stderr } = await world.mirror('run', '--plan', world.path('plan.json'));
  assert.equal(code, 0, stderr);
  const gets = world.source.count({ kind: 'manifest', method: 'GET' });
  assert.deepEqual(plan.requests.run, [{ registry: world.source.host, manifestGets: gets }]);
});

test('a plan of what is as it should be moves nothing; its rate is measured where none is given', async () => {
  await using world = await MirrorWorld.start();
  world.add('app', ['1', '2']);
  const file = await world.says([world.repository('app')]);
  const first = await planOf(world, '-f', file);
  assert.match(
    first.eta?.basis ?? '',
    /^one transfer from \S+\/app: 3000 bytes in \d+ ms; the targets were not measured/,
  );
  assert.equal((await world.mirror('run', '-f', file)).code, 0);
  const plan = await planOf(world, '-f', file);
  assert.deepEqual([plan.images, plan.unchanged, plan.targets, plan.eta], [[], 2, [], null]);
  assert.equal((await world.mirror('run', '--plan', world.path('plan.json'))).code, 0);
});

test('an image whose tag has moved since is reported and left, unless --replan', async () => {
  await using world = await MirrorWorld.start();
  world.add('app', ['1', '2']);
  const file = await world.says([world.repository('app')]);
  await planOf(world, '-f', file);
  world.add('app', ['2'], 'moved');
  world.add('app', ['3']);
  const plan = ['run', '--plan', world.path('plan.json'), '--report', world.path('report.json')];
  const left = await world.mirror(...plan);
  assert.equal(left.code, 3, left.stderr);
  assert.match(left.stderr, /^gantry: sync\.0: \S+\/app:2: its tag means sha256:\w{12} now, and meant sha256:\w{12} /m);
  assert.deepEqual(outcomesOf(await world.json('report.json')), ['1 copied', '2 moved']);
  assert.deepEqual([...(world.target.stored.get('app')?.tags.keys() ?? [])], ['1'], 'exactly what the plan says');
  const replanned = await world.mirror(...plan, '--replan');
  assert.equal(replanned.code, 0, replanned.stderr);
  assert.deepEqual(outcomesOf(await world.json('report.json')), ['1 equal', '2 copied']);
});

test('a tag that moves during the run is copied as it was planned', async () => {
  await using world = await MirrorWorld.start();
  const [planned] = world.add('app', ['1']);
  const file = await world.says([world.repository('app')]);
  await planOf(world, '-f', file);
  // Between the look at the tag and the transfer.
  const moving = world.source.fault({
    match: { kind: 'manifest', method: 'GET' },
    times: 1,
    do: [],
    first: () => world.add('app', ['1'], 'moved'),
  });
  assert.equal((await world.mirror('run', '--plan', world.path('plan.json'))).code, 0);
  assert.equal(moving.hits, 1);
  assert.equal(world.target.stored.get('app')?.tags.get('1'), planned?.desc.digest);
});

test('what cannot be planned is told, and stays out', async () => {
  await using world = await MirrorWorld.start();
  world.add('app', ['1']);
  const file = await world.says([world.repository('nope'), world.repository('app')]);
  const { code, stdout, stderr } = await world.mirror('plan', '-f', file);
  assert.equal(code, 3);
  assert.match(stderr, /^gantry: sync\.0: \S+\/nope: .*404/m);
  const plan: Plan = JSON.parse(stdout);
  assert.deepEqual([plan.images.length, plan.failures.length], [1, 1]);
  assert.deepEqual(requestsOf(world.target), { 'HEAD manifest': 2, 'HEAD blob': 3 });
});

test('a plan that somebody has spoilt is refused with the place', async () => {
  await using world = await MirrorWorld.start();
  const path = world.path('plan.json');
  const image = { rule: 'sync.0', source: 'x:1', target: 'y.example/x', selection: '', pinned: 'sha256:12' };
  await writeFile(path, JSON.stringify({ document: 'mirror-plan', version: 1, file: 'gone.yml', images: [image] }));
  const { code, stderr } = await world.mirror('run', '--plan', path);
  assert.equal(code, 2);
  assert.match(stderr, /plan\.json: images\.0: pinned: expected a digest/);
  assert.equal((await world.mirror('run', '--plan', world.path('gone.json'))).code, 4);
});
