import assert from 'node:assert/strict';
import { test } from 'node:test';
import { repositoryOf, requestNameOf } from '../../../../src/server/registry/repository-name.ts';

test('a path without a registry is of docker.io', () => {
  assert.equal(repositoryOf('redis', undefined), 'docker.io/library/redis');
  assert.equal(repositoryOf('library/redis', undefined), 'docker.io/library/redis');
  assert.equal(repositoryOf('grafana/loki/x', undefined), 'docker.io/grafana/loki/x');
});

test('the first part may be a registry, its port behind an underscore or a colon', () => {
  assert.equal(repositoryOf('ghcr.io/a/b', undefined), 'ghcr.io/a/b');
  assert.equal(repositoryOf('docker.io/redis', undefined), 'docker.io/library/redis');
  assert.equal(repositoryOf('index.docker.io/redis', undefined), 'docker.io/library/redis');
  assert.equal(repositoryOf('localhost/a', undefined), 'localhost/a');
  assert.equal(repositoryOf('localhost_5000/a/b', undefined), 'localhost:5000/a/b');
  assert.equal(repositoryOf('localhost:5000/a/b', undefined), 'localhost:5000/a/b');
  assert.equal(repositoryOf('127.0.0.1_80/a', undefined), '127.0.0.1:80/a');
  assert.equal(repositoryOf('harbor_443/a', undefined), 'harbor:443/a');
});

test('a registry alone, or a part that only looks like one further on, is a name like any other', () => {
  assert.equal(repositoryOf('ghcr.io', undefined), 'docker.io/library/ghcr.io');
  assert.equal(repositoryOf('a/ghcr.io/b', undefined), 'docker.io/a/ghcr.io/b');
  assert.equal(repositoryOf('a_b/c', undefined), 'docker.io/a_b/c');
});

test('what containerd says is the registry decides', () => {
  assert.equal(repositoryOf('library/redis', 'docker.io'), 'docker.io/library/redis');
  assert.equal(repositoryOf('a/b', 'localhost:5000'), 'localhost:5000/a/b');
  assert.equal(repositoryOf('ghcr.io/a', 'quay.io'), 'quay.io/ghcr.io/a');
  assert.equal(repositoryOf('a/b', '[::1]:5000'), '[::1]:5000/a/b');
});

test('what is no name is none', () => {
  const long = 'a'.repeat(300);
  for (const path of [
    '',
    '/',
    'a//b',
    '/a',
    'a/',
    'a/../b',
    '..',
    '.',
    'A/b',
    'a/B',
    'a b',
    'a:b',
    'a@b',
    'a/b:c',
    long,
  ]) {
    assert.equal(repositoryOf(path, undefined), undefined, path);
  }
  for (const path of ['-a', 'a-', 'a..b', 'a___b', 'a.-b', 'ghcr.io/', 'ghcr.io//a', 'ghcr.io/A', 'a/b\u0000', 'a/ü']) {
    assert.equal(repositoryOf(path, undefined), undefined, path);
  }
  for (const path of ['localhost_99999/a', 'localhost_0/a', '1.2.3.999/a', 'host_name.example/a', '_5000/a']) {
    assert.equal(repositoryOf(path, undefined), undefined, path);
  }
  for (const ns of [
    '',
    'quay',
    'a/b',
    'https://quay.io',
    'quay.io/',
    '../x.y',
    'user@quay.io',
    'quay.io:x',
    'quay.io?',
  ]) {
    assert.equal(repositoryOf('a/b', ns), undefined, ns);
  }
});

test('a repository is listed under the name by which it is found', () => {
  for (const repository of [
    'docker.io/library/redis',
    'ghcr.io/a/b',
    'localhost:5000/a',
    'localhost/a',
    'host:1/a/b/c',
  ]) {
    const name = requestNameOf(repository);
    assert.ok(name !== undefined && !name.includes(':'), repository);
    assert.equal(repositoryOf(name, undefined), repository);
  }
  assert.equal(requestNameOf('localhost:5000/a/b'), 'localhost_5000/a/b');
  assert.equal(requestNameOf('[::1]:5000/a'), undefined, 'only as ns');
});
