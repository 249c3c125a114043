/** `gantry mirror run`: what is copied, what it costs, and what is told when some of it fails. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { DockerRegistry } from '../support/docker-registry.ts';
import { image, multiPlatform } from '../support/images.ts';
import { MirrorWorld, outcomesOf, requestsOf } from '../support/mirror/world.ts';
import { runOk } from '../support/process.ts';
import { faults } from '../support/registry.ts';

test('the first run copies, and the second one costs two HEADs for an image and no GET of a manifest', async () => {
  await using world = await MirrorWorld.start();
  world.add('team/app', ['1.0', '1.1', '2.0']);
  const file = await world.says([world.repository('team/app')]);
  const first = await world.mirror('run', '-f', file);
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stdout, /^ {2}3 images: 3 copied, /m);
  world.assertMirrored('team/app');
  assert.deepEqual(world.target.violations, []);
  world.clear();
  const second = await world.mirror('run', '-f', file);
  assert.equal(second.code, 0, second.stderr);
  assert.deepEqual(requestsOf(world.source), { 'GET tags': 1, 'HEAD manifest': 3 });
  assert.deepEqual(requestsOf(world.target), { 'HEAD manifest': 3 });
  assert.match(second.stdout, /^ {2}3 images: 3 equal$/m);
  const { source, target } = world;
  const said = `requests: ${source.host} 3 HEAD, 0 manifest GET, 1 list; ${target.host} 3 HEAD, 0 manifest GET`;
  assert.ok(second.stdout.includes(said), second.stdout);
  assert.doesNotMatch(second.stdout + second.stderr, /1\.1/, 'there is a line for an image that is as it should be');
});

test('an image that never changes costs nothing at the source once the target has it', async () => {
  await using world = await MirrorWorld.start();
  world.add('app', ['v1', 'v2', 'latest']);
  const file = await world.says([world.repository('app', { tags: { immutable: 'v*' } })]);
  assert.equal((await world.mirror('run', '-f', file)).code, 0);
  world.clear();
  const { code, stdout } = await world.mirror('run', '-f', file, '--report', world.path('report.json'));
  assert.equal(code, 0);
  assert.match(stdout, /^ {2}3 images: 1 equal, 2 immutable$/m);
  assert.deepEqual(requestsOf(world.source), { 'GET tags': 1, 'HEAD manifest': 1 });
  assert.deepEqual(requestsOf(world.target), { 'GET tags': 1, 'HEAD manifest': 1 });
  assert.deepEqual(outcomesOf(await world.json('report.json')), ['latest equal', 'v1 immutable', 'v2 immutable']);
  // What the target has is what it says now: not what was there once.
  world.target.stored.get('app')?.tags.delete('v1');
  assert.match((await world.mirror('run', '-f', file)).stdout, /^ {2}3 images: 1 copied, 1 equal, 1 immutable/m);
  world.assertMirrored('app');
});

test('a tag that changed is copied, and several targets read their source once', async () => {
  await using world = await MirrorWorld.start();
  world.add('app', ['1']);
  const targets = ['a', 'b'].map((name) => `${world.target.host}/${name}/app:one`);
  const file = await world.says([{ type: 'image', source: `${world.source.host}/app:1`, targets }]);
  assert.equal((await world.mirror('run', '-f', file)).code, 0);
  assert.equal(world.source.count({ kind: 'tags' }), 0, 'a tag that is named needs no list');
  assert.equal(world.target.count({ kind: 'upload-end' }), 3, 'each blob is sent once');
  const [changed] = world.add('app', ['1'], 'changed');
  world.clear();
  const { stdout } = await world.mirror('run', '-f', file, '-v');
  assert.match(stdout, /2 images: 2 copied/);
  assert.equal(world.source.count({ kind: 'manifest', method: 'HEAD' }), 1);
  for (const repo of ['a/app', 'b/app']) {
    assert.equal(world.target.stored.get(repo)?.tags.get('one'), changed?.desc.digest);
  }
});

test('a source that is not there does not keep the others back: exit 3, and the report has all', async () => {
  await using world = await MirrorWorld.start();
  world.add('app', ['1']);
  const rules = ['nope', 'app'].map((repo) => world.repository(repo));
  const gone = { type: 'image', source: `${world.source.host}/app:gone`, target: `${world.target.host}/app:gone` };
  const file = await world.says([...rules, gone]);
  const { code, stderr } = await world.mirror('run', '-f', file, '--report', world.path('report.json'));
  assert.equal(code, 3);
  assert.match(stderr, /^gantry: sync\.0: \S+ answered 404 for the tags of \S+\/nope/m);
  assert.match(stderr, /^gantry: sync\.2: \S+\/app:gone -> \S+\/app:gone: \S+ answered 404/m);
  world.assertMirrored('app');
  const report = await world.json('report.json');
  assert.deepEqual(outcomesOf(report), ['1 copied', 'gone failed']);
  const { document, version, kind, totals } = report;
  assert.deepEqual([document, version, kind], ['mirror-report', 1, 'run']);
  assert.deepEqual(
    { ...Object(totals), bytes: 0 },
    { images: { copied: 1, failed: 1 }, failures: 1, bytes: 0, mounted: 0 },
  );
  const alone = await world.says([world.repository('nope')]);
  assert.equal((await world.mirror('run', '-f', alone)).code, 4, 'all failed alike');
});

test('that a target may not be written is said before anything is transferred', async () => {
  const auth = { scheme: 'bearer', users: { alice: 'MARKER-pw' }, grant: () => ['pull'] } as const;
  await using world = await MirrorWorld.start({ target: { auth } });
  world.add('app', ['1', '2', '3']);
  const creds = [{ registry: world.target.host, user: 'alice', pass: 'MARKER-pw', tls: 'disabled' }];
  const file = await world.says([world.repository('app')], { creds });
  const { code, stdout, stderr } = await world.mirror('run', '-f', file);
  assert.equal(code, 5, stderr);
  assert.match(stderr, /app cannot be written: .*\(nothing was sent there; the credentials need the right to push\)/);
  assert.equal(world.source.count({ kind: 'blob' }), 0);
  assert.ok(world.target.count({ kind: 'upload-start' }) <= 2, 'asked once, and once more with a token');
  assert.doesNotMatch(stdout + stderr, /MARKER/);
});

test('what failed, and nothing else, is tried again by its report', async () => {
  await using world = await MirrorWorld.start();
  world.add('app', ['1', '2', '3']);
  const file = await world.says([world.repository('app')]);
  const failing = world.source.fault({ match: { kind: 'manifest', object: '2' }, do: faults.status(403) });
  const [report, again] = [world.path('report.json'), world.path('again.json')];
  const first = await world.mirror('run', '-f', file, '--report', report, '--metrics-textfile', world.path('m.prom'));
  assert.equal(first.code, 3, first.stderr);
  assert.deepEqual(outcomesOf(await world.json('report.json')), ['1 copied', '2 failed', '3 copied']);
  assert.match(await readFile(world.path('m.prom'), 'utf8'), /^gantry_mirror_images\{.*outcome="failed"\} 1$/m);
  failing.remove();
  world.clear();
  const second = await world.mirror('run', '--retry-failed', report, '--report', again);
  assert.equal(second.code, 0, second.stderr);
  assert.deepEqual(outcomesOf(await world.json('again.json')), ['2 copied']);
  assert.equal(world.source.count({ kind: 'tags' }), 0);
  world.assertMirrored('app');
  const done = await world.mirror('run', '--retry-failed', again);
  assert.deepEqual([done.code, done.stdout.split('\n')[0]], [0, 'total: 0 images, 0 B, 0.0 s'], done.stdout);
});

test('a report that somebody has spoilt is refused with the place', async () => {
  await using world = await MirrorWorld.start();
  const path = world.path('report.json');
  const refused = async (text: string): Promise<string> => {
    await writeFile(path, text);
    const { code, stderr } = await world.mirror('run', '--retry-failed', path);
    assert.equal(code, 2, stderr);
    return stderr;
  };
  assert.match(await refused('{'), /report\.json.*expected a mirror-report/);
  assert.match(await refused('{"document":"mirror-plan","version":1}'), /this is not a mirror-report of gantry/);
  assert.match(await refused('{"document":"mirror-report","version":2}'), /of version 2; this gantry reads version 1/);
  const images = [{ outcome: 'failed', rule: 'sync.0', source: 'x:1', target: 5 }];
  const text = JSON.stringify({ document: 'mirror-report', version: 1, file: 'f', rules: [], images });
  assert.match(await refused(text), /report\.json: images\.0: target: expected text, not 5/);
});

test('fewer tags than minTags: that rule is left alone and the others go on', async () => {
  await using world = await MirrorWorld.start();
  world.add('app', ['1']);
  world.add('db', ['1']);
  const file = await world.says([world.repository('app', { tags: { minTags: 2 } }), world.repository('db')]);
  const { code, stdout, stderr } = await world.mirror('run', '-f', file);
  assert.equal(code, 3);
  assert.match(stderr, /^gantry: sync\.0: \S+\/app: 1 of 1 tags are selected, and tags\.minTags is 2 \(/m);
  assert.match(stdout, /failed: REFUSED/);
  assert.equal(world.target.stored.get('app'), undefined);
  world.assertMirrored('db');
});

test('two rules that write different images under one name: the first has it', async () => {
  await using world = await MirrorWorld.start();
  const [one] = world.add('app', ['1']);
  world.add('other', ['1']);
  const target = `${world.target.host}/app`;
  const file = await world.says([world.repository('app'), world.repository('other', { target })]);
  const { code, stderr } = await world.mirror('run', '-f', file, '--report', world.path('report.json'));
  assert.equal(code, 3);
  assert.match(stderr, /app:1 is what sync\.0 makes of \S+\/app:1, and sync\.1 of \S+\/other:1/);
  assert.equal(world.target.stored.get('app')?.tags.get('1'), one?.desc.digest);
  const again = await world.mirror('run', '--retry-failed', world.path('report.json'));
  assert.match(again.stdout, /^total: 0 images/m, 'what the file has wrong is not tried again');
  assert.match(again.stderr, /^gantry: 1 image failed for what the mirror file says; run that again as a whole$/m);
});

test('what two rules want alike is copied and counted once', async () => {
  await using world = await MirrorWorld.start();
  world.add('app', ['1']);
  const rule = world.repository('app');
  const report = world.path('report.json');
  const file = await world.says([rule, rule]);
  assert.equal((await world.mirror('run', '-f', file, '--report', report)).code, 0);
  const { totals } = await world.json('report.json');
  const { bytes } = Object(totals);
  assert.equal(
    bytes,
    world.target.log.bytesReceived({ where: ({ kind, status }) => kind !== 'put-tag' && status === 201 }),
  );
  assert.equal(world.source.count({ kind: 'manifest' }), 1);
});

test('two runs at once over the same targets both end well', async () => {
  await using world = await MirrorWorld.start();
  world.add('app', ['1', '2', '3', '4']);
  world.add('db', ['1', '2']);
  const [one, two] = await Promise.all([
    world.says([world.repository('app'), world.repository('db')], {}, 'one.yml'),
    world.says([world.repository('db'), world.repository('app')], {}, 'two.yml'),
  ]);
  const results = await Promise.all([one, two].map((file) => world.mirror('run', '-f', file)));
  assert.deepEqual(
    results.map(({ code }) => code),
    [0, 0],
    results.map(({ stderr }) => stderr).join('\n'),
  );
  world.assertMirrored('app');
  world.assertMirrored('db');
  assert.deepEqual(world.target.violations, []);
});

test('Ctrl-C: the report is written, and the rest can be done later', async () => {
  await using world = await MirrorWorld.start();
  world.add('app', ['1', '2']);
  const file = await world.says([world.repository('app')]);
  const hanging = world.source.fault({ match: { kind: 'blob' }, do: faults.stallHeaders });
  const report = world.path('report.json');
  await using child = await world.user.spawn(['mirror', 'run', '-f', file, '--report', report]);
  await world.source.log.waitFor({ kind: 'blob' });
  child.process.kill('SIGINT');
  assert.equal((await child.process.done).code, 130);
  assert.deepEqual(outcomesOf(await world.json('report.json')), ['1 cancelled', '2 cancelled']);
  hanging.remove();
  assert.equal((await world.mirror('run', '--retry-failed', report)).code, 0);
  world.assertMirrored('app');
});

test('Ctrl-C while sources are listed: the report says what was not listed', async () => {
  await using world = await MirrorWorld.start();
  world.add('app', ['1']);
  const file = await world.says([world.repository('app')]);
  using _hanging = world.source.fault({ match: { kind: 'tags' }, do: faults.stallHeaders });
  const report = world.path('report.json');
  await using child = await world.user.spawn(['mirror', 'run', '-f', file, '--report', report]);
  await world.source.log.waitFor({ kind: 'tags' });
  child.process.kill('SIGINT');
  assert.equal((await child.process.done).code, 130);
  const { rules } = await world.json('report.json');
  assert.match(JSON.stringify(rules), /"error":\{"code":"CANCELLED"/);
});

test('from one registry of the Docker project to another, read back with skopeo', async () => {
  await using world = await MirrorWorld.start();
  await using source = await DockerRegistry.start();
  await using target = await DockerRegistry.start();
  const made = image({ seed: 'real', layers: [3000] });
  for (const tag of ['1', '2']) await source.push('team/app', tag, made);
  const rule = { type: 'registry', source: source.host, target: `${target.host}/copies` };
  const file = await world.says([{ ...rule, referrers: true, digestTags: true }]);
  const first = await world.mirror('run', '-f', file);
  assert.equal(first.code, 0, first.stderr);
  const second = await world.mirror('check', '-f', file);
  assert.equal(second.code, 0, second.stdout + second.stderr);
  const place = `docker://${target.host}/copies/team/app:2`;
  const flags = ['--tls-verify=false', '--format', '{{ .Digest }}'];
  const inspected = await runOk('skopeo', ['inspect', ...flags, place]);
  assert.equal(inspected.stdout.trim(), made.desc.digest);
});

test('credentials of the file are used, and are in nothing that is written', async () => {
  const auth = { scheme: 'basic', users: { alice: 'MARKER-pw' } } as const;
  await using world = await MirrorWorld.start({ source: { auth }, target: { auth } });
  world.add('app', ['1']);
  const registries = [world.source, world.target];
  const creds = registries.map(({ host }) => ({ registry: host, user: 'alice', pass: 'MARKER-pw' }));
  const file = await world.says([world.repository('app')], { creds });
  const plan = await world.mirror('plan', '-f', file, '-o', world.path('plan.json'), '-v');
  const run = await world.mirror('run', '--plan', world.path('plan.json'), '--report', world.path('report.json'), '-v');
  assert.deepEqual([plan.code, run.code], [0, 0], plan.stderr + run.stderr);
  world.assertMirrored('app');
  const written = await Promise.all(['plan.json', 'report.json'].map((name) => readFile(world.path(name), 'utf8')));
  const all = [plan.stdout, plan.stderr, run.stdout, run.stderr, ...written].join('\n');
  assert.doesNotMatch(all, /MARKER|alice/);
});

test('--dry-run tells and changes nothing; flags that do not fit are refused', async () => {
  await using world = await MirrorWorld.start();
  world.add('app', ['1']);
  const file = await world.says([world.repository('app')]);
  const dry = await world.mirror('run', '-f', file, '--dry-run', '--keep-going');
  assert.equal(dry.code, 0, dry.stderr);
  assert.match(dry.stdout, /missing +1$/m);
  assert.equal(world.target.stored.get('app'), undefined);
  const refusals = [
    ['--replan', /--replan goes with --plan only/],
    ['--detach', /--detach goes with --redis only/],
    ['--dry-run --metrics-textfile=x', /--metrics-textfile does not go with --dry-run/],
    ['--plan=x --retry-failed=y', /say --plan or --retry-failed, not both/],
    ['--report=/nowhere/at/all.json', /cannot write \/nowhere\/at\/all\.json/],
  ] as const;
  for (const [flags, expected] of refusals) {
    const { code, stderr } = await world.mirror('run', '-f', file, ...flags.split(' '));
    assert.notEqual(code, 0, flags);
    assert.match(stderr, expected);
  }
  assert.equal(world.target.stored.get('app'), undefined, 'each of them was told before anything was copied');
});

test('a mirror file may come on stdin', async () => {
  await using world = await MirrorWorld.start();
  world.add('app', ['1']);
  const text = await readFile(await world.says([world.repository('app')]), 'utf8');
  const { code, stderr } = await world.user.gantry(['mirror', 'run', '-f', '-'], {}, text);
  assert.equal(code, 0, stderr);
  world.assertMirrored('app');
});

test('of an index only the wanted platforms are copied', async () => {
  await using world = await MirrorWorld.start();
  world.source.add('app', '1', image({ seed: 'one' }));
  const file = await world.says([world.repository('app', { platforms: ['linux/amd64'], index: 'strip' })]);
  assert.equal((await world.mirror('run', '-f', file)).code, 0);
  world.assertMirrored('app');
});

test('a tag that moves while it is read, and whose old index is gone, is resolved once more', async () => {
  await using world = await MirrorWorld.start();
  const before = multiPlatform({ seed: 'before' });
  world.add('app', ['1']);
  world.target.add('app', '2', image({ seed: 'old' })); // so that the source is asked by HEAD
  world.source.add('app', '2', before);
  const moves = faults.afterwards(() => {
    world.source.stored.removeManifest('app', before.desc.digest);
    world.add('app', ['2']);
  });
  world.source.fault({ match: { method: 'HEAD', object: '2' }, times: 1, do: moves });
  const file = await world.says([world.repository('app', { platforms: ['linux/amd64'], index: 'strip' })]);
  const { code, stderr } = await world.mirror('run', '-f', file);
  assert.equal(code, 0, stderr);
  world.assertMirrored('app');
});
