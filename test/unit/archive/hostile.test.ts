/** Archives of strangers: each trap is one clear error, and none hangs, fills the memory or leads out of the archive. */
import assert from 'node:assert/strict';
import { open, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { ErrorCode } from '../../../src/errors.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { DOCKER_MANIFEST, OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { readLocation } from '../../support/archives.ts';
import { failureOf } from '../../support/clients.ts';
import { tar, type TarEntry } from '../../support/tar.ts';
import { tempDir } from '../../support/temp.ts';

const EMPTY_INDEX = '{"schemaVersion":2,"manifests":[]}';
const absent = digestOf('never written');
const END = 1024;

const indexOf = (...manifests: unknown[]): TarEntry => ({
  name: 'index.json',
  body: JSON.stringify({ schemaVersion: 2, manifests }),
});
const paxRecord = (text: string): string => {
  let length = text.length + 2;
  while (`${length} ${text}\n`.length !== length) length += 1;
  return `${length} ${text}\n`;
};
const pax = (text: string, type = 'x'): TarEntry => ({ name: 'pax', type, body: paxRecord(text) });
const layout = (...entries: TarEntry[]): Buffer => tar([...entries, { name: 'index.json', body: EMPTY_INDEX }]);
const withoutEnd = (archive: Buffer): Buffer => archive.subarray(0, archive.length - END);

/** The size field of the first header, and a checksum that fits. */
function withSize(archive: Buffer, size: number): Buffer {
  const copy = Buffer.from(archive);
  copy.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  copy.fill(' ', 148, 156);
  const sum = copy.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  copy.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return copy;
}

const config = Buffer.from(JSON.stringify({ rootfs: { type: 'layers', diff_ids: [digestOf('layer')] } }));
const saved = (layer: string, ...entries: TarEntry[]): Buffer =>
  tar([
    { name: 'c.json', body: config },
    { name: 'manifest.json', body: JSON.stringify([{ Config: 'c.json', RepoTags: ['a:1'], Layers: [layer] }]) },
    ...entries,
  ]);

type Trap = readonly [what: string, kind: 'oci' | 'docker', archive: Buffer, code: ErrorCode, message: RegExp];

const TRAPS: readonly Trap[] = [
  [
    'a name with ..',
    'oci',
    layout({ name: 'blobs/../../etc/passwd', body: 'x' }),
    'MALFORMED',
    /an entry with the name/,
  ],
  ['an absolute name', 'oci', layout({ name: '/etc/passwd', body: 'x' }), 'MALFORMED', /an entry with the name/],
  ['a long name with ..', 'oci', layout(pax('path=a/../b'), { name: 'x' }), 'MALFORMED', /an entry with the name/],
  ['a name of nothing', 'oci', layout({ name: '', body: 'x' }), 'MALFORMED', /an entry with the name ""/],
  [
    'two entries of one name',
    'oci',
    layout({ name: 'a' }, { name: './a' }),
    'MALFORMED',
    /"a" is in the archive twice/,
  ],
  ['a directory with a size', 'oci', layout({ name: 'd', type: '5', body: 'x' }), 'MALFORMED', /with a size/],
  ['a link with a size', 'oci', layout({ name: 'd', type: '2', linkname: 'e', body: 'x' }), 'MALFORMED', /with a size/],
  ['a path for all entries', 'oci', layout(pax('path=index.json', 'g')), 'MALFORMED', /a global PAX header/],
  ['a sparse file', 'oci', layout({ name: 'a', type: 'S' }), 'UNSUPPORTED', /sparse/],
  ['a sparse file in PAX', 'oci', layout(pax('GNU.sparse.size=5'), { name: 'a' }), 'UNSUPPORTED', /sparse/],
  ['a PAX record that is too long', 'oci', layout({ name: 'p', type: 'x', body: '99 path=a\n' }), 'MALFORMED', /PAX/],
  ['a PAX record without =', 'oci', layout(pax('path')), 'MALFORMED', /without "="/],
  ['a PAX record that is no number', 'oci', layout(pax('size=-1'), { name: 'a' }), 'MALFORMED', /"-1"/],
  [
    'a PAX header of 2 MiB',
    'oci',
    layout(pax(`comment=${'x'.repeat(2 << 20)}`)),
    'TOO_LARGE',
    /at most 1048576 are read/,
  ],
  ['a GNU name of 2 MiB', 'oci', layout({ name: 'l', type: 'L', body: 'x'.repeat(2 << 20) }), 'TOO_LARGE', /1048576/],
  ['10 GiB that are not there', 'oci', layout(pax(`size=${10 * 2 ** 30}`), { name: 'a' }), 'MALFORMED', /cut off: "a"/],
  [
    '4 GiB that are not there',
    'oci',
    withSize(layout({ name: 'a' }), 2 ** 32),
    'MALFORMED',
    /cut off: "a" should have/,
  ],
  ['a damaged header', 'oci', layout({ name: 'a' }).fill('9', 124, 135), 'MALFORMED', /checksum/],
  ['an end inside a file', 'oci', layout().subarray(0, 520), 'MALFORMED', /cut off: "index.json"/],
  [
    'an end inside a header',
    'oci',
    Buffer.concat([withoutEnd(layout()), Buffer.alloc(100, 1)]),
    'MALFORMED',
    /cut off/,
  ],
  ['no header', 'oci', Buffer.alloc(2048, 'x'), 'MALFORMED', /no tar header stands there/],
  [
    'more after the end',
    'oci',
    Buffer.concat([withoutEnd(layout()), Buffer.alloc(512), layout()]),
    'MALFORMED',
    /something follows the end/,
  ],
  ['gzip', 'oci', gzipSync(layout()), 'UNSUPPORTED', /is compressed/],
  ['zstd', 'docker', Buffer.from('28b52ffd00000000', 'hex'), 'UNSUPPORTED', /is compressed/],
  ['an empty file', 'oci', Buffer.alloc(0), 'NOT_FOUND', /it has no index.json/],
  ['an empty archive', 'docker', tar([]), 'NOT_FOUND', /it has no manifest.json/],
  ['no image', 'oci', layout(), 'NOT_FOUND', /has no image/],
  [
    'an index.json of 5 MiB',
    'oci',
    tar([{ name: 'index.json', body: `${' '.repeat(5 << 20)}${EMPTY_INDEX}` }]),
    'TOO_LARGE',
    /"index.json" has 5\d+ bytes, at most 4194304/,
  ],
  [
    'an index.json in __proto__',
    'oci',
    tar([{ name: 'index.json', body: `{"schemaVersion":2,"__proto__":${EMPTY_INDEX}}` }]),
    'MALFORMED',
    /index.json: manifests: is missing/,
  ],
  [
    'a name in __proto__',
    'oci',
    tar([
      indexOf(
        { mediaType: OCI_MANIFEST, digest: absent, size: 1, annotations: JSON.parse('{"__proto__":"v1"}') },
        { mediaType: OCI_MANIFEST, digest: digestOf('b'), size: 1 },
      ),
    ]),
    'NOT_FOUND',
    /has several images/,
  ],
  [
    'a media type with a path',
    'oci',
    tar([indexOf({ mediaType: '../x', digest: absent, size: 1 })]),
    'MALFORMED',
    /mediaType/,
  ],
  [
    'a digest with a path',
    'oci',
    tar([indexOf({ mediaType: OCI_MANIFEST, digest: '../../etc', size: 1 })]),
    'MALFORMED',
    /digest/,
  ],
  [
    'a manifest that is missing',
    'oci',
    tar([indexOf({ mediaType: DOCKER_MANIFEST, digest: absent, size: 5 })]),
    'NOT_FOUND',
    new RegExp(`has no ${absent}`),
  ],
  ['a layer that is missing', 'docker', saved('l.tar'), 'MALFORMED', /names "l.tar", which is not in the archive/],
  ['a layer outside', 'docker', saved('../../../../etc/passwd'), 'MALFORMED', /which is not in the archive/],
  ['a layer in __proto__', 'docker', saved('__proto__'), 'MALFORMED', /which is not in the archive/],
  [
    'a link that leads outside',
    'docker',
    saved('l.tar', { name: 'l.tar', type: '2', linkname: '../../../../../../etc/passwd' }),
    'MALFORMED',
    /which is not in the archive/,
  ],
  [
    'an absolute link',
    'docker',
    saved('l.tar', { name: 'l.tar', type: '2', linkname: '/etc/passwd' }),
    'MALFORMED',
    /which is not in the archive/,
  ],
  [
    'links that go round',
    'docker',
    saved('a', { name: 'a', type: '2', linkname: 'b' }, { name: 'b', type: '1', linkname: 'a' }),
    'MALFORMED',
    /"a" is a link that leads to no file/,
  ],
  [
    'a layer with other bytes',
    'docker',
    saved('l', { name: 'l', body: 'damaged' }),
    'DIGEST_MISMATCH',
    /"l" has bytes/,
  ],
  ['no list', 'docker', tar([{ name: 'manifest.json', body: '{}' }]), 'MALFORMED', /must be a list/],
  ['a list of nothing', 'docker', tar([{ name: 'manifest.json', body: '[null]' }]), 'MALFORMED', /must be an object/],
  ['no config', 'docker', tar([{ name: 'manifest.json', body: '[{"Layers":[]}]' }]), 'MALFORMED', /Config/],
  [
    'fewer layers than the config tells of',
    'docker',
    tar([
      { name: 'c.json', body: config },
      { name: 'manifest.json', body: '[{"Config":"c.json","RepoTags":null,"Layers":null}]' },
    ]),
    'MALFORMED',
    /has 0 layers, and its config tells of 1/,
  ],
];

for (const [what, kind, archive, code, message] of TRAPS) {
  test(`refused: ${what}`, async () => {
    await using dir = await tempDir();
    await writeFile(dir.join('f.tar'), archive);
    const err = await failureOf(readLocation(`${kind}-archive:${dir.join('f.tar')}`), code);
    assert.match(err.message, message);
    assert.ok(err.message.includes(dir.join('f.tar')), 'it names the file');
  });
}

test('refused: more entries than any archive of images has', async () => {
  await using dir = await tempDir();
  const header = tar([{ name: 'd', type: '5' }]).subarray(0, 512);
  const file = await open(dir.join('f.tar'), 'w');
  const block = Buffer.concat(Array.from({ length: 1000 }, () => header));
  for (let i = 0; i < 101; i += 1) await file.write(block);
  await file.close();
  const err = await failureOf(readLocation(`oci-archive:${dir.join('f.tar')}`), 'TOO_LARGE');
  assert.match(err.message, /more than 100000 entries/);
});

test('refused: what is no file', async () => {
  await using dir = await tempDir();
  await failureOf(readLocation(`oci-archive:${dir.join('none.tar')}`), 'NOT_FOUND');
  await failureOf(readLocation(`oci:${dir.join('none')}`), 'NOT_FOUND');
  assert.match((await failureOf(readLocation(`oci-archive:${dir.path}`), 'IO')).message, /it is not a file/);
});
