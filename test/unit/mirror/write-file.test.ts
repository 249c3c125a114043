import assert from 'node:assert/strict';
import { lstat, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { writeFileWhole } from '../../../src/app/mirror/write-file.ts';
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
