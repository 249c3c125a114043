/** Uploads to registries that do not take a blob in one piece, and that lose a part of it. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { failureOf, TestClient } from '../support/clients.ts';
import { assertAbsent, assertThere, blobOf, push } from '../support/pushing.ts';
import {
  type Effect,
  type FaultOrder,
  faults,
  type LogEntry,
  type Match,
  type RegistryOptions,
  TestRegistry,
} from '../support/registry.ts';

const MIB = 1024 * 1024;
const blob = blobOf('parts', 5 * MIB + 7);
const CHUNK: Match = { kind: 'chunk' };
/** What makes a client send parts. */
const IN_PARTS: RegistryOptions = { chunkedOnly: { over: MIB, status: 413 } };

async function withRegistry(
  options: RegistryOptions,
  work: (registry: TestRegistry, client: TestClient) => Promise<void>,
  headersTimeoutMs = 5000,
): Promise<void> {
  await using registry = await TestRegistry.start(options);
  await using client = new TestClient({ headersTimeoutMs });
  await work(registry, client);
}

describe('a blob in parts', () => {
  for (const status of [413, 405] as const) {
    it(`is sent where a whole one is answered with ${status}`, () =>
      withRegistry({ chunkedOnly: { over: MIB, status } }, async (registry, client) => {
        await push(client, registry, blob);
        assertThere(registry, blob);
        assert.equal(registry.uploads.size, 0, 'an upload was left behind');
        assert.ok(registry.count(CHUNK) >= 1);
        registry.log.clear();
        const next = blobOf('next', 5 * MIB);
        await push(client, registry, next);
        assertThere(registry, next);
        assert.equal(registry.count({ where: (entry) => entry.status >= 400 }), 0, 'it has learned nothing');
      }));
  }

  it('has parts that are small enough', () =>
    withRegistry({ maxBody: 2 * MIB }, async (registry, client) => {
      await push(client, registry, blob);
      assertThere(registry, blob);
      const taken = registry.log.select({ ...CHUNK, status: 202 });
      assert.ok(taken.every((entry) => entry.bytesReceived <= 2 * MIB));
      assert.equal(registry.uploads.size, 0, 'an upload was left behind');
      // All at once, all as a part, and 4 MiB: nothing that is no smaller than what was refused.
      assert.equal(registry.count({ status: 413 }), 3, registry.log.text());
    }));

  it('is sent by many uploads at once that learn it together', () =>
    withRegistry(IN_PARTS, async (registry, client) => {
      const blobs = Array.from({ length: 8 }, (_, i) => blobOf(`many ${i}`, 2 * MIB));
      await Promise.all(blobs.map((each) => push(client, registry, each)));
      for (const each of blobs) assertThere(registry, each);
      assert.ok(registry.count({ status: 413 }) <= 8);
      assert.equal(registry.uploads.size, 0, 'an upload was left behind');
    }));

  it('that was refused before another learned the size of parts does not unlearn it', () =>
    withRegistry({ maxBody: 2 * MIB }, async (registry, client) => {
      const gate = Promise.withResolvers<void>();
      registry.fault({ match: { kind: 'upload-end' }, times: 1, do: faults.hold(gate.promise) });
      const first = push(client, registry, blob);
      await registry.waitFor({ kind: 'upload-end' });
      const other = blobOf('other', 5 * MIB);
      await push(client, registry, other);
      registry.log.clear();
      gate.resolve();
      await first;
      assertThere(registry, blob);
      assert.equal(registry.count({ ...CHUNK, status: 413 }), 0);
    }));

  it('has parts that are large enough', () =>
    withRegistry({ ...IN_PARTS, minChunk: 3 * MIB }, async (registry, client) => {
      await push(client, registry, blob);
      assertThere(registry, blob);
    }));

  it('is given up where no part is small enough', () =>
    withRegistry({ maxBody: 1000 }, async (registry, client) => {
      const err = await failureOf(push(client, registry, blob), 'UNSUPPORTED', 'TOO_LARGE');
      assert.equal(err.status, 413);
      assertAbsent(registry, blob);
      assert.equal(registry.uploads.size, 0);
      assert.ok(registry.log.entries.length <= 40, registry.log.text());
    }));

  it('has a length, for those that want one', () =>
    withRegistry({ ...IN_PARTS, lengthRequired: true }, async (registry, client) => {
      await push(client, registry, blob);
      assertThere(registry, blob);
      assert.equal(registry.count({ status: 411 }), 0);
    }));

  it('is also what 411 to a whole one asks for', () =>
    withRegistry({}, async (registry, client) => {
      registry.fault({ match: { kind: 'upload-end' }, times: 1, unserved: true, do: faults.status(411) });
      await push(client, registry, blob);
      assertThere(registry, blob);
    }));

  for (const location of ['absolute', 'relative', 'elsewhere'] as const) {
    for (const staleLocations of ['taken', 'refused'] as const) {
      it(`goes on where the Location says: ${location}, old ones ${staleLocations}`, () =>
        withRegistry({ maxBody: 2 * MIB, location, staleLocations }, async (registry, client) => {
          await push(client, registry, blob);
          assertThere(registry, blob);
          assert.equal(registry.count({ status: 404 }), registry.count({ kind: 'blob', status: 404 }));
        }));
    }
  }

  for (const staleLocations of ['taken', 'refused'] as const) {
    describe(`where old places are ${staleLocations}`, () => {
      const options: RegistryOptions = { maxBody: 2 * MIB, staleLocations };
      const faulty: readonly (readonly [string, FaultOrder, number?])[] = [
        ['whose answer is lost', { do: faults.drop() }],
        ['whose bytes are lost', { unserved: true, do: faults.drop('FIN') }],
        ['that is answered late', { do: faults.stallHeaders }, 400],
        ['that is not read', { reading: { stopAfter: 1000 }, do: [] }, 400],
        ['answered by 500, with its bytes taken', { do: faults.status(500) }],
        ['answered by 503, with nothing taken', { unserved: true, do: faults.status(503) }],
        ['answered by 429', { unserved: true, do: faults.retryAfter('0') }],
        ['answered by 416', { unserved: true, do: faults.status(416) }],
      ];
      for (const [how, fault, headersTimeoutMs] of faulty) {
        it(`a part ${how} does not hold it up`, () => {
          const work = async (registry: TestRegistry, client: TestClient): Promise<void> => {
            registry.fault({ match: { ...CHUNK, where: isAccepted, nth: 2 }, ...fault });
            await push(client, registry, blob);
            assertThere(registry, blob);
            assert.ok(registry.log.entries.length <= 40, registry.log.text());
          };
          return withRegistry(options, work, headersTimeoutMs);
        });
      }

      it('a session that is lost half way is begun anew', () =>
        withRegistry(options, async (registry, client) => {
          const match = { ...CHUNK, where: isAccepted, nth: 2 };
          registry.fault({ match, first: () => registry.uploads.forget(), do: [] });
          await push(client, registry, blob);
          assertThere(registry, blob);
        }));

      it('a last request whose answer is lost is looked for', () =>
        withRegistry(options, async (registry, client) => {
          registry.fault({ match: { kind: 'upload-end', where: isAccepted }, times: 1, do: faults.drop() });
          await push(client, registry, blob);
          assertThere(registry, blob);
        }));
    });
  }

  it('of which the registry keeps less than it was sent goes on where it stands', () => {
    const work = async (registry: TestRegistry, client: TestClient): Promise<void> => {
      registry.fault({ match: CHUNK, times: 1, reading: { stopAfter: 2 * MIB }, do: [] });
      const source = await push(client, registry, blob);
      assertThere(registry, blob);
      assert.ok(registry.log.bytesReceived({ where: (entry) => entry.status < 400 }) <= 2 * blob.desc.size);
      assert.ok(source.opened.length <= 4);
    };
    return withRegistry({ ...IN_PARTS, partialChunks: 'kept' }, work, 400);
  });

  it('that is refused for ever is given up', () =>
    withRegistry({ maxBody: 2 * MIB }, async (registry, client) => {
      registry.fault({ match: { ...CHUNK, where: isAccepted }, unserved: true, do: faults.status(500) });
      const err = await failureOf(push(client, registry, blob), 'UPSTREAM');
      assert.equal(err.origin, 'target');
      assert.ok(err.message.includes(registry.host), err.message);
      assertAbsent(registry, blob);
      assert.equal(registry.uploads.size, 0);
      assert.ok(registry.log.entries.length <= 40, registry.log.text());
    }));

  it('of which the registry always says that it has another part is given up', () =>
    withRegistry({ maxBody: 2 * MIB }, async (registry, client) => {
      registry.fault({ match: { ...CHUNK, where: isAccepted }, unserved: true, do: faults.status(416) });
      await failureOf(push(client, registry, blob), 'UPSTREAM', 'MALFORMED', 'UNSUPPORTED');
      assertAbsent(registry, blob);
      assert.ok(registry.log.entries.length <= 40, `${registry.log.entries.length} requests`);
    }));

  describe('of which the registry says that it has more than it was sent', () => {
    const beyond = faults.headers({ range: `0-${5 * MIB + 7}` });

    it('goes on where that is, when it is asked', () =>
      withRegistry(IN_PARTS, async (registry, client) => {
        registry.fault({ match: CHUNK, times: 1, do: beyond });
        await push(client, registry, blob);
        assertThere(registry, blob);
        assert.equal(registry.count({ ...CHUNK, status: 202 }), 1, 'it was sent again');
      }));

    it('begins anew when it says so again, and leaves nothing open', () =>
      withRegistry({}, async (registry, client) => {
        registry.fault({ match: { kind: 'upload-end' }, times: 1, unserved: true, do: faults.status(503) });
        registry.fault({ match: { kind: 'upload-status' }, do: beyond });
        await push(client, registry, blob);
        assertThere(registry, blob);
        assert.equal(registry.uploads.size, 0);
      }));

    it('is given up when it always does, by an error of the target', () =>
      withRegistry(IN_PARTS, async (registry, client) => {
        for (const kind of ['chunk', 'upload-status'] as const) registry.fault({ match: { kind }, do: beyond });
        const err = await failureOf(push(client, registry, blob), 'UPSTREAM');
        assert.equal(err.origin, 'target');
        assert.ok(err.message.includes(registry.host), err.message);
        assertAbsent(registry, blob);
        assert.equal(registry.uploads.size, 0);
      }));
  });

  describe('of which the registry keeps only', () => {
    const keeping = (bytes: number): Effect => {
      let kept = 0;
      return (answer, asked) => {
        kept += bytes;
        answer.status = 202;
        answer.headers.set('range', `0-${kept - 1}`);
        answer.headers.set('location', asked.entry.path);
      };
    };

    it('a few bytes each time is given up', () =>
      withRegistry(IN_PARTS, async (registry, client) => {
        registry.fault({ match: CHUNK, unserved: true, do: keeping(2) });
        const err = await failureOf(push(client, registry, blob), 'UPSTREAM');
        assert.equal(err.origin, 'target');
        assert.equal(registry.count(CHUNK), 3);
      }));

    it('a mebibyte of each part is given up, too, in the end', () =>
      withRegistry({ maxBody: 4 * MIB }, async (registry, client) => {
        let kept = 0;
        const says: Effect = (answer, asked) => {
          answer.status = 202;
          answer.headers.set('range', `0-${kept - 1}`);
          answer.headers.set('location', asked.entry.path);
        };
        const keep: Effect = (answer, asked) => {
          kept += MIB;
          says(answer, asked);
        };
        const where = ({ headers }: LogEntry): boolean => Number(headers['content-length']) <= 4 * MIB;
        registry.fault({ match: { ...CHUNK, where }, unserved: true, do: keep });
        registry.fault({ match: { kind: 'upload-status' }, unserved: true, do: says });
        await failureOf(push(client, registry, blobOf('long', 120 * MIB)), 'UPSTREAM');
        assert.equal(registry.count({ ...CHUNK, status: 202 }), 101);
      }));
  });

  it('of very many breaks now and then, and comes all the same', () =>
    withRegistry({ maxBody: MIB, keepBytes: 128 * MIB }, async (registry, client) => {
      const long = blobOf('very many', 104 * MIB);
      registry.fault({
        match: { ...CHUNK, where: isSmall, nth: 103 },
        times: 1,
        unserved: true,
        do: faults.status(503),
      });
      await push(client, registry, long);
      assertThere(registry, long);
    }));

  it('of any size that is refused says nothing about the next blob', () =>
    withRegistry({}, async (registry, client) => {
      const where = ({ kind }: LogEntry): boolean => kind === 'chunk' || kind === 'upload-end';
      const refused = registry.fault({ match: { where }, unserved: true, do: faults.status(413) });
      await failureOf(push(client, registry, blob), 'UNSUPPORTED', 'TOO_LARGE');
      refused.remove();
      const next = blobOf('next', 5 * MIB);
      await push(client, registry, next);
      assertThere(registry, next);
      assert.equal(registry.count({ ...CHUNK, status: 202 }), 0, registry.log.text());
    }));

  it('goes on by the size that was taken, when another one was refused at every size', () =>
    withRegistry(IN_PARTS, async (registry, client) => {
      await push(client, registry, blobOf('first', 5 * MIB));
      const where = ({ kind }: LogEntry): boolean => kind === 'chunk';
      const refused = registry.fault({ match: { where }, unserved: true, do: faults.status(413) });
      await failureOf(push(client, registry, blob), 'UNSUPPORTED', 'TOO_LARGE');
      refused.remove();
      registry.log.clear();
      await push(client, registry, blobOf('next', 5 * MIB));
      assert.deepEqual([registry.count(CHUNK), registry.count({ status: 413 })], [1, 0], registry.log.text());
    }));
});

const isSmall = ({ headers }: LogEntry): boolean => Number(headers['content-length']) <= MIB;

/** Not one of those that are too large anyway. */
function isAccepted({ headers }: { headers: Record<string, unknown> }): boolean {
  return Number(headers['content-length']) <= 2 * MIB;
}
