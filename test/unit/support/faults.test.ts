import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { after, afterEach, before, describe, it } from 'node:test';
import { ask, type Asking, failure, type Got } from '../../support/ask.ts';
import { image } from '../../support/images.ts';
import { type Effect, faults, randomBytesOf, TestOrigin, TestRegistry } from '../../support/registry.ts';

describe('a fault that is ordered', () => {
  const bytes = randomBytesOf('faults', 100_000);
  const app = image({ seed: 'app', layers: [{ raw: bytes }] });
  const layer = app.layers[0]?.digest ?? '';
  let registry: TestRegistry;
  let origin: TestOrigin;

  before(async () => {
    registry = await TestRegistry.start();
    origin = await TestOrigin.start({ blobs: registry.blobs });
    registry.add('app', 'v1', app);
  });
  after(async () => {
    await origin[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });
  afterEach(() => {
    registry.clearFaults();
    registry.log.clear();
  });

  const url = (path: string): string => `${registry.url}${path}`;
  const blob = (options?: Asking): Promise<Got> => ask(url(`/v2/app/blobs/${layer}`), options);
  const manifest = (options?: Asking): Promise<Got> => ask(url('/v2/app/manifests/v1'), options);
  const order = (...effects: Effect[]): void => void registry.fault({ match: { kind: 'blob' }, do: effects });

  it('meets only the requests that it names, as often as it says', async () => {
    const fault = registry.fault({ match: { kind: 'blob', nth: 2 }, times: 1, do: faults.status(503) });
    const seen = [await manifest(), await blob(), await blob(), await blob()].map((got) => got.status);
    assert.deepEqual(seen, [200, 200, 503, 200]);
    assert.equal(fault.hits, 1);
  });

  it('answers with a status, a body and headers', async () => {
    order(faults.status(404));
    assert.match((await blob()).body.toString(), /BLOB_UNKNOWN/);
    registry.clearFaults();
    order(faults.retryAfter('Fri, 31 Dec 1999 23:59:59 GMT'));
    const limited = await blob();
    assert.equal(limited.status, 429);
    assert.equal(limited.headers['retry-after'], 'Fri, 31 Dec 1999 23:59:59 GMT');
    registry.clearFaults();
    order(faults.retryAfter(undefined, 503));
    assert.equal((await blob()).headers['retry-after'], undefined);
  });

  it('lets a body trickle', async () => {
    order(faults.trickle(1));
    const portions: number[] = [];
    const stop = new AbortController();
    const got = await blob({
      signal: stop.signal,
      onBytes: (total) => {
        portions.push(total);
        if (portions.length === 5) stop.abort();
      },
    });
    assert.equal(got.broken, 'ABORT_ERR');
    assert.ok((portions[0] ?? 0) < 10 && (portions[4] ?? 0) < 1000);
  });

  it('stalls a body, and the headers', async () => {
    order(faults.stallBody(1000));
    const body = await blob({ onBytes: (total, request) => void (total === 1000 && request.destroy()) });
    assert.equal(body.body.length, 1000);
    assert.equal(body.broken, 'ECONNRESET');
    registry.clearFaults();
    registry.log.clear();
    order(faults.stallHeaders);
    const stop = new AbortController();
    const asked = failure(url(`/v2/app/blobs/${layer}`), { signal: stop.signal });
    const entry = await registry.waitFor((e) => e.kind === 'blob' && e.outcome === 'open');
    stop.abort();
    assert.equal(await asked, 'ABORT_ERR');
    assert.equal(entry.status, 0);
  });

  for (const by of ['FIN', 'RST'] as const) {
    for (const framing of ['length', 'chunked', 'close'] as const) {
      it(`cuts a body by ${by} with framing ${framing}`, async () => {
        order(faults.framing(framing), faults.cut(1000, by));
        const got = await blob();
        assert.equal(got.body.length, 1000);
        assert.equal(got.headers['content-length'], framing === 'length' ? '100000' : undefined);
        assert.equal(got.headers['transfer-encoding'], framing === 'chunked' ? 'chunked' : undefined);
        // The trap: without a length an orderly close is an orderly end.
        assert.equal(got.broken, framing === 'close' && by === 'FIN' ? undefined : 'ECONNRESET');
      });
    }
    it(`cuts by ${by} before the answer`, async () => {
      order(faults.drop(by));
      assert.equal(await failure(url(`/v2/app/blobs/${layer}`)), 'ECONNRESET');
    });
    it(`cuts by ${by} when an idle connection is used again`, async () => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      registry.fault({ times: 1, do: faults.resetWhenReused(by) });
      assert.equal((await manifest({ agent })).body.length, app.desc.size);
      assert.equal(await failure(url('/v2/app/manifests/v1'), { agent }), 'ECONNRESET');
      assert.equal((await manifest({ agent })).status, 200);
      agent.destroy();
    });
  }

  it('makes a body longer, counted or not', async () => {
    order(faults.longer(5));
    assert.equal((await blob()).body.length, 100_005);
    registry.clearFaults();
    order(faults.longer(5, false));
    const got = await blob();
    assert.equal(got.headers['content-length'], '100000');
    assert.equal(registry.log.entries.at(-1)?.bytesSent, 100_005);
  });

  it('sends a Content-Length that is not that of the body', async () => {
    order(faults.contentLength(100_001));
    const got = await blob();
    assert.equal(got.headers['content-length'], '100001');
    assert.equal(got.body.length, 100_000);
    assert.equal(got.broken, 'ECONNRESET');
  });

  it('flips a byte of the content, also in a part that is cut', async () => {
    registry.fault({ match: { kind: 'blob' }, times: 1, do: [faults.flip(10), faults.cut(50_000)] });
    const head = await blob();
    const tail = await blob({ headers: { range: 'bytes=50000-' } });
    assert.equal(tail.status, 206);
    const joined = Buffer.concat([head.body, tail.body]);
    assert.equal(joined.length, bytes.length);
    assert.equal(joined[10], (bytes[10] ?? 0) ^ 0xff);
    joined[10] = bytes[10] ?? 0;
    assert.deepEqual(joined, bytes);
    order(faults.flip(60_000));
    const part = await blob({ headers: { range: 'bytes=60000-60001' } });
    assert.deepEqual([...part.body], [(bytes[60_000] ?? 0) ^ 0xff, bytes[60_001]]);
  });

  it('changes or removes headers', async () => {
    order(faults.digestHeader('sha256:wrong'), faults.etag('"new"'));
    const got = await blob();
    assert.equal(got.headers['docker-content-digest'], 'sha256:wrong');
    assert.equal(got.headers.etag, '"new"');
    registry.fault({ match: { kind: 'manifest' }, do: faults.digestHeader(undefined) });
    assert.equal((await manifest()).headers['docker-content-digest'], undefined);
  });

  it('mistreats ranges', async () => {
    const headers = { range: 'bytes=10-19' };
    order(faults.ignoreRange);
    const whole = await blob({ headers });
    assert.equal(whole.status, 200);
    assert.equal(whole.body.length, 100_000);
    registry.clearFaults();
    order(faults.contentRange('bytes 0-9/100000'));
    const lying = await blob({ headers });
    assert.equal(lying.headers['content-range'], 'bytes 0-9/100000');
    assert.deepEqual(lying.body, bytes.subarray(10, 20));
    registry.clearFaults();
    order(faults.shiftRange(-5));
    assert.equal((await blob({ headers })).headers['content-range'], 'bytes 5-19/100000');
    registry.clearFaults();
    order(faults.rangeNotSatisfiable);
    assert.equal((await blob({ headers })).status, 416);
  });

  it('redirects: in a loop, nowhere, relatively, to a signed URL that expires', async () => {
    order(faults.redirectLoop);
    assert.equal((await blob()).headers.location, url(`/v2/app/blobs/${layer}`));
    registry.clearFaults();
    order(faults.redirect(undefined, 302));
    const nowhere = await blob();
    assert.equal(nowhere.status, 302);
    assert.equal(nowhere.headers.location, undefined);
    registry.clearFaults();
    order(faults.redirect('/elsewhere'));
    assert.equal((await blob()).headers.location, '/elsewhere');
    registry.clearFaults();
    order(origin.redirectHere({ uses: 1 }));
    const location = (await blob()).headers.location ?? '';
    assert.deepEqual((await ask(location, { headers: { range: 'bytes=0-9' } })).body, bytes.subarray(0, 10));
    assert.equal((await ask(location)).status, 403);
    assert.equal(origin.count({ kind: 'signed', object: layer }), 2);
    assert.deepEqual(origin.leaks(), []);
  });

  it('notes secrets that reach another origin', async () => {
    await using strict = await TestOrigin.start({ wantsAuth: true });
    assert.equal((await ask(strict.url)).status, 401);
    await ask(strict.url, { headers: { authorization: 'Bearer leaked' } });
    await ask(strict.url, { headers: { cookie: 'a=b' } });
    assert.deepEqual(strict.leaks(), ['GET /', 'GET /']);
  });

  it('sends a web page, a huge manifest, many headers, or no HTTP at all', async () => {
    order(faults.html());
    const page = await blob();
    assert.equal(page.status, 200);
    assert.match(page.headers['content-type'] ?? '', /^text\/html/);
    registry.clearFaults();
    registry.fault({ match: { kind: 'manifest' }, do: faults.hugeManifest(5_000_000) });
    const huge: object = JSON.parse((await manifest()).body.toString());
    assert.equal(Object.keys(huge).length, 2);
    order(faults.manyHeaders(100, 10_000));
    assert.equal((await blob()).headers['x-filler-99']?.length, 10_000);
    registry.clearFaults();
    order(faults.raw('SSH-2.0-OpenSSH_9.2\r\n'));
    assert.equal(await failure(url(`/v2/app/blobs/${layer}`)), 'HPE_INVALID_CONSTANT');
  });

  it('moves a tag between two requests', async () => {
    const newer = image({ seed: 'newer' });
    const move = faults.afterwards(() => registry.add('app', 'v1', newer));
    registry.fault({ match: { kind: 'manifest', method: 'HEAD' }, times: 1, do: move });
    const first = await manifest({ method: 'HEAD' });
    assert.equal(first.headers['docker-content-digest'], app.desc.digest);
    assert.equal((await manifest()).headers['docker-content-digest'], newer.desc.digest);
    registry.add('app', 'v1', app);
  });

  it('links a page to itself or to another host', async () => {
    registry.fault({ match: { kind: 'tags' }, times: 1, do: faults.nextPageIsThis });
    assert.equal((await ask(url('/v2/app/tags/list'))).headers.link, '</v2/app/tags/list>; rel="next"');
    registry.fault({ match: { kind: 'tags' }, do: faults.nextPage(`${origin.url}/v2/app/tags/list?n=1`) });
    assert.match(String((await ask(url('/v2/app/tags/list'))).headers.link), new RegExp(`^<${origin.url}/`));
  });

  it('waits for the test before the answer and within the body', async () => {
    const gate = Promise.withResolvers<void>();
    const middle = Promise.withResolvers<void>();
    order(faults.hold(gate.promise), faults.holdBody(500, middle.promise));
    let received = 0;
    const asked = blob({
      onBytes: (total) => {
        received ||= total;
        middle.resolve();
      },
    });
    await registry.waitFor((e) => e.kind === 'blob' && e.outcome === 'open');
    assert.equal(received, 0);
    gate.resolve();
    assert.equal((await asked).body.length, 100_000);
    assert.equal(received, 500);
  });

  it('is as slow as it is told to be', async () => {
    await using slow = await TestRegistry.start({ latencyMs: 30, bytesPerSecond: 1_000_000 });
    slow.add('app', 'v1', app);
    const began = performance.now();
    const got = await ask(`${slow.url}/v2/app/blobs/${layer}`);
    const took = performance.now() - began;
    assert.deepEqual(got.body, bytes);
    assert.ok(took >= 110, `${took} ms`); // 30 ms, and 98 of the 100 KB at 1 MB/s
  });
});
