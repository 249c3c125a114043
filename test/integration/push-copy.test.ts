/** Whole images on their way from one registry to another that forgets or lies. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { copyImages } from '../../src/app/copy.ts';
import type { ImageResult } from '../../src/flow/dispatcher.ts';
import type { Node } from '../../src/flow/handler.ts';
import { copyHandler } from '../../src/handlers/copy.ts';
import { formatSelection } from '../../src/handlers/copy-selection.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { LocalPlaces } from '../../src/remote/places.ts';
import { copyOne } from '../support/attached.ts';
import { failureOf, lookOver, never, TestClient } from '../support/clients.ts';
import { image, multiPlatform } from '../support/images.ts';
import { type Bundle, faults, type RegistryOptions, TestRegistry } from '../support/registry.ts';

const multi = multiPlatform({ seed: 'copy', layers: [2000, 3000], attestations: true });
const app = image({ seed: 'copy', layers: [2000, 3000] });

interface Copying extends AsyncDisposable {
  readonly source: TestRegistry;
  readonly target: TestRegistry;
  readonly client: TestClient;
  /** Copies `app:v1` of the source to the repositories, one after the other. */
  copy(...repos: string[]): Promise<ImageResult[]>;
  copyAs(selection: string, ...repos: string[]): Promise<ImageResult[]>;
}

async function started(bundle: Bundle, options: RegistryOptions = {}): Promise<Copying> {
  await using stack = new AsyncDisposableStack();
  const source = stack.use(await TestRegistry.start());
  const target = stack.use(await TestRegistry.start(options));
  const client = stack.use(new TestClient());
  source.add('app', 'v1', bundle);
  const copyAs = async (selection: string, ...repos: string[]): Promise<ImageResult[]> => {
    const pairs = repos.map((repo) => ({
      source: parseReference(source.ref('app', 'v1')),
      target: parseReference(target.ref(repo, 'v1')),
    }));
    const request = { pairs, selection, concurrency: 1 };
    return [...(await copyImages(client, request, { signal: never })).images];
  };
  const copy = (...repos: string[]): Promise<ImageResult[]> => copyAs(formatSelection({}), ...repos);
  const all = stack.move();
  return { source, target, client, copy, copyAs, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

/** Everything of the image is there, and named. */
function assertWhole(target: TestRegistry, bundle: Bundle, repo: string): void {
  const here = target.stored.get(repo);
  assert.equal(here?.tags.get('v1'), bundle.desc.digest, target.log.text());
  for (const digest of bundle.manifests.keys()) assert.ok(here?.manifests.has(digest), `manifest ${digest}`);
  for (const digest of bundle.blobs.keys()) assert.ok(here?.blobs.has(digest), `blob ${digest}`);
}

const states = (results: readonly ImageResult[]): string[] => results.map(({ state }) => state);

describe('an image that is copied', () => {
  it('comes whole, children first', async () => {
    await using world = await started(multi);
    assert.deepEqual(states(await world.copy('a')), ['done']);
    assertWhole(world.target, multi, 'a');
    assert.deepEqual(world.target.violations, []);
    assert.equal(
      world.target.log.entries.findLast(({ method }) => method !== 'GET' && method !== 'HEAD')?.kind,
      'put-tag',
    );
    assert.equal(world.target.uploads.size, 0);
  });

  it('comes whole when a mount lies within one run', async () => {
    await using world = await started(app, { mounts: 'lie' });
    assert.deepEqual(states(await world.copy('a', 'b', 'c')), ['done', 'done', 'done']);
    for (const repo of ['a', 'b', 'c']) assertWhole(world.target, app, repo);
    assert.ok(world.target.count({ kind: 'mount', status: 201 }) >= 1);
  });

  it('comes whole when a blob is gone again before its manifest is put', async () => {
    await using world = await started(app);
    const [layer = ''] = app.layers.map(({ digest }) => digest);
    const vanish = faults.afterwards(() => world.target.stored.removeBlob('a', layer));
    world.target.fault({ match: { kind: 'upload-end', object: layer }, times: 1, do: vanish });
    assert.deepEqual(states(await world.copy('a')), ['done']);
    assertWhole(world.target, app, 'a');
    assert.equal(world.target.count({ kind: 'upload-end', object: layer }), 2);
  });

  it('comes whole when a blob that was sent to its own repository is gone again, even twice', async () => {
    await using world = await started(app, { mounts: 'refuse' });
    const [layer = ''] = app.layers.map(({ digest }) => digest);
    const vanish = faults.afterwards(() => world.target.stored.removeBlob('b', layer));
    world.target.fault({ match: { kind: 'upload-end', object: layer, repo: 'b' }, times: 2, do: vanish });
    assert.deepEqual(states(await world.copy('a', 'b')), ['done', 'done']);
    assertWhole(world.target, app, 'b');
    assert.equal(world.target.count({ kind: 'upload-end', object: layer, repo: 'b' }), 3);
  });

  it('is given up when the registry loses a blob each time', async () => {
    await using world = await started(app, { mounts: 'refuse' });
    const [layer = ''] = app.layers.map(({ digest }) => digest);
    const vanish = faults.afterwards(() => world.target.stored.removeBlob('b', layer));
    world.target.fault({ match: { kind: 'upload-end', object: layer, repo: 'b' }, do: vanish });
    const [one, two] = await world.copy('a', 'b');
    assert.deepEqual([one?.state, two?.state], ['done', 'failed']);
    assert.deepEqual([two?.error?.code, two?.error?.origin], ['NOT_FOUND', 'target']);
    assert.ok(world.target.count({ kind: 'upload-end', object: layer, repo: 'b' }) <= 6);
  });

  it('comes whole when the registry says once that something is missing which is there', async () => {
    await using world = await started(app);
    const unknown = faults.error(400, 'MANIFEST_BLOB_UNKNOWN', app.config.digest);
    world.target.fault({ match: { kind: 'put-manifest' }, times: 1, unserved: true, do: unknown });
    assert.deepEqual(states(await world.copy('a')), ['done']);
    assertWhole(world.target, app, 'a');
  });

  it('comes whole when the registry has lost a blob of a manifest that it has, and only the tag is missing', async () => {
    await using world = await started(app);
    assert.deepEqual(states(await world.copy('a')), ['done']);
    const [layer = ''] = app.layers.map(({ digest }) => digest);
    world.target.stored.removeBlob('a', layer);
    world.target.stored.get('a')?.tags.delete('v1');
    assert.deepEqual(states(await world.copy('a')), ['done']);
    assertWhole(world.target, app, 'a');
    assert.equal(world.target.count({ kind: 'upload-end', object: layer }), 2);
    const config = world.target.count({ kind: 'upload-end', object: app.config.digest });
    assert.equal(config, 1, 'what is there is not sent again');
  });

  it('is given up when the registry says for ever that something is missing', async () => {
    await using world = await started(app);
    const unknown = faults.error(400, 'MANIFEST_BLOB_UNKNOWN', app.config.digest);
    for (const kind of ['put-manifest', 'put-tag'] as const)
      world.target.fault({ match: { kind }, unserved: true, do: unknown });
    const [result] = await world.copy('a');
    assert.equal(result?.state, 'failed');
    lookOver(result.error);
    assert.equal(result.error.code, 'NOT_FOUND');
    assert.equal(result.error.origin, 'target');
    assert.match(result.error.message, /MANIFEST_BLOB_UNKNOWN/);
    assert.equal(world.target.stored.get('a')?.tags.has('v1'), false);
    assert.ok(world.target.log.entries.length <= 40, world.target.log.text());
    assert.deepEqual(world.target.violations, []);
  });

  it('is put after three rounds whatever is believed, so that the registry says what it lacks', async () => {
    await using world = await started(app);
    const { source, target, client } = world;
    const handler = copyHandler({ resolver: client, places: new LocalPlaces(), isAlone: true });
    const scope = { source: `${source.host}/app`, target: `${target.host}/a`, selection: formatSelection({}) };
    const node: Node = { kind: 'manifest', desc: app.desc, ...scope };
    const ctx = { signal: never, attempt: 0, report: () => undefined };
    const visit = await handler.visit(node, ctx);
    assert.ok(visit.kind === 'expand');
    const { children, carry = '' } = visit;
    const settle = async (round: number) => handler.settle?.(node, { ...ctx, children, carry, round });
    const more = await settle(2);
    assert.equal(more?.children.length, children.length);
    const err = await failureOf(settle(3), 'NOT_FOUND');
    assert.equal(err.origin, 'target');
  });

  it('is given up at once where the registry wants the layers that are left out', async () => {
    const foreign = {
      raw: Buffer.alloc(2000, 'f'),
      mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
      urls: ['https://layers.example/foreign'],
    };
    await using world = await started(image({ seed: 'foreign', layers: [{ raw: Buffer.alloc(1000, 'x') }, foreign] }));
    const unknown = faults.error(404, 'BLOB_UNKNOWN');
    world.target.fault({ match: { kind: 'put-manifest' }, unserved: true, do: unknown });
    const [result] = await world.copy('a');
    assert.equal(result?.state, 'failed');
    lookOver(result.error);
    assert.equal(result.error.code, 'UNSUPPORTED');
    assert.match(result.error.message, /non-distributable/);
    assert.match(result.error.hint ?? '', /includeExternal/);
    assert.equal(world.target.count({ kind: 'upload-end' }), 2, 'what is there is not sent again');
  });

  it('with an index whose child is missing at the source is not named', async () => {
    await using world = await started(multi);
    const [entry] = multi.entries;
    world.source.stored.removeManifest('app', entry?.digest ?? '');
    const [result] = await world.copy('a');
    assert.equal(result?.state, 'failed');
    lookOver(result.error);
    assert.equal(result.error.code, 'NOT_FOUND');
    assert.equal(result.error.origin, 'source');
    assert.equal(result.error.digest, entry?.digest);
    assert.equal(world.target.stored.get('a')?.tags.has('v1') ?? false, false);
    assert.deepEqual(world.target.violations, []);
  });

  it('comes whole where the repository that its blobs are in may be mounted from no more, nor read', async () => {
    for (const status of [401, 403]) {
      await using registry = await TestRegistry.start({ mounts: 'refuse' });
      registry.add('a', 'v1', app);
      registry.fault({ match: { kind: 'blob', method: 'HEAD', repo: 'a' }, do: faults.status(status) });
      const result = await copyOne(registry.ref('a', 'v1'), registry.ref('b', 'v1'), {});
      assert.equal(result.state, 'done', result.error?.message);
      assertWhole(registry, app, 'b');
    }
  });

  it('is mounted from repository to repository, also where one of them takes no mounts', async () => {
    await using world = await started(app);
    const { target } = world;
    target.fault({ match: { kind: 'mount', repo: 'b' }, do: faults.status(404), unserved: true });
    const repos = ['a', 'b', 'c', 'd', 'e'];
    assert.deepEqual(
      states(await world.copy(...repos)),
      repos.map(() => 'done'),
    );
    const uploads = repos.map((repo) => target.count({ kind: 'upload-end', repo }));
    assert.deepEqual(uploads, [3, 3, 0, 0, 0]);
    assert.ok(target.count({ kind: 'mount', repo: 'b' }) <= 3);
  });

  it('is mounted no more where three repositories have taken no mounts', async () => {
    await using world = await started(app, { mounts: 'refuse' });
    const { target } = world;
    const repos = ['a', 'b', 'c', 'd', 'e', 'f'];
    assert.deepEqual(
      states(await world.copy(...repos)),
      repos.map(() => 'done'),
    );
    const asked = repos.map((repo) => target.count({ kind: 'mount', repo }) > 0);
    assert.deepEqual(asked, [false, true, true, true, false, false]);
    assert.equal(target.uploads.size, 0);
  });

  for (const [what, selection, first, next] of [
    ['an image', {}, image({ seed: 'first' }), image({ seed: 'next' })],
    ['an index', {}, multiPlatform({ seed: 'first' }), multiPlatform({ seed: 'next' })],
    ['one image of an index', { platforms: 'linux/amd64', index: 'image' }, multi, multiPlatform({ seed: 'next' })],
    ['a part of an index', { platforms: 'linux/amd64', index: 'strip' }, multi, multiPlatform({ seed: 'next' })],
  ] as const) {
    it(`is that which its tag means by then, where the registry has forgotten the one before: ${what}`, async () => {
      await using world = await started(first);
      const { source, target } = world;
      target.add('a', 'v1', app); // so that the source is asked by HEAD
      const moves = faults.afterwards(() => {
        source.stored.removeManifest('app', first.desc.digest);
        source.add('app', 'v1', next);
      });
      source.fault({ match: { method: 'HEAD', object: 'v1' }, times: 1, do: moves });
      const results = await world.copyAs(formatSelection(selection), 'a');
      assert.deepEqual(states(results), ['done'], results[0]?.error?.message);
      if (!('index' in selection)) assertWhole(target, next, 'a');
      const there = target.stored.get('a')?.tags.get('v1');
      assert.equal(there, results[0]?.desc?.digest);
      assert.notEqual(there, app.desc.digest);
    });
  }

  it('is not asked for again where its digest was named', async () => {
    await using world = await started(app);
    const { source, target, client } = world;
    target.add('a', 'v1', multi);
    const pair = {
      source: parseReference(`${source.host}/app@${app.desc.digest}`),
      target: parseReference(target.ref('a', 'v1')),
    };
    source.stored.removeManifest('app', app.desc.digest);
    const request = { pairs: [pair], selection: formatSelection({}), concurrency: 1 };
    const { images } = await copyImages(client, request, { signal: never });
    assert.equal(images[0]?.error?.code, 'NOT_FOUND');
    assert.equal(source.log.entries.length, 1, source.log.text());
  });

  it('under a tag that may not change is as wanted when it is there already', async () => {
    await using world = await started(app, { immutableTags: true });
    assert.deepEqual(states(await world.copy('a')), ['done']);
    assert.deepEqual(states(await world.copy('a')), ['done']);
    assert.deepEqual(world.target.violations, []);
  });
});
