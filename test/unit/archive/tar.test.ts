/** Tar files: what GNU tar writes is read, and what is written GNU tar reads. */
import assert from 'node:assert/strict';
import { mkdir, open, readdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { encodeHeader, headerSize, padded } from '../../../src/archive/tar-header.ts';
import { TarReader } from '../../../src/archive/tar-reader.ts';
import { TarWriter } from '../../../src/archive/tar-writer.ts';
import { digestOf, hexOf } from '../../../src/oci/digest.ts';
import { collect, failureOf, never } from '../../support/clients.ts';
import { runOk } from '../../support/process.ts';
import { tar } from '../../support/tar.ts';
import { tempDir } from '../../support/temp.ts';

const opts = { signal: never };
const LONG = `blobs/sha512/${hexOf(digestOf('long', 'sha512'))}`;

async function textOf(reader: TarReader, name: string, offset = 0): Promise<string | undefined> {
  const stream = await reader.stream(name, { ...opts, offset });
  return stream === undefined ? undefined : (await collect(stream)).toString();
}

for (const format of ['gnu', 'oldgnu', 'pax', 'ustar', 'v7']) {
  test(`reads what GNU tar writes as ${format}`, async () => {
    await using dir = await tempDir();
    await mkdir(dir.join('in/blobs/sha512'), { recursive: true });
    const deep = `deep/${'directory/'.repeat(12)}file`; // fits into ustar's prefix and name
    await mkdir(dirname(dir.join('in', deep)), { recursive: true });
    const files = new Map([['index.json', '{}']]);
    if (format !== 'v7') files.set(deep, 'deep');
    if (format !== 'v7' && format !== 'ustar') files.set(LONG, 'long');
    for (const [name, body] of files) await writeFile(dir.join('in', name), body);
    await runOk('ln', [dir.join('in/index.json'), dir.join('in/linked')]);
    await runOk('ln', ['-s', '../index.json', dir.join('in/blobs/symlink')]);
    const names = format === 'v7' ? ['index.json', 'linked', 'blobs/symlink'] : ['.'];
    const order = ['--sort=name', '-C', dir.join('in')];
    await runOk('tar', [`--format=${format}`, '-cf', dir.join('f.tar'), ...order, ...names]);
    await using reader = await TarReader.open(dir.join('f.tar'), opts);
    for (const [name, body] of files) {
      assert.equal(await textOf(reader, name), body);
    }
    assert.equal(await textOf(reader, 'linked'), '{}');
    assert.equal(await textOf(reader, 'blobs/symlink'), '{}');
    assert.equal(await textOf(reader, 'blobs'), undefined);
  });
}

test('reads from an offset, many at a time', async () => {
  await using dir = await tempDir();
  const entries = Array.from({ length: 20 }, (_, i) => ({ name: `f${i}`, body: `${i} `.repeat(50_000 + i) }));
  await writeFile(dir.join('f.tar'), tar(entries));
  await using reader = await TarReader.open(dir.join('f.tar'), opts);
  const found = await Promise.all(entries.map(({ name }, i) => textOf(reader, name, i * 1000)));
  assert.deepEqual(
    found,
    entries.map(({ body }, i) => body.slice(i * 1000)),
  );
  assert.equal(await textOf(reader, 'f0', 10_000_000), '');
});

test('a link is followed: older versions of docker write one for a layer that was there before', async () => {
  await using dir = await tempDir();
  const target = { name: 'aa/layer.tar', body: 'layer' };
  const link = { name: 'bb/layer.tar', type: '2', linkname: '../aa/layer.tar' };
  await writeFile(dir.join('f.tar'), tar([link, target, { name: 'cc', type: '1', linkname: 'bb/layer.tar' }]));
  await using reader = await TarReader.open(dir.join('f.tar'), opts);
  assert.equal(await textOf(reader, 'bb/layer.tar'), 'layer');
  assert.equal(await textOf(reader, 'cc'), 'layer');
});

test('GNU tar reads what is written, whatever the order in which entries are finished', async () => {
  await using dir = await tempDir();
  const writer = await TarWriter.create(dir.join('f.tar'), { overwrite: false });
  const bodies = new Map([
    [LONG, 'long'],
    ['a', 'a'.repeat(1000)],
    ['b', ''],
    ['c', 'c'.repeat(512)],
  ]);
  const regions = [...bodies].map(([name, body]) => writer.reserve(name, body.length));
  for (const region of regions.toReversed()) {
    await writer.write(Buffer.from(bodies.get(region.name) ?? ''), region.content);
    await writer.seal(region);
  }
  assert.deepEqual(
    (await readdir(dir.path)).filter((name) => !name.endsWith('.partial')),
    [],
  );
  await writer.finish();
  await writer.discard();
  assert.deepEqual(await readdir(dir.path), ['f.tar']);
  const { stdout } = await runOk('tar', ['-tf', dir.join('f.tar')]);
  assert.deepEqual(stdout.trim().split('\n'), [...bodies.keys()]);
  for (const [name, body] of bodies) {
    assert.equal((await runOk('tar', ['-xOf', dir.join('f.tar'), name])).stdout, body);
  }
  await using reader = await TarReader.open(dir.join('f.tar'), opts);
  for (const [name, body] of bodies) assert.equal(await textOf(reader, name), body);
});

test('an archive with an entry that was not finished does not appear', async () => {
  await using dir = await tempDir();
  const writer = await TarWriter.create(dir.join('f.tar'), { overwrite: false });
  const region = writer.reserve('a', 10);
  await writer.write(Buffer.from('half'), region.content);
  await failureOf(writer.finish(), 'INTERNAL');
  await writer.discard();
  assert.deepEqual(await readdir(dir.path), []);
});

test('a file that came to exist meanwhile is not overwritten, unless that is wanted', async () => {
  await using dir = await tempDir();
  for (const overwrite of [false, true]) {
    const writer = await TarWriter.create(dir.join(`${overwrite}.tar`), { overwrite });
    await writeFile(dir.join(`${overwrite}.tar`), 'mine');
    if (overwrite) await writer.finish();
    else await failureOf(writer.finish(), 'USAGE');
    await writer.discard();
  }
  assert.deepEqual(await readdir(dir.path), ['false.tar', 'true.tar']);
});

test('sizes that do not fit into octal digits are written and read', async () => {
  await using dir = await tempDir();
  const size = 70 * 2 ** 30 + 5;
  const at = headerSize('large') + padded(size);
  const file = await open(dir.join('f.tar'), 'w');
  await file.write(encodeHeader('large', size), 0, 512, 0);
  await file.write(encodeHeader('small', 3), 0, 512, at);
  await file.write('abc', at + 512);
  await file.truncate(at + 512 + 512 + 1024); // a hole: it takes no space
  await file.close();
  const { stdout } = await runOk('tar', ['--seek', '-tvf', dir.join('f.tar')]);
  assert.match(stdout, new RegExp(` ${size} .* large\n.* 3 .* small\n`));
  await using reader = await TarReader.open(dir.join('f.tar'), opts);
  const err = await failureOf(reader.read('large', { ...opts, limit: 100 }), 'TOO_LARGE');
  assert.ok(err.message.includes(` has ${size} bytes`));
  assert.equal(await textOf(reader, 'small'), 'abc');
});
