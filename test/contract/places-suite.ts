/** What is promised of what is believed about blobs, whether one process knows it or a farm. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../src/oci/digest.ts';
import type { BlobPlaces, Place } from '../../src/remote/places.ts';
import { never } from '../support/clients.ts';

const opts = { signal: never };
const [A, B, C] = ['one.example/a', 'one.example/b', 'one.example/c/d'] as const;
const OTHER = 'one.example:5000/a';
const [x, y, z] = [digestOf('x'), digestOf('y'), digestOf('z')] as const;
const blobs = [x, y, z] as const;

export type OpenPlaces = () => Promise<{ readonly places: BlobPlaces } & AsyncDisposable>;

export function placesContract(name: string, open: OpenPlaces): void {
  const promise = (sentence: string, body: (places: BlobPlaces) => Promise<void>): void => {
    test(`${name}: ${sentence}`, { timeout: 60_000 }, async () => {
      await using opened = await open();
      await body(opened.places);
    });
  };
  const NOWHERE: Place = { isHere: false, elsewhere: undefined };

  promise('nothing is known at the start', async (places) => {
    assert.deepEqual(await places.find(A, blobs, opts), [NOWHERE, NOWHERE, NOWHERE]);
    assert.deepEqual(await places.find(A, [], opts), []);
    await places.add(A, [], opts);
    await places.forget(A, blobs, opts);
    assert.equal(await places.refusesMounts(A, opts), false);
  });

  promise('what a repository has is here for it, and elsewhere for others of its registry alone', async (places) => {
    await places.add(A, [x, z], opts);
    const here = { isHere: true, elsewhere: undefined };
    assert.deepEqual(await places.find(A, blobs, opts), [here, NOWHERE, here]);
    assert.deepEqual(await places.find(B, [z, y], opts), [{ isHere: false, elsewhere: A }, NOWHERE]);
    assert.deepEqual(await places.find(OTHER, [x], opts), [NOWHERE]);
  });

  promise('elsewhere is where it was seen last, and never here', async (places) => {
    for (const repository of [A, C, B]) await places.add(repository, [x], opts);
    assert.deepEqual(await places.find(A, [x], opts), [{ isHere: true, elsewhere: B }]);
    assert.deepEqual(await places.find(B, [x], opts), [{ isHere: true, elsewhere: C }]);
    await places.add(C, [x], opts);
    assert.deepEqual(await places.find(A, [x], opts), [{ isHere: true, elsewhere: C }]);
  });

  promise('what is forgotten of one repository stays known of the others', async (places) => {
    for (const repository of [A, B]) await places.add(repository, [x, y], opts);
    await places.forget(A, [x, z], opts);
    assert.deepEqual(await places.find(A, [x, y], opts), [
      { isHere: false, elsewhere: B },
      { isHere: true, elsewhere: B },
    ]);
    await places.forget(B, [x], opts);
    assert.deepEqual(await places.find(C, [x], opts), [NOWHERE]);
  });

  promise('of many repositories those are kept that were seen last', async (places) => {
    const many = Array.from({ length: 50 }, (_, i) => `one.example/many/${i}`);
    for (const repository of many) await places.add(repository, [x], opts);
    assert.deepEqual(await places.find('one.example/many/49', [x], opts), [
      { isHere: true, elsewhere: 'one.example/many/48' },
    ]);
    assert.deepEqual(await places.find('one.example/many/0', [x], opts), [
      { isHere: false, elsewhere: 'one.example/many/49' },
    ]);
  });

  promise('a name that is the beginning of another is not that other', async (places) => {
    await places.add('one.example/ab', [x], opts);
    assert.deepEqual(await places.find('one.example/a', [x], opts), [{ isHere: false, elsewhere: 'one.example/ab' }]);
    await places.forget('one.example/a', [x], opts);
    assert.equal((await places.find('one.example/ab', [x], opts))[0]?.isHere, true);
  });

  promise('a thousand blobs in one call, each in its place', async (places) => {
    const digests = Array.from({ length: 1_000 }, (_, i) => digestOf(`blob ${i}`));
    await places.add(
      A,
      digests.filter((_digest, i) => i % 3 === 0),
      opts,
    );
    const found = await places.find(A, digests, opts);
    assert.deepEqual(
      found.map(({ isHere }) => isHere),
      digests.map((_digest, i) => i % 3 === 0),
    );
  });

  promise('a repository that refuses mounts is known as that, and no other', async (places) => {
    for (let again = 0; again < 5; again += 1) await places.setRefusesMounts(A, opts);
    assert.equal(await places.refusesMounts(A, opts), true);
    for (const other of [B, `${A}b`, OTHER]) assert.equal(await places.refusesMounts(other, opts), false);
  });

  promise('a registry of which three repositories refuse mounts is not asked any more, another is', async (places) => {
    await places.setRefusesMounts(A, opts);
    await places.setRefusesMounts(B, opts);
    assert.equal(await places.refusesMounts('one.example/d', opts), false);
    await places.setRefusesMounts(C, opts);
    for (const repository of [A, B, C, 'one.example/d']) {
      assert.equal(await places.refusesMounts(repository, opts), true);
    }
    assert.equal(await places.refusesMounts(OTHER, opts), false);
  });
}
