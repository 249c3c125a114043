/** What becomes of an index of which only some platforms are wanted, of images that are of another type, and of what a tag has meant. */
import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { digestOf } from '../../src/oci/digest.ts';
import { DOCKER_LIST, OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts';
import { cosignSignature } from '../support/artifacts.ts';
import { copied, copyOne, has, referrer, SIGNATURE } from '../support/attached.ts';
import { lookOver } from '../support/clients.ts';
import { image, type ImageIndex, index, multiPlatform } from '../support/images.ts';
import { faults, readAll, TestRegistry } from '../support/registry.ts';

const NAMES = ['linux/amd64', 'linux/arm64/v8', 'linux/ppc64le'];
const many = multiPlatform({
  seed: 'index',
  layers: [900],
  platforms: NAMES,
  annotations: { 'org.example.kept': 'yes' },
});
const [AMD, ARM, PPC] = many.entries;
const STRIP = { platforms: 'linux/amd64,linux/arm64', index: 'strip' } as const;

interface Entry {
  readonly digest: string;
}

interface Index {
  readonly mediaType: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly manifests: readonly Entry[];
}

async function world(of: ImageIndex = many, sparse = false) {
  await using stack = new AsyncDisposableStack();
  const source = stack.use(await TestRegistry.start());
  const target = stack.use(await TestRegistry.start({ sparse }));
  source.add('app', 'v1', of);
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

/** What a tag of the target means: its bytes, checked, and what they say. */
function tagged(target: TestRegistry, tag = 'v1'): { digest: string; mediaType: string; index: Index } {
  const stored = target.stored.get('mirror');
  const digest = stored?.tags.get(tag) ?? '';
  const found = stored?.manifests.get(digest);
  assert.ok(found, `no ${tag} at the target`);
  const bytes = readAll(found.content);
  assert.equal(digestOf(bytes), digest);
  const index: Index = JSON.parse(bytes.toString());
  return { digest, mediaType: found.mediaType, index };
}

const entriesOf = (of: ImageIndex): readonly Entry[] => {
  const { manifests }: Index = JSON.parse(of.manifest.toString());
  return manifests;
};

describe('an index that is stripped', () => {
  it('lists what is wanted, as it was listed, and says what it was made of', async () => {
    await using it = await world();
    const result = await copied(it.from, it.to, STRIP);
    const { digest, mediaType, index } = tagged(it.target);
    assert.deepEqual([result.desc?.digest, result.isEqual], [digest, false]);
    assert.deepEqual([mediaType, index.mediaType], [OCI_INDEX, OCI_INDEX]);
    assert.deepEqual(index.manifests, entriesOf(many).slice(0, 2));
    assert.deepEqual(index.annotations, {
      'org.example.kept': 'yes',
      'dev.gantry.source.digest': many.desc.digest,
      'dev.gantry.platforms': 'linux/amd64,linux/arm64',
    });
    const there = it.target.stored.get('mirror')?.manifests;
    assert.deepEqual(
      [AMD, ARM, PPC].map((entry) => there?.has(entry?.digest ?? '')),
      [true, true, false],
    );
    assert.deepEqual(it.target.violations, []);
  });

  it('is equal afterwards, which the index of the target tells', async () => {
    await using it = await world();
    await copied(it.from, it.to, STRIP);
    for (const platforms of [STRIP.platforms, 'linux/arm64,linux/amd64']) {
      it.clear();
      const again = await copied(it.from, it.to, { ...STRIP, platforms });
      assert.ok(again.isEqual);
      assert.equal(it.source.count({ method: 'GET' }), 0);
      assert.equal(it.source.log.entries.length, 1);
      assert.equal(
        it.target.log.entries.every(({ method }) => method === 'GET' || method === 'HEAD'),
        true,
      );
    }
  });

  it('is made anew for other platforms, and when the source changes', async () => {
    await using it = await world();
    await copied(it.from, it.to, STRIP);
    const first = tagged(it.target);
    await copied(it.from, it.to, { ...STRIP, platforms: 'linux/amd64' });
    assert.deepEqual(tagged(it.target).index.manifests, entriesOf(many).slice(0, 1));
    await copied(it.from, it.to, STRIP);
    assert.equal(tagged(it.target).digest, first.digest, 'the same input makes the same index');
    const next = multiPlatform({ seed: 'next', layers: [901], platforms: NAMES });
    it.source.add('app', 'v1', next);
    await copied(it.from, it.to, STRIP);
    assert.deepEqual(tagged(it.target).index.manifests, entriesOf(next).slice(0, 2));
  });

  it('stays a Docker list where it is one', async () => {
    const list = multiPlatform({ seed: 'list', layers: [300], platforms: NAMES, mediaTypes: 'docker' });
    await using it = await world(list);
    await copied(it.from, it.to, STRIP);
    const { mediaType, index } = tagged(it.target);
    assert.deepEqual([mediaType, index.mediaType, index.manifests.length], [DOCKER_LIST, DOCKER_LIST, 2]);
  });

  it('is the index itself when all of it is wanted', async () => {
    await using it = await world();
    await copied(it.from, it.to, { ...STRIP, platforms: NAMES.join(',') });
    assert.equal(tagged(it.target).digest, many.desc.digest);
    const again = await copied(it.from, it.to, { ...STRIP, platforms: NAMES.join(',') });
    assert.ok(again.isEqual);
  });

  it('goes by its own digest where there is no tag', async () => {
    await using it = await world();
    const result = await copied(it.from, it.target.ref('mirror', many.desc.digest), STRIP);
    const digest = result.desc?.digest ?? '';
    assert.notEqual(digest, many.desc.digest);
    assert.ok(it.target.stored.get('mirror')?.manifests.has(digest));
    assert.ok((await copied(it.from, it.target.ref('mirror', many.desc.digest), STRIP)).isEqual);
  });

  it('replaces whatever its tag meant before', async () => {
    await using it = await world();
    for (const before of [many, image({ seed: 'before' })]) {
      it.target.add('mirror', 'v1', before);
      await copied(it.from, it.to, STRIP);
      assert.equal(tagged(it.target).index.manifests.length, 2);
    }
  });

  it('leaves behind what was said about the whole, and takes along what is said about its parts', async () => {
    await using it = await world();
    assert.ok(AMD);
    const [onWhole, onPart] = [referrer(many.desc, SIGNATURE), referrer(AMD, SIGNATURE)];
    for (const each of [onWhole, onPart]) it.source.add('app', undefined, each);
    const attached = { referrers: true, require: ['*signature'] };
    await copied(it.from, it.to, { ...STRIP, attached });
    assert.deepEqual(
      [onWhole, onPart].map((each) => has(it.target, 'mirror', each)),
      [false, true],
    );
    it.clear();
    const again = await copied(it.from, it.to, { ...STRIP, attached: { referrers: true } });
    assert.ok(again.isEqual);
    assert.deepEqual([it.source.log.entries.length, it.source.count({ method: 'HEAD' })], [1, 1]);
  });

  it('has all of an index that stands in it', async () => {
    const inner = multiPlatform({ seed: 'inner', layers: [70], platforms: ['linux/s390x', 'linux/amd64'] });
    const amd = image({ seed: 'beside', layers: [80] });
    const platform = { os: 'linux', architecture: 'amd64' };
    const other = { os: 'linux', architecture: 'riscv64' };
    await using it = await world(
      index([{ of: amd, platform }, { of: inner }, { of: image({ seed: 'other' }), platform: other }]),
    );
    await copied(it.from, it.to, { ...STRIP, platforms: 'linux/amd64' });
    assert.equal(tagged(it.target).index.manifests.length, 2);
    const there = it.target.stored.get('mirror')?.manifests;
    assert.ok([...inner.manifests.keys()].every((digest) => there?.has(digest)));
    assert.deepEqual(it.target.violations, []);
  });

  it('of no platform that is there is refused', async () => {
    await using it = await world();
    const { error } = await copyOne(it.from, it.to, { ...STRIP, platforms: 'linux/s390x' });
    lookOver(error);
    assert.equal(error.code, 'NOT_FOUND');
  });
});

describe('a sparse index', () => {
  const SPARSE = { platforms: 'linux/amd64', index: 'sparse' } as const;

  it('is the same index, with some of what it lists', async () => {
    await using it = await world(many, true);
    await copied(it.from, it.to, SPARSE);
    assert.equal(tagged(it.target).digest, many.desc.digest);
    const there = it.target.stored.get('mirror')?.manifests;
    assert.deepEqual(
      [AMD, ARM].map((entry) => there?.has(entry?.digest ?? '')),
      [true, false],
    );
    // Under another tag more of it is wanted: that the index is there says nothing.
    await copied(it.from, it.target.ref('mirror', 'v2'), { ...SPARSE, platforms: 'linux/arm64' });
    assert.ok(there?.has(ARM?.digest ?? ''));
  });

  it('that the target does not take is an error that says what to do', async () => {
    await using it = await world();
    const { error } = await copyOne(it.from, it.to, SPARSE);
    lookOver(error);
    assert.deepEqual([error.code, error.origin], ['UNSUPPORTED', 'target']);
    assert.match(error.hint ?? '', /index: strip/);
    assert.equal(it.target.stored.get('mirror')?.tags.size ?? 0, 0);
  });
});

describe('an index that the target has', () => {
  const AMD_ONLY = { platforms: 'linux/amd64', index: 'sparse' } as const;

  it('in part becomes whole under another tag', async () => {
    await using it = await world(many, true);
    await copied(it.from, it.to, AMD_ONLY);
    it.clear();
    await copied(it.from, it.target.ref('mirror', 'v2'), {});
    for (const digest of many.manifests.keys()) assert.ok(it.target.stored.get('mirror')?.manifests.has(digest));
    assert.equal(it.target.count({ kind: 'put-manifest', object: many.desc.digest }), 0, 'but not the index itself');
  });

  it('whole, but under another tag, costs a look at each entry, and nothing at the source', async () => {
    await using it = await world();
    const signed = cosignSignature(many.desc);
    const signature = referrer(many.desc, SIGNATURE);
    it.source.add('app', signed.tag, signed);
    it.source.add('app', undefined, signature);
    const attached = { referrers: true, digestTags: true };
    await copied(it.from, it.to, { attached });
    it.target.add('mirror', 'latest', image({ seed: 'before' }));
    it.clear();
    await copied(it.from, it.target.ref('mirror', 'latest'), { attached });
    assert.equal(it.source.count({ method: 'GET', kind: 'manifest' }), 0);
    const heads = it.target.log.select({ method: 'HEAD', kind: 'manifest' }).map(({ object = '' }) => object);
    const each = [many.desc.digest, ...many.entries.map(({ digest }) => digest)];
    assert.deepEqual(heads.toSorted(), ['latest', signed.tag, ...each].toSorted());
    assert.equal(it.target.count({ method: 'GET', kind: 'manifest' }), 1);
    assert.deepEqual([it.target.count({ kind: 'put-tag' }), it.target.count({ kind: 'put-manifest' })], [1, 0]);
    it.clear();
    await copied(it.from, it.target.ref('mirror', 'latest'), {});
    assert.deepEqual([it.source.log.entries.length, it.target.log.entries.length], [1, 1], 'once its tag tells');
  });
});

describe('a target that fails when it is read', () => {
  const unreadable = async (it: { target: TestRegistry; from: string; to: string }, options: object) => {
    it.target.fault({ match: { kind: 'manifest', method: 'GET' }, do: faults.status(503) });
    const { error } = await copyOne(it.from, it.to, options);
    lookOver(error);
    return [error.code, error.origin];
  };

  it('is named, for the manifest of a tag', async () => {
    await using it = await world();
    it.target.add('mirror', undefined, many);
    assert.deepEqual(await unreadable(it, {}), ['UPSTREAM', 'target']);
  });

  it('is named, for an index that may have been stripped', async () => {
    await using it = await world();
    await copied(it.from, it.to, STRIP);
    assert.deepEqual(await unreadable(it, STRIP), ['UPSTREAM', 'target']);
  });

  it('is named, for what is to be kept', async () => {
    await using it = await world();
    it.target.add('mirror', 'v1', image({ seed: 'before' }));
    assert.deepEqual(await unreadable(it, { backup: `${it.target.host}/attic:v1` }), ['UPSTREAM', 'target']);
    assert.deepEqual(await unreadable(it, { backup: 'old' }), ['UPSTREAM', 'target']);
  });
});

describe('images of other types than are wanted', () => {
  it('are skipped, and said to be', async () => {
    await using it = await world();
    const result = await copied(it.from, it.to, { mediaTypes: [OCI_MANIFEST, 'application/vnd.example.other'] });
    assert.match(result.skipped ?? '', /image\.index/);
    assert.equal(it.target.count({ kind: 'put-tag' }) + it.target.count({ kind: 'upload-start' }), 0);
    const taken = await copied(it.from, it.to, { mediaTypes: [OCI_INDEX] });
    assert.deepEqual([taken.skipped, tagged(it.target).digest], [undefined, many.desc.digest]);
  });

  it('are all there are when only types are wanted that gantry does not handle', async () => {
    await using it = await world();
    const result = await copied(it.from, it.to, { mediaTypes: ['application/vnd.example.other'] });
    assert.notEqual(result.skipped, undefined);
  });
});

test('what is overwritten is kept in another repository', async () => {
  await using it = await world();
  const before = multiPlatform({ seed: 'before elsewhere' });
  it.target.add('mirror', 'v1', before);
  await copied(it.from, it.to, { backup: `${it.target.host}/attic:v1` });
  assert.equal(tagged(it.target).digest, many.desc.digest);
  const attic = it.target.stored.get('attic');
  assert.equal(attic?.tags.get('v1'), before.desc.digest);
  for (const digest of before.manifests.keys()) assert.ok(attic?.manifests.has(digest), digest);
  assert.deepEqual(it.target.violations, []);
});

test('what is overwritten is kept under another tag', async () => {
  await using it = await world();
  const before = image({ seed: 'before', layers: [400] });
  const options = { backup: 'v1-before' };
  await copied(it.from, it.to, options);
  assert.equal(it.target.stored.get('mirror')?.tags.has('v1-before'), false, 'there was nothing');
  it.target.add('mirror', 'v1', before);
  await copied(it.from, it.to, options);
  assert.equal(tagged(it.target).digest, many.desc.digest);
  assert.equal(tagged(it.target, 'v1-before').digest, before.desc.digest);
  await copied(it.from, it.to, { ...options, isDeep: true });
  assert.equal(tagged(it.target, 'v1-before').digest, before.desc.digest, 'what was overwritten, not what did it');
});

for (const place of ['old', 'attic:old']) {
  test(`what cannot be kept as ${place} stays, and is said to be in the way`, async () => {
    await using it = await world();
    const schema1 = '{"schemaVersion":1,"name":"mirror","tag":"v1","fsLayers":[],"history":[]}';
    const mediaType = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
    it.target.stored.putManifest('mirror', schema1, { mediaType, tag: 'v1' });
    const before = it.target.stored.get('mirror')?.tags.get('v1');
    const backup = place.includes(':') ? `${it.target.host}/${place}` : place;
    const { error } = await copyOne(it.from, it.to, { backup });
    lookOver(error);
    assert.deepEqual([error.code, error.origin], ['UNSUPPORTED', 'target']);
    assert.ok(error.message.includes(`${it.to} cannot be kept as ${backup}`), error.message);
    assert.match(error.hint ?? '', /delete the tag/);
    assert.equal(it.target.stored.get('mirror')?.tags.get('v1'), before);
  });
}

test('what a tag comes to mean while the image is copied is kept, too, with all that is below', async () => {
  const backup = (it: { target: TestRegistry }): string => `${it.target.host}/attic:v1`;
  const [first, late] = ['first', 'late'].map((seed) => image({ seed, layers: [300] }));
  assert.ok(first && late);
  for (const before of [first, undefined]) {
    await using it = await world();
    if (before !== undefined) it.target.add('mirror', 'v1', before);
    const moved = faults.afterwards(() => it.target.add('mirror', 'v1', late));
    it.target.fault({ match: { kind: 'put-manifest', repo: 'mirror' }, times: 1, do: moved });
    await copied(it.from, it.to, { backup: backup(it) });
    assert.equal(tagged(it.target).digest, many.desc.digest);
    assert.equal(it.target.stored.get('attic')?.tags.get('v1'), late.desc.digest);
    assert.ok(has(it.target, 'attic', late));
    assert.deepEqual(it.target.violations, []);
  }
});
