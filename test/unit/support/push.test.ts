import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { digestOf } from '../../../src/oci/digest.ts';
import { ask, type Got } from '../../support/ask.ts';
import { errorsOf, RawPush } from '../../support/raw-push.ts';
import { type RegistryOptions, readAll, SyntheticBlob, TestRegistry } from '../../support/registry.ts';

const HELLO = digestOf('hello');

async function started(options: RegistryOptions = {}): Promise<{ registry: TestRegistry; push: RawPush }> {
  const registry = await TestRegistry.start(options);
  return { registry, push: new RawPush(registry.url, 'app') };
}

const codeOf = (got: Got): string | undefined => errorsOf(got)[0]?.code;

const stored = (registry: TestRegistry, digest = HELLO, repo = 'app'): string | undefined => {
  const content = registry.stored.get(repo)?.blobs.get(digest);
  return content === undefined ? undefined : readAll(content).toString();
};

describe('uploads to the test registry', () => {
  it('come whole in a PUT, in a POST, and by PATCH in one stream', async () => {
    const { registry, push } = await started();
    await using _ = registry;
    assert.equal((await push.blob('hello')).status, 201);
    assert.equal(stored(registry), 'hello');
    const posted = await push.send('POST', `/v2/app/blobs/uploads/?digest=${digestOf('post')}`, { body: 'post' });
    assert.equal(posted.status, 201);
    assert.equal(posted.headers.location, `${registry.url}/v2/app/blobs/${digestOf('post')}`);
    assert.equal(stored(registry, digestOf('post')), 'post');
    const headers = { 'transfer-encoding': 'chunked' };
    const streamed = await push.send('PATCH', await push.location(), { headers, body: 'stream' });
    assert.equal(streamed.headers.range, '0-5');
    assert.equal((await push.end(streamed.headers.location ?? '', digestOf('stream'))).status, 201);
    assert.equal(registry.uploads.size, 0);
  });

  it('come in chunks, each where the one before ended', async () => {
    const { registry, push } = await started();
    await using _ = registry;
    const to = await push.location();
    assert.equal((await push.chunk(to, 'he', 0)).status, 202);
    const skipped = await push.chunk(to, 'o', 4);
    assert.equal(skipped.status, 416);
    assert.equal(skipped.headers.range, '0-1');
    assert.equal((await push.send('PATCH', to, { headers: { 'content-range': '2-9' }, body: 'llo' })).status, 416);
    assert.equal((await push.send('GET', to)).headers.range, '0-1');
    assert.equal((await push.end(to, HELLO, { headers: { 'content-range': '0-2' }, body: 'llo' })).status, 416);
    assert.equal((await push.end(to, HELLO, { headers: { 'content-range': '2-4' }, body: 'llo' })).status, 201);
    assert.equal(stored(registry), 'hello');
  });

  it('keep what a chunk had brought when it breaks off, or drop it', async () => {
    for (const [partialChunks, range] of [
      ['kept', '0-4'],
      ['dropped', '0-1'],
    ] as const) {
      const { registry, push } = await started({ partialChunks });
      await using _ = registry;
      const to = (await push.chunk(await push.location(), 'he')).headers.location ?? '';
      const order = registry.fault({ match: { kind: 'chunk' }, reading: { bytesPerSecond: 1 }, do: [] });
      const stop = new AbortController();
      const headers = { 'content-length': '100' };
      const broken = ask(to, { method: 'PATCH', headers, body: 'llo', signal: stop.signal });
      await registry.waitFor((e) => e.kind === 'chunk' && e.headers['content-length'] === '100');
      while (registry.log.bytesReceived({ kind: 'chunk' }) < 5) await new Promise(setImmediate);
      stop.abort();
      await assert.rejects(broken);
      await registry.waitFor({ kind: 'chunk' }, { count: 2, state: 'ended' });
      assert.equal(order.hits, 1);
      assert.equal((await push.send('GET', to)).headers.range, range);
    }
  });

  it('are refused when the bytes are not those of the digest, and can go on', async () => {
    const { registry, push } = await started();
    await using _ = registry;
    const to = (await push.chunk(await push.location(), 'hel')).headers.location ?? '';
    assert.equal(codeOf(await push.end(to, HELLO, { body: 'la' })), 'DIGEST_INVALID');
    assert.equal(stored(registry), undefined);
    assert.equal((await push.end(to, HELLO, { body: 'lo' })).status, 201);
    const sha512 = digestOf('hello', 'sha512');
    assert.equal((await push.end(await push.location(), sha512, { body: 'hello' })).status, 201);
    assert.equal(stored(registry, sha512), 'hello');
  });

  it('are unknown when they ended, were cancelled or were lost', async () => {
    const { registry, push } = await started();
    await using _ = registry;
    const [ended, cancelled, lost] = [await push.location(), await push.location(), await push.location()];
    await push.end(ended, HELLO, { body: 'hello' });
    assert.equal((await push.send('DELETE', cancelled)).status, 204);
    assert.equal(registry.uploads.size, 1);
    registry.uploads.forget();
    for (const to of [ended, cancelled, lost]) {
      assert.equal(codeOf(await push.chunk(to, 'x')), 'BLOB_UPLOAD_UNKNOWN');
      assert.equal(codeOf(await push.end(to, HELLO)), 'BLOB_UPLOAD_UNKNOWN');
      assert.equal(codeOf(await push.send('GET', to)), 'BLOB_UPLOAD_UNKNOWN');
      assert.equal(codeOf(await push.send('DELETE', to)), 'BLOB_UPLOAD_UNKNOWN');
    }
    const other = new RawPush(registry.url, 'other');
    const mine = new URL(await push.location());
    assert.equal((await other.send('GET', `${mine.pathname.replace('/app/', '/other/')}${mine.search}`)).status, 404);
  });

  it('go on where the Location says', async () => {
    const relative = await started({ location: 'relative' });
    await using _relative = relative.registry;
    assert.match(await relative.push.location(), /^\/v2\/app\/blobs\/uploads\//);
    assert.equal((await relative.push.blob('hello')).headers.location, `/v2/app/blobs/${HELLO}`);

    const elsewhere = await started({ location: 'elsewhere', auth: { scheme: 'basic', users: { alice: 'secret' } } });
    await using _elsewhere = elsewhere.registry;
    const authorization = `Basic ${Buffer.from('alice:secret').toString('base64')}`;
    const to = (await new RawPush(elsewhere.registry.url, 'app', { authorization }).start()).headers.location ?? '';
    assert.equal(new URL(to).origin, elsewhere.registry.uploadUrl);
    assert.notEqual(elsewhere.registry.uploadUrl, elsewhere.registry.url);
    assert.equal((await elsewhere.push.end(to, HELLO, { body: 'hello' })).status, 201);
    assert.equal(elsewhere.registry.count({ server: 'uploads', kind: 'upload-end', authKind: 'none' }), 1);
    assert.equal(stored(elsewhere.registry), 'hello');

    const changing = await started({ staleLocations: 'refused' });
    await using _changing = changing.registry;
    const first = await changing.push.location();
    const second = (await changing.push.chunk(first, 'hello')).headers.location ?? '';
    assert.equal(codeOf(await changing.push.chunk(first, 'x')), 'BLOB_UPLOAD_INVALID');
    assert.equal(codeOf(await changing.push.send('GET', first)), 'BLOB_UPLOAD_INVALID');
    assert.equal((await changing.push.end(second, HELLO)).status, 201);
  });

  it('are bounded as the options say', async () => {
    const { registry, push } = await started({ maxBody: 10, chunkedOnly: { over: 4, status: 405 }, minChunk: 3 });
    await using _ = registry;
    const opened = await push.start();
    assert.equal(opened.headers['oci-chunk-min-length'], '3');
    const to = opened.headers.location ?? '';
    assert.equal((await push.end(to, HELLO, { body: 'hello' })).status, 405);
    assert.equal((await push.send('POST', `/v2/app/blobs/uploads/?digest=${HELLO}`, { body: 'hello' })).status, 405);
    assert.equal((await push.chunk(to, 'x'.repeat(11))).status, 413);
    const headers = { 'transfer-encoding': 'chunked' };
    assert.equal((await push.send('PATCH', to, { headers, body: 'x'.repeat(11) })).status, 413);
    assert.equal((await push.send('GET', to)).headers.range, '0-0');
    assert.equal((await push.chunk(to, 'hel', 0)).status, 202);
    assert.equal((await push.chunk(to, 'l', 3)).status, 202);
    assert.equal(codeOf(await push.chunk(to, 'o', 4)), 'BLOB_UPLOAD_INVALID');
    assert.equal((await push.end(to, HELLO, { body: 'o' })).status, 201);

    const strict = await started({ lengthRequired: true });
    await using _strict = strict.registry;
    const at = await strict.push.location();
    assert.equal((await strict.push.send('PATCH', at, { headers, body: 'hello' })).status, 411);
    assert.equal((await strict.push.end(at, HELLO, { body: 'hello' })).status, 201);
  });

  it('mount a blob of another repository', async () => {
    const { registry, push } = await started();
    await using _ = registry;
    registry.stored.putBlob('library', 'hello');
    assert.equal((await push.mount(HELLO)).status, 202);
    assert.equal((await push.mount(digestOf('none'), 'library')).status, 202);
    assert.equal(stored(registry), undefined);
    const mounted = await push.mount(HELLO, 'library');
    assert.equal(mounted.status, 201);
    assert.equal(mounted.headers['docker-content-digest'], HELLO);
    assert.equal(stored(registry), 'hello');
  });

  it('do not mount when told so, and may lie about it', async () => {
    for (const [mounts, status] of [
      ['refuse', 202],
      ['401', 401],
      ['404', 404],
      ['lie', 201],
    ] as const) {
      const { registry, push } = await started({ mounts });
      await using _ = registry;
      registry.stored.putBlob('library', 'hello');
      assert.equal((await push.mount(HELLO, 'library')).status, status);
      assert.equal(stored(registry), undefined);
    }
    const { registry, push } = await started({ autoMount: true });
    await using _ = registry;
    registry.stored.putBlob('library', 'hello');
    assert.equal((await push.mount(HELLO)).status, 201);
    assert.equal(stored(registry), 'hello');
  });

  it('are noted with what they are about', async () => {
    const { registry, push } = await started();
    await using _ = registry;
    await push.mount(HELLO, 'library');
    const to = await push.location();
    await push.chunk(to, 'hel');
    await push.send('GET', to);
    await push.end(to, HELLO, { body: 'lo' });
    await push.send('DELETE', to);
    await push.send('DELETE', `/v2/app/blobs/${HELLO}`);
    const session = to.replace(/.*\/|\?.*/g, '');
    assert.deepEqual(
      registry.log.entries.map((e) => [e.kind, e.repo, e.object, e.bytesReceived, e.status]),
      [
        ['mount', 'app', HELLO, 0, 202],
        ['upload-start', 'app', undefined, 0, 202],
        ['chunk', 'app', session, 3, 202],
        ['upload-status', 'app', session, 0, 204],
        ['upload-end', 'app', HELLO, 2, 201],
        ['upload-cancel', 'app', session, 0, 404],
        ['delete-blob', 'app', HELLO, 0, 202],
      ],
    );
    assert.equal(registry.log.bytesReceived(), 5);
  });

  it('of a blob that is too large to keep are hashed, and can be asked about but not read', async () => {
    const { registry, push } = await started({ keepBytes: 1_000_000 });
    await using stack = new AsyncDisposableStack();
    const blob = await SyntheticBlob.random({ seed: 'large', size: 3_000_000 });
    assert.equal((await push.blob(readAll(blob))).status, 201);
    const head = await push.send('HEAD', `/v2/app/blobs/${blob.digest}`);
    assert.equal(head.headers['content-length'], '3000000');
    await assert.rejects(
      push.send('GET', `/v2/app/blobs/${blob.digest}`).then((got) => assert.equal(got.broken, 'none')),
    );
    stack.defer(() => assert.rejects(registry[Symbol.asyncDispose](), /the test server failed/));
  });
});
