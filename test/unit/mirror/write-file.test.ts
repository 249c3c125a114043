import assert from 'node:assert/strict';
import { lstat, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { assertPlace, writeFileWhole } from '../../../src/app/mirror/write-file.ts';
import { runOk } from '../../support/process.ts';
import { tempDir } from '../../support/temp.ts';

test('a file is replaced as a whole, and nothing is left beside it', async () => {
  await using dir = await tempDir('gantry-write-');
  const path = dir.join('report.json');
  await writeFileWhole(path, 'one');
  const before = await stat(path);
  await writeFileWhole(path, 'two');
  assert.equal(await readFile(path, 'utf8'), 'two');
  assert.notEqual((await stat(path)).ino, before.ino, 'a reader of the old one keeps it');
  assert.deepEqual(await readdir(dir.path), ['report.json']);
});

test('a link stays one, a pipe is written to, and a directory is refused', async () => {
  await using dir = await tempDir('gantry-write-');
  await writeFile(dir.join('real.json'), 'old');
  await symlink('real.json', dir.join('link.json'));
  await writeFileWhole(dir.join('link.json'), 'new');
  assert.equal(await readFile(dir.join('real.json'), 'utf8'), 'new');
  assert.ok((await lstat(dir.join('link.json'))).isSymbolicLink());
  await runOk('mkfifo', [dir.join('pipe')]);
  const [read] = await Promise.all([readFile(dir.join('pipe'), 'utf8'), writeFileWhole(dir.join('pipe'), 'through')]);
  assert.equal(read, 'through');
  assert.ok((await stat(dir.join('pipe'))).isFIFO(), 'it was not replaced');
  await mkdir(dir.join('dir'));
  await assert.rejects(writeFileWhole(dir.join('dir'), 'x'), { code: 'IO' });
  await assert.rejects(writeFileWhole(dir.join('nowhere/x'), 'x'), { code: 'IO' });
  assert.deepEqual((await readdir(dir.path)).toSorted(), ['dir', 'link.json', 'pipe', 'real.json']);
});

test('where a file could not be written is known beforehand, and looking leaves nothing behind', async () => {
  await using dir = await tempDir('gantry-write-');
  await mkdir(dir.join('dir'));
  await writeFile(dir.join('plain'), 'old');
  await symlink('dir', dir.join('link'));
  for (const use of ['replace', 'append'] as const) {
    // A directory that takes no files whatever its permissions say, one that is not there, and a file in the place of one.
    for (const path of [dir.join('dir'), dir.join('link'), '/proc/x', dir.join('nowhere/x'), dir.join('plain/x')]) {
      await assert.rejects(assertPlace(path, use), { code: 'USAGE' }, `${use} ${path}`);
    }
    for (const path of [dir.join('plain'), dir.join('new'), dir.join('link/x'), '/dev/null'])
      await assertPlace(path, use);
  }
  assert.equal(await readFile(dir.join('plain'), 'utf8'), 'old');
  assert.deepEqual((await readdir(dir.path, { recursive: true })).toSorted(), ['dir', 'link', 'plain']);
});

test('a file is for all to read where that is asked for, whatever was there before', async () => {
  await using dir = await tempDir('gantry-write-');
  await writeFile(dir.join('x'), 'old', { mode: 0o600 });
  await writeFileWhole(dir.join('x'), 'new', { mode: 0o644 });
  assert.equal((await stat(dir.join('x'))).mode & 0o777, 0o644);
});
