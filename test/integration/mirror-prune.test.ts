/** Tags that left their source are pruned at their target, by the rules of a mirror file, at real registries. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { memoryMissing, pruneAfterRun } from '../../src/app/mirror/prune.ts';
import { PruneFile } from '../../src/app/mirror/prune-file.ts';
import { readMirrorFile } from '../../src/mirror/file/read.ts';
import type { MirrorRule } from '../../src/mirror/file/types.ts';
import { expandRules } from '../../src/mirror/plan/expand.ts';
import { rulesBeside } from '../../src/mirror/prune/claims.ts';
import { pruneLine } from '../../src/mirror/prune/text.ts';
import type { PruneMemory, PruneResult } from '../../src/mirror/prune/types.ts';
import { Farm } from '../../src/queue/farm.ts';
import { newUser } from '../support/cli.ts';
import { never, TestClient } from '../support/clients.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { image, index as indexOf } from '../support/images.ts';
import type { RunResult } from '../support/process.ts';
import { TestRedis } from '../support/redis.ts';
import { faults, TestRegistry } from '../support/registry.ts';
import { tempDir } from '../support/temp.ts';

const opts = { signal: never };
const bundles = ['1', '2', '3'].map((seed) => image({ seed, layers: [500] }));
const [one = image(), two = image(), three = image()] = bundles;

function rulesOf(text: string): readonly MirrorRule[] {
  const file = readMirrorFile(`version: 1\nsync:\n${text}`, 'mirror.yml', { env: {}, readFile: () => '' });
  return file.rules;
}

interface Ask {
  readonly memory?: PruneMemory;
  readonly isDryRun?: boolean;
  readonly unfinished?: readonly string[];
  readonly only?: readonly string[];
}

async function pruned(
  client: TestClient,
  rules: readonly MirrorRule[],
  ask: Ask = {},
): Promise<readonly PruneResult[]> {
  const planned = await expandRules(rules, client, opts);
  const { memory, isDryRun = false, unfinished = [], only } = ask;
  return pruneAfterRun(
    {
      client,
      planned,
      memory,
      isDryRun,
      unfinished: new Set(unfinished),
      ...(only === undefined ? {} : { onlyRules: new Set(only) }),
    },
    opts,
  );
}

const tagsAt = (registry: TestRegistry, repo = 'app'): string[] =>
  [...(registry.stored.get(repo)?.tags.keys() ?? [])].toSorted();

const toTest = (source: TestRegistry, target: { host: string }, more = 'prune: {mode: delete, graceDays: 0}') =>
  `  - {source: "${source.host}/app", target: "${target.host}/app", type: repository, tags: {allow: ['\\d']}, ${more}}\n`;

async function both(): Promise<{ source: TestRegistry; target: TestRegistry } & AsyncDisposable> {
  const [source, target] = [await TestRegistry.start(), await TestRegistry.start()];
  for (const [tag, bundle] of [
    ['1', one],
    ['2', two],
  ] as const) {
    source.add('app', tag, bundle);
    target.add('app', tag, bundle);
  }
  target.add('app', '3', three);
  target.add('app', 'mine', three);
  const end = async (): Promise<void> => {
    await source[Symbol.asyncDispose]();
    await target[Symbol.asyncDispose]();
  };
  return { source, target, [Symbol.asyncDispose]: end };
}

test('what left the source goes, what the filters never select stays, and the source is only read', async () => {
  await using here = await both();
  const { source, target } = here;
  await using client = new TestClient();
  const results = await pruned(client, rulesOf(toTest(source, target)));
  assert.deepEqual(tagsAt(target), ['1', '2', 'mine']);
  assert.deepEqual(results.map(pruneLine), [
    `prune: ${target.host}/app: 1 tag left the source: 3 (gone less than 1 h, deleted)`,
  ]);
  assert.ok(source.log.entries.every(({ method }) => method === 'GET' || method === 'HEAD'));
  assert.deepEqual([...new Set(source.log.entries.map(({ kind }) => kind))], ['tags'], 'the list of the run is enough');
});

test('a look, a rule that reports, and days of grace that nothing remembers delete nothing', async () => {
  await using here = await both();
  const { source, target } = here;
  await using client = new TestClient();
  await pruned(client, rulesOf(toTest(source, target)), { isDryRun: true });
  await pruned(client, rulesOf(toTest(source, target, 'prune: {mode: report}')));
  await pruned(client, rulesOf(toTest(source, target, 'prune: {mode: delete}')));
  assert.deepEqual(await pruned(client, rulesOf(toTest(source, target, 'prune: {mode: off}'))), []);
  assert.deepEqual(tagsAt(target), ['1', '2', '3', 'mine']);
  assert.ok(target.log.entries.every(({ method }) => method === 'GET' || method === 'HEAD'));
  const planned = await expandRules(rulesOf(toTest(source, target, 'prune: {mode: delete}')), client, opts);
  assert.match(memoryMissing(planned, undefined) ?? '', /--state FILE or --redis/);
});

test('days of grace are counted from run to run in the state file', async () => {
  await using here = await both();
  const { source, target } = here;
  await using client = new TestClient();
  await using dir = await tempDir('gantry-prune-');
  const memory = await PruneFile.open(dir.join('state.json'));
  const rules = rulesOf(toTest(source, target, 'prune: {mode: delete, graceDays: 2}'));
  const first = await pruned(client, rules, { memory });
  assert.match(pruneLine(first[0] ?? assert.fail()) ?? '', /3 \(gone less than 1 h, kept for another 2 d\)$/);
  const repository = `${target.host}/app`;
  const seen = await memory.read(repository, opts);
  const { digest = three.desc.digest } = seen.get('3') ?? {};
  await memory.write(repository, new Map([['3', { digest, since: Date.now() - 2 * 86_400_000 }]]), opts);
  const second = await pruned(client, rules, { memory: await PruneFile.open(dir.join('state.json')) });
  assert.match(pruneLine(second[0] ?? assert.fail()) ?? '', /3 \(gone 2 d, deleted\)$/);
  assert.deepEqual(tagsAt(target), ['1', '2', 'mine']);
  assert.equal((await memory.read(repository, opts)).size, 0);
});

test('a source that answers nothing, an error or an empty list, is no reason to delete', async () => {
  await using here = await both();
  const { source, target } = here;
  await using client = new TestClient();
  const rules = rulesOf(toTest(source, target));
  for (const [fault, why] of [
    [faults.body('{"name":"app","tags":[]}'), /came back empty$/],
    [faults.body('{"name":"app","tags":null}'), /came back empty$/],
    [faults.status(404), /are not known: .* answered 404/],
    [faults.status(403), /are not known: .* answered 403/],
  ] as const) {
    using _fault = source.fault({ match: { kind: 'tags' }, do: fault });
    const [result] = await pruned(client, rules);
    assert.match(result?.refused ?? '', why);
  }
  assert.deepEqual(tagsAt(target), ['1', '2', '3', 'mine']);
});

test('a target that did not get all of its images is left alone', async () => {
  await using here = await both();
  const { source, target } = here;
  await using client = new TestClient();
  const [result] = await pruned(client, rulesOf(toTest(source, target)), { unfinished: [`${target.host}/app`] });
  assert.match(result?.refused ?? '', /not all of its images/);
  assert.deepEqual(tagsAt(target), ['1', '2', '3', 'mine']);
});

test('rules that share a target keep what one of them has, also when only the other one runs', async () => {
  await using here = await both();
  const { source, target } = here;
  await using client = new TestClient();
  source.add('other', '3', three);
  target.add('app', '4', one);
  const line = (rest: string): string => `  - {source: "${source.host}/${rest}}\n`;
  const text = [
    toTest(source, target),
    line(`other", target: "${target.host}/app", type: repository`),
    line(`app:2", target: "${target.host}/app:4", type: image`),
    line(`other", target: "${target.host}/apple", type: repository`),
  ].join('');
  const rules = rulesOf(text);
  const [first] = rules;
  assert.ok(first);
  const beside = rulesBeside(first, rules);
  assert.deepEqual(
    beside.map(({ id }) => id),
    ['sync.0', 'sync.1', 'sync.2'],
  );
  const results = await pruned(client, beside, { only: [first.id] });
  assert.deepEqual([results.map(pruneLine), tagsAt(target)], [[undefined], ['1', '2', '3', '4', 'mine']]);
  await pruned(client, [first]);
  assert.deepEqual(tagsAt(target), ['1', '2', 'mine'], 'for the first rule alone they are gone');
});

test('a catalog that cannot be read keeps all below its targets', async () => {
  await using here = await both();
  const { source, target } = here;
  await using client = new TestClient();
  source.fault({ match: { kind: 'catalog' }, do: faults.status(403) });
  const all = `  - {source: "${source.host}", target: "${target.host}", type: registry}\n`;
  const [result] = await pruned(client, rulesOf(`${toTest(source, target)}${all}`));
  assert.match(result?.refused ?? '', /403/);
  assert.deepEqual(tagsAt(target), ['1', '2', '3', 'mine']);
});

test('an image that is named goes when its tag is gone, and never when it is named by digest', async () => {
  await using here = await both();
  const { source, target } = here;
  await using client = new TestClient();
  const ruleOf = (from: string): string =>
    `  - {source: "${source.host}/app${from}", target: "${target.host}/app:3", type: image, prune: {mode: delete, graceDays: 0}}\n`;
  await pruned(client, rulesOf(ruleOf(`@${one.desc.digest}`)));
  await pruned(client, rulesOf(ruleOf(':1')));
  assert.ok(tagsAt(target).includes('3'));
  await pruned(client, rulesOf(ruleOf(':3')));
  assert.deepEqual(tagsAt(target), ['1', '2', 'mine']);
});

test('what a rule keeps of overwritten tags stays, also when the tag itself is gone', async () => {
  await using here = await both();
  const { source, target } = here;
  await using client = new TestClient();
  for (const tag of ['3-old', '7-old', '8-other']) target.add('app', tag, three);
  const more = `backup: "{{ .Ref.Tag }}-old", prune: {mode: delete, graceDays: 0}`;
  await pruned(client, rulesOf(toTest(source, target, more).replace('\\d', '\\d.*')));
  assert.deepEqual(tagsAt(target), ['1', '2', '3-old', '7-old', 'mine']);
});

test('signatures of the platforms of an index go with it', async () => {
  await using here = await both();
  const { source, target } = here;
  await using client = new TestClient();
  const index = indexOf([{ of: one }, { of: three }]);
  target.add('app', '9', index);
  const name = (digest: string): string => `${digest.replace(':', '-')}.sig`;
  for (const { desc } of [one, three, index]) target.add('app', name(desc.digest), two);
  target.stored.get('app')?.tags.delete('mine');
  await pruned(client, rulesOf(toTest(source, target)));
  assert.deepEqual(tagsAt(target), ['1', '2', name(one.desc.digest)], 'the tag 1 is signed as well');
});

test('at docker-registry a tag goes, and the other tag of the same image stays', async () => {
  await using source = await TestRegistry.start();
  source.add('app', '1', one);
  await using target = await DockerRegistry.start();
  for (const tag of ['1', '11']) await target.push('app', tag, one);
  await using client = new TestClient();
  const text = toTest(source, target).replace('\\d', '\\d+');
  const [result] = await pruned(client, rulesOf(text));
  assert.deepEqual(
    result?.tags.map(({ tag, state }) => [tag, state]),
    [['11', 'deleted']],
  );
  assert.deepEqual((await Array.fromAsync(client.tags(`${target.host}/app`, opts))).flat(), ['1']);
  assert.equal(await client.pusher(`${target.host}/app`).lookup('1', opts), one.desc.digest);
});

test('`mirror check` tells what `mirror run` then deletes, once the days of grace in --state are over', async () => {
  await using here = await both();
  const { source, target } = here;
  await using user = await newUser();
  const [path, state] = [join(user.home, 'mirror.yml'), join(user.home, 'state.json')];
  await writeFile(path, `version: 1\nsync:\n${toTest(source, target, 'prune: {mode: delete, graceDays: 3}')}`);
  const mirror = (command: string, ...more: readonly string[]): Promise<RunResult> =>
    user.gantry(['mirror', command, '-f', path, ...more]);

  const without = await mirror('run');
  assert.equal(without.code, 0);
  assert.match(without.stderr, /nothing is deleted without --state FILE or --redis/);
  assert.match(without.stdout, /^prune: .*\/app: 1 tag left the source: 3 \(gone less than 1 h, reported\)$/m);
  const first = await mirror('run', '--state', state);
  assert.match(first.stdout, /^prune: .*: 3 \(gone less than 1 h, kept for another 3 d\)$/m);
  assert.equal((await mirror('check', '--state', state)).code, 0);

  const old = new Date(Date.now() - 4 * 86_400_000).toISOString();
  await writeFile(state, (await readFile(state, 'utf8')).replace(/"since": "[^"]*"/, `"since": "${old}"`));
  const check = await mirror('check', '--state', state, '--format', 'json');
  assert.equal(check.code, 8, check.stderr);
  const { prune: [told] = [] }: { prune?: { tags: { tag: string; state: string }[] }[] } = JSON.parse(check.stdout);
  assert.deepEqual(
    told?.tags.map((tag) => [tag.tag, tag.state]),
    [['3', 'due']],
  );
  assert.ok(tagsAt(target).includes('3'));
  const last = await mirror('run', '--state', state);
  assert.equal(last.code, 0, last.stderr);
  assert.match(last.stdout, /^prune: .*: 3 \(gone 4 d, deleted\)$/m);
  assert.deepEqual(tagsAt(target), ['1', '2', 'mine']);
});

test('a state file that is none is told before anything is copied', async () => {
  await using here = await both();
  const { source, target } = here;
  await using user = await newUser();
  const path = join(user.home, 'mirror.yml');
  await writeFile(path, `version: 1\nsync:\n${toTest(source, target)}`);
  const { code, stderr } = await user.gantry(['mirror', 'run', '-f', path, '--state', path]);
  assert.equal(code, 2);
  assert.match(stderr, /^gantry: state file .*mirror\.yml: not JSON/);
  assert.equal(source.log.entries.length + target.log.entries.length, 0);
});

test('with --redis pruning remembers there, and a rule that failed prunes nothing', async () => {
  await using here = await both();
  const { source, target } = here;
  await using redis = await TestRedis.start();
  await using farm = await Farm.open({ url: redis.url }, opts);
  await using user = await newUser();
  const path = join(user.home, 'mirror.yml');
  await writeFile(path, `version: 1\nsync:\n${toTest(source, target, 'prune: {mode: delete, graceDays: 1}')}`);
  const since = Date.now() - 2 * 86_400_000;
  await farm.goneTags.write(`${target.host}/app`, new Map([['3', { digest: three.desc.digest, since }]]), opts);
  const check = await user.gantry(['mirror', 'check', '-f', path, '--redis', redis.url]);
  assert.match(check.stdout, /3 \(gone 2 d, to be deleted\)/);
  source.add('app', '4', one);
  using _fault = target.fault({ match: { method: 'PUT', object: '4' }, do: faults.status(403), unserved: true });
  const failed = await user.gantry(['mirror', 'run', '-f', path]);
  assert.equal(failed.code, 3);
  assert.match(failed.stdout, /nothing is deleted: not all of its images were copied/);
});
