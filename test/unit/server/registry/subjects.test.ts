import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { type TestContext, test } from 'node:test';
import type { FileProvider } from '../../../../src/content/ports.ts';
import { isCode } from '../../../../src/errors.ts';
import type { Descriptor } from '../../../../src/oci/descriptor.ts';
import type { Digest } from '../../../../src/oci/digest.ts';
import { ManifestFiles } from '../../../../src/server/registry/manifest-files.ts';
import { type NamedRepository, type Names, NameTable } from '../../../../src/server/registry/name-table.ts';
import { SubjectIndex } from '../../../../src/server/registry/subjects.ts';
import { ContentStore } from '../../../../src/store/content-store.ts';
import { image, index } from '../../../support/images.ts';
import type { Bundle } from '../../../support/registry/storage.ts';
import { putBlob } from '../../../support/serving.ts';
import { tempDir } from '../../../support/temp.ts';

const { signal } = new AbortController();
const REPOSITORY = 'ghcr.io/acme/app';
const app = image({ seed: 'app', layers: [10] });
const about = (seed: string): Bundle => image({ seed, artifactType: 'application/x', subject: app.desc, layers: [1] });

/** A store that counts what is opened in it, and that can be held. */
class CountingStore implements AsyncDisposable {
  readonly opened: Digest[] = [];
  readonly store: ContentStore;
  readonly #dir: AsyncDisposable;
  #held: { readonly go: Promise<void>; readonly reached: () => void } | undefined;

  private constructor(dir: AsyncDisposable, store: ContentStore) {
    this.#dir = dir;
    this.store = store;
  }

  static async create(): Promise<CountingStore> {
    const dir = await tempDir();
    const store = new ContentStore({ root: dir.join('store') });
    await store.create();
    return new CountingStore(dir, store);
  }

  get files(): FileProvider {
    return {
      openFile: async (digest, opts) => {
        this.opened.push(digest);
        this.#held?.reached();
        await this.#held?.go;
        return this.store.openFile(digest, opts);
      },
    };
  }

  /** From now on whoever opens something waits until `release`. */
  hold(): { readonly reached: Promise<void>; readonly release: () => void } {
    const go = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    this.#held = { go: go.promise, reached: reached.resolve };
    const release = (): void => {
      this.#held = undefined;
      go.resolve();
    };
    return { reached: reached.promise, release };
  }

  async put(...bundles: readonly Bundle[]): Promise<void> {
    for (const { manifests } of bundles) {
      for (const [digest, { content }] of manifests) await putBlob(this.store, digest, content);
    }
  }

  async name(tag: string, { desc }: Pick<Bundle, 'desc'>): Promise<void> {
    await this.store.names.record(`${REPOSITORY}:${tag}`, desc, { signal });
  }

  index(options?: ConstructorParameters<typeof SubjectIndex>[2]): SubjectIndex {
    return new SubjectIndex(new NameTable(this.store.names), new ManifestFiles(this.files), options);
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#dir[Symbol.asyncDispose]();
  }
}

/** Moves the clock that all caches go by; timers go on as they do. */
function clockOf(t: TestContext): { advance: (ms: number) => void } {
  let ahead = 0;
  const real = performance.now.bind(performance);
  t.mock.method(performance, 'now', () => real() + ahead);
  return { advance: (ms) => void (ahead += ms) };
}

const digestsOf = (list: readonly Descriptor[]): readonly Digest[] => list.map(({ digest }) => digest);

test('a manifest is read once, and what is not here is not looked for at each request', async (t) => {
  const clock = clockOf(t);
  await using here = await CountingStore.create();
  const entries = Array.from({ length: 20 }, (_, i) => about(`entry ${i}`));
  const list = index(entries.map((of) => ({ of })));
  const [first, second] = entries;
  assert.ok(first && second);
  await putBlob(here.store, list.desc.digest, list.manifest);
  await here.put(first);
  await here.name('list', list);
  const subjects = here.index();
  const asked = async (): Promise<readonly Digest[]> =>
    digestsOf(await subjects.referrers(REPOSITORY, app.desc.digest, { signal }));

  assert.deepEqual(await asked(), [first.desc.digest]);
  assert.equal(here.opened.length, 21);
  for (let i = 0; i < 5; i += 1) {
    clock.advance(2000);
    assert.deepEqual(await asked(), [first.desc.digest]);
  }
  assert.equal(here.opened.length, 21, 'the names are the same');

  const late = about('late');
  await here.put(late);
  await here.name('late', late);
  clock.advance(2000);
  assert.deepEqual(new Set(await asked()), new Set([first.desc.digest, late.desc.digest]));
  assert.equal(here.opened.length, 22, 'a name more is a manifest more');

  await here.put(second);
  clock.advance(2000);
  assert.equal((await asked()).length, 2);
  clock.advance(60_000);
  assert.equal((await asked()).length, 3, 'a minute later it is found without a new name');
  assert.equal(here.opened.length, 22 + 19);
});

test('a build ends with the last client that waits, and the next one goes on where it stood', async () => {
  await using here = await CountingStore.create();
  const wanted = Array.from({ length: 10 }, (_, i) => about(`one ${i}`));
  await here.put(...wanted);
  for (const [i, each] of wanted.entries()) await here.name(`t${i}`, each);
  const subjects = here.index();
  const { reached, release } = here.hold();
  const clients = [new AbortController(), new AbortController()];
  const given = clients.map((client) => subjects.referrers(REPOSITORY, app.desc.digest, { signal: client.signal }));
  await reached;
  for (const client of clients) client.abort();
  for (const each of await Promise.allSettled(given)) assert.equal(each.status, 'rejected');
  release();
  for (let turn = 0; turn < 200; turn += 1) await setImmediate();
  assert.equal(here.opened.length, 1, 'nobody waits');
  assert.equal((await subjects.referrers(REPOSITORY, app.desc.digest, { signal })).length, 10);
  assert.ok(here.opened.length <= 11, `${here.opened.length} opened`);
});

test('a client that gives up does not end what another waits for', async () => {
  await using here = await CountingStore.create();
  const one = about('one');
  await here.put(one);
  await here.name('one', one);
  const subjects = here.index();
  const { reached, release } = here.hold();
  const impatient = new AbortController();
  const given = subjects.referrers(REPOSITORY, app.desc.digest, { signal: impatient.signal });
  const patient = subjects.referrers(REPOSITORY, app.desc.digest, { signal });
  await reached;
  impatient.abort();
  await assert.rejects(given);
  release();
  assert.deepEqual(digestsOf(await patient), [one.desc.digest]);
  assert.equal(here.opened.length, 1);
});

/** Names that are others each time they are read, and that tell how often they were gone through. */
class ChangingNames extends NameTable {
  readonly roots: Digest[] = [];
  builds = 0;

  override read(): Promise<Names> {
    const began = (): void => void (this.builds += 1);
    class Counted extends Map<string, NamedRepository> {
      override [Symbol.iterator](): MapIterator<[string, NamedRepository]> {
        began();
        return super[Symbol.iterator]();
      }
    }
    const here = { tags: [], roots: [...this.roots] };
    return Promise.resolve({ byRepository: new Counted([[REPOSITORY, here]]), repositories: [REPOSITORY] });
  }
}

test('clients that come while names change and change share one build after the one that goes on', async () => {
  await using here = await CountingStore.create();
  const wanted = Array.from({ length: 6 }, (_, i) => about(`one ${i}`));
  await here.put(...wanted);
  const names = new ChangingNames(here.store.names);
  const subjects = new SubjectIndex(names, new ManifestFiles(here.files));
  const { reached, release } = here.hold();
  const given: Promise<readonly Descriptor[]>[] = [];
  for (const { desc } of wanted) {
    names.roots.push(desc.digest);
    given.push(subjects.referrers(REPOSITORY, app.desc.digest, { signal }));
    await reached;
  }
  release();
  const [first, ...others] = await Promise.all(given);
  assert.equal(first?.length, 1);
  for (const other of others) assert.equal(other.length, 6, 'as new as the names when it began');
  assert.equal(names.builds, 2);
});

test('names that are the same are the same object, however often they are read', async (t) => {
  const clock = clockOf(t);
  await using here = await CountingStore.create();
  await here.name('app', app);
  const names = new NameTable(here.store.names);
  const before = await names.read();
  clock.advance(2000);
  assert.equal(await names.read(), before);
  for (const change of [() => here.name('other', app), () => here.name('app', about('new'))]) {
    const last = await names.read();
    await change();
    clock.advance(2000);
    assert.notEqual(await names.read(), last);
  }
});

test('a client is told before long that it takes too long', { timeout: 20_000 }, async () => {
  await using here = await CountingStore.create();
  await here.name('app', app);
  const subjects = here.index({ waitMs: 20 });
  const { release } = here.hold();
  await assert.rejects(subjects.referrers(REPOSITORY, app.desc.digest, { signal }), (err) => {
    assert.ok(isCode(err, 'TIMEOUT'));
    return err.retryAfterMs !== undefined;
  });
  release();
});
