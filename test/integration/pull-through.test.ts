/** A store that fetches what it lacks when it is asked for it, in one process. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { ask, type Got } from '../support/ask.ts';
import { firstLayer, never } from '../support/clients.ts';
import { until } from '../support/farm.ts';
import { image, multiPlatform } from '../support/images.ts';
import { askedOf, blobOf, manifestOf, PullThroughWorld } from '../support/pull-through.ts';
import { faults, randomBytesOf } from '../support/registry.ts';

const opts = { signal: never };
const MIB = 1 << 20;
const big = image({ seed: 'big', layers: [{ raw: randomBytesOf('big', 4 * MIB) }] });
const layer = firstLayer(big);

const statusOf = ({ headers }: Got): string => String(headers['cache-status']);

describe('an image that is not here', () => {
  it('is asked for once by ten clients at a time, and comes to all of them', async () => {
    await using w = await PullThroughWorld.serving();
    w.registry.add('app', '1', big);
    const clients = Array.from({ length: 10 }, async () => {
      const got = await w.fetched('app', big.desc, manifestOf('1'));
      assert.equal(got.headers['content-type'], big.desc.mediaType);
      await Promise.all([big.config, layer].map((desc) => w.fetched('app', desc)));
    });
    await Promise.all(clients);
    assert.deepEqual(
      askedOf(w.registry).toSorted(),
      [`GET blob ${big.config.digest}`, `GET blob ${layer.digest}`, 'GET manifest 1'].toSorted(),
    );
    const again = await w.get('app', blobOf(layer));
    assert.equal(statusOf(again), 'gantry; hit');
    assert.equal(w.registry.log.count(), 3, 'nobody is asked for what is here');
    assert.deepEqual((await w.store.names.lookup(`${w.registry.host}/app:1`, opts))?.desc.digest, big.desc.digest);
    assert.equal(await w.store.isIntact(layer.digest, opts), true);
  });

  it('comes while it is being fetched', async () => {
    await using w = await PullThroughWorld.serving();
    w.registry.add('app', '1', big);
    const [go, came] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    using _held = w.registry.fault({ match: { kind: 'blob' }, do: faults.holdBody(3 * MIB, go.promise) });
    await w.fetched('app', big.desc, manifestOf('1'));
    const reading = w.get('app', blobOf(layer), { onBytes: (total) => total >= 2 * MIB && came.resolve() });
    await came.promise;
    const second = w.fetched('app', layer);
    go.resolve();
    const got = await reading;
    assert.ok(got.body.equals(randomBytesOf('big', 4 * MIB)));
    assert.equal(statusOf(got), 'gantry; fwd=uri-miss; stored');
    await second;
    assert.equal(w.registry.log.count({ kind: 'blob' }), 1);
  });

  it('is fetched by parts, each only when all of it is right', async () => {
    await using w = await PullThroughWorld.serving();
    w.registry.add('app', '1', big);
    await w.fetched('app', big.desc, manifestOf('1'));
    const go = Promise.withResolvers<void>();
    using _held = w.registry.fault({ match: { kind: 'blob' }, do: faults.holdBody(3 * MIB, go.promise) });
    let answers = 0;
    const part = async (range: string): Promise<Got> => {
      const got = await w.get('app', blobOf(layer), { headers: { range } });
      answers += 1;
      return got;
    };
    const middle = part('bytes=10-19');
    const rest = part(`bytes=${MIB}-`);
    await w.registry.log.waitFor({ kind: 'blob' });
    await until('1 MiB', async () => ((await w.store.active(opts))[0]?.offset ?? 0) >= MIB);
    assert.equal(answers, 0);
    go.resolve();
    const whole = randomBytesOf('big', 4 * MIB);
    assert.ok((await middle).body.equals(whole.subarray(10, 20)));
    assert.equal((await middle).headers['content-range'], `bytes 10-19/${4 * MIB}`);
    assert.ok((await rest).body.equals(whole.subarray(MIB)));
    assert.equal(w.registry.log.count({ kind: 'blob' }), 1);
  });

  it('of which only the size is asked for is not fetched', async () => {
    await using w = await PullThroughWorld.serving();
    w.registry.add('app', '1', big);
    const got = await w.get('app', blobOf(layer), { method: 'HEAD' });
    assert.deepEqual([got.status, got.headers['content-length']], [200, String(layer.size)]);
    assert.equal(statusOf(got), 'gantry; fwd=uri-miss');
    const none = await w.get('app', `blobs/${image().desc.digest}`, { method: 'HEAD' });
    assert.equal(none.status, 404);
    assert.equal(w.registry.log.count({ method: 'GET' }), 0);
    assert.equal(await w.store.stat(layer.digest, opts), undefined);
  });

  it('by its digest is kept from garbage collection by a name, but not what its index lists', async () => {
    await using w = await PullThroughWorld.serving();
    const index = multiPlatform();
    w.registry.add('app', '1', index);
    const [first, second] = index.entries;
    assert.ok(first !== undefined && second !== undefined);
    await w.fetched('app', first, manifestOf(first.digest));
    await w.fetched('app', index.desc, manifestOf('1'));
    await w.fetched('app', second, manifestOf(second.digest));
    const names = (await w.store.names.list(opts)).map(({ name }) => name.replace(w.registry.host, 'r'));
    assert.deepEqual(names, ['r/app:1', `r/app@${first.digest}`]);
  });

  it('and is nowhere else is unknown', async () => {
    await using w = await PullThroughWorld.serving();
    assert.equal((await w.get('app', manifestOf('1'))).status, 404);
    assert.equal((await w.get('app', manifestOf(big.desc.digest))).status, 404);
    assert.equal((await w.get('app', blobOf(layer))).status, 404);
    assert.deepEqual(await w.store.names.list(opts), []);
    assert.deepEqual(await readdir(w.dir.join('store/ingest')), []);
  });

  it('is not asked for where no rule names its repository', async () => {
    const rules = ({ host }: { host: string }): object => ({ rules: [{ match: `${host}/open/*` }] });
    await using w = await PullThroughWorld.serving({ rules });
    for (const repo of ['open/app', 'open/deep/app', 'app']) w.registry.add(repo, '1', big);
    for (const repo of ['open/deep/app', 'app']) {
      for (const what of [manifestOf('1'), manifestOf(big.desc.digest), blobOf(layer)]) {
        for (const method of ['GET', 'HEAD']) assert.equal((await w.get(repo, what, { method })).status, 404, repo);
      }
    }
    assert.equal(w.registry.log.count(), 0);
    await w.fetched('open/app', big.desc, manifestOf('1'));
  });

  it('comes from where the rule says', async () => {
    const rules = ({ host }: { host: string }): object => ({
      rules: [{ match: 'docker.io/*', upstream: `${host}/hub` }],
    });
    await using w = await PullThroughWorld.serving({ rules });
    w.registry.add('hub/library/redis', '7', big);
    const got = await ask(`${w.url}/v2/library/redis/manifests/7?ns=docker.io`);
    assert.equal(got.status, 200, got.body.toString());
    assert.ok(await w.store.names.lookup('docker.io/library/redis:7', opts));
  });
});

const fresh =
  (how: string) =>
  ({ host }: { host: string }): object => ({
    defaults: { fresh: how },
    rules: [{ match: `${host}/**` }],
  });

/** A world whose store has `app:1` already. */
async function known(how: string): Promise<PullThroughWorld> {
  const w = await PullThroughWorld.serving({ rules: fresh(how) });
  w.registry.add('app', '1', big);
  await w.fetched('app', big.desc, manifestOf('1'));
  w.registry.log.clear();
  return w;
}

const moved = image({ seed: 'moved' });

describe('a tag that is here', () => {
  it('is not asked for again while it is fresh', async () => {
    await using w = await known('1h');
    w.registry.add('app', '1', moved);
    const got = await w.get('app', manifestOf('1'));
    assert.deepEqual([got.headers['docker-content-digest'], statusOf(got)], [big.desc.digest, 'gantry; hit']);
    assert.equal(w.registry.log.count(), 0);
  });

  it('is asked for again by a HEAD when it is not', async () => {
    await using w = await known('0');
    assert.equal(statusOf(await w.get('app', manifestOf('1'))), 'gantry; hit');
    assert.deepEqual(askedOf(w.registry), ['HEAD manifest 1']);
  });

  it('that has moved is fetched anew, and its name with it', async () => {
    await using w = await known('0');
    w.registry.add('app', '1', moved);
    const got = await w.fetched('app', moved.desc, manifestOf('1'));
    assert.equal(statusOf(got), 'gantry; fwd=uri-miss; stored');
    assert.equal((await w.store.names.lookup(`${w.registry.host}/app:1`, opts))?.desc.digest, moved.desc.digest);
  });

  it('and is gone there is not found, but its content stays', async () => {
    await using w = await known('0');
    w.registry.stored.get('app')?.tags.clear();
    assert.equal((await w.get('app', manifestOf('1'))).status, 404);
    await w.fetched('app', big.desc, manifestOf(big.desc.digest));
    assert.ok(await w.store.names.lookup(`${w.registry.host}/app:1`, opts));
  });

  it('is served although it may be old when the registry is away, and that is said', async () => {
    await using w = await known('0');
    await w.registry[Symbol.asyncDispose]();
    const got = await w.fetched('app', big.desc, manifestOf('1'));
    assert.match(statusOf(got), /^gantry; hit; fwd=stale; detail=".+"$/);
    assert.match(String(got.headers['warning']), /^110 /);
    assert.equal((await w.get('app', manifestOf('2'))).status, 503);
  });

  for (const status of [500, 503]) {
    it(`is served when the registry answers ${status}, which is not asked again at once`, async () => {
      await using w = await known('0');
      using _fault = w.registry.fault({ do: faults.status(status) });
      assert.match(statusOf(await w.fetched('app', big.desc, manifestOf('1'))), new RegExp(`stale.*${status}`));
      const asked = w.registry.log.count();
      assert.match(statusOf(await w.fetched('app', big.desc, manifestOf('1'))), /stale/);
      assert.equal(w.registry.log.count(), asked);
    });
  }

  it('is served when the registry says nothing', async () => {
    await using w = await known('0');
    using _fault = w.registry.fault({ do: faults.stallHeaders });
    assert.match(statusOf(await w.fetched('app', big.desc, manifestOf('1'))), /stale.*no answer.*TIMEOUT/);
  });

  it('is served after a 429, and nothing is asked before its time is over', async () => {
    await using w = await known('0');
    using _fault = w.registry.fault({ do: faults.retryAfter('30') });
    assert.match(statusOf(await w.fetched('app', big.desc, manifestOf('1'))), /stale.*429/);
    assert.equal(w.registry.log.count(), 1);
    assert.match(statusOf(await w.fetched('app', big.desc, manifestOf('1'))), /stale/);
    const unknown = await w.get('app', manifestOf('2'));
    assert.equal(unknown.status, 429);
    const after = Number(unknown.headers['retry-after']);
    assert.ok(after > 20 && after <= 30, String(after));
    const blob = await w.get('app', blobOf(layer));
    assert.equal(blob.status, 429);
    assert.equal(w.registry.log.count(), 1);
  });

  it('is not served to those whom the registry would not let have it', async () => {
    await using w = await known('0');
    using _fault = w.registry.fault({ do: faults.status(403) });
    assert.equal((await w.get('app', manifestOf('1'))).status, 403);
  });
});

describe('bytes that are not those of the digest', () => {
  it('are never a whole answer, and are not kept', async () => {
    await using w = await PullThroughWorld.serving();
    w.registry.add('app', '1', big);
    await w.fetched('app', big.desc, manifestOf('1'));
    using _fault = w.registry.fault({ match: { kind: 'blob' }, do: faults.flip(100) });
    const clients = await Promise.all(Array.from({ length: 5 }, () => w.get('app', blobOf(layer))));
    for (const { status, broken, body } of clients) {
      assert.ok(status !== 200 || (broken !== undefined && body.length < layer.size), `${status} ${broken}`);
    }
    assert.equal(await w.store.stat(layer.digest, opts), undefined);
  });

  it('are not passed on as a part', async () => {
    await using w = await PullThroughWorld.serving();
    w.registry.add('app', '1', big);
    await w.fetched('app', big.desc, manifestOf('1'));
    using _fault = w.registry.fault({ match: { kind: 'blob' }, do: faults.flip(100) });
    const got = await w.get('app', blobOf(layer), { headers: { range: 'bytes=90-110' } });
    assert.ok(got.status >= 500, String(got.status));
  });

  it('that come once are made good by the second try', async () => {
    await using w = await PullThroughWorld.serving();
    w.registry.add('app', '1', big);
    await w.fetched('app', big.desc, manifestOf('1'));
    using _fault = w.registry.fault({ match: { kind: 'blob' }, times: 1, do: faults.flip(layer.size - 1) });
    await w.fetched('app', layer);
  });

  it('of a manifest are an error', async () => {
    await using w = await PullThroughWorld.serving();
    w.registry.add('app', '1', big);
    using _fault = w.registry.fault({ match: { kind: 'manifest' }, do: faults.flip(30) });
    assert.ok((await w.get('app', manifestOf('1'))).status >= 500);
    assert.ok((await w.get('app', manifestOf(big.desc.digest))).status >= 500);
    assert.deepEqual(await w.store.names.list(opts), []);
  });
});
