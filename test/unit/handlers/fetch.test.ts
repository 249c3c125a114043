import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GantryError } from '../../../src/errors.ts';
import type { ContentNode, Handler, Node } from '../../../src/flow/handler.ts';
import { fetchHandler } from '../../../src/handlers/fetch.ts';
import type { Descriptor } from '../../../src/oci/descriptor.ts';
import { OCI_LAYER, OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { context, descriptorOf, fetcherOf, MemoryStore } from './support.ts';

const bytes = Buffer.from('the content of a layer');
const desc = descriptorOf(bytes);
const ref = `layer-${desc.digest}`;

const nodeOf = (of: Descriptor, kind: 'manifest' | 'blob' = 'blob'): ContentNode => ({
  kind,
  desc: of,
  source: 'a.example/app',
  target: 'store',
  selection: '',
});

const handlerOf = (store: MemoryStore, fetcher: ReturnType<typeof fetcherOf>, repositories: string[] = []): Handler =>
  fetchHandler({ store, fetcherOf: (repository) => (repositories.push(repository), fetcher) });

test('what is missing is fetched from the repository of the node, stored and reported', async () => {
  const [store, asked, repositories] = [new MemoryStore(), [] as string[], [] as string[]];
  const [fetcher, ctx] = [fetcherOf(bytes, asked), context()];
  assert.deepEqual(await handlerOf(store, fetcher, repositories).visit(nodeOf(desc), ctx), { kind: 'leaf' });
  assert.deepEqual(store.blobs.get(desc.digest), bytes);
  assert.deepEqual(store.requests, [{ ref, digest: desc.digest, size: desc.size }]);
  assert.deepEqual([asked, repositories], [['blob 0'], ['a.example/app']]);
  assert.deepEqual(ctx.events[0], { kind: 'progress', offset: 0 });
  assert.deepEqual(ctx.events.at(-2), { kind: 'progress', offset: bytes.length });
  assert.deepEqual(ctx.events.at(-1), { kind: 'fetched', bytes: bytes.length });
  assert.deepEqual([fetcher.open, store.openWriters], [0, 0]);
});

test('what is here is not fetched', async () => {
  const [store, asked, ctx] = [new MemoryStore(), [] as string[], context()];
  store.blobs.set(desc.digest, bytes);
  assert.deepEqual(await handlerOf(store, fetcherOf(bytes, asked)).visit(nodeOf(desc), ctx), { kind: 'leaf' });
  assert.deepEqual([asked, ctx.events], [[], [{ kind: 'present' }]]);
});

test('what another writer holds is for later, and longer each time', async () => {
  const store = new MemoryStore();
  store.busy = true;
  const handler = handlerOf(store, fetcherOf(bytes));
  for (const [attempt, ceiling] of [
    [0, 16],
    [3, 128],
    [40, 2048],
  ] as const) {
    const visit = await handler.visit(nodeOf(desc), context(attempt));
    assert.ok(visit.kind === 'later' && visit.afterMs >= ceiling / 2 && visit.afterMs <= ceiling);
  }
});

test('a kept prefix is not fetched again', async () => {
  const [store, asked, ctx] = [new MemoryStore(), [] as string[], context()];
  store.partial.set(ref, bytes.subarray(0, 9));
  await handlerOf(store, fetcherOf(bytes, asked)).visit(nodeOf(desc), ctx);
  assert.deepEqual(asked, ['blob 9']);
  assert.deepEqual(store.blobs.get(desc.digest), bytes);
  assert.deepEqual(ctx.events.at(-1), { kind: 'fetched', bytes: bytes.length - 9 });
});

test('what broke off is kept', async () => {
  const store = new MemoryStore();
  const cut: ReturnType<typeof fetcherOf> = {
    open: 0,
    fetch: async () => ({
      async *[Symbol.asyncIterator]() {
        yield bytes.subarray(0, 7);
        throw new GantryError('NETWORK', 'the connection broke', { origin: 'source' });
      },
      [Symbol.asyncDispose]: async () => undefined,
    }),
  };
  await assert.rejects(async () => handlerOf(store, cut).visit(nodeOf(desc), context()), { code: 'NETWORK' });
  assert.deepEqual(store.partial.get(ref), bytes.subarray(0, 7));
  assert.equal(store.openWriters, 0);
});

test('a wrong prefix is dropped, and all is fetched once more from zero', async () => {
  for (const wrong of [Buffer.from('not this one'), Buffer.from('x'.repeat(bytes.length))]) {
    const [store, asked] = [new MemoryStore(), [] as string[]];
    store.partial.set(ref, wrong);
    const handler = handlerOf(store, fetcherOf(bytes, asked));
    assert.deepEqual(await handler.visit(nodeOf(desc), context()), { kind: 'leaf' });
    assert.equal(store.partial.size, 0);
    assert.deepEqual(asked, [`blob ${wrong.length}`, 'blob 0']);
    assert.deepEqual(store.blobs.get(desc.digest), bytes);
  }
});

test('wrong bytes are asked for once more, then final, and leave nothing behind', async () => {
  for (const [served, code] of [
    [Buffer.from('other content the size'), 'DIGEST_MISMATCH'],
    [Buffer.concat([bytes, bytes]), 'SIZE_MISMATCH'],
  ] as const) {
    const [store, asked] = [new MemoryStore(), [] as string[]];
    const handler = handlerOf(store, fetcherOf(served, asked));
    await assert.rejects(async () => handler.visit(nodeOf(desc), context()), { code });
    assert.deepEqual(asked, ['blob 0', 'blob 0']);
    assert.deepEqual([store.partial.size, store.blobs.size, store.openWriters], [0, 0, 0]);
  }
});

test('what stands in the place of a manifest must be one, and small, before a byte of it is fetched', async () => {
  const [store, asked] = [new MemoryStore(), [] as string[]];
  const handler = handlerOf(store, fetcherOf(bytes, asked));
  const huge = { ...desc, mediaType: OCI_MANIFEST, size: 4 * 1024 * 1024 + 1 };
  await assert.rejects(async () => handler.visit(nodeOf(huge, 'manifest'), context()), { code: 'TOO_LARGE' });
  await assert.rejects(async () => handler.visit(nodeOf(desc, 'manifest'), context()), { code: 'UNSUPPORTED' });
  assert.deepEqual([asked, store.requests], [[], []]);
  assert.equal(desc.mediaType, OCI_LAYER);
});

test('an image node has no content of its own', async () => {
  const [store, asked] = [new MemoryStore(), [] as string[]];
  const image: Node = {
    kind: 'image',
    name: 'a.example/app:1',
    source: 'a.example/app',
    target: 'store',
    selection: '',
  };
  assert.deepEqual(await handlerOf(store, fetcherOf(bytes, asked)).visit(image, context()), { kind: 'leaf' });
  assert.deepEqual([asked, store.requests], [[], []]);
});
