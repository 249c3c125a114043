/** Many uploads that share few places at their registries. None may wait for what another one holds, whatever happens to them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LocalDispatcher } from '../../src/flow/local-dispatcher.ts';
import type { Node } from '../../src/flow/handler.ts';
import { copyHandler, copyNode } from '../../src/handlers/copy.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { LocalPlaces } from '../../src/remote/places.ts';
import type { Resolver } from '../../src/remote/ports.ts';
import { withSharedSources } from '../../src/remote/shared-sources.ts';
import { Spool } from '../../src/store/spool.ts';
import { TestClient } from '../support/clients.ts';
import { type Image, image } from '../support/images.ts';
import { faults, type LogEntry, randomBytesOf, type RegistryOptions, TestRegistry } from '../support/registry.ts';

const MIB = 1024 * 1024;
const PLACES = 2;
const BLOBS = 8;
/** Only a run that does not move needs so long. */
const STUCK_MS = 20_000;

/** An image with blobs that no buffer takes as a whole. */
const large = (seed: string): Image =>
  image({ seed, layers: Array.from({ length: BLOBS }, (_, i) => ({ raw: randomBytesOf(`${seed} ${i}`, 3 * MIB) })) });

const app = large('places');

async function copy(
  resolver: Resolver,
  pairs: readonly (readonly [string, string])[],
  concurrency: number,
): Promise<void> {
  const handler = copyHandler({ resolver, places: new LocalPlaces(), isAlone: true });
  const roots = pairs.map(([from, to]): Node => {
    const { repository, tag } = parseReference(to);
    return copyNode({ source: parseReference(from), target: repository, tag, selection: '' });
  });
  const dispatcher = new LocalDispatcher({ handler, concurrency });
  const { images } = await dispatcher.dispatch({ id: 'places', roots }, { signal: AbortSignal.timeout(STUCK_MS) });
  for (const { state, error } of images) assert.equal(state, 'done', error?.message);
}

interface World {
  readonly source: TestRegistry;
  readonly target: TestRegistry;
}

async function copyWith(prepare: (world: World) => void, options: RegistryOptions = {}): Promise<void> {
  await using source = await TestRegistry.start();
  await using target = await TestRegistry.start(options);
  await using client = new TestClient({ maxPerRegistry: PLACES });
  source.add('app', 'v1', app);
  prepare({ source, target });
  await copy(client, [[source.ref('app', 'v1'), target.ref('app', 'v1')]], 4 * PLACES);
  for (const digest of app.blobs.keys()) assert.ok(target.stored.get('app')?.blobs.has(digest), digest);
  assert.equal(target.uploads.size, 0);
}

test('uploads whose source breaks all connections at once', () =>
  copyWith(({ source, target }) => {
    source.bytesPerSecond = 8 * MIB;
    let ends = 0;
    target.onRequest(({ kind }) => {
      ends += kind === 'upload-end' ? 1 : 0;
      if (kind === 'upload-end' && ends === PLACES) void source.dropConnections();
    });
  }));

test('uploads that are sent elsewhere when they have begun', () =>
  copyWith(({ target }) => {
    const isFirst = ({ path }: LogEntry): boolean => !path.includes('again=1');
    const again = faults.redirect((path) => `${path}&again=1`);
    target.fault({ match: { kind: 'upload-end', where: isFirst }, unserved: true, do: again });
  }));

test('uploads whose tokens run out when they have begun', () =>
  copyWith(
    ({ target }) => {
      let ends = 0;
      target.onRequest(({ kind }) => {
        ends += kind === 'upload-end' ? 1 : 0;
        if (kind === 'upload-end' && ends <= PLACES) target.auth.expireTokens();
      });
    },
    { auth: { scheme: 'bearer', anonymous: true } },
  ));

test('uploads in parts, between which others take their places', () => copyWith(() => undefined, { maxBody: MIB }));

test('uploads beside those that read their source for two registries', async () => {
  await using source = await TestRegistry.start();
  await using one = await TestRegistry.start();
  await using two = await TestRegistry.start();
  await using client = new TestClient({ maxPerRegistry: PLACES });
  await using spool = new Spool();
  const both = large('both');
  source.add('plain', 'v1', app);
  source.add('both', 'v1', both);
  const resolver = withSharedSources(client, spool, (repository) => repository === `${source.host}/both`);
  const pairs = [
    [source.ref('plain', 'v1'), one.ref('plain', 'v1')],
    [source.ref('both', 'v1'), one.ref('both', 'v1')],
    [source.ref('both', 'v1'), two.ref('both', 'v1')],
  ] as const;
  await copy(resolver, pairs, 16 * PLACES);
  for (const digest of both.blobs.keys()) assert.ok(two.stored.get('both')?.blobs.has(digest), digest);
});
