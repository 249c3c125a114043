/** Everything that can go wrong while a blob is sent. What counts is what is at the registry afterwards. */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ErrorCode } from '../../src/errors.ts';
import { failureOf, TestClient } from '../support/clients.ts';
import { assertAbsent, assertThere, blobOf, push, TestSource } from '../support/pushing.ts';
import { faults, inMemory, type Kind, type Match, readAll, TestRegistry } from '../support/registry.ts';

const blob = blobOf('push', 100_000);
/** More than sockets take up by themselves. */
const large = blobOf('large push', 24 * 1024 * 1024 + 5);
const END: Match = { kind: 'upload-end' };
const START: Match = { kind: 'upload-start' };

describe('an upload', () => {
  let registry: TestRegistry;
  let client: TestClient;

  before(async () => {
    registry = await TestRegistry.start();
  });
  after(() => registry[Symbol.asyncDispose]());
  beforeEach(() => {
    client = new TestClient();
  });
  afterEach(async () => {
    await client[Symbol.asyncDispose]();
    registry.clearFaults();
    registry.log.clear();
    registry.uploads.forget();
    for (const { desc } of [blob, large]) registry.stored.removeBlob('app', desc.digest);
  });
  const counts = (...kinds: Kind[]): number[] => kinds.map((kind) => registry.count({ kind }));

  it('is a POST and a PUT, and reads its source once', async () => {
    const offsets: number[] = [];
    const source = await push(client, registry, blob, { onProgress: (offset) => void offsets.push(offset) });
    assertThere(registry, blob);
    assert.deepEqual(source.opened, [0]);
    assert.equal(registry.log.entries.length, 2);
    assert.deepEqual(counts('upload-start', 'upload-end'), [1, 1]);
    assert.equal(registry.log.entries[1]?.headers['content-length'], '100000');
    assert.equal(offsets.at(-1), 100_000);
    assert.equal(registry.log.bytesReceived(), 100_000);
  });

  it('of nothing is one, too', async () => {
    const empty = blobOf('empty', 0);
    await push(client, registry, empty);
    assertThere(registry, empty);
  });

  describe('whose session is lost', () => {
    it('is not sent again when the blob has been committed', async () => {
      registry.fault({ match: END, times: 1, do: faults.status(404) });
      const source = await push(client, registry, blob);
      assertThere(registry, blob);
      assert.deepEqual(source.opened, [0]);
      assert.deepEqual(counts('upload-start', 'upload-end', 'blob'), [1, 1, 1]);
      assert.equal(registry.count({ kind: 'blob', method: 'HEAD' }), 1);
    });

    it('starts anew when it has not', async () => {
      registry.fault({ match: END, times: 1, first: () => registry.uploads.forget(), do: [] });
      await push(client, registry, blob);
      assertThere(registry, blob);
      assert.deepEqual(counts('upload-start', 'upload-end'), [2, 2]);
    });

    it('is given up when that happens again and again', async () => {
      registry.fault({ match: END, first: () => registry.uploads.forget(), do: [] });
      const err = await failureOf(push(client, registry, blob), 'NOT_FOUND');
      assert.equal(err.origin, 'target');
      assert.equal(err.digest, blob.desc.digest);
      assert.ok(err.message.includes(registry.host) && err.message.includes(blob.desc.digest), err.message);
      assertAbsent(registry, blob);
      assert.equal(registry.count(END), 3);
    });
  });

  it('whose session stands elsewhere than was believed (416) goes on from there', async () => {
    registry.fault({ match: END, times: 1, unserved: true, do: faults.status(416) });
    await push(client, registry, blob);
    assertThere(registry, blob);
    assert.deepEqual(counts('upload-start', 'upload-status', 'upload-end'), [1, 1, 2]);

    registry.stored.removeBlob('app', blob.desc.digest);
    registry.fault({ match: END, unserved: true, do: faults.status(416) });
    const err = await failureOf(push(client, registry, blob), 'UPSTREAM');
    assert.deepEqual([err.origin, err.status, err.host], ['target', 416, registry.host]);
    assert.equal(registry.uploads.size, 0);
  });

  it('whose session does not tell where it stands takes it back and starts anew', async () => {
    registry.fault({ match: END, times: 1, unserved: true, do: faults.status(503) });
    registry.fault({ match: { kind: 'upload-status' }, do: faults.status(405) });
    await push(client, registry, blob);
    assertThere(registry, blob);
    assert.equal(registry.uploads.size, 0, 'an upload was left behind');
  });

  describe('whose answer is lost', () => {
    for (const by of ['FIN', 'RST'] as const) {
      it(`by ${by} is looked for, and found`, async () => {
        registry.fault({ match: END, times: 1, do: faults.drop(by) });
        const source = await push(client, registry, large);
        assertThere(registry, large);
        assert.deepEqual(source.opened, [0]);
        assert.equal(registry.count(END), 1);
        assert.equal(registry.count({ kind: 'blob', method: 'HEAD' }), 1);
      });
    }

    it('comes too late, and has happened', async () => {
      await using impatient = new TestClient({ headersTimeoutMs: 200 });
      registry.fault({ match: END, times: 1, do: faults.stallHeaders });
      const source = await push(impatient, registry, blob);
      assertThere(registry, blob);
      assert.deepEqual(source.opened, [0]);
      assert.equal(registry.count(END), 1);
    });

    it('and whose bytes are lost with it is sent again', async () => {
      registry.fault({ match: END, times: 1, unserved: true, do: faults.drop() });
      await push(client, registry, large);
      assertThere(registry, large);
      assert.equal(registry.count(END), 2);
    });

    it('again and again is given up', async () => {
      registry.fault({ match: END, unserved: true, do: faults.drop() });
      const err = await failureOf(push(client, registry, large), 'NETWORK');
      assert.equal(err.origin, 'target');
      assertAbsent(registry, large);
      assert.equal(registry.count(END), 3);
      assert.equal(registry.uploads.size, 0);
    });
  });

  for (const status of [500, 502, 503, 429]) {
    for (const kind of ['upload-start', 'upload-end'] as const) {
      it(`is tried again after ${status} to ${kind}, and given up after the budget`, async () => {
        registry.fault({ match: { kind }, times: 2, unserved: true, do: faults.retryAfter('0', status) });
        await push(client, registry, blob);
        assertThere(registry, blob);
        assert.equal(registry.count({ kind }), 3);

        registry.clearFaults();
        registry.log.clear();
        registry.stored.removeBlob('app', blob.desc.digest);
        registry.fault({ match: { kind }, unserved: true, do: faults.retryAfter('0', status) });
        const err = await failureOf(push(client, registry, blob), status === 429 ? 'RATE_LIMITED' : 'UPSTREAM');
        assert.equal(err.status, status);
        assert.equal(err.origin, 'target');
        assert.equal(err.host, registry.host);
        assert.equal(registry.count({ kind }), 3);
        assertAbsent(registry, blob);
        assert.equal(registry.uploads.size, 0);
      });
    }
  }

  const FINAL: readonly (readonly [number, ErrorCode])[] = [
    [400, 'UNSUPPORTED'],
    [403, 'DENIED'],
    [501, 'UNSUPPORTED'],
  ];
  for (const [status, code] of FINAL) {
    it(`${status} is final`, async () => {
      for (const match of [START, END]) {
        registry.log.clear();
        registry.fault({ match, unserved: true, do: faults.status(status) });
        const err = await failureOf(push(client, registry, blob), code);
        assert.equal(err.status, status);
        assert.equal(registry.count(match), 1);
        assert.equal(registry.uploads.size, 0);
        assertAbsent(registry, blob);
        registry.clearFaults();
      }
    });
  }

  it('whose success is a lie told before the bytes were read is not believed', async () => {
    const reading = { early: { after: 1000, rest: 'read' } } as const;
    registry.fault({ match: END, times: 1, reading, do: faults.answering(201) });
    await push(client, registry, large);
    assertThere(registry, large);
  });

  describe('that the registry does not read', () => {
    for (const [how, reading] of [
      ['at all after some bytes', { stopAfter: 1000 }],
      ['faster than a byte a second', { bytesPerSecond: 1 }],
    ] as const) {
      it(`${how} is broken off and tried again`, async () => {
        await using impatient = new TestClient({ headersTimeoutMs: 300 });
        registry.fault({ match: END, times: 1, reading, do: [] });
        await push(impatient, registry, large);
        assertThere(registry, large);
        assert.equal(registry.count(END), 2);
      });
    }

    it('ever is given up', async () => {
      await using impatient = new TestClient({ headersTimeoutMs: 100 });
      registry.fault({ match: END, reading: { stopAfter: 1000 }, do: [] });
      const err = await failureOf(push(impatient, registry, large), 'TIMEOUT');
      assert.equal(err.origin, 'target');
      assert.equal(registry.count(END), 3);
      assertAbsent(registry, large);
    });
  });

  describe('that is answered before all of it was sent', () => {
    for (const rest of ['read', 'unread'] as const) {
      it(`by 500, the rest ${rest}, is tried again`, async () => {
        registry.fault({ match: END, times: 1, reading: { early: { after: 1000, rest } }, do: faults.status(500) });
        await push(client, registry, large);
        assertThere(registry, large);
        assert.equal(registry.count(END), 2);
      });

      it(`by 413, the rest ${rest}, comes all the same`, async () => {
        registry.fault({ match: END, times: 1, reading: { early: { after: 1000, rest } }, do: faults.status(413) });
        await push(client, registry, large);
        assertThere(registry, large);
      });

      it(`by 401, the rest ${rest}, ends with the right code`, async () => {
        const reading = { early: { after: 1000, rest } } as const;
        registry.fault({ match: END, reading, do: faults.status(401) });
        // A reset may overtake the answer: then it is tried again, and again.
        const err = await failureOf(push(client, registry, large), 'UNAUTHORIZED', 'NETWORK');
        if (rest === 'read') assert.equal(err.code, 'UNAUTHORIZED');
        assertAbsent(registry, large);
        assert.ok(registry.count(END) <= 6);
      });
    }
  });

  describe('whose source is not what it should be', () => {
    const bytes = readAll(large.content);
    const flipped = Buffer.from(bytes);
    flipped[1000] = (flipped[1000] ?? 0) ^ 1;
    const wrong: readonly (readonly [string, Buffer, ErrorCode])[] = [
      ['has a wrong byte', flipped, 'DIGEST_MISMATCH'],
      ['is too short', bytes.subarray(0, -1), 'SIZE_MISMATCH'],
      ['is too long', Buffer.concat([bytes, Buffer.from('x')]), 'SIZE_MISMATCH'],
      ['is empty', Buffer.alloc(0), 'SIZE_MISMATCH'],
    ];
    for (const [how, content, code] of wrong) {
      it(`${how} leaves nothing behind`, async () => {
        const err = await failureOf(push(client, registry, large, { source: new TestSource(inMemory(content)) }), code);
        assert.equal(err.origin, 'source');
        assertAbsent(registry, large);
        await settled();
        assert.equal(registry.uploads.size, 0);
      });
    }

    it('breaks ends with what the source threw', async () => {
      const broken = {
        size: large.desc.size,
        *bytes() {
          yield bytes.subarray(0, 1_000_000);
          throw new Error('the disk is gone');
        },
      };
      const source = new TestSource(broken);
      await assert.rejects(push(client, registry, large, { source }), /the disk is gone/);
      assertAbsent(registry, large);
      await settled();
      assert.equal(registry.uploads.size, 0);
      assert.ok(registry.count(END) <= 1);
    });
  });

  it('that is stopped takes its session with it', async () => {
    await using impatient = new TestClient({ headersTimeoutMs: 1000 });
    const stop = new AbortController();
    registry.fault({ match: END, reading: { stopAfter: 1000 }, do: [] });
    const work = push(impatient, registry, large, { signal: stop.signal });
    await registry.waitFor(END);
    stop.abort();
    await assert.rejects(work);
    assertAbsent(registry, large);
    assert.equal(registry.count({ kind: 'upload-cancel' }), 1);
  });

  /** Requests that nobody waits for any more are over. */
  async function settled(): Promise<void> {
    while (registry.log.entries.some((entry) => entry.outcome === 'open')) await sleep(1);
  }
});
