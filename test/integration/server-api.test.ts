/** The API of `gantry server` over a real farm: what it tells, what it has done, and that the document says the same. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { after, before, describe, it } from 'node:test';
import type { ZodType } from 'zod';
import { pullRoots } from '../../src/app/pull.ts';
import { parseMatcher } from '../../src/oci/platform.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { NAMED } from '../../src/server/api/openapi.ts';
import { type ImagesJson, problemSchema, type RunDetailJson } from '../../src/server/api/schema.ts';
import { ask, type Got } from '../support/ask.ts';
import { never } from '../support/clients.ts';
import { TestFarm, until } from '../support/farm.ts';
import { type Corpus, fill } from '../support/farm-images.ts';
import { faults, TestRegistry } from '../support/registry.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { tempDir } from '../support/temp.ts';

const opts = { signal: never };
const IMAGES = 12;

interface Answer {
  readonly status: number;
  readonly json: unknown;
  readonly headers: Got['headers'];
}

/** The parts of the document that the test reads. */
interface Document {
  readonly paths: Record<string, Record<string, DocumentedOperation>>;
}
interface DocumentedOperation {
  readonly operationId: string;
  readonly responses: Record<string, { content: Record<string, { schema: { $ref?: string } }> }>;
}

const read = <T>(schema: ZodType<T>, { body }: Pick<Got, 'body'>): T => schema.parse(JSON.parse(body.toString()));

const jsonOf = ({ body }: Pick<Got, 'body'>): unknown => JSON.parse(body.toString());

describe('the API of a farm', () => {
  let stack: AsyncDisposableStack;
  let registry: TestRegistry;
  let corpus: Corpus;
  let farm: TestFarm;
  let server: TestServer;
  let document: Document;

  before(async () => {
    stack = new AsyncDisposableStack();
    registry = stack.use(await TestRegistry.start());
    corpus = fill(registry, { images: IMAGES, blobs: 20 });
    farm = stack.use(await TestFarm.start({ workers: 1 }));
    server = stack.use(await startTestServer({ redis: farm.settings, store: farm.store.root }));
    document = JSON.parse((await server.api('GET', '/openapi.json')).body.toString());
  });
  after(() => stack.disposeAsync());

  async function answer(method: string, path: string, body?: unknown): Promise<Answer> {
    const got = await server.api(method, path, body);
    return { status: got.status, json: got.body.length === 0 ? undefined : jsonOf(got), headers: got.headers };
  }

  async function refused(status: number, method: string, path: string, body?: unknown): Promise<string> {
    const { json, ...got } = await answer(method, path, body);
    assert.equal(got.status, status, `${method} ${path}: ${JSON.stringify(json)}`);
    const { error } = problemSchema.parse(json);
    return `${error.code} ${error.message}`;
  }

  async function submit(refs: readonly string[]): Promise<string> {
    const { status, json, headers } = await answer('POST', '/runs', {
      pull: refs,
      labels: { why: String(Math.random()) },
    });
    assert.equal(status, 201, JSON.stringify(json));
    const { id } = NAMED.Submitted.parse(json);
    assert.equal(headers.location, `/api/v1/runs/${id}`);
    return id;
  }

  const run = async (id: string): Promise<RunDetailJson> =>
    read(NAMED.RunDetail, await server.api('GET', `/runs/${id}`));
  const images = async (id: string, query = ''): Promise<ImagesJson> =>
    read(NAMED.Images, await server.api('GET', `/runs/${id}/images${query}`));

  /** A run that has images which wait for an answer, until it is let go. */
  async function held(): Promise<{ readonly id: string; readonly letGo: () => void }> {
    const gate = Promise.withResolvers<void>();
    const again = fill(registry, { images: 3, blobs: 3, seed: `held ${Math.random()}`, repositories: 1 });
    registry.fault({ match: { kind: 'blob' }, do: faults.holdBody(10, gate.promise) });
    const id = await submit(again.refs);
    await until('it is open', async () => (await run(id)).images.open === 3);
    return {
      id,
      letGo: () => {
        registry.clearFaults();
        gate.resolve();
      },
    };
  }

  it('has every operation of its document answer as the document says', async () => {
    const id = await submit([...corpus.refs, registry.ref('absent', 'v1')]);
    await farm.ended(id);
    const lane = encodeURIComponent(registry.host);
    const copies = [{ source: corpus.refs[0], target: registry.ref('copied', 'v1') }];
    const calls: Record<string, readonly [status: number, path: string, body?: unknown]> = {
      showInfo: [200, '/info'],
      showDocument: [200, '/openapi.json'],
      listRuns: [200, '/runs?state=done&limit=5'],
      submitRun: [201, '/runs', { copy: copies, platforms: ['linux/amd64', 'linux/arm64'] }],
      showRun: [200, `/runs/${id}`],
      listImages: [200, `/runs/${id}/images?limit=5&offset=8`],
      showHistory: [200, `/runs/${id}/history`],
      cancelRun: [200, `/runs/${id}/cancel`],
      retryRun: [201, `/runs/${id}/retry`, { code: 'NOT_FOUND' }],
      listLanes: [200, '/lanes'],
      showLane: [200, `/lanes/${lane}`],
      setLane: [200, '/lanes/ghcr.io', { concurrency: 4, quota: { requests: 100, periodMs: 60_000 } }],
      pauseLane: [200, `/lanes/${lane}/pause`],
      resumeLane: [200, `/lanes/${lane}/resume`],
      listWorkers: [200, '/workers'],
      listIngests: [200, '/ingests'],
      listen: [200, '/events?topics=runs'],
    };
    const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, each]) => ({ path, method, ...each })),
    );
    assert.deepEqual(documented.map(({ operationId }) => operationId).toSorted(), Object.keys(calls).toSorted());
    for (const { path: pattern, method, operationId, responses } of documented) {
      const [status, path, body] = calls[operationId] ?? [0, ''];
      const shape = new RegExp(`^${pattern.replace('/api/v1', '').replaceAll(/\{\w+\}/g, '[^/]+')}(?:\\?.*)?$`);
      assert.match(path, shape, operationId);
      const content = responses[status]?.content ?? {};
      if (operationId === 'listen') {
        assert.deepEqual(Object.keys(content), ['text/event-stream']);
        continue;
      }
      const got = await answer(method.toUpperCase(), path, body);
      assert.equal(got.status, status, `${operationId}: ${JSON.stringify(got.json)}`);
      assert.equal(got.headers['content-type'], 'application/json', operationId);
      const name = content['application/json']?.schema.$ref?.split('/').at(-1);
      const schema = Object.entries(NAMED).find(([each]) => each === name)?.[1];
      // What a schema does not know it leaves out: so nothing more may have come.
      if (operationId !== 'showDocument') assert.deepEqual(schema?.parse(got.json), got.json, operationId);
    }
  });

  it('has its document checked in as it is sent', async () => {
    const kept: unknown = JSON.parse(await readFile(new URL('../../docs/openapi.json', import.meta.url), 'utf8'));
    assert.deepEqual(
      kept,
      document,
      'write it anew: curl SERVER/api/v1/openapi.json | jq . > docs/openapi.json, then npm run format',
    );
  });

  it('submits what the command line submits', async () => {
    const { status, json } = await answer('POST', '/runs', {
      pull: corpus.refs.slice(0, 3),
      platforms: ['linux/amd64'],
    });
    assert.equal(status, 201);
    const { id } = NAMED.Submitted.parse(json);
    const refs = corpus.refs.slice(0, 3).map(parseReference);
    const target = await farm.store.id();
    const platforms = parseMatcher('linux/amd64');
    assert.deepEqual(await farm.client.rootsOf(id), pullRoots({ refs, platforms }, target));
    assert.deepEqual((await run(id)).labels, { target, platforms: platforms.text });
    await farm.ended(id);
  });

  it('copies what is named to where it is named', async () => {
    const target = registry.ref('elsewhere/copy', 'v9');
    const { json } = await answer('POST', '/runs', { copy: [{ source: corpus.refs[1], target }] });
    const { id } = NAMED.Submitted.parse(json);
    assert.equal((await farm.ended(id)).images.done, 1);
    assert.deepEqual(
      (await images(id)).images.map(({ name }) => name),
      [`${corpus.refs[1]} -> ${target}`],
    );
    const tag = registry.stored.get('elsewhere/copy')?.tags.get('v9');
    assert.equal(tag, corpus.images.get(corpus.refs[1] ?? '')?.desc.digest);
  });

  it('tells what failed and why: in the list, in groups, and image by image', async () => {
    const absent = [registry.ref('absent', 'v1'), registry.ref('absent', 'v2')];
    const id = await submit([...absent, corpus.refs[0] ?? '']);
    await farm.ended(id);
    const { runs } = read(NAMED.Runs, await server.api('GET', '/runs?limit=500'));
    const listed = runs.find((each) => each.id === id);
    assert.deepEqual([listed?.state, listed?.failuresByCode], ['done', { NOT_FOUND: 2 }]);
    const { failures, waiting } = await run(id);
    assert.deepEqual(waiting, []);
    assert.deepEqual(
      failures.map(({ code, count, examples }) => [code, count, examples.map(({ name }) => name).toSorted()]),
      [['NOT_FOUND', 2, absent]],
    );
    const page = await images(id, '?state=failed&code=NOT_FOUND&q=V2');
    assert.deepEqual([page.total, page.images.map(({ name }) => name)], [1, [absent[1]]]);
    const [done] = (await images(id, '?state=done')).images;
    assert.deepEqual([done?.index, done?.digest], [2, corpus.images.get(corpus.refs[0] ?? '')?.desc.digest]);
  });

  it('shows a run while it goes on, and cancels it once', async () => {
    const { id, letGo } = await held();
    assert.equal((await images(id, '?state=open')).total, 3);
    const ref = 'somebody-else';
    const own = await farm.store.ingestWaiting({ ref }, opts);
    assert.equal(own.state, 'open');
    const ingests = async () => read(NAMED.Ingests, await server.api('GET', '/ingests')).ingests;
    await until('both are told', async () => {
      const told = await ingests();
      return told.some(({ worker }) => worker !== null) && told.some((each) => each.ref === ref);
    });
    // The server sees the transfers of the worker in its own store as well.
    const known = new Set((await farm.store.active(opts)).map((each) => each.ref));
    let told = await ingests();
    await until('each is told once, by its worker if it has one', async () => {
      told = await ingests();
      const without = told.filter(({ worker }) => worker === null).map((each) => each.ref);
      return without.join() === ref && told.some((each) => each.ref !== ref && known.has(each.ref));
    });
    assert.ok(
      told.filter(({ worker }) => worker !== null).every((each) => each.run === id && each.lane === registry.host),
    );
    if (own.state === 'open') await own.writer.discard();
    assert.match(await refused(409, 'POST', `/runs/${id}/retry`), /^USAGE run r\w+ still goes on/);
    assert.deepEqual((await answer('POST', `/runs/${id}/cancel`)).json, { cancelled: true });
    assert.deepEqual((await answer('POST', `/runs/${id}/cancel`)).json, { cancelled: false });
    letGo();
    await until('it has ended', async () => (await run(id)).state === 'cancelled');
    assert.equal((await images(id, '?state=cancelled')).total, 3);
    const { status, json, headers } = await answer('POST', `/runs/${id}/retry`, {});
    const again = NAMED.Retried.parse(json).id ?? '';
    assert.deepEqual([status, headers.location], [201, `/api/v1/runs/${again}`]);
    const ended = await farm.ended(again);
    assert.deepEqual([ended.images.done, ended.labels['retryOf']], [3, id]);
    assert.deepEqual((await answer('POST', `/runs/${again}/retry`)).json, { id: null });
  });

  it('limits, pauses and resumes lanes as the command line does', async () => {
    const path = `/lanes/${registry.host}`;
    const lane = async () => (await farm.client.lanes(opts)).find(({ name }) => name === registry.host);
    await answer('PATCH', path, { concurrency: 2, quota: { requests: 50, periodMs: 3_600_000 } });
    assert.deepEqual([(await lane())?.concurrency, (await lane())?.quota], [2, { requests: 50, periodMs: 3_600_000 }]);
    await answer('PATCH', path, { concurrency: null });
    assert.deepEqual([(await lane())?.concurrency, (await lane())?.quota?.requests], [undefined, 50]);
    await answer('PATCH', path, { quota: null });
    assert.equal((await lane())?.quota, undefined);
    await answer('POST', `${path}/pause`);
    assert.equal((await lane())?.paused, true);
    await answer('POST', `${path}/resume`);
    assert.equal((await lane())?.paused, false);
    const { status, json } = await answer('PATCH', '/lanes/Index.Docker.io', { concurrency: 3 });
    assert.deepEqual([status, NAMED.Lane.parse(json).name], [200, 'docker.io']);
    const names = (await farm.client.lanes(opts)).map(({ name }) => name);
    assert.ok(
      names.includes('docker.io') && !names.some((name) => name.includes('index')),
      'under the name that references have',
    );
  });

  it('says what is wrong with a request, and where', async () => {
    const bad: readonly (readonly [unknown, string])[] = [
      [{ pull: [] }, 'INVALID body.pull: '],
      [{ pull: ['a', 5] }, 'INVALID body.pull.1: '],
      [{ pull: ['redis', 'redis:a b'] }, 'INVALID body.pull.1: invalid reference: '],
      [{ pull: ['oci-archive:/etc/x.tar'] }, 'INVALID body.pull.0: oci-archive:/etc/x.tar is an archive'],
      [{ pull: ['redis'], platforms: ['a/b/c/d'] }, 'INVALID body.platforms: '],
      [{ pull: ['redis'], target: 'a/b' }, 'INVALID body.target: '],
      [{ pull: ['redis'], store: 'x' }, 'INVALID body: '],
      [{ pull: ['redis'], labels: { why: '\u001b[2J' } }, 'INVALID body.labels.why: '],
      [{ copy: [{ source: 'redis' }] }, 'INVALID body.copy.0.target: '],
      [{ copy: [{ source: 'redis', target: 'oci:/tmp/x' }] }, 'INVALID body.copy.0.target: oci:/tmp/x is an archive'],
      ['{"pull": [', 'INVALID the body is not JSON'],
      ['', 'INVALID the body is missing'],
    ];
    for (const [body, message] of bad) {
      const said = await refused(400, 'POST', '/runs', body);
      assert.ok(said.startsWith(message), `${JSON.stringify(body)}: ${said}`);
    }
    assert.match(await refused(400, 'GET', '/runs?limit=1000000'), /^INVALID query\.limit: /);
    assert.match(await refused(400, 'PATCH', '/lanes/ghcr.io', {}), /^INVALID body: nothing is to be set/);
    assert.match(await refused(400, 'PATCH', '/lanes/a%2Fb', { concurrency: 1 }), /^INVALID not a registry/);
    assert.match(await refused(404, 'POST', '/lanes/nowhere.example/pause'), /^NOT_FOUND there is no lane nowhere/);
    for (const id of ['r0123456789', 'R', 'r0123456789:m', '..%2f..', '%00', '%ff', '%E0%A4%A']) {
      assert.match(await refused(404, 'GET', `/runs/${id}`), /^NOT_FOUND /);
      assert.match(await refused(404, 'POST', `/runs/${id}/cancel`), /^NOT_FOUND /);
    }
    assert.match(await refused(404, 'GET', '/nothing'), /^NOT_FOUND /);
    assert.match(await refused(404, 'GET', '/../../api'), /^NOT_FOUND /);
    const { headers } = await server.api('DELETE', '/runs');
    assert.equal(headers.allow, 'GET, HEAD, POST');
    assert.match(await refused(405, 'PUT', '/lanes/ghcr.io', '{}'), /^USAGE only GET, HEAD, PATCH/);
  });

  it('takes JSON only, and no more of it than it needs, whatever the client says of its length', async () => {
    const headers = { authorization: `Bearer ${server.token}` };
    const form = { ...headers, 'content-type': 'application/x-www-form-urlencoded' };
    assert.equal((await server.api('POST', '/runs', 'pull=redis', form)).status, 415);
    assert.equal((await server.api('POST', '/runs', '{"pull":["redis"]}', headers)).status, 415);
    const json = { ...headers, 'content-type': 'application/json' };
    const long = JSON.stringify({ concurrency: 1, pad: 'x'.repeat(100_000) });
    assert.equal((await server.api('PATCH', '/lanes/ghcr.io', long, json)).status, 413);
    assert.equal((await chunked(`${server.url}/api/v1/lanes/ghcr.io`, 'PATCH', json, long)).status, 413);
    const huge = JSON.stringify({ pull: ['x'.repeat(17 << 20)] });
    assert.equal((await chunked(`${server.url}/api/v1/runs`, 'POST', json, huge)).status, 413);
    const many = Array.from({ length: 50_001 }, (_, i) => `registry.invalid/app:t${i}`);
    assert.match(await refused(400, 'POST', '/runs', { pull: many }), /^INVALID body\.pull: /);
  });
});

/** Sends a body without saying how long it is. */
function chunked(
  url: string,
  method: string,
  headers: Record<string, string>,
  body: string,
): Promise<{ status: number }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number }>();
  const sent = request(url, { method, headers, agent: false }, (response) => {
    response.resume();
    resolve({ status: response.statusCode ?? 0 });
  });
  sent.on('error', reject);
  for (let at = 0; at < body.length; at += 65_536) sent.write(body.slice(at, at + 65_536));
  sent.end();
  return promise;
}

describe('a server without a farm', () => {
  it('says so, and shows what its store has', async () => {
    await using dir = await tempDir();
    await using farmless = await startTestServer({ store: dir.join('store') });
    const { status, body } = await farmless.api('GET', '/runs');
    assert.equal(status, 404);
    assert.match(body.toString(), /this server shows no farm/);
    assert.deepEqual(JSON.parse((await farmless.api('GET', '/ingests')).body.toString()), { ingests: [] });
    assert.equal((await ask(`${farmless.url}/healthz`)).status, 200);
  });
});
