import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../../../src/oci/digest.ts';
import { readRequest } from '../../../../src/server/registry/request.ts';

const SHA256 = digestOf('x');
const SHA512 = digestOf('x', 'sha512');
const REDIS = { repository: 'docker.io/library/redis', name: 'redis' };

function refused(target: string): string {
  const asked = readRequest(target);
  assert.equal(asked.kind, 'refused', target);
  return asked.kind === 'refused' ? `${asked.status} ${asked.code}` : '';
}

test('manifests, by tag and digest', () => {
  const byTag = { kind: 'manifest', ...REDIS, reference: { tag: '7' } };
  assert.deepEqual(readRequest('/v2/redis/manifests/7'), byTag);
  assert.deepEqual(readRequest('/v2/redis/manifests/7?x=1'), byTag);
  for (const digest of [SHA256, SHA512]) {
    const byDigest = { kind: 'manifest', ...REDIS, reference: { digest } };
    assert.deepEqual(readRequest(`/v2/redis/manifests/${digest}`), byDigest);
    assert.deepEqual(readRequest(`/v2/redis/manifests/${digest.replace(':', '%3A')}`), byDigest);
    assert.deepEqual(readRequest(`/v2/redis/manifests/${digest.replace(':', '%3a')}`), byDigest);
  }
});

test('blobs and referrers', () => {
  assert.deepEqual(readRequest(`/v2/redis/blobs/${SHA512}`), { kind: 'blob', ...REDIS, digest: SHA512 });
  const path = `/v2/redis/referrers/${SHA256}`;
  const all = { artifactType: undefined, last: undefined, namespace: undefined };
  const referrers = { kind: 'referrers', ...REDIS, digest: SHA256, ...all };
  assert.deepEqual(readRequest(path), referrers);
  assert.deepEqual(readRequest(`${path}?artifactType=&last=`), referrers);
  const asked = readRequest(`${path}?artifactType=application%2Fspdx%2Bjson&ns=ghcr.io&last=${SHA512}`);
  const some = { artifactType: 'application/spdx+json', last: SHA512, namespace: 'ghcr.io' };
  assert.deepEqual(asked, { ...referrers, repository: 'ghcr.io/redis', ...some });
  assert.equal(refused(`${path}?last=7`), '400 DIGEST_INVALID');
});

test('lists and their pages', () => {
  const all = { n: undefined, last: undefined };
  assert.deepEqual(readRequest('/v2/_catalog'), { kind: 'catalog', page: all });
  assert.deepEqual(readRequest('/v2/_catalog?n=0'), { kind: 'catalog', page: { n: 0, last: undefined } });
  const tags = { kind: 'tags', ...REDIS, namespace: undefined };
  assert.deepEqual(readRequest('/v2/redis/tags/list'), { ...tags, page: all });
  assert.deepEqual(readRequest('/v2/redis/tags/list?n=&last='), { ...tags, page: all });
  assert.deepEqual(readRequest('/v2/redis/tags/list?n=5&last=a%2Fb'), { ...tags, page: { n: 5, last: 'a/b' } });
});

test('the root of it', () => {
  for (const target of ['/v2', '/v2/', '/v2/?x', '/v2?x']) assert.equal(readRequest(target).kind, 'base');
});

test('repositories of several parts, which may have the names of routes', () => {
  const asked = readRequest('/v2/a/manifests/b/blobs/manifests/tags');
  const name = 'a/manifests/b/blobs';
  assert.deepEqual(asked, { kind: 'manifest', name, repository: `docker.io/${name}`, reference: { tag: 'tags' } });
  assert.equal(readRequest('/v2/tags/list/tags/list').kind, 'tags');
  const hosted = readRequest('/v2/localhost%3A5000/a/manifests/b');
  assert.ok(hosted.kind === 'manifest' && hosted.repository === 'localhost:5000/a');
});

test('the registry that containerd names', () => {
  const asked = readRequest('/v2/a/b/manifests/c?ns=ghcr.io');
  assert.ok(asked.kind === 'manifest' && asked.repository === 'ghcr.io/a/b');
  assert.equal(refused('/v2/a/b/manifests/c?ns=ghcr.io&ns=quay.io'), '400 NAME_INVALID');
  assert.equal(refused('/v2/a/b/manifests/c?ns=../../etc'), '400 NAME_INVALID');
});

test('names that are none are refused before anything is looked up', () => {
  for (const name of [
    '..',
    'a/..',
    '../..',
    'a//b',
    '/a',
    'a%2Fb',
    'a%2e%2e',
    '%2e%2e',
    'A',
    'a%00',
    'a\\b',
    'a;b',
    '%',
  ]) {
    assert.equal(refused(`/v2/${name}/manifests/x`), '400 NAME_INVALID', name);
    assert.equal(refused(`/v2/${name}/tags/list`), '400 NAME_INVALID', name);
  }
});

test('tags and digests that are none', () => {
  for (const tag of ['', '.a', '-a', 'a b', 'a%20b', '..', 'a%2f', 'x'.repeat(129), 'ä']) {
    assert.equal(refused(`/v2/a/manifests/${tag}`), '400 TAG_INVALID', tag);
  }
  const wrong = ['sha256:', 'sha256:abc', SHA256.toUpperCase(), `${SHA256}0`, `md5:${'0'.repeat(32)}`, 'a:b'];
  for (const digest of wrong) {
    assert.equal(refused(`/v2/a/manifests/${digest}`), '400 DIGEST_INVALID', digest);
    assert.equal(refused(`/v2/a/blobs/${digest}`), '400 DIGEST_INVALID', digest);
  }
  assert.equal(refused('/v2/a/blobs/latest'), '400 DIGEST_INVALID');
  assert.equal(refused('/v2/a/referrers/latest'), '400 DIGEST_INVALID');
  assert.equal(refused(`/v2/a/referrers/${SHA256}?artifactType=x`), '400 UNSUPPORTED');
});

test('pages that are none', () => {
  for (const n of ['-1', 'x', '1.5', '1e3', '0x1', '9'.repeat(10), '%201']) {
    assert.equal(refused(`/v2/_catalog?n=${n}`), '400 PAGINATION_NUMBER_INVALID', n);
  }
  assert.equal(refused(`/v2/a/tags/list?last=${'x'.repeat(2000)}`), '400 PAGINATION_NUMBER_INVALID');
});

test('other paths are not there', () => {
  for (const path of [
    '/v2/x',
    '/v2//',
    '/v2/a/tags',
    '/v2/a/tags/list/',
    '/v2/a/blobs/uploads/',
    '/v2/_catalog/',
    '/x/v2/',
  ]) {
    assert.equal(refused(path), '404 UNSUPPORTED', path);
  }
});
