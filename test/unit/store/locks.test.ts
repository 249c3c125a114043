import assert from 'node:assert/strict';
import { readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FileLocks, type LockAttempt } from '../../../src/store/file-lock.ts';
import { beatText, LEFT_BEHIND, lockHead, parseLock } from '../../../src/store/lock-file.ts';
import { localFs } from '../../../src/store/node-fs.ts';
import { livenessOf, ownProcess } from '../../../src/store/process-id.ts';
import { FaultFs } from '../../support/fault-fs.ts';
import { run } from '../../support/process.ts';
import { tempDir } from '../../support/temp.ts';

const STALE_MS = 400;
const OWNER = '01234567-89ab-cdef-0123-456789abcdef';
const opts = { signal: new AbortController().signal };

const locksOn = (fs = localFs): FileLocks => new FileLocks(fs, { staleMs: STALE_MS });

function held(attempt: LockAttempt): Extract<LockAttempt, { state: 'held' }> {
  assert.ok(attempt.state === 'held', 'busy');
  return attempt;
}

const self = ownProcess();
assert.ok(self);

/** A lock file of some process. */
const lockText = (process: object, beat = beatText(3)): string =>
  `${JSON.stringify({ owner: OWNER, note: { ref: 'a' }, process })}\n${beat}`;

/** The time from the first look to the takeover. */
async function msUntilTaken(path: string): Promise<number> {
  const locks = locksOn();
  const start = performance.now();
  for (;;) {
    const attempt = await locks.tryAcquire(path);
    if (attempt.state === 'held') {
      await attempt.lock.release();
      return performance.now() - start;
    }
    await sleep(10);
  }
}

describe('a lock', { concurrency: true }, () => {
  it('is held by one, and free when that one releases it', async () => {
    await using temp = await tempDir();
    const path = temp.join('a.lock');
    const { lock } = held(await locksOn().tryAcquire(path, () => ({ ref: 'x' })));
    const second = await locksOn().tryAcquire(path);
    assert.ok(second.state === 'busy');
    assert.deepEqual(second.seen, { owner: lock.owner, note: { ref: 'x' }, holder: 'alive' });
    await lock.release();
    await lock.release();
    assert.deepEqual(await readdir(temp.path), []);
    await held(await locksOn().tryAcquire(path)).lock.release();
  });

  it('tells its successor what it was about when it is left behind', async () => {
    await using temp = await tempDir();
    const path = temp.join('a.lock');
    const first = held(await locksOn().tryAcquire(path, () => ({ ref: 'x' })));
    await first.lock.leave();
    const second = held(await locksOn().tryAcquire(path, (previous) => ({ after: previous })));
    const after = { owner: first.lock.owner, note: { ref: 'x' }, holder: 'left' };
    assert.deepEqual((await locksOn().look(path))?.note, { after });
    await second.lock.release();
    assert.deepEqual(await readdir(temp.path), []);
  });

  it('beats, and is not taken while it does', async () => {
    await using temp = await tempDir();
    const path = temp.join('a.lock');
    const { lock } = held(await locksOn().tryAcquire(path));
    await pretendElsewhere(path);
    const watcher = locksOn();
    const end = performance.now() + 2.5 * STALE_MS;
    while (performance.now() < end) {
      assert.equal((await watcher.tryAcquire(path)).state, 'busy');
      await sleep(20);
    }
    assert.ok(await locksOn().isHeld(path, opts));
    assert.ok(await lock.isOurs());
    await lock.release();
  });

  it('of another machine is taken when it has not changed for the time', async () => {
    await using temp = await tempDir();
    const path = temp.join('a.lock');
    await writeFile(path, lockText({ ...self, boot: 'another' }));
    const took = await msUntilTaken(path);
    assert.ok(took >= STALE_MS && took < 5 * STALE_MS, `${took} ms`);
  });

  it('of another pid namespace says nothing by its pid', async () => {
    await using temp = await tempDir();
    const path = temp.join('a.lock');
    await writeFile(path, lockText({ ...self, namespace: 'pid:[1]', pid: 2 ** 30 }));
    assert.equal((await locksOn().tryAcquire(path)).state, 'busy');
    assert.equal(await locksOn().isHeld(path, opts), false);
  });

  it('of a dead process is taken at once', async () => {
    await using temp = await tempDir();
    const path = temp.join('a.lock');
    const { stdout } = await run(process.execPath, ['-p', 'process.pid']);
    await writeFile(path, lockText({ ...self, pid: Number(stdout), startTime: '1' }));
    const { lock } = held(await locksOn().tryAcquire(path, (previous) => ({ after: previous?.note })));
    assert.deepEqual((await locksOn().look(path))?.note, { after: { ref: 'a' } });
    await lock.release();
  });

  it('of a process whose pid is used again is taken at once', async () => {
    await using temp = await tempDir();
    const path = temp.join('a.lock');
    await writeFile(path, lockText({ ...self, startTime: '1' }));
    await held(await locksOn().tryAcquire(path)).lock.release();
  });

  for (const [what, text] of Object.entries({
    empty: '',
    torn: lockText(self).slice(0, 40),
    'not JSON': 'hello\n',
    null: 'null\n000000000000',
    'without an owner': `{}\n${LEFT_BEHIND}`,
    'with a path for an owner': `{"owner":"../../../etc","note":{}}\n${LEFT_BEHIND}`,
    binary: '\u0000\uFFFD\n',
  })) {
    it(`that is ${what} keeps others out for the time, and no longer`, async () => {
      await using temp = await tempDir();
      const path = temp.join('a.lock');
      await writeFile(path, text);
      assert.equal((await locksOn().look(path))?.owner, '');
      const took = await msUntilTaken(path);
      assert.ok(took >= STALE_MS && took < 5 * STALE_MS, `${took} ms`);
      assert.deepEqual(await readdir(temp.path), []);
    });
  }

  it('that was left behind is taken by exactly one of many', async () => {
    await using temp = await tempDir();
    for (let round = 0; round < 30; round += 1) {
      const path = temp.join(`${round}.lock`);
      await held(await locksOn().tryAcquire(path)).lock.leave();
      const attempts = await Promise.all(Array.from({ length: 8 }, () => locksOn().tryAcquire(path)));
      const winners = attempts.flatMap((each) => (each.state === 'held' ? each.lock : []));
      const stillOurs = await Promise.all(winners.map((lock) => lock.isOurs()));
      assert.equal(stillOurs.filter(Boolean).length, 1);
      for (const lock of winners) await lock.release();
    }
    assert.deepEqual(await readdir(temp.path), []);
  });

  it('is given back by whoever judged its predecessor too late', async () => {
    await using temp = await tempDir();
    const path = temp.join('a.lock');
    await held(await locksOn().tryAcquire(path)).lock.leave();
    const go = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    const slow = new FaultFs({ call: 'rename', act: { pause: go.promise, reached: reached.resolve } });
    const late = locksOn(slow).tryAcquire(path);
    await reached.promise; // it has judged, and is about to move the file away
    const { lock } = held(await locksOn().tryAcquire(path));
    go.resolve();
    assert.equal((await late).state, 'busy');
    assert.ok(await lock.isOurs());
    await lock.release();
    assert.deepEqual(await readdir(temp.path), []);
  });

  it('that was lost stays with the new holder', async () => {
    await using temp = await tempDir();
    const path = temp.join('a.lock');
    const first = held(await locksOn().tryAcquire(path)).lock;
    await localFs.unlink(path);
    const second = held(await locksOn().tryAcquire(path)).lock;
    while (!first.lost) await sleep(10); // the next heartbeat sees it
    await first.release();
    assert.ok(await second.isOurs());
    const text = await readFile(path, 'utf8');
    assert.ok(text.startsWith(`{"owner":"${second.owner}"`));
    await second.release();
  });

  it('that somebody waits for stops waiting when told', async () => {
    await using temp = await tempDir();
    const path = temp.join('a.lock');
    await using _lock = held(await locksOn().tryAcquire(path)).lock;
    const reason = new Error('enough');
    await assert.rejects(locksOn().acquire(path, { signal: AbortSignal.abort(reason) }), reason);
    const stop = new AbortController();
    const waiting = locksOn().acquire(path, { signal: stop.signal });
    await sleep(30);
    stop.abort(reason);
    await assert.rejects(waiting, reason);
  });

  it('in whose place is a link to nowhere is an error, not a loop', async () => {
    await using temp = await tempDir();
    const path = temp.join('a.lock');
    await symlink('nowhere', path);
    await assert.rejects(locksOn().tryAcquire(path), { code: 'IO' });
  });

  it('that could not be removed is left behind', async () => {
    await using temp = await tempDir();
    const path = temp.join('a.lock');
    const fs = new FaultFs({ call: 'unlink', act: { fail: 'EIO' } });
    const { lock } = held(await locksOn(fs).tryAcquire(path));
    await assert.rejects(lock.release(), /EIO/);
    assert.equal(fs.openHandles, 0);
    assert.equal((await locksOn().look(path))?.holder, 'left');
  });

  it('survives a heartbeat that fails', async () => {
    await using temp = await tempDir();
    const path = temp.join('a.lock');
    const fs = new FaultFs();
    const { lock } = held(await locksOn(fs).tryAcquire(path));
    fs.arm({ call: 'utimes', act: { fail: 'EIO' } });
    while (fs.count('utimes') < 2) await sleep(10);
    assert.equal(lock.lost, false);
    await lock.release();
    assert.deepEqual(await readdir(temp.path), []);
  });
});

/** Rewrites the head in place, as if the holder were on another machine: only the heartbeat tells then. */
async function pretendElsewhere(path: string): Promise<void> {
  const text = await readFile(path, 'utf8');
  const changed = text.replace(self?.boot ?? '', (boot) => 'f'.repeat(boot.length));
  assert.equal(changed.length, text.length);
  await writeFile(path, changed, { flag: 'r+' });
}

describe('a process', () => {
  it('knows itself', () => {
    assert.equal(livenessOf(ownProcess()), 'alive');
    assert.equal(parseLock(lockHead(OWNER, {}) + beatText(0)).holder, 'alive');
  });

  it('takes nothing for a pid that is none', () => {
    for (const pid of [0, -1, 1.5, Number.NaN]) assert.equal(livenessOf({ ...self, pid }), 'dead');
  });

  it('does not know about others', () => {
    assert.equal(livenessOf(undefined), 'unknown');
    assert.equal(livenessOf({ ...self, boot: 'x' }), 'unknown');
    assert.equal(livenessOf({ ...self, namespace: 'x' }), 'unknown');
  });
});
