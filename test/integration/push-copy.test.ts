/** Whole images on their way from one registry to another that forgets or lies. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { copyImages } from '../../src/app/copy.ts';
import type { ImageResult } from '../../src/flow/dispatcher.ts';
import { formatSelection } from '../../src/handlers/copy-selection.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { lookOver, never, TestClient } from '../support/clients.ts';
import { image, multiPlatform } from '../support/images.ts';
import { type Bundle, faults, type RegistryOptions, TestRegistry } from '../support/registry.ts';

const multi = multiPlatform({ seed: 'copy', layers: [2000, 3000], attestations: true });
const app = image({ seed: 'copy', layers: [2000, 3000] });

interface Copying extends AsyncDisposable {
  readonly source: TestRegistry;
  readonly target: TestRegistry;
  /** Copies `app:v1` of the source to the repositories, one after the other. */
  copy(...repos: string[]): Promise<ImageResult[]>;
}

async function started(bundle: Bundle, options: RegistryOptions = {}): Promise<Copying> {
  await using stack = new AsyncDisposableStack();
  const source = stack.use(await TestRegistry.start());
  const target = stack.use(await TestRegistry.start(options));
  const client = stack.use(new TestClient());
  source.add('app', 'v1', bundle);
  const copy = async (...repos: string[]): Promise<ImageResult[]> => {
    const pairs = repos.map((repo) => ({
      source: parseReference(source.ref('app', 'v1')),
      target: parseReference(target.ref(repo, 'v1')),
    }));
    const request = { pairs, selection: formatSelection({}), concurrency: 1 };
    return [...(await copyImages(client, request, { signal: never })).images];
  };
  const all = stack.move();
  return { source, target, copy, [Symbol.asyncDispose]: () => all.disposeAsync() };
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

  it('under a tag that may not change is as wanted when it is there already', async () => {
    await using world = await started(app, { immutableTags: true });
    assert.deepEqual(states(await world.copy('a')), ['done']);
    assert.deepEqual(states(await world.copy('a')), ['done']);
    assert.deepEqual(world.target.violations, []);
  });
});
