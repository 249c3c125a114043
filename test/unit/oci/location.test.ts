import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { archiveOf, isArchive, namesArchive, parseLocation, registryOf } from '../../../src/oci/location.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { parseReference } from '../../../src/oci/reference.ts';
import { GantryError } from '../../../src/errors.ts';

const digest = digestOf('x');

/** Text, repository, tag, digest. */
const GOOD = [
  ['oci:/a/b', 'oci:/a/b', undefined, undefined],
  ['oci:/a/b/', 'oci:/a/b', undefined, undefined],
  ['oci:b', `oci:${resolve('b')}`, undefined, undefined],
  ['oci:/a/b:v1', 'oci:/a/b', 'v1', undefined],
  ['oci:/a/b:docker.io/library/redis:7', 'oci:/a/b', 'docker.io/library/redis:7', undefined],
  ['oci:/a/b:localhost:5000/x:1', 'oci:/a/b', 'localhost:5000/x:1', undefined],
  [`oci:/a/b@${digest}`, 'oci:/a/b', undefined, digest],
  [`oci-archive:/a/b.tar:v1@${digest}`, 'oci-archive:/a/b.tar', 'v1', digest],
  ['oci-archive:/a/me@home.tar:v1', 'oci-archive:/a/me@home.tar', 'v1', undefined],
  ['oci-archive:/a b/ü.tar', 'oci-archive:/a b/ü.tar', undefined, undefined],
  ['docker-archive:/a.tar', 'docker-archive:/a.tar', undefined, undefined],
  ['docker-archive:/a.tar:redis', 'docker-archive:/a.tar', 'docker.io/library/redis:latest', undefined],
  ['docker-archive:/a.tar:localhost:5000/x:1', 'docker-archive:/a.tar', 'localhost:5000/x:1', undefined],
] as const;

test('archives are parsed, and their names lead to them again', () => {
  for (const [text, repository, tag, digest] of GOOD) {
    const ref = parseLocation(text);
    assert.deepEqual([ref.repository, ref.tag, ref.digest], [repository, tag, digest], text);
    assert.deepEqual(parseLocation(ref.name), ref);
    assert.ok(namesArchive(text) && isArchive(ref.repository));
    const { kind, path } = archiveOf(ref.repository);
    assert.deepEqual([kind, path], [ref.registry, ref.path]);
    assert.equal(registryOf(ref.repository), ref.repository);
  }
});

test('everything else is a reference', () => {
  for (const text of ['redis:7', 'docker:dind', 'oci/redis', 'localhost:5000/oci/x:1', 'oci-archive']) {
    assert.deepEqual(parseLocation(text), parseReference(text));
    assert.ok(!namesArchive(text));
  }
  assert.ok(!isArchive('oci:5000/app'), 'a registry may be called so');
  assert.equal(registryOf('oci:5000/app'), 'oci:5000');
});

const BAD = [
  ['oci:', /the path is missing/, 4],
  ['oci-archive::v1', /the path is missing/, 12],
  ['oci:/a:', /the name after ":" is missing/, 7],
  ['oci:/a"b', /the character "\\"" is not allowed/, 6],
  ['oci:/a\\b', /the character "\\\\" is not allowed/, 6],
  ['oci:/a\nb', /the character "\\n" is not allowed/, 6],
  ["docker-archive:/a'b:x", /the character "'" is not allowed/, 17],
  ['oci:/a:v 1', /a name has letters/, 7],
  ['oci:/a:-v', /a name has letters/, 7],
  ['oci:/a@sha256:12', /a digest is sha256:/, 7],
  [`docker-archive:/a@${digest}`, /goes by its name/, 17],
] as const;

test('what is malformed is told with its place', () => {
  for (const [text, message, at] of BAD) {
    assert.throws(
      () => parseLocation(text),
      (err) => {
        assert.ok(err instanceof GantryError);
        assert.equal(err.code, 'INVALID');
        assert.match(err.message, message);
        const [, shown = '', caret = ''] = err.message.split('\n');
        const before = shown.slice(2, caret.length - 1);
        assert.equal(before.replace(/\\n/, '\n').length, at, err.message);
        return true;
      },
      text,
    );
  }
  assert.throws(() => parseLocation('oci://ghcr.io/org/chart'), /leave that out and type "ghcr.io\/org\/chart"/);
  assert.throws(() => parseLocation('docker-archive:/a.tar:x/UPPER'), /must be lowercase/);
});
