/** What hangs on an image comes along, from and to registries of every kind, and costs next to nothing where nothing has changed. */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { describe, it, test } from 'node:test';
import { LocalDispatcher } from '../../src/flow/local-dispatcher.ts';
import { copyHandler, copyNode } from '../../src/handlers/copy.ts';
import { formatSelection } from '../../src/handlers/copy-selection.ts';
import { fallbackTag } from '../../src/oci/attached.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { LocalPlaces } from '../../src/remote/places.ts';
import { cosignSignature } from '../support/artifacts.ts';
import {
  copied,
  copyAll,
  copyOne,
  fallbackOf,
  has,
  listedAs,
  putFallback,
  referrer,
  SBOM,
  SIGNATURE,
} from '../support/attached.ts';
import { lookOver, never, TestClient } from '../support/clients.ts';
import { image, multiPlatform } from '../support/images.ts';
import { faults, type Kind, type LogEntry, TestRegistry } from '../support/registry.ts';
import { tempDir } from '../support/temp.ts';

const app = image({ seed: 'app', layers: [3000] });
const signature = referrer(app.desc, SIGNATURE);
const sbom = referrer(app.desc, SBOM);
/** A signature of the SBOM: a referrer of a referrer. */
const sealed = referrer(sbom.desc, SIGNATURE);

const REFERRERS = { attached: { referrers: true } };
const DIGEST_TAGS = { attached: { digestTags: true } };

/** Requests as `METHOD kind`, with how often. */
function asked(registry: TestRegistry, of: (entry: LogEntry) => boolean = () => true): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const entry of registry.log.entries.filter(of)) {
    const name = `${entry.method} ${entry.kind}`;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

const WRITES: readonly Kind[] = ['upload-start', 'upload-end', 'chunk', 'mount', 'put-manifest', 'put-tag'];
const writes = (registry: TestRegistry): number => WRITES.reduce((sum, kind) => sum + registry.count({ kind }), 0);

async function world(api: { source?: boolean; target?: boolean } = {}) {
  await using stack = new AsyncDisposableStack();
  const source = stack.use(await TestRegistry.start({ referrersApi: api.source ?? true }));
  const target = stack.use(await TestRegistry.start({ referrersApi: api.target ?? true }));
  source.add('app', 'v1', app);
  const all = stack.move();
  return {
    source,
    target,
    from: source.ref('app', 'v1'),
    to: target.ref('mirror', 'v1'),
    clear: () => {
      source.log.clear();
      target.log.clear();
    },
    [Symbol.asyncDispose]: () => all[Symbol.asyncDispose](),
  };
}

type World = Awaited<ReturnType<typeof world>>;

function attach({ source }: World, hasApi: boolean): void {
  for (const each of [signature, sbom, sealed]) source.add('app', undefined, each);
  if (hasApi) return;
  putFallback(source, 'app', app.desc, [listedAs(signature, SIGNATURE), listedAs(sbom, SBOM)]);
  putFallback(source, 'app', sbom.desc, [listedAs(sealed, SIGNATURE)]);
}

for (const [from, to] of [
  [true, true],
  [true, false],
  [false, true],
  [false, false],
] as const) {
  const name = (hasApi: boolean): string => (hasApi ? 'a registry with the API' : 'one with fallback tags');
  describe(`referrers, from ${name(from)} to ${name(to)}`, () => {
    it('come along, and theirs, and a second run writes nothing', async () => {
      await using it = await world({ source: from, target: to });
      attach(it, from);
      await copied(it.from, it.to, REFERRERS);
      for (const each of [app, signature, sbom, sealed]) assert.ok(has(it.target, 'mirror', each));
      assert.deepEqual(it.target.violations, []);
      const lists = [fallbackOf(it.target, 'mirror', app.desc), fallbackOf(it.target, 'mirror', sbom.desc)];
      const byDigest = [listedAs(signature, SIGNATURE), listedAs(sbom, SBOM)];
      if (to) assert.deepEqual(lists, [undefined, undefined], 'the registry sees to it');
      else {
        assert.deepEqual(lists[0]?.toSorted(inOrder), byDigest.toSorted(inOrder));
        assert.deepEqual(lists[1], [listedAs(sealed, SIGNATURE)]);
      }

      it.clear();
      const again = await copied(it.from, it.to, REFERRERS);
      assert.ok(again.isEqual);
      assert.equal(writes(it.target), 0);
      // Of a registry without a list, the index under the tag is all that can tell.
      const fallback = (entry: LogEntry): boolean => entry.object === fallbackTag(app.desc.digest);
      const read = it.source.log.select({ method: 'GET', kind: 'manifest' }).filter((entry) => !fallback(entry));
      assert.equal(read.length, from ? 0 : 1, it.source.log.text());
    });

    it('added to an image that is equal come later, and cost their own manifests alone', async () => {
      await using it = await world({ source: from, target: to });
      attach(it, from);
      await copied(it.from, it.to, REFERRERS);
      const late = referrer(app.desc, SIGNATURE, 'late');
      it.source.add('app', undefined, late);
      if (!from) {
        const listed = [signature, late].map((each) => listedAs(each, SIGNATURE));
        putFallback(it.source, 'app', app.desc, [listedAs(sbom, SBOM), ...listed]);
      }
      it.clear();
      const result = await copied(it.from, it.to, REFERRERS);
      assert.ok(result.isEqual);
      assert.ok(has(it.target, 'mirror', late));
      assert.equal(it.target.stored.get('mirror')?.tags.get('v1'), app.desc.digest, 'the tag stays what it was');
      const read = it.source.log.select({ method: 'GET', kind: 'manifest', object: late.desc.digest });
      assert.equal(read.length, 1);
      assert.equal(it.source.count({ method: 'GET', kind: 'manifest' }), from ? 1 : 2, 'and the index of the source');
      if (!to) assert.equal(fallbackOf(it.target, 'mirror', app.desc)?.length, 3);
    });
  });
}

const inOrder = (a: { digest: string }, b: { digest: string }): number => (a.digest < b.digest ? -1 : 1);

test('an image that is equal, and what hangs on it, costs two HEADs and two lists', async () => {
  await using it = await world();
  attach(it, true);
  await copied(it.from, it.to, REFERRERS);
  it.clear();
  await copied(it.from, it.to, REFERRERS);
  const once = { 'HEAD manifest': 1, 'GET referrers': 1 };
  assert.deepEqual([asked(it.source), asked(it.target)], [once, once]);

  it.clear();
  await copied(it.from, it.to, { attached: { referrers: true, digestTags: true, fastCheck: true } });
  assert.deepEqual([asked(it.source), asked(it.target)], [{ 'HEAD manifest': 1 }, { 'HEAD manifest': 1 }]);
});

test('without being asked for, nothing comes along', async () => {
  await using it = await world();
  attach(it, true);
  await copied(it.from, it.to, {});
  assert.equal(it.target.stored.get('mirror')?.manifests.size, 1);
  assert.equal(it.source.count({ kind: 'referrers' }), 0);
});

test('a registry that has no list of referrers is asked for one once', async () => {
  await using it = await world({ source: false, target: false });
  const others = Array.from({ length: 5 }, (_, i) => image({ seed: `other ${i}`, layers: [100] }));
  others.forEach((each, i) => it.source.add('app', `o${i}`, each));
  const pairs = others.map((_, i) => [it.source.ref('app', `o${i}`), it.target.ref('mirror', `o${i}`)] as const);
  await using client = new TestClient();
  await copyAll(pairs.slice(0, 1), { ...REFERRERS, client });
  await copyAll(pairs, { ...REFERRERS, client });
  assert.equal(it.source.count({ kind: 'referrers' }), 1);
});

describe('that a repository has no list of referrers', () => {
  const others = Array.from({ length: 6 }, (_, i) => image({ seed: `list ${i}`, layers: [100] }));
  const pairsOf = ({ source, target }: World) =>
    others.map((each, i) => {
      source.add(`r${i}`, 'v1', each);
      return [source.ref(`r${i}`, 'v1'), target.ref(`r${i}`, 'v1')] as const;
    });

  for (const status of [400, 404, 405]) {
    it(`says nothing of another one (${status})`, async () => {
      await using it = await world();
      const [one, two] = pairsOf(it);
      assert.ok(one && two && others[1]);
      const signed = referrer(others[1].desc, SIGNATURE);
      it.source.add('r1', undefined, signed);
      it.source.fault({ match: { kind: 'referrers', repo: 'r0' }, do: faults.status(status, { body: 'not here' }) });
      await using client = new TestClient();
      for (const pair of [one, two]) await copied(...pair, { ...REFERRERS, client });
      assert.ok(has(it.target, 'r1', signed));
    });
  }

  it('says something of all when several have said it, and none has one', async () => {
    await using it = await world({ source: false });
    await using client = new TestClient();
    for (const pair of pairsOf(it)) await copied(...pair, { ...REFERRERS, client });
    assert.equal(it.source.count({ kind: 'referrers' }), 3);
  });

  it('says nothing of all when one has one', async () => {
    await using it = await world();
    const pairs = pairsOf(it);
    const not = /^r[1234]$/;
    const repo = (entry: LogEntry): boolean => not.test(entry.repo ?? '');
    it.source.fault({ match: { kind: 'referrers', where: repo }, do: faults.status(404, { body: 'not here' }) });
    await using client = new TestClient();
    for (const pair of pairs) await copied(...pair, { ...REFERRERS, client });
    assert.equal(it.source.count({ kind: 'referrers', repo: 'r5' }), 1);
  });

  it('is not what a registry says that does not know the repository yet', async () => {
    await using it = await world();
    it.source.add('app', undefined, signature);
    it.target.fault({ match: { kind: 'referrers' }, times: 1, do: faults.error(404, 'NAME_UNKNOWN') });
    await using client = new TestClient();
    await copied(it.from, it.to, { ...REFERRERS, client });
    assert.deepEqual([...(it.target.stored.get('mirror')?.tags.keys() ?? [])], ['v1'], 'no list under a tag');
    it.clear();
    it.source.fault({ match: { kind: 'referrers' }, times: 1, do: faults.error(404, 'NAME_UNKNOWN') });
    it.source.add('app', undefined, sbom);
    for (let run = 0; run < 2; run += 1) await copied(it.from, it.to, { ...REFERRERS, client });
    assert.ok(has(it.target, 'mirror', sbom), 'the next run asks again');
  });
});

for (const status of [400, 405, undefined]) {
  test(`a registry may say that it has no such list by ${status ?? '404 from where it redirects to'}`, async () => {
    await using it = await world();
    it.source.add('app', undefined, signature);
    putFallback(it.source, 'app', app.desc, [listedAs(signature, SIGNATURE)]);
    await using elsewhere = await TestRegistry.start({ referrersApi: false });
    const away = faults.redirect((path) => `${elsewhere.url}${path}`);
    it.source.fault({ match: { kind: 'referrers' }, do: status === undefined ? away : faults.status(status) });
    await copied(it.from, it.to, REFERRERS);
    assert.ok(has(it.target, 'mirror', signature));
  });
}

test('a mirror of the source that knows no referrers hides none', async () => {
  await using it = await world();
  await using mirror = await TestRegistry.start({ referrersApi: false });
  mirror.add('app', 'v1', app);
  it.source.add('app', undefined, signature);
  await using dir = await tempDir();
  await mkdir(dir.join(it.source.host));
  const toml = `[host."${mirror.url}"]\ncapabilities = ["pull", "resolve"]`;
  await writeFile(dir.join(it.source.host, 'hosts.toml'), toml);
  await using client = new TestClient({ hosts: { dirs: [dir.path], plainHttp: false, insecure: false } });
  await copied(it.from, it.to, { ...REFERRERS, client });
  assert.ok(has(it.target, 'mirror', signature));
  assert.ok(mirror.count({ kind: 'blob', method: 'GET', status: 200 }) > 0, 'it was used for the rest');
});

test('trouble with the list is not taken for its absence', async () => {
  await using it = await world();
  it.source.add('app', undefined, signature);
  it.source.fault({ match: { kind: 'referrers' }, times: 1, do: faults.status(503) });
  await copied(it.from, it.to, REFERRERS);
  assert.ok(has(it.target, 'mirror', signature));
  for (const code of [403, 500]) {
    it.source.clearFaults();
    it.source.fault({ match: { kind: 'referrers' }, do: faults.status(code) });
    const { state } = await copyOne(it.from, it.to, REFERRERS);
    assert.equal(state, 'failed');
  }
});

test('tags that are equal add to the list of referrers one after the other', async () => {
  await using it = await world({ target: false });
  it.source.add('app', 'v2', app);
  const pairs = ['v1', 'v2'].map((tag) => [it.source.ref('app', tag), it.target.ref('mirror', tag)] as const);
  await copyAll(pairs, REFERRERS);
  it.source.add('app', undefined, signature);
  it.clear();
  await copyAll(pairs, REFERRERS);
  assert.deepEqual(fallbackOf(it.target, 'mirror', app.desc), [listedAs(signature, SIGNATURE)]);
  assert.equal(it.target.count({ kind: 'put-tag' }), 1, 'the second finds what the first has written');
});

test('a tag for referrers that is taken by something else is left alone', async () => {
  await using it = await world({ target: false });
  attach(it, true);
  it.target.add('mirror', fallbackTag(app.desc.digest), image({ seed: 'in the way' }));
  const { state, error } = await copyOne(it.from, it.to, REFERRERS);
  lookOver(error);
  assert.deepEqual([state, error.code], ['failed', 'MALFORMED']);
  assert.match(error.message, /should be an index of referrers/);
  assert.equal(it.target.stored.get('mirror')?.tags.has('v1'), false, 'an image comes last');
});

test('what others have put into the index of the target stays, in every detail', async () => {
  await using it = await world({ target: false });
  attach(it, true);
  const other = referrer(app.desc, SBOM, 'theirs');
  const theirs = { ...listedAs(other, SBOM), 'x-more': { deep: [1, 2.5, null] } };
  const deleted = listedAs(referrer(app.desc, SBOM, 'deleted'), SBOM);
  it.target.add('mirror', undefined, other);
  putFallback(it.target, 'mirror', app.desc, [deleted, theirs]);
  await copied(it.from, it.to, REFERRERS);
  const listed = fallbackOf(it.target, 'mirror', app.desc);
  assert.deepEqual(listed?.[0], theirs, 'but for what is not there any more, and would have it refused');
  assert.equal(listed?.length, 3);
});

test('a write of the index that another process overwrites is made again', async () => {
  await using it = await world({ target: false });
  attach(it, true);
  const tag = fallbackTag(app.desc.digest);
  const other = referrer(app.desc, SBOM, 'theirs');
  const theirs = listedAs(other, SBOM);
  it.target.add('mirror', undefined, other);
  // As if another process had read the index before, and has written it after us.
  const overwrite = faults.afterwards(() => putFallback(it.target, 'mirror', app.desc, [theirs]));
  it.target.fault({ match: { kind: 'put-tag', object: tag }, times: 1, do: overwrite });
  await copied(it.from, it.to, REFERRERS);
  assert.deepEqual(
    fallbackOf(it.target, 'mirror', app.desc)
      ?.map(({ digest }) => digest)
      .toSorted(),
    [theirs.digest, signature.desc.digest, sbom.desc.digest].toSorted(),
  );
});

test('two that write one index at the same time lose nothing', async () => {
  await using it = await world({ target: false });
  await using second = await TestRegistry.start();
  second.add('app', 'v1', app);
  it.source.add('app', undefined, signature);
  second.add('app', undefined, sbom);
  const tag = fallbackTag(app.desc.digest);
  // Both have seen that there is no index before either of them writes one.
  const both = it.target.log.waitFor({ kind: 'manifest', method: 'HEAD', object: tag }, { count: 2 });
  it.target.fault({ match: { kind: 'manifest', method: 'HEAD', object: tag }, times: 2, do: faults.hold(both) });
  await Promise.all([
    copied(it.from, it.to, REFERRERS),
    copied(second.ref('app', 'v1'), it.target.ref('mirror', 'v2'), REFERRERS),
  ]);
  assert.equal(fallbackOf(it.target, 'mirror', app.desc)?.length, 2);
});

test('an index that is always overwritten ends in an error that says so', async () => {
  await using it = await world({ target: false });
  attach(it, true);
  const tag = fallbackTag(app.desc.digest);
  const overwrite = faults.afterwards(() => putFallback(it.target, 'mirror', app.desc, []));
  it.target.fault({ match: { kind: 'put-tag', object: tag }, do: overwrite });
  const { error } = await copyOne(it.from, it.to, REFERRERS);
  lookOver(error);
  assert.equal(error.code, 'BUSY');
  assert.ok(it.target.count({ kind: 'put-tag', object: tag }) < 10);
});

test('referrers may be read from a repository of their own, and go to one', async () => {
  await using it = await world({ target: false });
  for (const each of [signature, sbom, sealed]) it.source.add('signatures', undefined, each);
  const [referrerSource, referrerTarget] = [`${it.source.host}/signatures`, `${it.target.host}/mirror/signatures`];
  const elsewhere = { attached: { referrers: true, referrerSource, referrerTarget, require: ['*signature'] } };
  await copied(it.from, it.to, elsewhere);
  assert.ok([signature, sbom, sealed].every((each) => has(it.target, 'mirror/signatures', each)));
  assert.equal(it.target.stored.get('mirror')?.manifests.size, 1);
  assert.equal(fallbackOf(it.target, 'mirror/signatures', app.desc)?.length, 2);
  assert.equal(fallbackOf(it.target, 'mirror/signatures', sbom.desc)?.length, 1);
  assert.deepEqual(it.target.violations, []);
  it.clear();
  await copied(it.from, it.to, elsewhere);
  assert.equal(writes(it.target) + it.source.count({ method: 'GET', kind: 'manifest' }), 0);
  const late = referrer(app.desc, SBOM, 'late');
  it.source.add('signatures', undefined, late);
  await copied(it.from, it.to, elsewhere);
  assert.ok(has(it.target, 'mirror/signatures', late));
});

test('what one rule has read is not taken for what another one reads elsewhere', async () => {
  await using it = await world();
  it.source.add('one', undefined, sbom);
  it.source.add('two', undefined, signature);
  const rule = (repo: string, require: string[]): string =>
    formatSelection({ attached: { referrers: true, referrerSource: `${it.source.host}/${repo}`, require } });
  await using client = new TestClient();
  const handler = copyHandler({ resolver: client, places: new LocalPlaces(), isAlone: true });
  const state = async (selection: string): Promise<string | undefined> => {
    const parts = { source: parseReference(it.from), target: `${it.target.host}/mirror`, tag: 'v1', selection };
    const dispatcher = new LocalDispatcher({ handler, concurrency: 1 });
    return (await dispatcher.dispatch({ id: 'rules', roots: [copyNode(parts)] }, { signal: never })).images[0]?.state;
  };
  assert.equal(await state(rule('one', ['*signature'])), 'failed');
  assert.equal(await state(rule('two', [])), 'done');
  assert.deepEqual(
    [signature, sbom].map((each) => has(it.target, 'mirror', each)),
    [true, false],
  );
});

test('a target that does not tell what it has is named', async () => {
  await using it = await world();
  it.source.add('app', undefined, signature);
  it.target.add('mirror', 'v1', app);
  it.target.fault({ match: { kind: 'referrers' }, do: faults.status(503) });
  const { error } = await copyOne(it.from, it.to, REFERRERS);
  lookOver(error);
  assert.deepEqual([error.code, error.origin], ['UPSTREAM', 'target']);
});

describe('filters', () => {
  const cases = [
    [{ include: ['*signature'] }, [signature]],
    [{ exclude: ['application/vnd.example.*'] }, []],
    [{ include: ['application/*'], exclude: ['*sbom*'] }, [signature]],
    [{ matches: [{ artifactType: SBOM, annotations: { 'org.example.note': 'by a test' } }] }, [sbom]],
    [{ matches: [{ artifactType: SBOM, annotations: { 'org.example.note': 'else' } }] }, []],
    [{ matches: [{ annotations: { 'org.example.note': '' } }] }, [signature, sbom]],
  ] as const;
  for (const [filter, kept] of cases) {
    it(JSON.stringify(filter), async () => {
      await using it = await world();
      for (const each of [signature, sbom]) it.source.add('app', undefined, each);
      await copied(it.from, it.to, { attached: { referrers: true, ...filter } });
      const names = { [signature.desc.digest]: 'signature', [sbom.desc.digest]: 'sbom' };
      const found = [signature, sbom].filter((each) => has(it.target, 'mirror', each));
      assert.deepEqual(
        found.map(({ desc }) => names[desc.digest]),
        kept.map(({ desc }) => names[desc.digest]),
      );
    });
  }
});

describe('a required artifact', () => {
  const required = { attached: { referrers: true, require: ['*signature'] } };

  it('that is missing fails the image before anything is sent', async () => {
    await using it = await world();
    it.source.add('app', undefined, sbom);
    const { state, error } = await copyOne(it.from, it.to, required);
    lookOver(error);
    assert.deepEqual([state, error.code], ['failed', 'NOT_FOUND']);
    assert.match(error.message, /no artifact of type \*signature/);
    assert.match(error.hint ?? '', /it has application\/vnd\.example\.sbom\+json/);
    assert.equal(writes(it.target), 0);
  });

  it('that is there is looked for once', async () => {
    await using it = await world();
    it.source.add('app', undefined, signature);
    await copied(it.from, it.to, required);
    assert.ok(has(it.target, 'mirror', signature));
    assert.equal(it.source.count({ kind: 'referrers', object: app.desc.digest }), 1);
  });

  it('may be one that does not come along, and a digest tag', async () => {
    await using it = await world();
    const signed = cosignSignature(app.desc);
    it.source.add('app', signed.tag, signed);
    await copied(it.from, it.to, { attached: { require: ['application/vnd.dev.cosign.artifact.sig*'] } });
    assert.equal(it.target.stored.get('mirror')?.tags.size, 1);
  });
});

describe('digest tags', () => {
  const signed = cosignSignature(app.desc);

  it('come along under their names, and a second run reads no manifest', async () => {
    await using it = await world();
    it.source.add('app', signed.tag, signed);
    await copied(it.from, it.to, DIGEST_TAGS);
    assert.ok(has(it.target, 'mirror', signed));
    assert.equal(it.target.stored.get('mirror')?.tags.get(signed.tag), signed.desc.digest);
    assert.deepEqual(it.target.violations, []);
    it.clear();
    await copied(it.from, it.to, DIGEST_TAGS);
    assert.deepEqual(asked(it.source), { 'HEAD manifest': 4 }, 'its own, and .sig, .att and .sbom');
    assert.deepEqual(asked(it.target), { 'HEAD manifest': 2 });
  });

  it('that mean something new are moved', async () => {
    await using it = await world();
    it.source.add('app', signed.tag, signed);
    await copied(it.from, it.to, DIGEST_TAGS);
    const more = image({ seed: 'two signatures', layers: [50, 60] });
    it.source.add('app', signed.tag, more);
    await copied(it.from, it.to, DIGEST_TAGS);
    assert.equal(it.target.stored.get('mirror')?.tags.get(signed.tag), more.desc.digest);
  });

  it('of many images are found in one list, whatever their ends are called', async () => {
    await using it = await world();
    const images = Array.from({ length: 10 }, (_, i) => image({ seed: `many ${i}`, layers: [100 + i] }));
    images.forEach((each, i) => it.source.add('app', `m${i}`, each));
    const [first] = images;
    assert.ok(first);
    const odd = image({ seed: 'odd', layers: [77] });
    it.source.add('app', `${fallbackTag(first.desc.digest)}.odd`, odd);
    it.source.add('app', signed.tag, signed);
    const pairs = images.map((_, i) => [it.source.ref('app', `m${i}`), it.target.ref('mirror', `m${i}`)] as const);
    const results = await copyAll(pairs, DIGEST_TAGS);
    assert.ok(results.every(({ state }) => state === 'done'));
    assert.ok(has(it.target, 'mirror', odd));
    assert.equal(it.source.count({ kind: 'tags' }), 1);
    assert.equal(it.source.count({ kind: 'manifest', object: /^sha256-/ }), 1, 'only what the list has');
    assert.equal(it.target.stored.get('mirror')?.tags.has(signed.tag), false, 'of an image that is not copied');
  });

  it('go by the types that cosign gives to the same things', async () => {
    await using it = await world();
    it.source.add('app', signed.tag, signed);
    const sbomTag = signed.tag.replace('.sig', '.sbom');
    it.source.add('app', sbomTag, image({ seed: 'cosign sbom', layers: [40] }));
    await copied(it.from, it.to, { attached: { digestTags: true, exclude: ['*.cosign.artifact.sig.*'] } });
    assert.deepEqual([...(it.target.stored.get('mirror')?.tags.keys() ?? [])].toSorted(), [sbomTag, 'v1']);
    assert.equal(it.source.count({ object: signed.tag }), 0);
  });

  it('that are too many for one image fail it', async () => {
    await using it = await world();
    const tags = Array.from({ length: 1001 }, (_, i) => `${fallbackTag(app.desc.digest)}.t${i}`);
    it.source.fault({ match: { kind: 'tags' }, do: faults.body(JSON.stringify({ name: 'app', tags })) });
    const pairs = ['v1', 'v2'].map((tag) => [it.from, it.target.ref('mirror', tag)] as const);
    for (const { error } of await copyAll(pairs, DIGEST_TAGS)) {
      lookOver(error);
      assert.deepEqual([error.code, error.origin], ['TOO_LARGE', 'source']);
    }
    assert.equal(it.source.count({ object: /^sha256-/ }), 0);
  });

  it('are not the lists of referrers', async () => {
    await using it = await world({ source: false });
    it.source.add('app', 'v2', image({ seed: 'second', layers: [10] }));
    it.source.add('app', undefined, signature);
    it.source.add('app', signed.tag, signed);
    putFallback(it.source, 'app', app.desc, [listedAs(signature, SIGNATURE)]);
    const pairs = ['v1', 'v2'].map((tag) => [it.source.ref('app', tag), it.target.ref('mirror', tag)] as const);
    await copyAll(pairs, { attached: { referrers: true, digestTags: true } });
    assert.deepEqual(
      [...(it.target.stored.get('mirror')?.tags.keys() ?? [])].toSorted(),
      [signed.tag, 'v1', 'v2'].toSorted(),
    );
    assert.ok(has(it.target, 'mirror', signature));
  });

  it('are asked for one by one where the list is not given out', async () => {
    await using it = await world();
    const pairs = Array.from({ length: 8 }, (_, i) => [it.from, it.target.ref('mirror', `m${i}`)] as const);
    it.source.add('app', signed.tag, signed);
    it.source.fault({ match: { kind: 'tags' }, do: faults.status(403) });
    const results = await copyAll(pairs, DIGEST_TAGS);
    assert.ok(results.every(({ state }) => state === 'done'));
    assert.ok(has(it.target, 'mirror', signed));
  });
});

test('what hangs on the images of an index comes along as well', async () => {
  await using it = await world({ target: false });
  const many = multiPlatform({ seed: 'many', layers: [500] });
  it.source.add('app', 'v2', many);
  const [entry] = many.entries;
  assert.ok(entry);
  const [onIndex, onEntry] = [referrer(many.desc, SIGNATURE), referrer(entry, SBOM)];
  for (const each of [onIndex, onEntry]) it.source.add('app', undefined, each);
  await copied(it.source.ref('app', 'v2'), it.to, REFERRERS);
  assert.ok([onIndex, onEntry].every((each) => has(it.target, 'mirror', each)));
  assert.deepEqual(fallbackOf(it.target, 'mirror', entry), [listedAs(onEntry, SBOM)]);
});

describe('a list of referrers', () => {
  it('may have many pages', async () => {
    await using source = await TestRegistry.start({ pageSize: 2 });
    await using target = await TestRegistry.start();
    source.add('app', 'v1', app);
    const all = Array.from({ length: 7 }, (_, i) => referrer(app.desc, SBOM, String(i)));
    for (const each of all) source.add('app', undefined, each);
    await copied(source.ref('app', 'v1'), target.ref('mirror', 'v1'), REFERRERS);
    assert.ok(all.every((each) => has(target, 'mirror', each)));
    assert.equal(source.count({ kind: 'referrers', object: app.desc.digest }), 4);
  });

  it('that goes round in a circle, or is none, is refused', async () => {
    await using it = await world();
    for (const effect of [
      faults.nextPage('/v2/app/referrers/x?last=1'),
      faults.body('{"schemaVersion":2,"manifests":1}'),
    ]) {
      it.source.clearFaults();
      it.source.fault({ match: { kind: 'referrers' }, do: effect });
      const { error } = await copyOne(it.from, it.to, REFERRERS);
      lookOver(error);
      assert.equal(error.code, 'MALFORMED');
    }
  });

  it('that has too many entries is refused', async () => {
    await using it = await world();
    const listed = Array.from({ length: 1001 }, (_, i) => ({
      ...app.desc,
      digest: `sha256:${String(i).padStart(64, '0')}`,
    }));
    const index = JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: listed,
    });
    it.source.fault({ match: { kind: 'referrers' }, do: faults.body(index) });
    const { error } = await copyOne(it.from, it.to, REFERRERS);
    lookOver(error);
    assert.equal(error.code, 'TOO_LARGE');
  });

  it('that names the image as its own referrer ends nowhere', async () => {
    await using it = await world();
    const index = JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [app.desc],
    });
    it.source.fault({ match: { kind: 'referrers' }, do: faults.body(index) });
    await copied(it.from, it.to, REFERRERS);
    assert.equal(it.target.stored.get('mirror')?.manifests.size, 1);
  });

  it('that goes round over two manifests is refused', async () => {
    await using it = await world();
    it.source.add('app', undefined, signature);
    const index = JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [app.desc],
    });
    it.source.fault({ match: { kind: 'referrers', object: signature.desc.digest }, do: faults.body(index) });
    const { error } = await copyOne(it.from, it.to, REFERRERS);
    lookOver(error);
    assert.equal(error.code, 'MALFORMED');
  });
});
