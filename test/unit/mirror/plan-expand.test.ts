import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GantryError } from '../../../src/errors.ts';
import { readMirrorFile } from '../../../src/mirror/file/read.ts';
import { expandRules } from '../../../src/mirror/plan/expand.ts';
import { backupName } from '../../../src/mirror/plan/backup.ts';
import type { ListPorts, PlannedRule } from '../../../src/mirror/plan/types.ts';
import type { MirrorRule } from '../../../src/mirror/file/types.ts';

const never = new AbortController().signal;

/** The rules that a file with these entries has. JSON is YAML. */
const rulesOf = (...sync: readonly object[]): readonly MirrorRule[] =>
  readMirrorFile(JSON.stringify({ version: 1, sync }), 'mirror.yml', { env: {}, readFile: () => '' }).rules;

/** Registries that have these repositories, and note what they are asked. */
class Lists implements ListPorts {
  readonly asked: string[] = [];
  readonly #repositories: Readonly<Record<string, readonly string[]>>;

  constructor(repositories: Readonly<Record<string, readonly string[]>>) {
    this.#repositories = repositories;
  }

  async *tags(repository: string): AsyncGenerator<readonly string[]> {
    this.asked.push(`tags ${repository}`);
    const all = this.#repositories[repository];
    if (all === undefined) throw new GantryError('NOT_FOUND', `no ${repository}`, { origin: 'source' });
    for (const tag of all) yield [tag]; // a page each
  }

  async *catalog(registry: string): AsyncGenerator<readonly string[]> {
    this.asked.push(`catalog ${registry}`);
    const prefix = `${registry}/`;
    yield Object.keys(this.#repositories).flatMap((name) => (name.startsWith(prefix) ? name.slice(prefix.length) : []));
  }
}

const imagesOf = (rules: readonly PlannedRule[]): string[] =>
  rules.flatMap(({ repositories }) =>
    repositories.flatMap(({ images }) =>
      images.map(({ rule, source, target, tag, isImmutable, clash }) =>
        [
          rule.id,
          source.name,
          '->',
          `${target}:${tag}`,
          isImmutable ? 'immutable' : '',
          clash === undefined ? '' : 'clash',
        ]
          .filter((part) => part !== '')
          .join(' '),
      ),
    ),
  );

const expand = (rules: readonly MirrorRule[], lists: ListPorts, signal = never): Promise<PlannedRule[]> =>
  expandRules(rules, lists, { signal });

test('an image needs no list, and names are filled in', async () => {
  const lists = new Lists({});
  const rules = rulesOf({ source: 'redis:7', targets: ['r.example/redis', 'r.example/other:seven'], type: 'image' });
  assert.deepEqual(imagesOf(await expand(rules, lists)), [
    'sync.0 docker.io/library/redis:7 -> r.example/redis:latest',
    'sync.0 docker.io/library/redis:7 -> r.example/other:seven',
  ]);
  assert.deepEqual(lists.asked, []);
});

test('of a repository the selected tags go to every target, and what was dropped is kept with its filter', async () => {
  const lists = new Lists({ 'docker.io/library/redis': ['6', '7', 'latest'] });
  const rule = { source: 'redis', targets: ['a.example/redis', 'b.example/redis'], type: 'repository' };
  const planned = await expand(rulesOf({ ...rule, tags: { allow: ['\\d+'], latest: 1 } }), lists);
  assert.deepEqual(imagesOf(planned), [
    'sync.0 docker.io/library/redis:7 -> a.example/redis:7',
    'sync.0 docker.io/library/redis:7 -> b.example/redis:7',
  ]);
  const [{ selection } = { selection: undefined }] = planned[0]?.repositories ?? [];
  assert.deepEqual(selection?.steps, [
    { filter: 'allow', kept: 2 },
    { filter: 'latest', kept: 1 },
  ]);
  assert.deepEqual(
    selection.dropped.map(({ tag, filter }) => `${tag} ${filter}`),
    ['latest allow', '6 latest'],
  );
});

test('a list is fetched once however many rules want it', async () => {
  const lists = new Lists({ 'a.example/x': ['1', '2'], 'b.example/x': ['1'] });
  const rule = { source: 'a.example/x', target: 'b.example/x', type: 'repository', tags: { immutable: '*' } };
  const planned = await expand(rulesOf(rule, { ...rule, tags: { allow: ['2'], immutable: '*' } }), lists);
  assert.deepEqual(lists.asked.toSorted(), ['tags a.example/x', 'tags b.example/x']);
  assert.deepEqual(imagesOf(planned), [
    'sync.0 a.example/x:1 -> b.example/x:1 immutable',
    'sync.0 a.example/x:2 -> b.example/x:2',
    'sync.1 a.example/x:2 -> b.example/x:2',
  ]);
});

test('no target is listed for tags that may change; one that cannot be listed has nothing', async () => {
  const lists = new Lists({ 'a.example/x': ['1', 'latest'] });
  const rule = { source: 'a.example/x', type: 'repository' };
  await expand(rulesOf({ ...rule, target: 'b.example/x', tags: { immutable: 'v*' } }), lists);
  assert.deepEqual(lists.asked, ['tags a.example/x']);
  const planned = await expand(rulesOf({ ...rule, target: 'b.example/x', tags: { immutable: '1' } }), lists);
  assert.deepEqual(imagesOf(planned), [
    'sync.0 a.example/x:1 -> b.example/x:1',
    'sync.0 a.example/x:latest -> b.example/x:latest',
  ]);
});

test('of a registry the repositories that fit, each below the target, and each with its own failure', async () => {
  const lists = new Lists({ 'a.example/one/x': ['1'], 'a.example/one/y': [], 'a.example/two/z': ['1'] });
  const rule = { source: 'a.example', target: 'b.example/copy', type: 'registry', repos: { deny: ['two/.*'] } };
  const [planned] = await expand(rulesOf({ ...rule, tags: { minTags: 1 } }), lists);
  assert.ok(planned);
  assert.deepEqual(imagesOf([planned]), ['sync.0 a.example/one/x:1 -> b.example/copy/one/x:1']);
  assert.deepEqual(planned.left, ['two/z']);
  assert.deepEqual(
    planned.repositories.map(({ source, error }) => `${source} ${error?.code ?? 'ok'}`),
    ['a.example/one/x ok', 'a.example/one/y REFUSED'],
  );
});

test('what fails for one rule leaves the others alone; an abort ends what was not listed', async () => {
  const lists = new Lists({ 'a.example/x': ['1'] });
  const both = ['gone', 'x'].map((name) => ({
    source: `a.example/${name}`,
    target: `b.example/${name}`,
    type: 'repository',
  }));
  const planned = await expand(rulesOf(...both), lists);
  assert.deepEqual(
    planned.map(({ repositories: [only] }) => only?.error?.code),
    ['NOT_FOUND', undefined],
  );
  assert.deepEqual(imagesOf(planned), ['sync.1 a.example/x:1 -> b.example/x:1']);
  const stopped = AbortSignal.abort(new GantryError('CANCELLED', 'stopped'));
  const [cut] = await expand(rulesOf(...both), lists, stopped);
  assert.equal(cut?.repositories[0]?.error?.code, 'CANCELLED');
});

test('different images under one name clash, the same image does not', async () => {
  const lists = new Lists({ 'a.example/x': ['1', '2'], 'a.example/y': ['1'] });
  const target = 'b.example/x';
  const rules = rulesOf(
    { source: 'a.example/x', target, type: 'repository' },
    { source: 'a.example/x:1', target: `${target}:1`, type: 'image', platforms: ['linux/arm64'] },
    { source: 'a.example/y', target, type: 'repository' },
  );
  assert.deepEqual(imagesOf(await expand(rules, lists)), [
    'sync.0 a.example/x:1 -> b.example/x:1',
    'sync.0 a.example/x:2 -> b.example/x:2',
    'sync.1 a.example/x:1 -> b.example/x:1',
    'sync.2 a.example/y:1 -> b.example/x:1 clash',
  ]);
});

test('lists are fetched eight at a time', async () => {
  let [open, most] = [0, 0];
  const gate = Promise.withResolvers<undefined>();
  const lists: ListPorts = {
    async *tags() {
      open += 1;
      most = Math.max(most, open);
      if (open === 8) setImmediate(() => gate.resolve(undefined)); // whoever is let in as a ninth comes before that
      await gate.promise;
      yield ['1'];
      open -= 1;
    },
    async *catalog() {
      yield [];
    },
  };
  const rules = Array.from({ length: 20 }, (_, i) => ({
    source: `a.example/r${i}`,
    target: `b.example/r${i}`,
    type: 'repository',
  }));
  assert.equal(imagesOf(await expand(rulesOf(...rules), lists)).length, 20);
  assert.equal(most, 8);
});

test('a backup is another tag, of the same repository or elsewhere', () => {
  const [rule] = rulesOf({
    source: 'a.example/x:1',
    target: 'b.example/x:1',
    type: 'image',
    backup: 'old-{{ .Ref.Tag }}',
  });
  assert.ok(rule);
  assert.equal(backupName(rule, 'b.example/x', '1'), 'old-1');
  const gives = (text: string): MirrorRule => ({ ...rule, backup: () => text });
  assert.equal(backupName(gives('b.example/x:kept'), 'b.example/x', '1'), 'kept');
  for (const elsewhere of ['b.example/y:1', 'c.example/x:1']) {
    assert.equal(backupName(gives(elsewhere), 'b.example/x', '1'), elsewhere);
  }
  assert.equal(backupName({ ...rule, backup: undefined }, 'b.example/x', '1'), undefined);
  const refused = {
    '1': 'UNSUPPORTED',
    'b.example/x:1': 'UNSUPPORTED',
    'no good': 'INVALID',
  };
  for (const [text, code] of Object.entries(refused)) {
    assert.throws(() => backupName(gives(text), 'b.example/x', '1'), { code }, text);
  }
});
