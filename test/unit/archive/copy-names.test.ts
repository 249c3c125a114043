import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onePair, pairsTo } from '../../../src/app/copy-names.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { failureOf, never } from '../../support/clients.ts';

const opts = { signal: never };
const digest = digestOf('x');

/** What is in which archive. */
const archives = {
  names: (repository: string): Promise<readonly string[]> =>
    Promise.resolve({ 'oci-archive:/two.tar': ['docker.io/library/redis:7', 'ghcr.io/org/app:1'] }[repository] ?? []),
};

const SINGLE = [
  ['redis:7', 'reg:5000/x:1', 'reg:5000/x:1'],
  ['redis:7', 'oci-archive:/f.tar', 'oci-archive:/f.tar:docker.io/library/redis:7'],
  [`redis@${digest}`, 'oci-archive:/f.tar', 'oci-archive:/f.tar'],
  [`redis:7@${digest}`, 'docker-archive:/f.tar', 'docker-archive:/f.tar:docker.io/library/redis:7'],
  ['redis:7', 'oci:/dir:v1', 'oci:/dir:v1'],
  ['oci:/dir:v1', 'oci-archive:/f.tar', 'oci-archive:/f.tar:v1'],
  ['oci:/dir:v1', 'docker-archive:/f.tar', 'docker-archive:/f.tar'], // v1 would be read as docker.io/library/v1:latest
  ['oci:/dir', 'oci-archive:/f.tar', 'oci-archive:/f.tar'],
] as const;

test('an archive without a name gets the name of the source, where it has one that fits', () => {
  for (const [from, to, name] of SINGLE) assert.equal(onePair(from, to).target.name, name, `${from} to ${to}`);
  assert.throws(() => onePair('redis:7', `oci:/dir@${digest}`), { code: 'USAGE' });
});

test('several images keep their names at one place', async () => {
  const namesOf = async (to: string, ...from: string[]): Promise<string[]> =>
    (await pairsTo(archives, from, to, opts)).map(({ target }) => target.name);
  assert.deepEqual(await namesOf('oci-archive:/f.tar', 'redis:7', 'ghcr.io/org/app:1', 'docker.io/redis:7'), [
    'oci-archive:/f.tar:docker.io/library/redis:7',
    'oci-archive:/f.tar:ghcr.io/org/app:1',
  ]);
  assert.deepEqual(await namesOf('reg:5000/mirror', 'oci-archive:/two.tar'), [
    'reg:5000/mirror/library/redis:7',
    'reg:5000/mirror/org/app:1',
  ]);
  assert.deepEqual(await namesOf('oci:/dir', 'oci-archive:/two.tar', 'oci-archive:/other.tar:v1'), [
    'oci:/dir:docker.io/library/redis:7',
    'oci:/dir:ghcr.io/org/app:1',
    'oci:/dir:v1',
  ]);
});

const REFUSED = [
  [['ghcr.io/org/app:1', 'quay.io/org/app:1'], 'reg:5000/mirror', /would both become reg:5000\/mirror\/org\/app:1/],
  [['oci-archive:/other.tar'], 'reg:5000/mirror', /has no name that it could keep/],
  [['oci-archive:/other.tar:v1'], 'reg:5000/mirror', /has no name that it could keep/],
  [[`redis@${digest}`], 'oci:/dir', /has no name that it could keep/],
  [['redis:7'], 'oci:/dir:v1', /oci:\/dir:v1 names one image/],
] as const;

test('what could not be told apart, or has no name, is refused before anything is copied', async () => {
  for (const [from, to, message] of REFUSED) {
    assert.match((await failureOf(pairsTo(archives, from, to, opts), 'USAGE')).message, message);
  }
});
