import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { test } from 'node:test';
import { isCode } from '../../../src/errors.ts';
import { findHelper, helperErase, helperGet, helperStore } from '../../../src/registry/credential-helper.ts';
import { Secret } from '../../../src/secret.ts';
import { envFor, helper, leaks, MARKER, never, printed, tempDir } from './temp.ts';

test('the protocol of get, store and erase is spoken', async (t) => {
  const dir = await tempDir(t);
  await helper(
    dir,
    'x',
    'cat > "$DIR/$1"; [ "$1" != get ] || printf \'{"ServerURL":"s","Username":"u","Secret":"p"}\'',
  );
  const opts = { env: envFor(dir), signal: never };
  const found = await helperGet('x', 'h.example', opts);
  assert.equal(found?.kind === 'basic' && `${found.username}:${found.password.reveal()}`, 'u:p');
  await helperStore('x', { server: 'h.example', username: 'u"', secret: new Secret(MARKER) }, opts);
  assert.equal(await helperErase('x', 'h.example', opts), true);
  assert.equal(await readFile(join(dir, 'get'), 'utf8'), 'h.example');
  assert.equal(await readFile(join(dir, 'erase'), 'utf8'), 'h.example');
  assert.deepEqual(JSON.parse(await readFile(join(dir, 'store'), 'utf8')), {
    ServerURL: 'h.example',
    Username: 'u"',
    Secret: MARKER,
  });
});

test('a helper that has nothing is no error', async (t) => {
  const dir = await tempDir(t);
  const opts = { env: envFor(dir), signal: never };
  await helper(dir, 'none', 'echo "credentials not found in native keychain"; exit 1');
  assert.equal(await helperGet('none', 'h', opts), undefined);
  assert.equal(await helperErase('none', 'h', opts), false);
  await helper(dir, 'empty', 'printf \'{"ServerURL":"","Username":"","Secret":""}\'');
  assert.equal(await helperGet('empty', 'h', opts), undefined);
});

const BAD: readonly (readonly [why: string, body: string])[] = [
  ['fails', `echo "${MARKER}"; echo "${MARKER}" >&2; exit 1`],
  [
    'fails with the secret on one line only',
    `echo "error: ${MARKER} credentials not found in native keychain"; exit 3`,
  ],
  ['prints no JSON', `echo "${MARKER}"`],
  ['prints half of its JSON', `printf '{"Username":"u","Secret":"${MARKER}'`],
  ['prints other JSON', `echo '["${MARKER}"]'`],
  ['prints null', 'echo null'],
  ['prints a number for a secret', 'echo \'{"Username":"u","Secret":5}\''],
  ['prints without end', `yes "${MARKER}"`],
  ['prints nothing', 'exit 0'],
  ['is killed', 'kill -9 $$'],
];

for (const [why, body] of BAD) {
  test(`a helper that ${why} is an error that shows nothing of what it said`, async (t) => {
    const dir = await tempDir(t);
    await helper(dir, 'bad', body);
    await assert.rejects(
      helperGet('bad', 'h', { env: envFor(dir), signal: never }),
      (err) =>
        isCode(err, 'UNAUTHORIZED') && err.message.startsWith('docker-credential-bad get: ') && !leaks(printed(err)),
    );
  });
}

test('a failing store shows nothing of the secret', async (t) => {
  const dir = await tempDir(t);
  await helper(dir, 'bad', 'cat; cat >&2; exit 1');
  await assert.rejects(
    helperStore('bad', { server: 'h', username: 'u', secret: new Secret(MARKER) }, { env: envFor(dir), signal: never }),
    (err) => isCode(err, 'UNAUTHORIZED') && !leaks(printed(err)),
  );
});

test('a helper that does not read its input, and one that cannot be run, end cleanly', async (t) => {
  const dir = await tempDir(t);
  await helper(dir, 'deaf', 'exec 0<&-; printf \'{"Username":"u","Secret":"p"}\'');
  const secret = new Secret('x'.repeat(1_000_000));
  await helperStore('deaf', { server: 'h', username: 'u', secret }, { env: envFor(dir), signal: never });
  await writeFile(join(dir, 'docker-credential-broken'), '#!/nonexistent/interpreter\n');
  await chmod(join(dir, 'docker-credential-broken'), 0o755);
  await assert.rejects(helperGet('broken', 'h', { env: envFor(dir), signal: never }), (err) =>
    isCode(err, 'UNAUTHORIZED'),
  );
});

/** Whether a process is there and not only waiting to be collected. */
const isRunning = async (pid: number): Promise<boolean> =>
  readFile(`/proc/${pid}/stat`, 'utf8').then(
    (text) => !/\) [ZX] /.test(text),
    () => false,
  );

/** The kernel ends a killed process a little after the kill. */
async function isGone(pid: number): Promise<boolean> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    if (!(await isRunning(pid))) return true;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return false;
}

async function pidIn(file: string): Promise<number> {
  for (;;) {
    const text = await readFile(file, 'utf8').catch(() => '');
    if (text.endsWith('\n')) return Number(text);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test('a helper that hangs is ended, and with it what it started', async (t) => {
  const dir = await tempDir(t);
  await helper(dir, 'slow', 'sleep 600 & echo $! > "$DIR/pid"; wait');
  const hung = helperGet('slow', 'h', { env: envFor(dir), signal: never, timeoutMs: 1000 });
  hung.catch(() => undefined);
  const pid = await pidIn(join(dir, 'pid'));
  assert.equal(await isRunning(pid), true);
  await assert.rejects(hung, (err) => isCode(err, 'TIMEOUT'));
  assert.equal(await isGone(pid), true);
});

test('a signal ends a helper, and one that is given up before it starts is not started', async (t) => {
  const dir = await tempDir(t);
  await helper(dir, 'slow', 'echo $$ > "$DIR/pid"; exec sleep 600');
  const stop = new AbortController();
  const reason = new Error('stopped');
  const waiting = helperGet('slow', 'h', { env: envFor(dir), signal: stop.signal });
  waiting.catch(() => undefined);
  const pid = await pidIn(join(dir, 'pid'));
  stop.abort(reason);
  await assert.rejects(waiting, reason);
  assert.equal(await isGone(pid), true);
  await assert.rejects(helperGet('slow', 'h', { env: envFor(dir), signal: stop.signal }), reason);
});

test('a helper is found in absolute directories of PATH only, and only as a program', async (t) => {
  const dir = await tempDir(t);
  const [one, two] = [join(dir, 'one'), join(dir, 'two')];
  await mkdir(join(one, 'docker-credential-x'), { recursive: true });
  await mkdir(two);
  await writeFile(join(one, 'docker-credential-y'), 'not a program');
  await helper(two, 'x', 'exit 0');
  assert.equal(await findHelper('x', { PATH: `:.:${one}:${two}` }), join(two, 'docker-credential-x'));
  assert.equal(await findHelper('y', { PATH: `${one}:${two}` }), undefined);
  assert.equal(await findHelper('x', { PATH: relative(process.cwd(), two) }), undefined);
  assert.equal(await findHelper('x', {}), undefined);
});

test('the name of a helper cannot leave the PATH', async () => {
  for (const name of ['', '../x', 'a/b', 'a b', 'a\0b', 'a;b', '$(x)', 'a\n', '\u00e9', 'x'.repeat(200)]) {
    await assert.rejects(findHelper(name, { PATH: '/bin' }), (err) => isCode(err, 'INVALID'), name);
  }
});

test('the program gets the given environment and no other', async (t) => {
  const dir = await tempDir(t);
  process.env['GANTRY_TEST_LEAK'] = '1';
  t.after(() => delete process.env['GANTRY_TEST_LEAK']);
  await helper(dir, 'env', 'printf \'{"Username":"u%s","Secret":"p"}\' "$GANTRY_TEST_LEAK"');
  const found = await helperGet('env', 'h', { env: envFor(dir), signal: never });
  assert.equal(found?.kind === 'basic' && found.username, 'u');
});
