import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GantryError } from '../../../src/errors.ts';
import { parseReference, parseRepository, withObject } from '../../../src/oci/reference.ts';

const HEX = 'a'.repeat(64);
const SHA = `sha256:${HEX}`;
const SHA512 = `sha512:${'b'.repeat(128)}`;

function failure(work: () => unknown): GantryError {
  let thrown: unknown;
  try {
    work();
  } catch (err) {
    thrown = err;
  }
  assert(thrown instanceof GantryError);
  return thrown;
}

const GOOD: readonly (readonly [text: string, name: string])[] = [
  ['redis', 'docker.io/library/redis:latest'],
  ['redis:7', 'docker.io/library/redis:7'],
  ['docker:dind', 'docker.io/library/docker:dind'],
  ['library/redis', 'docker.io/library/redis:latest'],
  ['docker.io/redis', 'docker.io/library/redis:latest'],
  ['docker.io/library/redis:latest', 'docker.io/library/redis:latest'],
  ['index.docker.io/redis', 'docker.io/library/redis:latest'],
  ['index.docker.io/bitnami/redis', 'docker.io/bitnami/redis:latest'],
  ['registry-1.docker.io/library/redis', 'registry-1.docker.io/library/redis:latest'],
  ['bitnami/redis', 'docker.io/bitnami/redis:latest'],
  [`redis@${SHA}`, `docker.io/library/redis@${SHA}`],
  [`redis:7@${SHA}`, `docker.io/library/redis:7@${SHA}`],
  [`ghcr.io/a/b@${SHA512}`, `ghcr.io/a/b@${SHA512}`],
  ['localhost/a', 'localhost/a:latest'],
  ['localhost', 'docker.io/library/localhost:latest'],
  ['localhost:5000/a/b', 'localhost:5000/a/b:latest'],
  ['localhost:5000', 'docker.io/library/localhost:5000'],
  ['host:5000/a:b', 'host:5000/a:b'],
  ['127.0.0.1:5000/a', '127.0.0.1:5000/a:latest'],
  ['[::1]:5000/a:t', '[::1]:5000/a:t'],
  ['[2001:db8::1]/a/b', '[2001:db8::1]/a/b:latest'],
  ['GHCR.io/a', 'GHCR.io/a:latest'],
  ['Upper/a', 'Upper/a:latest'],
  ['xn--n3h.com/a', 'xn--n3h.com/a:latest'],
  ['a/b_c/d__e/f-g/h--i/j.k', 'docker.io/a/b_c/d__e/f-g/h--i/j.k:latest'],
  ['a:_-.X', 'docker.io/library/a:_-.X'],
  [`a:${'t'.repeat(128)}`, `docker.io/library/a:${'t'.repeat(128)}`],
  [`${HEX}:tag`, `docker.io/library/${HEX}:tag`],
  ['a'.repeat(63), `docker.io/library/${'a'.repeat(63)}:latest`],
  [`ghcr.io/${'a'.repeat(255)}`, `ghcr.io/${'a'.repeat(255)}:latest`],
  ['docker.io/library/oci:1', 'docker.io/library/oci:1'],
];

test('a reference is normalised as distribution/reference does', () => {
  for (const [text, name] of GOOD) assert.equal(parseReference(text).name, name, text);
});

test('a canonical name is its own canonical name', () => {
  for (const [, name] of GOOD) assert.equal(parseReference(name).name, name);
});

test('a reference comes apart into registry, path, tag and digest', () => {
  assert.deepEqual(parseReference(`localhost:5000/a/b:1@${SHA}`), {
    registry: 'localhost:5000',
    path: 'a/b',
    repository: 'localhost:5000/a/b',
    tag: '1',
    digest: SHA,
    name: `localhost:5000/a/b:1@${SHA}`,
  });
  assert.equal(parseReference(`redis@${SHA}`).tag, undefined);
  assert.equal(parseReference('redis').digest, undefined);
});

const BAD: readonly (readonly [text: string, why: RegExp, column: number])[] = [
  ['Redis', /repository name must be lowercase/, 0],
  ['ghcr.io/owner/Name:tag', /repository name must be lowercase/, 14],
  ['docker.io/a/B', /lowercase/, 12],
  ['a//b', /part of the repository name is empty/, 2],
  ['ghcr.io/', /repository name is missing/, 8],
  ['/redis', /part of the repository name is empty/, 0],
  ['redis/', /part of the repository name is empty/, 6],
  ['a..b', /may stand between/, 1],
  ['a___b', /may stand between/, 1],
  ['-a', /may stand between/, 0],
  ['ghcr.io/../etc/passwd', /may stand between/, 8],
  ['a/./b', /may stand between/, 2],
  ['redis:', /tag after ":" is missing/, 6],
  ['redis:a:b', /":" is not allowed in a repository name/, 5],
  ['redis:-a', /starts with none/, 6],
  [`redis:${'t'.repeat(129)}`, /at most 128/, 134],
  ['redis:a/b', /port must be a number/, 6],
  ['redis@', /a digest is sha256:/, 6],
  ['redis@sha256:abc', /a digest is sha256:/, 6],
  [`redis@sha256:${'A'.repeat(64)}`, /a digest is sha256:/, 6],
  [`redis@md5:${'a'.repeat(32)}`, /a digest is sha256:/, 6],
  [`redis@${SHA}@${SHA}`, /a digest is sha256:/, 6],
  [`@${SHA}`, /repository name is missing/, 0],
  [SHA, /digest alone names no repository; type REPOSITORY@sha256/, 0],
  [HEX, /64 hex digits is an image id/, 0],
  ['host:port/a', /port must be a number from 1 to 65535/, 5],
  ['host:0/a', /port must be/, 5],
  ['host:65536/a', /port must be/, 5],
  ['host:/a', /port must be/, 5],
  ['-host.com/a', /not a host name/, 0],
  ['a..com/a', /not a host name/, 0],
  ['1.2.3.999/a', /not a host name/, 0],
  ['[::1/a', /not a host name/, 0],
  ['[:::]/a', /not a host name/, 0],
  ['::1/a', /not a host name/, 0],
  ['[::1]x:5/a', /port must be/, 6],
  ['a b', /" " is not allowed/, 1],
  ['redis\r\n', /"\\r" is not allowed/, 5],
  ['redis\0', /"\\x00" is not allowed/, 5],
  ['r\u0435dis', /"\\u0435" is not allowed/, 1],
  ['a?b=c', /"\?" is not allowed/, 1],
  ['a%2fb', /"%" is not allowed/, 1],
  ['user@host/a', /a digest is sha256:/, 5],
];

test('a bad reference is refused with one sentence and a caret under the place', () => {
  for (const [text, why, column] of BAD) {
    const err = failure(() => parseReference(text));
    assert.equal(err.code, 'INVALID', text);
    const [first = '', shown = '', caret = '', ...rest] = err.message.split('\n');
    assert.match(first, /^invalid reference: /, text);
    assert.match(first, why, text);
    assert.deepEqual(rest, []);
    if (column < 90 && shown.length < 90) assert.equal(caret, `${' '.repeat(column + 2)}^`, text);
    assert.equal(caret.trim(), '^');
  }
});

test('a scheme or transport in front is answered with what to type', () => {
  const cases: readonly (readonly [text: string, advice: string])[] = [
    ['https://ghcr.io/a/b:1', 'leave that out and type "ghcr.io/a/b:1"'],
    ['http://localhost:5000/a', 'leave that out and type "localhost:5000/a"'],
    ['docker://redis:7', 'leave that out and type "redis:7"'],
    ['oci:dir:tag', 'leave that out and type a name like'],
    ['oci://ghcr.io/a/b', 'leave that out and type "ghcr.io/a/b"'],
    ['docker-archive:x.tar', 'leave that out'],
    ['https://', 'type a name like'],
  ];
  for (const [text, advice] of cases) assert(failure(() => parseReference(text)).message.includes(advice), text);
});

test('the caret stands right when what is before it is escaped', () => {
  const [, shown = '', caret = ''] = failure(() => parseReference('re\x1b[31mdis')).message.split('\n');
  assert.equal(shown, '  re\\x1b[31mdis');
  assert.equal(caret.indexOf('^'), 4);
  const late = failure(() => parseRepository('redis:7')).message.split('\n');
  assert.equal(late[2], `${' '.repeat(7)}^`);
});

test('nothing that came in leaves in a message unescaped or without bound', () => {
  const hostile = ['\x1b[2J', '\u202egnp.exe', '\u2028', '\ud800', 'a\nb', '\u{1f4a9}'];
  for (const text of hostile) {
    const err = failure(() => parseReference(text.repeat(1000)));
    for (const line of err.message.split('\n')) {
      assert.match(line, /^[\x20-\x7e]*$/);
      assert(line.length < 300, `${line.length}`);
    }
    assert.equal(err.message.split('\n').length, 3);
  }
});

test('a million characters are refused at once', () => {
  const million = 1_000_000;
  const texts = ['a', 'a-', 'a/', 'a.', '-', ':', '@', '[', 'A', '\n', '_', 'a:', '0'].map((unit) =>
    unit.repeat(million),
  );
  texts.push(`oci:${'/'.repeat(million)}x`, `https://${'/'.repeat(million)}`, `host/${'a-'.repeat(million)}`);
  const start = performance.now();
  for (const text of texts) {
    assert.equal(failure(() => parseReference(text)).code, 'INVALID');
    assert.equal(failure(() => parseRepository(text)).code, 'INVALID');
    assert.equal(failure(() => withObject(parseRepository('a'), text)).code, 'INVALID');
  }
  assert(performance.now() - start < 5000);
});

test('a repository name of more than 255 characters is refused, library/ included', () => {
  assert.match(failure(() => parseReference(`ghcr.io/${'a'.repeat(256)}`)).message, /at most 255 characters.* has 256/);
  assert.match(failure(() => parseReference('a'.repeat(248))).message, /has 256/);
  assert.equal(parseReference('a'.repeat(247)).path.length, 255);
});

test('an empty reference is refused', () => {
  assert.equal(failure(() => parseReference('')).message, 'invalid reference: it is empty');
  assert.equal(failure(() => parseRepository('')).message, 'invalid repository: it is empty');
});

test('a repository is normalised and has no tag or digest', () => {
  assert.deepEqual(parseRepository('redis'), {
    registry: 'docker.io',
    path: 'library/redis',
    repository: 'docker.io/library/redis',
  });
  assert.match(failure(() => parseRepository('redis:7')).message, /invalid repository: .*leave out ":7"/);
  assert.match(failure(() => parseRepository(`redis@${SHA}`)).message, /leave out "@sha256:/);
});

test('an object of a repository is a tag or a digest', () => {
  const repository = parseRepository('ghcr.io/a/b');
  assert.equal(withObject(repository, '1.0').name, 'ghcr.io/a/b:1.0');
  assert.equal(withObject(repository, SHA).name, `ghcr.io/a/b@${SHA}`);
  assert.equal(withObject(parseReference('ghcr.io/a/b:x'), 'y').name, 'ghcr.io/a/b:y');
  for (const bad of ['', 'a/b', '../x', 'sha256:abc', ':', 'a:b', '.a', 'a\n', 'é']) {
    assert.equal(failure(() => withObject(repository, bad)).code, 'INVALID', bad);
  }
});
