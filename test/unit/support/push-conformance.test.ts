/** The same requests to the test registry and to the registry of the Docker project: what both answer is the same. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { digestOf } from '../../../src/oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { foreignLayerImage } from '../../support/artifacts.ts';
import type { Got } from '../../support/ask.ts';
import { DockerRegistry } from '../../support/docker-registry.ts';
import { image, multiPlatform } from '../../support/images.ts';
import { errorsOf, send, type Sent } from '../../support/raw-push.ts';
import { type Bundle, readAll, TestRegistry } from '../../support/registry.ts';

/** What a client goes by. Sessions and their states are random. */
function heard(base: string, got: Got): unknown {
  const { status, headers, body } = got;
  // The detail of the others is for people.
  const errors = (): unknown =>
    errorsOf(got).map(({ code, detail }) => (code === 'MANIFEST_BLOB_UNKNOWN' ? { code, detail } : { code }));
  const isJson = headers['content-type']?.startsWith('application/json') === true;
  return {
    status,
    location: headers.location
      ?.replace(base, '')
      .replace(/uploads\/[0-9a-f-]{36}/, 'uploads/<session>')
      .replace(/_state=[^&]+/, '_state=<state>'),
    range: headers.range,
    hasSession: headers['docker-upload-uuid'] !== undefined,
    digest: headers['docker-content-digest'],
    ...(isJson && status >= 400 && body.length > 0 ? { errors: errors() } : {}),
  };
}

/** Notes what a registry answers, step by step. */
class Client {
  readonly notes: Record<string, unknown> = {};
  readonly #base: string;

  constructor(base: string) {
    this.#base = base;
  }

  /** Gives the Location. */
  async step(name: string, method: string, to: string, sent: Sent = {}): Promise<string> {
    const got = await send(this.#base, method, to, sent);
    assert.equal(this.notes[name], undefined, name);
    this.notes[name] = heard(this.#base, got);
    return got.headers.location ?? '';
  }

  async blob(name: string, repo: string, bytes: string | Uint8Array): Promise<void> {
    const to = await this.step(`${name}: start`, 'POST', `/v2/${repo}/blobs/uploads/`);
    await this.step(`${name}: put`, 'PUT', `${to}&digest=${digestOf(bytes)}`, { body: bytes });
  }

  async manifest(name: string, path: string, body: string | Uint8Array, mediaType = OCI_MANIFEST): Promise<void> {
    await this.step(name, 'PUT', `/v2/${path}`, { headers: { 'content-type': mediaType }, body });
  }
}

const HELLO = digestOf('hello');

async function uploads(client: Client): Promise<void> {
  const start = await client.step('start', 'POST', '/v2/a/blobs/uploads/');
  const same = await client.step('status of nothing', 'GET', start);
  const second = await client.step('first chunk', 'PATCH', same, { headers: { 'content-range': '0-1' }, body: 'he' });
  await client.step('stale location', 'PATCH', same, { headers: { 'content-range': '0-1' }, body: 'he' });
  const third = await client.step('second chunk', 'PATCH', second, { headers: { 'content-range': '2-3' }, body: 'll' });
  const last = await client.step('status', 'GET', third);
  await client.step('wrong digest', 'PUT', `${last}&digest=${digestOf('other')}`);
  await client.step('status after a wrong digest', 'GET', last);
  await client.step('no digest', 'PUT', last);
  await client.step('no digest at all', 'PUT', `${last}&digest=nonsense`);
  await client.step('end with the last bytes', 'PUT', `${last}&digest=${HELLO}`, { body: 'o' });
  await client.step('ended', 'GET', last);
  await client.step('ended twice', 'PUT', `${last}&digest=${HELLO}`);
  await client.step('head', 'HEAD', `/v2/a/blobs/${HELLO}`);
  const cancelled = await client.step('to be cancelled', 'POST', '/v2/a/blobs/uploads/');
  await client.step('cancel', 'DELETE', cancelled);
  await client.step('cancel twice', 'DELETE', cancelled);
  await client.step('whole in POST', 'POST', `/v2/a/blobs/uploads/?digest=${HELLO}`, { body: 'hello' });
  await client.blob('empty', 'a', '');
}

async function mounts(client: Client): Promise<void> {
  const mount = (name: string, query: string): Promise<string> =>
    client.step(name, 'POST', `/v2/b/blobs/uploads/?${query}`);
  await mount('not from there', `mount=${digestOf('no')}&from=a`);
  await mount('no such repository', `mount=${HELLO}&from=none`);
  await mount('from nowhere', `mount=${HELLO}`);
  await client.step('not mounted', 'HEAD', `/v2/b/blobs/${HELLO}`);
  await mount('mounted', `mount=${HELLO}&from=a`);
  await client.step('is there', 'HEAD', `/v2/b/blobs/${HELLO}`);
}

async function blobsOf(client: Client, bundle: Bundle): Promise<void> {
  for (const [digest, content] of bundle.blobs) await client.blob(digest, 'a', readAll(content));
}

async function manifests(client: Client): Promise<void> {
  const app = image({ seed: 'conformance' });
  const multi = multiPlatform({ seed: 'conformance' });
  const foreign = foreignLayerImage('https://elsewhere.example/layer');
  await client.manifest('blobs are missing', 'a/manifests/v1', app.manifest);
  await client.manifest('manifests are missing', 'a/manifests/v1', multi.manifest, OCI_INDEX);
  await client.manifest('no JSON', 'a/manifests/v1', '{');
  await client.manifest('of another type', 'a/manifests/v1', app.manifest, OCI_INDEX);
  await client.manifest('of no type', 'a/manifests/v1', app.manifest, 'text/plain');
  await client.manifest('of another digest', `a/manifests/${HELLO}`, app.manifest);
  for (const bundle of [app, multi, foreign]) await blobsOf(client, bundle);
  await client.manifest('by tag', 'a/manifests/v1', app.manifest);
  await client.manifest('by tag again', 'a/manifests/v1', app.manifest);
  await client.manifest('by digest', `a/manifests/${app.desc.digest}`, app.manifest);
  await client.manifest('a layer that is elsewhere', 'a/manifests/foreign', foreign.manifest);
  for (const [digest, { content, mediaType }] of [...multi.manifests].toReversed()) {
    await client.manifest(`entry ${digest}`, `a/manifests/${digest}`, readAll(content), mediaType);
  }
  await client.manifest('index', 'a/manifests/multi', multi.manifest, OCI_INDEX);
  await client.step('delete by tag', 'DELETE', '/v2/a/manifests/v1');
  await client.step('delete by digest', 'DELETE', `/v2/a/manifests/${app.desc.digest}`);
  await client.step('delete again', 'DELETE', `/v2/a/manifests/${app.desc.digest}`);
  await client.step('the tag is gone', 'GET', '/v2/a/manifests/v1');
  await client.step('delete a blob', 'DELETE', `/v2/a/blobs/${HELLO}`);
  await client.step('delete it again', 'DELETE', `/v2/a/blobs/${HELLO}`);
  await client.step('referrers', 'GET', `/v2/a/referrers/${app.desc.digest}`);
  await client.step('PUT of a blob', 'PUT', `/v2/a/blobs/${HELLO}`, { body: 'hello' });
}

async function notesOf(base: string): Promise<Record<string, unknown>> {
  const client = new Client(base);
  await uploads(client);
  await mounts(client);
  await manifests(client);
  return client.notes;
}

describe('the test registry beside docker-registry', () => {
  it('answers pushes, mounts and deletions in the same way', async () => {
    await using docker = await DockerRegistry.start();
    await using registry = await TestRegistry.start({
      staleLocations: 'refused',
      monolithicPost: false,
      tagDeletes: false,
      referrersApi: false,
    });
    const [expected, actual] = [await notesOf(docker.url), await notesOf(registry.url)];
    assert.ok(Object.keys(expected).length > 50);
    assert.deepEqual(actual, expected);
  });
});
