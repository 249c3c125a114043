import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { digestOf } from '../../../src/oci/digest.ts';
import { type Attempt, attemptsOf, noteOf, sameNote } from '../../../src/store/attempts.ts';
import { type LockNote, type LockSeen, lockHead, parseLock } from '../../../src/store/lock-file.ts';

const request = { ref: 'a', digest: digestOf('content'), size: 7 };
const ownerOf = (i: number): string => `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`;
const attempt = (i: number): Attempt => ({ owner: ownerOf(i), digest: request.digest, size: 7 });

/** A lock as the next one reads it. */
const seen = (owner: number, note: LockNote): LockSeen => parseLock(lockHead(ownerOf(owner), note));

describe('the note of an ingest', () => {
  it('tells its owner and those before', () => {
    const first = seen(1, noteOf(request, undefined, []));
    assert.deepEqual(attemptsOf(first), [attempt(1)]);
    const second = seen(2, noteOf(request, first, attemptsOf(first)));
    assert.deepEqual(attemptsOf(second), [attempt(2), attempt(1)]);
    assert.equal(second.note['startedAt'], first.note['startedAt']);
    assert.deepEqual(attemptsOf(seen(3, sameNote(second))), [attempt(3), attempt(2), attempt(1)]);
  });

  it('tells what an earlier owner wrote when that was something else, or nobody said', () => {
    const first = seen(1, noteOf({ ref: 'a' }, undefined, []));
    const second = seen(2, noteOf(request, first, attemptsOf(first)));
    assert.deepEqual(attemptsOf(second), [attempt(2), { owner: ownerOf(1), digest: '', size: -1 }]);
  });

  it('stays small, and keeps what comes first', () => {
    const earlier = Array.from({ length: 100 }, (_, i) => attempt(i));
    const note = noteOf(request, undefined, earlier);
    assert.deepEqual(note['earlier'], earlier.slice(0, 8));
    assert.equal(attemptsOf(seen(1, { ...note, earlier })).length, 9);
  });

  it('that somebody else wrote names no other file', () => {
    const owners = ['../../x', '', 7, null, `${ownerOf(2)}/..`, ownerOf(2).replace('8', 'A')];
    const listed = [...owners.map((owner) => ({ ...attempt(2), owner })), null, 'x', [], { owner: ownerOf(3) }];
    for (const earlier of listed) {
      assert.deepEqual(attemptsOf(seen(1, { ...noteOf(request, undefined, []), earlier: [earlier] })), [attempt(1)]);
    }
    for (const earlier of [undefined, null, 7, 'x', {}]) {
      assert.deepEqual(attemptsOf(seen(1, { ...noteOf(request, undefined, []), earlier })), [attempt(1)]);
    }
    assert.deepEqual(attemptsOf(parseLock('torn')), []);
  });
});
