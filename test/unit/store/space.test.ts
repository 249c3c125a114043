import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ContentWriter } from '../../../src/content/ports.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { ContentStore } from '../../../src/store/content-store.ts';
import { FaultFs } from '../../support/fault-fs.ts';
import { tempDir } from '../../support/temp.ts';

const opts = { signal: new AbortController().signal };
const MIB = 1 << 20;

/** A disk with so much room, whatever is written to it. */
class SmallDisk extends FaultFs {
  free = 10 * MIB;
  override async statfs(): Promise<{ bavail: number; bsize: number }> {
    return { bavail: this.free / 512, bsize: 512 };
  }
}

async function begin(store: ContentStore, ref: string, size: number): Promise<ContentWriter> {
  const ingest = await store.ingest({ ref, digest: digestOf(ref), size }, opts);
  assert.ok(ingest.state === 'open');
  return ingest.writer;
}

describe('the room on the disk', () => {
  it('is promised to one writer only, until it has written or given up', async () => {
    await using temp = await tempDir();
    const disk = new SmallDisk();
    const store = new ContentStore({ root: temp.path, fs: disk });
    await using first = await begin(store, 'a', 6 * MIB);
    await assert.rejects(begin(store, 'b', 6 * MIB), { code: 'NO_SPACE', origin: 'store' });
    await first.write(Buffer.alloc(5 * MIB));
    disk.free -= 5 * MIB;
    await using _small = await begin(store, 'c', 2 * MIB);
    await assert.rejects(begin(store, 'd', 2 * MIB), { code: 'NO_SPACE' });
    await first.discard();
    disk.free += 5 * MIB;
    await using _other = await begin(store, 'b', 6 * MIB);
  });

  it('is given back by a write that could not begin', async () => {
    await using temp = await tempDir();
    const disk = new SmallDisk({ call: 'open', path: /\.part$/, act: { fail: 'EMFILE' } });
    const store = new ContentStore({ root: temp.path, fs: disk });
    await assert.rejects(begin(store, 'a', 6 * MIB), { code: 'IO' });
    await using _writer = await begin(store, 'a', 6 * MIB);
  });

  it('must hold the kept part of an earlier attempt twice while that is copied', async () => {
    await using temp = await tempDir();
    const disk = new SmallDisk();
    const store = new ContentStore({ root: temp.path, fs: disk });
    {
      await using first = await begin(store, 'a', 6 * MIB);
      await first.write(Buffer.alloc(4 * MIB));
    }
    disk.free = 4 * MIB;
    await assert.rejects(begin(store, 'a', 6 * MIB), { code: 'NO_SPACE' });
    disk.free = 6 * MIB;
    await using again = await begin(store, 'a', 6 * MIB);
    assert.equal(again.offset, 4 * MIB);
  });
});
