/** Who claims a target repository: what a rule may have there that the present lists do not tell of stays. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GantryError } from '../../../src/errors.ts';
import { readMirrorFile } from '../../../src/mirror/file/read.ts';
import { expandRules } from '../../../src/mirror/plan/expand.ts';
import { pruneTargets } from '../../../src/mirror/prune/claims.ts';
import { goneTags } from '../../../src/mirror/prune/gone.ts';
import type { PruneTarget } from '../../../src/mirror/prune/types.ts';

const opts = { signal: new AbortController().signal };
const DELETE = 'prune: {mode: delete, graceDays: 0}';

/** The targets of some rules over sources that all have tags 1 and 2, and a registry that has one repository. */
async function targetsOf(rules: readonly string[], catalog: readonly string[] = ['other']): Promise<PruneTarget[]> {
  const text = `version: 1\nsync:\n${rules.map((rule) => `  - {${rule}}\n`).join('')}`;
  const file = readMirrorFile(text, 'mirror.yml', { env: {}, readFile: () => '' });
  const ports = {
    async *tags() {
      yield ['1', '2'];
    },
    async *catalog() {
      yield [...catalog];
    },
  };
  return pruneTargets(await expandRules(file.rules, ports, opts), async () => ['1', '2'], opts);
}

/** What of the target's tags is gone, or why that is not known. */
async function gone(there: readonly string[], ...rules: readonly string[]): Promise<string[] | string> {
  const [target] = await targetsOf(rules);
  const found = goneTags(there, target?.claims ?? []);
  return found.state === 'known' ? found.tags.map(({ tag }) => tag) : found.why;
}

const app = (more: string, target = 't.example/app'): string =>
  `source: s.example/app, target: ${target}, type: repository, ${more}`;

test('one rule alone owns what its filters select', async () => {
  assert.deepEqual(await gone(['1', '3'], app(DELETE)), ['3']);
});

test('a registry rule beside it may have written what its catalog does not tell of', async () => {
  const registry = 'source: r.example, target: t.example, type: registry, repos: {deny: ["app"]}';
  for (const catalog of [[], ['other'], ['app', 'other']]) {
    const [target] = await targetsOf([app(DELETE), registry], catalog);
    const found = goneTags(['1', '3'], target?.claims ?? []);
    assert.equal(found.state, 'refused', catalog.join());
  }
  assert.deepEqual(await gone(['1', '3'], app(DELETE), 'source: r.example, target: u.example, type: registry'), ['3']);
});

test('what any rule keeps of overwritten tags stays, also in another repository', async () => {
  const elsewhere = 'source: s.example/x, target: t.example/x, type: repository';
  const keeping = `${elsewhere}, backup: "t.example/app:old-{{ .Ref.Tag }}"`;
  assert.deepEqual(await gone(['1', '3', 'old-3'], app(DELETE), keeping), ['3']);
  const dated = `${elsewhere}, backup: "t.example/app:{{ .Ref.Tag }}-{{ time.Now.Year }}"`;
  assert.deepEqual(await gone(['1', '3', '3-2024'], app(DELETE), dated), [], 'any tag may be of another year');
  const anywhere = `${elsewhere}, backup: "t.example/{{ .Ref.Tag }}:kept"`;
  assert.deepEqual(await gone(['1', '3'], app(DELETE), anywhere), []);
});

test('a host is the same in any case', async () => {
  const upper = app('tags: {allow: ["3"]}', 'T.EXAMPLE/app');
  assert.deepEqual(await gone(['1', '3'], app(DELETE), upper), []);
});

test('signatures of what is elsewhere, or has no tag, stay', async () => {
  const keeps = async (...rules: readonly string[]): Promise<boolean | undefined> =>
    (await targetsOf(rules))[0]?.keepsDigestTags;
  assert.equal(await keeps(app(DELETE)), false);
  assert.equal(
    await keeps(
      app(DELETE),
      'source: s.example/x, target: t.example/x, type: repository, referrerTarget: t.example/app',
    ),
    true,
  );
  const digest = `sha256:${'a'.repeat(64)}`;
  assert.equal(
    await keeps(app(DELETE), `source: s.example/x@${digest}, target: t.example/app@${digest}, type: image`),
    true,
  );
});

test('a list that failed is told', async () => {
  const text = `version: 1\nsync:\n  - {${app(DELETE)}}\n`;
  const file = readMirrorFile(text, 'mirror.yml', { env: {}, readFile: () => '' });
  const ports = {
    // oxlint-disable-next-line require-yield -- it fails before
    async *tags(): AsyncGenerator<string[]> {
      throw new GantryError('UPSTREAM', 'it answered 503');
    },
    async *catalog() {
      yield ['x'];
    },
  };
  const [target] = await pruneTargets(await expandRules(file.rules, ports, opts), async () => [], opts);
  const found = goneTags(['1'], target?.claims ?? []);
  assert.match(found.state === 'refused' ? found.why : '', /it answered 503/);
});
