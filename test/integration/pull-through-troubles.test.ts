/** What the trouble of one repository, or of one client, means to others. */
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { ask, type Got } from '../support/ask.ts';
import { firstLayer } from '../support/clients.ts';
import { image } from '../support/images.ts';
import { askedOf, blobOf, manifestOf, PullThroughWorld } from '../support/pull-through.ts';
import { faults } from '../support/registry.ts';

const old = image({ seed: 'old' });
const moved = image({ seed: 'moved' });
const layer = firstLayer(old);

const statusOf = ({ headers }: Got): string => String(headers['cache-status']);

/** A world whose store has `app:1`, which may have become old. */
async function known(): Promise<PullThroughWorld> {
  const rules = ({ host }: { host: string }): object => ({
    defaults: { fresh: '0' },
    rules: [{ match: `${host}/**` }, { match: 'docker.io/*', upstream: `${host}/hub` }],
  });
  const w = await PullThroughWorld.serving({ rules });
  w.registry.add('app', '1', old);
  await w.fetched('app', old.desc, manifestOf('1'));
  w.registry.log.clear();
  return w;
}

describe('a registry', () => {
  it('that fails for one repository is asked for the others', async () => {
    await using w = await known();
    w.registry.add('app', '1', moved);
    using _fault = w.registry.fault({ match: { repo: 'bad' }, do: faults.status(500) });
    assert.equal((await w.get('bad', manifestOf('secret-name'))).status, 503);
    await w.fetched('app', moved.desc, manifestOf('1'));
  });

  it('that wants to be left alone is left alone for all, who are told no names of others', async () => {
    await using w = await known();
    using _fault = w.registry.fault({ match: { repo: 'bad' }, do: faults.retryAfter('999999') });
    const bad = await w.get('bad', manifestOf('secret-name'));
    assert.deepEqual([bad.status, bad.headers['retry-after']], [429, '600']);
    const asked = w.registry.log.count();
    const got = await w.fetched('app', old.desc, manifestOf('1'));
    assert.equal(
      statusOf(got),
      `gantry; hit; fwd=stale; detail="${w.registry.host} answered 429 (RATE_LIMITED)"`,
      'neither the name that was asked for nor its repository',
    );
    const other = await w.get('app', manifestOf('2'));
    assert.equal(other.status, 429);
    assert.ok(Number(other.headers['retry-after']) <= 600, String(other.headers['retry-after']));
    assert.doesNotMatch(other.body.toString(), /secret-name/);
    assert.equal(w.registry.log.count(), asked);
  });

  it('that sends those who want blobs on to what is away is asked for its tags', async () => {
    await using w = await known();
    w.registry.add('app', '1', moved);
    const location = 'http://127.0.0.1:1/';
    using _fault = w.registry.fault({ match: { kind: 'blob' }, do: faults.status(307, { headers: { location } }) });
    assert.equal((await w.get('other', blobOf(layer), { method: 'HEAD' })).status, 503);
    await w.fetched('app', moved.desc, manifestOf('1'));
  });

  it('is told by the name that clients know, and what it sends them on to is not', async () => {
    await using w = await known();
    w.registry.add('hub/library/app', '1', old);
    const location = 'http://127.0.0.1:1/inside';
    using _fault = w.registry.fault({ match: { kind: 'blob' }, do: faults.status(307, { headers: { location } }) });
    const get = (what: string): Promise<Got> => ask(`${w.url}/v2/library/app/${what}?ns=docker.io`);
    assert.equal((await get(manifestOf('1'))).status, 200);
    const got = await get(blobOf(layer));
    assert.equal(got.status, 503);
    assert.match(got.body.toString(), /docker\.io: no connection, or one that broke \(NETWORK\)/);
    assert.doesNotMatch(got.body.toString(), /inside|127\.0\.0\.1/);
    assert.match(w.log.join('\n'), /inside/, 'the log of the server says it in full');
  });
});

describe('what a registry does not have', () => {
  it('is not asked for again at once', async () => {
    await using w = await known();
    const none = image({ seed: 'none' }).desc;
    const wanted: readonly (readonly [what: string, method: string])[] = [
      [manifestOf('2'), 'GET'],
      [manifestOf(none.digest), 'GET'],
      [blobOf(none), 'GET'],
      [blobOf(none), 'HEAD'],
    ];
    for (const [what, method] of [...wanted, ...wanted])
      assert.equal((await w.get('app', what, { method })).status, 404);
    assert.deepEqual(askedOf(w.registry), [
      'GET manifest 2',
      `GET manifest ${none.digest}`,
      `HEAD blob ${none.digest}`,
    ]);
    w.registry.add('other', '2', moved);
    await w.fetched('other', moved.desc, manifestOf('2'));
  });

  it('although its manifest names it is not asked for again at once', async () => {
    await using w = await known();
    w.registry.stored.get('app')?.blobs.clear();
    for (let i = 0; i < 3; i += 1) assert.equal((await w.get('app', blobOf(layer))).status, 404);
    assert.deepEqual(askedOf(w.registry), [`GET blob ${layer.digest}`]);
  });

  it('by its digest comes when a tag leads to it', async () => {
    await using w = await known();
    assert.equal((await w.get('app', manifestOf(moved.desc.digest))).status, 404);
    w.registry.add('app', '2', moved);
    await w.fetched('app', moved.desc, manifestOf('2'));
  });
});

describe('a tag that is here and has moved', () => {
  const movedIn = async (w: PullThroughWorld): Promise<string> => {
    w.registry.add('app', '1', moved);
    return statusOf(await w.fetched('app', old.desc, manifestOf('1')));
  };

  it('is served as it was where its registry sends something else', async () => {
    await using w = await known();
    using _fault = w.registry.fault({ match: { kind: 'manifest' }, do: faults.html() });
    assert.match(
      await movedIn(w),
      /stale; detail="\S+: content or an answer that breaks its specification \(MALFORMED\)"/,
    );
  });

  it('is served as it was where there is no room for what it means now', async () => {
    await using w = await known();
    await rm(w.dir.join('store/ingest'), { recursive: true, force: true });
    await writeFile(w.dir.join('store/ingest'), 'not a directory');
    const first = await movedIn(w);
    const asked = w.registry.log.count();
    assert.equal(await movedIn(w), first);
    assert.equal(w.registry.log.count(), asked, 'what cannot be kept is not fetched again at once');
    assert.match(first, /stale; detail="the store: the disk failed, .* \(IO\)"/);
    assert.match(w.log.join('\n'), new RegExp(w.dir.path));
    assert.doesNotMatch(first, new RegExp(w.dir.path));
  });

  it('is not where the law forbids it', async () => {
    await using w = await known();
    using _fault = w.registry.fault({ match: { kind: 'manifest' }, do: faults.status(451) });
    assert.equal((await w.get('app', manifestOf('1'))).status, 502);
  });
});
