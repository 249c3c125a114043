import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, rename, rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { GantryError } from '../../../../src/errors.ts';
import { type Digest, digestOf } from '../../../../src/oci/digest.ts';
import * as types from '../../../../src/oci/media-types.ts';
import type { CacheStatus, ImageSource } from '../../../../src/server/registry/source.ts';
import { artifact } from '../../../support/artifacts.ts';
import { ask, type Asking, type Got } from '../../../support/ask.ts';
import { image, index, multiPlatform } from '../../../support/images.ts';
import { type Content, inMemory, readAll } from '../../../support/registry/content.ts';
import { putBlob, putImage, type Serving, serveStore } from '../../../support/serving.ts';

const REDIS = 'docker.io/library/redis';
const { signal } = new AbortController();

const app = image({ seed: 'app', layers: [300_000, { raw: Buffer.alloc(0) }] });
const [layer] = app.layers;
assert.ok(layer);
const layerContent = app.blobs.get(layer.digest);
assert.ok(layerContent);
const layerBytes = readAll(layerContent);

const get = (serving: Serving, path: string, options: Asking = {}): Promise<Got> =>
  ask(`${serving.url}/v2/${path}`, options);
const head = (serving: Serving, path: string): Promise<Got> => get(serving, path, { method: 'HEAD' });

function codeOf({ headers, body }: Got): string {
  assert.equal(headers['content-type'], 'application/json');
  const { errors }: { errors: { code: string; message: string }[] } = JSON.parse(body.toString());
  const [error] = errors;
  assert.ok(errors.length === 1 && error !== undefined && error.message !== '');
  return error.code;
}

async function assertRefused(got: Promise<Got>, status: number, code: string): Promise<Got> {
  const answer = await got;
  assert.deepEqual([answer.status, codeOf(answer)], [status, code]);
  return answer;
}

const blobFile = (serving: Serving, digest: Digest): string =>
  `${serving.store.root}/blobs/${digest.replace(':', '/')}`;

test('the root says what it is', async () => {
  await using serving = await serveStore({});
  for (const path of ['', '?x=1']) {
    const { status, headers } = await get(serving, path);
    assert.deepEqual([status, headers['docker-distribution-api-version']], [200, 'registry/2.0']);
  }
  assert.equal((await ask(`${serving.url}/v2`)).status, 200);
});

test('a manifest by tag and by digest: its bytes, what they are, and how long that holds', async () => {
  await using serving = await serveStore({ [`${REDIS}:7`]: app });
  const headers = {
    'content-type': types.OCI_MANIFEST,
    'content-length': String(app.desc.size),
    'docker-content-digest': app.desc.digest,
    etag: `"${app.desc.digest}"`,
    'cache-status': 'gantry; hit',
    'x-content-type-options': 'nosniff',
    'docker-distribution-api-version': 'registry/2.0',
  };
  for (const [reference, caching] of [
    ['7', 'no-cache'],
    [app.desc.digest, 'public, max-age=31536000, immutable'],
  ]) {
    for (const name of ['redis', 'library/redis', REDIS]) {
      const got = await get(serving, `${name}/manifests/${reference}`);
      assert.deepEqual([got.status, got.body], [200, app.manifest]);
      assert.partialDeepStrictEqual(got.headers, { ...headers, 'cache-control': caching });
      const asked = await head(serving, `${name}/manifests/${reference}`);
      assert.deepEqual([asked.status, asked.body.length], [200, 0]);
      assert.partialDeepStrictEqual(asked.headers, { ...headers, 'cache-control': caching });
    }
  }
});

test('where reading needs a token, no shared cache may keep it', async () => {
  await using serving = await serveStore({ [`${REDIS}:7`]: app }, { isPrivate: true });
  const { headers } = await get(serving, `redis/blobs/${layer.digest}`);
  assert.equal(headers['cache-control'], 'private, max-age=31536000, immutable');
});

test('each kind of manifest has its type, also without one of its own', async () => {
  const old = Buffer.from(app.manifest.toString().replace(/"mediaType": "[^"]*manifest.v1\+json",/, ''));
  const desc = { mediaType: types.OCI_MANIFEST, digest: digestOf(old), size: old.length };
  const oci10 = {
    desc,
    manifests: new Map([[desc.digest, { content: inMemory(old), mediaType: '' }]]),
    blobs: app.blobs,
  };
  const docker = multiPlatform({ mediaTypes: 'docker' });
  await using serving = await serveStore({
    [`${REDIS}:old`]: oci10,
    [`${REDIS}:docker`]: docker,
    [`${REDIS}:thing`]: artifact(),
  });
  for (const [reference, type] of [
    ['old', types.OCI_MANIFEST],
    [desc.digest, types.OCI_MANIFEST],
    ['docker', types.DOCKER_LIST],
    [docker.entries[0]?.digest, types.DOCKER_MANIFEST],
    ['thing', types.OCI_MANIFEST],
  ]) {
    const { status, headers } = await head(serving, `redis/manifests/${reference}`);
    assert.deepEqual([status, headers['content-type']], [200, type]);
  }
});

test('what the client has is not sent again', async () => {
  await using serving = await serveStore({ [`${REDIS}:7`]: app });
  for (const [path, digest] of [
    ['redis/manifests/7', app.desc.digest],
    [`redis/manifests/${app.desc.digest}`, app.desc.digest],
    [`redis/blobs/${layer.digest}`, layer.digest],
  ]) {
    for (const known of [`"${digest}"`, `W/"${digest}"`, '*']) {
      const got = await get(serving, path ?? '', { headers: { 'if-none-match': known } });
      assert.deepEqual([got.status, got.body.length, got.headers.etag], [304, 0, `"${digest}"`]);
    }
    assert.equal((await get(serving, path ?? '', { headers: { 'if-none-match': '"other"' } })).status, 200);
  }
  assert.equal(serving.openFiles(), 0);
});

test('a blob: all of it, its size, parts of it', async () => {
  await using serving = await serveStore({ [`${REDIS}:7`]: app });
  const path = `redis/blobs/${layer.digest}`;
  const whole = await get(serving, path);
  assert.deepEqual([whole.status, whole.body.equals(layerBytes), whole.broken], [200, true, undefined]);
  const headers = {
    'content-type': 'application/octet-stream',
    'x-content-type-options': 'nosniff',
    'content-length': String(layer.size),
    'docker-content-digest': layer.digest,
    'accept-ranges': 'bytes',
    etag: `"${layer.digest}"`,
    'cache-control': 'public, max-age=31536000, immutable',
  };
  assert.partialDeepStrictEqual(whole.headers, headers);
  const asked = await head(serving, path);
  assert.deepEqual([asked.status, asked.body.length], [200, 0]);
  assert.partialDeepStrictEqual(asked.headers, headers);
  for (const [range, start, end] of [
    ['bytes=0-0', 0, 1],
    ['bytes=100-299999', 100, 300_000],
    ['bytes=1000-', 1000, layer.size],
    ['bytes=-7', layer.size - 7, layer.size],
  ] as const) {
    const got = await get(serving, path, { headers: { range } });
    assert.deepEqual([got.status, got.headers['content-range']], [206, `bytes ${start}-${end - 1}/${layer.size}`]);
    assert.ok(got.body.equals(layerBytes.subarray(start, end)), range);
  }
  const outside = await get(serving, path, { headers: { range: `bytes=${layer.size}-` } });
  assert.deepEqual([outside.status, outside.headers['content-range']], [416, `bytes */${layer.size}`]);
  const several = await get(serving, path, { headers: { range: 'bytes=0-1,4-5' } });
  assert.deepEqual([several.status, several.body.length], [200, layer.size]);
  const changed = await get(serving, path, { headers: { range: 'bytes=5-', 'if-range': '"other"' } });
  assert.deepEqual([changed.status, changed.body.length], [200, layer.size]);
  assert.equal((await get(serving, path, { method: 'HEAD', headers: { range: 'bytes=0-1' } })).status, 200);
  assert.equal(serving.openFiles(), 0);
});

test('blobs larger than a block, of nothing, and by sha512', async () => {
  await using serving = await serveStore({});
  for (const bytes of [Buffer.alloc(0), Buffer.alloc(1 << 19, 'a'), Buffer.alloc(3_000_001, 'gantry')]) {
    for (const algorithm of ['sha256', 'sha512'] as const) {
      const digest = digestOf(bytes, algorithm);
      await putBlob(serving.store, digest, bytes);
      const got = await get(serving, `a/b/blobs/${digest}`);
      assert.ok(got.status === 200 && got.body.equals(bytes), `${algorithm} ${bytes.length}`);
      assert.equal((await head(serving, `a/b/blobs/${digest}`)).headers['content-length'], String(bytes.length));
    }
  }
  assert.equal(serving.openFiles(), 0);
});

test('what is not there, and what is malformed', async () => {
  await using serving = await serveStore({ [`${REDIS}:7`]: app });
  const nobody = digestOf('nobody');
  await assertRefused(get(serving, 'redis/manifests/8'), 404, 'MANIFEST_UNKNOWN');
  await assertRefused(get(serving, 'other/manifests/7'), 404, 'MANIFEST_UNKNOWN');
  await assertRefused(get(serving, `redis/manifests/${nobody}`), 404, 'MANIFEST_UNKNOWN');
  await assertRefused(get(serving, `redis/manifests/${layer.digest}`), 404, 'MANIFEST_UNKNOWN');
  await assertRefused(get(serving, `redis/manifests/${app.config.digest}`), 404, 'MANIFEST_UNKNOWN');
  await assertRefused(get(serving, `redis/blobs/${nobody}`), 404, 'BLOB_UNKNOWN');
  await assertRefused(get(serving, 'other/tags/list'), 404, 'NAME_UNKNOWN');
  await assertRefused(get(serving, 'Redis/manifests/7'), 400, 'NAME_INVALID');
  await assertRefused(get(serving, 'redis/blobs/sha256:0'), 400, 'DIGEST_INVALID');
  const missing = await head(serving, `redis/blobs/${nobody}`);
  assert.deepEqual([missing.status, missing.body.length, missing.broken], [404, 0, undefined]);
  assert.deepEqual(serving.log, []);
});

test('nothing can be written', async () => {
  await using serving = await serveStore({ [`${REDIS}:7`]: app });
  const paths = ['', 'redis/blobs/uploads/', 'redis/manifests/7', `redis/blobs/${layer.digest}`, '_catalog', 'A/../x'];
  for (const path of paths) {
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const body = method === 'OPTIONS' || method === 'DELETE' ? {} : { body: 'x'.repeat(1000) };
      const { headers } = await assertRefused(get(serving, path, { method, ...body }), 405, 'UNSUPPORTED');
      assert.equal(headers.allow, 'GET, HEAD');
    }
  }
});

test('a name that another process records is served at once, and lists have it a moment later', async (t) => {
  let clock = performance.now();
  t.mock.method(performance, 'now', () => clock);
  await using serving = await serveStore({ [`${REDIS}:7`]: app });
  const tags = async (): Promise<unknown> => JSON.parse((await get(serving, 'redis/tags/list')).body.toString());
  assert.deepEqual(await tags(), { name: 'redis', tags: ['7'] });
  await putImage(serving.store, `${REDIS}:8`, app);
  assert.equal((await get(serving, 'redis/manifests/8')).status, 200);
  await serving.store.names.remove(`${REDIS}:7`, { signal });
  await assertRefused(get(serving, 'redis/manifests/7'), 404, 'MANIFEST_UNKNOWN');
  assert.deepEqual(await tags(), { name: 'redis', tags: ['7'] }, 'lists are up to a second old');
  clock += 1500;
  assert.deepEqual(await tags(), { name: 'redis', tags: ['8'] });
});

test('pages of tags and of repositories', async () => {
  const names = ['b', 'a', 'B', '1', 'a.1', 'a-1', '_'].map((tag) => [`${REDIS}:${tag}`, app]);
  const others = [
    'localhost:5000/x/y:t',
    'ghcr.io/a:t',
    'latest',
    `ghcr.io/pinned@${app.desc.digest}`,
    `ghcr.io/both:t@${app.desc.digest}`,
    'localhost:5000/x/y:u',
  ].map((name) => [name, app]);
  await using serving = await serveStore(Object.fromEntries([...names, ...others]));
  const all = ['1', 'B', '_', 'a', 'a-1', 'a.1', 'b'];
  const list = async (path: string): Promise<{ entries: unknown; next: string | undefined }> => {
    const { status, headers, body } = await get(serving, path);
    assert.equal(status, 200);
    const { tags, repositories }: { tags?: unknown; repositories?: unknown } = JSON.parse(body.toString());
    return { entries: tags ?? repositories, next: /^<\/v2\/(.*)>; rel="next"$/.exec(String(headers['link']))?.[1] };
  };
  assert.deepEqual(await list('redis/tags/list'), { entries: all, next: undefined });
  assert.deepEqual(await list('redis/tags/list?n=7'), { entries: all, next: undefined });
  assert.deepEqual(await list('redis/tags/list?n=0'), { entries: [], next: undefined });
  assert.deepEqual(await list('redis/tags/list?last=a'), { entries: ['a-1', 'a.1', 'b'], next: undefined });
  assert.deepEqual(
    await list('redis/tags/list?last=a%2B'),
    { entries: ['a-1', 'a.1', 'b'], next: undefined },
    'no tag itself',
  );
  assert.deepEqual(await list('redis/tags/list?last=z'), { entries: [], next: undefined });
  const walked: unknown[] = [];
  for (let next: string | undefined = 'library/redis/tags/list?n=3&ns=docker.io'; next !== undefined;) {
    const page = await list(next);
    walked.push(page.entries);
    next = page.next;
  }
  assert.deepEqual(walked, [all.slice(0, 3), all.slice(3, 6), all.slice(6)]);
  const repositories = [REDIS, 'ghcr.io/a', 'ghcr.io/both', 'ghcr.io/pinned', 'localhost_5000/x/y'];
  assert.deepEqual(await list('_catalog'), { entries: repositories, next: undefined });
  const first = await list('_catalog?n=3');
  assert.deepEqual(
    [first.entries, (await list(first.next ?? '')).entries],
    [repositories.slice(0, 3), repositories.slice(3)],
  );
  assert.deepEqual(await list('ghcr.io/pinned/tags/list'), { entries: [], next: undefined });
  assert.deepEqual(await list('ghcr.io/both/tags/list'), { entries: [], next: undefined });
  assert.deepEqual((await list('localhost_5000/x/y/tags/list')).entries, ['t', 'u']);
  const named = await list('x/y/tags/list?n=1&ns=localhost:5000');
  assert.deepEqual([named.entries, (await list(named.next ?? '')).entries], [['t'], ['u']]);
  assert.equal((await get(serving, `ghcr.io/pinned/manifests/${app.desc.digest}`)).status, 200);
});

test('referrers: whatever a name of the repository leads to, by artifact type', async (t) => {
  const annotations = { 'org.example': 'yes' };
  const sbom = image({ artifactType: 'application/spdx+json', subject: app.desc, annotations, layers: [10] });
  const signature = image({ seed: 'sig', subject: app.desc, layers: [11] });
  const elsewhere = image({ seed: 'elsewhere', artifactType: 'application/other', subject: app.desc, layers: [12] });
  const fallback = index([{ of: sbom }, { of: signature }]);
  const tag = app.desc.digest.replace(':', '-');
  await using serving = await serveStore({
    [`${REDIS}:7`]: app,
    [`${REDIS}:${tag}`]: fallback,
    'ghcr.io/other:1': elsewhere,
  });
  const path = `redis/referrers/${app.desc.digest}`;
  const listed = async (query = '', at = path): Promise<{ headers: Got['headers']; manifests: unknown[] }> => {
    const { status, headers, body } = await get(serving, `${at}${query}`);
    assert.deepEqual([status, headers['content-type']], [200, types.OCI_INDEX]);
    const found: { schemaVersion: number; mediaType: string; manifests: unknown[] } = JSON.parse(body.toString());
    assert.deepEqual([found.schemaVersion, found.mediaType], [2, types.OCI_INDEX]);
    return { headers, manifests: found.manifests };
  };
  const ofSbom = { ...sbom.desc, annotations, artifactType: 'application/spdx+json' };
  const ofSignature = { ...signature.desc, artifactType: types.OCI_CONFIG };
  const both = [ofSbom, ofSignature].toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
  assert.deepEqual((await listed()).manifests, both);
  assert.equal((await listed()).headers['oci-filters-applied'], undefined);
  const filtered = await listed('?artifactType=application%2Fspdx%2Bjson');
  assert.deepEqual([filtered.manifests, filtered.headers['oci-filters-applied']], [[ofSbom], 'artifactType']);
  assert.deepEqual((await listed(`?artifactType=${types.OCI_CONFIG.replace('+', '%2B')}`)).manifests, [ofSignature]);
  assert.deepEqual((await listed('', `redis/referrers/${digestOf('nobody')}`)).manifests, []);
  assert.deepEqual((await listed('', `ghcr.io/unknown/referrers/${app.desc.digest}`)).manifests, []);
  assert.equal((await listed('', `ghcr.io/other/referrers/${app.desc.digest}`)).manifests.length, 1);

  const late = image({ seed: 'late', artifactType: 'application/late', subject: app.desc, layers: [13] });
  await putImage(serving.store, `${REDIS}:late`, late);
  const later = performance.now() + 60_000;
  t.mock.method(performance, 'now', () => later);
  assert.equal((await listed()).manifests.length, 3);
  assert.equal(serving.openFiles(), 0);
});

test('a manifest whose file has other bytes is never served', async () => {
  await using serving = await serveStore({ [`${REDIS}:7`]: app });
  const file = blobFile(serving, app.desc.digest);
  await chmod(file, 0o644);
  await writeFile(file, app.manifest.toString().replace('layers', 'LAYERS'));
  for (const reference of ['7', app.desc.digest]) {
    const { body } = await assertRefused(get(serving, `redis/manifests/${reference}`), 500, 'UNKNOWN');
    assert.ok(!body.toString().includes(serving.store.root));
  }
  assert.equal(serving.log.length, 2);
  assert.match(serving.log[0] ?? '', /^registry: GET \/v2\/redis\/manifests\/7: sha256:\w+ has bytes that are sha256:/);
  assert.equal(serving.openFiles(), 0);
});

test('a manifest that was deleted is gone, though it was served before', async () => {
  await using serving = await serveStore({ [`${REDIS}:7`]: app });
  const path = `redis/manifests/${app.desc.digest}`;
  assert.equal((await get(serving, path)).status, 200);
  await rm(blobFile(serving, app.desc.digest));
  await assertRefused(get(serving, path), 404, 'MANIFEST_UNKNOWN');
  await assertRefused(get(serving, 'redis/manifests/7'), 404, 'MANIFEST_UNKNOWN');
});

test('something beyond the size of a manifest is not read as one', async () => {
  await using serving = await serveStore({});
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, manifests: [], annotations: { a: 'x'.repeat(5 << 20) } }),
  );
  await putBlob(serving.store, digestOf(bytes), bytes);
  await assertRefused(get(serving, `a/b/manifests/${digestOf(bytes)}`), 404, 'MANIFEST_UNKNOWN');
  assert.equal((await get(serving, `a/b/blobs/${digestOf(bytes)}`)).body.length, bytes.length);
});

test('a blob that is deleted while it is sent is sent to its end', async () => {
  const big: Content = inMemory(Buffer.alloc(30_000_000, 'gantry'));
  const bytes = readAll(big);
  const digest = digestOf(bytes);
  await using serving = await serveStore({});
  await putBlob(serving.store, digest, big);
  let removed: Promise<void> | undefined;
  const got = await get(serving, `a/b/blobs/${digest}`, {
    onBytes: () =>
      void (removed ??= rename(blobFile(serving, digest), `${serving.store.root}/away`).then(() =>
        rm(`${serving.store.root}/away`),
      )),
  });
  await removed;
  assert.ok(got.body.equals(bytes));
  await assertRefused(get(serving, `a/b/blobs/${digest}`), 404, 'BLOB_UNKNOWN');
});

test('what a garbage collection has moved aside is still there', async () => {
  await using serving = await serveStore({ [`${REDIS}:7`]: app });
  const collected = await serving.store.collect(
    async () => {
      assert.equal((await get(serving, `redis/blobs/${layer.digest}`)).status, 200);
      return new Set([app.desc.digest]);
    },
    { signal, dryRun: false, ingestsOlderThanMs: 0 },
  );
  assert.ok(collected.blobs.length > 0);
  await assertRefused(get(serving, `redis/blobs/${layer.digest}`), 404, 'BLOB_UNKNOWN');
});

test('a file that becomes shorter ends the connection, not the answer', async () => {
  const bytes = Buffer.alloc(4_000_000, 'x');
  const digest = digestOf(bytes);
  await using serving = await serveStore(
    {},
    {
      source: (store): ImageSource => ({
        ...portsOf(store),
        blob: async (...args) => {
          const blob = await store.blob(...args);
          if (blob?.kind !== 'file') return blob;
          const { file } = blob;
          const read: typeof file.read = (buffer, offset, length, position) =>
            position > 1_000_000 ? Promise.resolve({ bytesRead: 0 }) : file.read(buffer, offset, length, position);
          return { ...blob, file: { size: file.size, read, close: () => file.close() } };
        },
      }),
    },
  );
  await putBlob(serving.store, digest, bytes);
  const got = await get(serving, `a/b/blobs/${digest}`);
  assert.equal(got.broken, 'ECONNRESET');
  assert.match(serving.log.join(), /became shorter/);
  assert.equal(serving.openFiles(), 0);
});

/** The methods of a source, to replace some. */
const portsOf = (store: ImageSource): ImageSource => ({
  resolve: (...args) => store.resolve(...args),
  manifest: (...args) => store.manifest(...args),
  blob: (...args) => store.blob(...args),
  tags: (...args) => store.tags(...args),
  repositories: (...args) => store.repositories(...args),
  referrers: (...args) => store.referrers(...args),
});

/** A blob that comes in pieces, and then ends well or not. */
const growing = (pieces: readonly Buffer[], end: () => Promise<void>, closed: () => void, size?: number) => ({
  source: (store: ImageSource): ImageSource => ({
    ...portsOf(store),
    blob: async () => ({
      kind: 'growing',
      size: size ?? pieces.reduce((sum, { length }) => sum + length, 0),
      status: { kind: 'stored' },
      open: async ({ offset = 0 }) => {
        const rest = Buffer.concat(pieces).subarray(offset);
        async function* bytes() {
          for (let at = 0; at < rest.length; at += 10) yield rest.subarray(at, at + 10);
          await end();
        }
        const chunks = bytes();
        return {
          [Symbol.asyncIterator]: () => chunks,
          [Symbol.asyncDispose]: async () => {
            await chunks.return();
            closed();
          },
        };
      },
    }),
  }),
});

const PIECES = [Buffer.from('0123456789'), Buffer.from('abcdefghij'), Buffer.from('KLMNOPQRST')];
const GROWING = `a/b/blobs/${digestOf('any')}`;

test('a blob on its way is sent as it comes, and parts of it', async () => {
  let closed = 0;
  await using serving = await serveStore(
    {},
    growing(
      PIECES,
      () => Promise.resolve(),
      () => (closed += 1),
    ),
  );
  const whole = await get(serving, GROWING);
  assert.deepEqual([whole.status, whole.body.toString()], [200, Buffer.concat(PIECES).toString()]);
  assert.equal(whole.headers['cache-status'], 'gantry; fwd=uri-miss; stored');
  for (const [range, text] of [
    ['bytes=12-', 'cdefghijKLMNOPQRST'],
    ['bytes=0-3', '0123'],
    ['bytes=5-14', '56789abcde'],
    ['bytes=-2', 'ST'],
  ]) {
    const got = await get(serving, GROWING, { headers: { range } });
    assert.deepEqual([got.status, got.body.toString()], [206, text], range);
  }
  assert.equal(closed, 5);
  const asked = await head(serving, GROWING);
  assert.deepEqual([asked.status, asked.headers['content-length'], closed], [200, '30', 5]);
});

test('a blob that turns out to be something else is never seen whole', async () => {
  let closed = 0;
  const wrong = () => Promise.reject(new GantryError('DIGEST_MISMATCH', 'not what it should be'));
  await using serving = await serveStore(
    {},
    growing(PIECES, wrong, () => (closed += 1)),
  );
  for (const headers of [{}, { range: 'bytes=12-' }]) {
    const got = await get(serving, GROWING, { headers });
    assert.equal(got.broken, 'ECONNRESET');
    assert.ok(got.body.length <= 20);
  }
  assert.equal(closed, 2);
  assert.match(serving.log.join(), /not what it should be/);
});

test('a blob that is longer than was said, by a piece or by a byte, is never seen whole', async () => {
  for (const size of [20, 29]) {
    const ends = () => Promise.resolve();
    await using serving = await serveStore(
      {},
      growing(PIECES, ends, () => {}, size),
    );
    const got = await get(serving, GROWING);
    assert.equal(got.broken, 'ECONNRESET');
    assert.ok(got.body.length < size);
    assert.match(serving.log.join(), /more than was said/);
  }
});

test('whoever gives up while a blob is on its way ends the reading of it', async () => {
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  const stuck = (store: ImageSource): ImageSource => ({
    ...portsOf(store),
    blob: async () => ({
      kind: 'growing',
      size: 100,
      status: { kind: 'stored' },
      open: async (opts) => {
        async function* bytes() {
          yield Buffer.from('0123456789');
          yield Buffer.from('0123456789');
          await once(opts.signal, 'abort');
          opts.signal.throwIfAborted();
        }
        const chunks = bytes();
        return {
          [Symbol.asyncIterator]: () => chunks,
          [Symbol.asyncDispose]: async () => {
            await chunks.return();
            end();
          },
        };
      },
    }),
  });
  await using serving = await serveStore({}, { source: stuck });
  const got = await get(serving, GROWING, { onBytes: (_total, request) => void request.destroy() });
  assert.equal(got.body.toString(), '0123456789');
  await ended;
  assert.deepEqual(serving.log, []);
});

test('a manifest is told to be stale, or fetched, by its tag and by itself', async () => {
  const stale = { kind: 'stale', why: 'docker.io answered 429' } as const;
  let statuses: { tag: CacheStatus; manifest: CacheStatus };
  const told = (store: ImageSource): ImageSource => ({
    ...portsOf(store),
    resolve: async () => ({ desc: app.desc, status: statuses.tag }),
    manifest: async () => ({ desc: app.desc, bytes: app.manifest, status: statuses.manifest }),
  });
  await using serving = await serveStore({}, { source: told });
  const statusOf = async (tag: CacheStatus, manifest: CacheStatus): Promise<unknown> => {
    statuses = { tag, manifest };
    return (await get(serving, 'redis/manifests/7')).headers['cache-status'];
  };
  assert.equal(await statusOf({ kind: 'hit' }, { kind: 'hit' }), 'gantry; hit');
  assert.equal(await statusOf({ kind: 'hit' }, { kind: 'stored' }), 'gantry; fwd=uri-miss; stored');
  assert.equal(await statusOf(stale, { kind: 'hit' }), 'gantry; hit; fwd=stale; detail="docker.io answered 429"');
});

test('faults of an upstream are told as what they are, those of the store are not', async () => {
  let fault: unknown;
  const failing = (store: ImageSource): ImageSource => ({ ...portsOf(store), blob: () => Promise.reject(fault) });
  await using serving = await serveStore({}, { source: failing });
  for (const [error, status, code] of [
    [new GantryError('RATE_LIMITED', 'docker.io answered 429', { retryAfterMs: 1500 }), 429, 'TOOMANYREQUESTS'],
    [new GantryError('UPSTREAM', 'docker.io answered 502'), 503, 'UNAVAILABLE'],
    [new GantryError('UNAUTHORIZED', 'docker.io answered 401'), 403, 'DENIED'],
    [new GantryError('IO', 'cannot read /srv/images/blobs/sha256/1'), 500, 'UNKNOWN'],
    [new Error('a defect in /srv'), 500, 'UNKNOWN'],
  ] as const) {
    fault = error;
    const { headers, body } = await assertRefused(get(serving, GROWING), status, code);
    assert.equal(headers['retry-after'], status === 429 ? '2' : undefined);
    assert.ok(!body.toString().includes('/srv'));
    assert.ok(serving.log.at(-1)?.endsWith(error.message));
  }
});
