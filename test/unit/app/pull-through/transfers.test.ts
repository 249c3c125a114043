/** Who waits for a blob looks at the disk: rarely, and not when nobody waits any more. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Transfers } from '../../../../src/app/pull-through/transfers.ts';
import { sleep } from '../../../../src/call.ts';
import type { GrowingProvider } from '../../../../src/content/ports.ts';
import type { ContentNode } from '../../../../src/flow/handler.ts';
import { digestOf } from '../../../../src/oci/digest.ts';
import { OCI_LAYER } from '../../../../src/oci/media-types.ts';
import { ContentStore } from '../../../../src/store/content-store.ts';
import { tempDir } from '../../../support/temp.ts';

const never = new AbortController().signal;
/** Beyond every test. */
const soon = (): number => performance.now() + 60_000;

const nodeOf = (text: string, registry = 'r.example'): ContentNode => {
  const bytes = Buffer.from(text);
  const desc = { mediaType: OCI_LAYER, digest: digestOf(bytes), size: bytes.length };
  return { kind: 'blob', desc, source: `${registry}/app`, target: 'store', selection: '' };
};

interface World extends AsyncDisposable {
  readonly transfers: Transfers;
  /** Of each look at the disk. */
  readonly looks: readonly AbortSignal[];
  /** When it is being fetched. */
  readonly fetching: (digest: string) => Promise<void>;
  /** Lets what is being fetched end well. */
  readonly go: () => void;
}

/** One blob of a registry at a time, none of which comes by itself. */
async function world(): Promise<World> {
  const dir = await tempDir();
  const store = new ContentStore({ root: dir.path });
  await store.create();
  const looks: AbortSignal[] = [];
  const counted: GrowingProvider = {
    follow: (request, opts) => {
      looks.push(opts.signal);
      return store.follow(request, opts);
    },
  };
  const held = Promise.withResolvers<void>();
  const begun = new Map<string, PromiseWithResolvers<void>>();
  const beginOf = (digest: string): PromiseWithResolvers<void> => {
    const begin = begun.get(digest) ?? Promise.withResolvers<void>();
    begun.set(digest, begin);
    return begin;
  };
  held.promise.catch(() => undefined);
  const fetch = async ({ desc }: ContentNode, { signal }: { readonly signal: AbortSignal }): Promise<void> => {
    signal.throwIfAborted();
    beginOf(desc.digest).resolve();
    signal.addEventListener('abort', () => held.reject(signal.reason));
    return held.promise;
  };
  const transfers = new Transfers({ store: counted, fetch, maxActive: 1, maxOfRegistry: 2, maxInAll: 3 });
  return {
    transfers,
    looks,
    fetching: (digest) => beginOf(digest).promise,
    go: () => held.resolve(),
    [Symbol.asyncDispose]: async () => {
      await transfers[Symbol.asyncDispose]();
      await dir[Symbol.asyncDispose]();
    },
  };
}

test('nobody looks for a blob when all that waited for it have left', async () => {
  await using w = await world();
  const [one, two] = [new AbortController(), new AbortController()];
  const transfer = w.transfers.of(nodeOf('a'));
  const waiting = [one, two].map(({ signal }) => transfer.begun(soon(), { signal }));
  const [first, second] = waiting.map((each) => assert.rejects(each, { message: 'left' }));
  one.abort(new Error('left'));
  await first;
  const look = w.looks[0];
  assert.ok(look);
  assert.equal(look.aborted, false, 'one still waits');
  two.abort(new Error('left'));
  await second;
  assert.equal(look.aborted, true);
  assert.equal(w.transfers.count, 1, 'it is still being fetched');
  w.go();
  await transfer.begun(soon(), { signal: never });
});

test('the blob of one who comes when all others have left is looked for again', async () => {
  await using w = await world();
  const transfer = w.transfers.of(nodeOf('a'));
  const gone = new AbortController();
  const left = assert.rejects(transfer.begun(soon(), { signal: gone.signal }), { message: 'left' });
  gone.abort(new Error('left'));
  await left;
  const looked = w.looks.length;
  const begun = transfer.begun(soon(), { signal: never });
  assert.equal(w.looks.length, looked + 1);
  w.go();
  await begun;
});

test('who waits for another blob to be fetched first looks once a second', async () => {
  await using w = await world();
  w.transfers.of(nodeOf('a'));
  const waiting = w.transfers.of(nodeOf('b'));
  const since = performance.now();
  const begun = waiting.begun(soon(), { signal: never });
  await sleep(400, never);
  const looks = w.looks.length;
  assert.ok(looks >= 1 && looks <= 1 + Math.ceil((performance.now() - since) / 1000), String(looks));
  w.go();
  await begun;
});

test('a blob that does not come in time is told to be still on its way', async () => {
  await using w = await world();
  const transfer = w.transfers.of(nodeOf('a'));
  await assert.rejects(transfer.begun(performance.now() + 1, { signal: never }), {
    code: 'TIMEOUT',
    message: /still being fetched/,
  });
  assert.equal(w.looks[0]?.aborted, true);
});

test('a registry that is stuck keeps no other one waiting, and takes no more than its share', async () => {
  await using w = await world();
  const began = (node: ContentNode): Promise<unknown> => w.fetching(node.desc.digest);
  const [a, b, c] = ['a', 'b', 'c'].map((text) => nodeOf(text));
  assert.ok(a && b && c);
  w.transfers.of(a);
  w.transfers.of(b);
  assert.throws(() => w.transfers.of(c), { code: 'BUSY' });
  const other = nodeOf('c', 'other.example');
  w.transfers.of(other);
  await began(other);
  assert.throws(() => w.transfers.of(nodeOf('d', 'third.example')), { code: 'BUSY' }, 'there is a bound for all');
  w.go();
  await Promise.all([a, b, other].map((node) => w.transfers.of(node).done));
  w.transfers.of(c);
});

test('what is said to have another size is another transfer', async () => {
  await using w = await world();
  const node = nodeOf('a');
  const wrong = { ...node, desc: { ...node.desc, size: 1000 } };
  assert.deepEqual([w.transfers.of(node).desc.size, w.transfers.of(wrong).desc.size], [1, 1000]);
  assert.equal(w.transfers.of(node), w.transfers.of(node));
});

test('what is deleted as soon as it was fetched is not looked for for ever', async () => {
  await using w = await world();
  const transfer = w.transfers.of(nodeOf('a'));
  w.go();
  await transfer.done;
  await assert.rejects(transfer.open({ signal: never }), { code: 'NOT_FOUND', origin: 'store' });
});
