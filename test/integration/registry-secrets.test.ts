import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { refKey } from '../../src/oci/ref-key.ts';
import { fill } from '../../src/content/fill.ts';
import { ContentStore } from '../../src/store/content-store.ts';
import {
  basicCredentials,
  fetchAll,
  firstLayer,
  leaks,
  lookOver,
  MARKER,
  never,
  printed,
  resolve,
  TestClient,
} from '../support/clients.ts';
import { image } from '../support/images.ts';
import { TestProxy } from '../support/proxy.ts';
import { type Effect, faults, randomBytesOf, TestOrigin, TestRegistry } from '../support/registry.ts';
import { tempDir } from '../support/temp.ts';

const app = image({ seed: 'secrets', layers: [{ raw: randomBytesOf('secrets', 100_000) }] });
const layer = firstLayer(app);
const users = { alice: MARKER };
const auths = { basic: { scheme: 'basic', users }, bearer: { scheme: 'bearer', users, ownPort: true } } as const;

const EFFECTS: Readonly<Record<string, Effect>> = {
  'status 400': faults.status(400),
  'status 401': faults.status(401),
  'status 403': faults.status(403),
  'status 404': faults.status(404),
  'status 429': faults.retryAfter('3600'),
  'status 500': faults.status(500),
  drop: faults.drop(),
  'cut FIN': faults.cut(10),
  'cut RST': faults.cut(10, 'RST'),
  'stalled headers': faults.stallHeaders,
  'stalled body': faults.stallBody(10),
  'no HTTP': faults.raw('SSH-2.0\r\n\r\n'),
  'too many headers': faults.manyHeaders(20, 8000),
  html: faults.html(),
  'no Location': faults.redirect(undefined),
  'a loop': faults.redirectLoop,
  'a URL with secrets': faults.redirect(`http://alice:${MARKER}@127.0.0.1:1/${'x'.repeat(10)}?sig=${MARKER}#${MARKER}`),
  'a file': faults.redirect(`file:///${MARKER}`),
  'a wrong length': faults.contentLength(5),
  'a wrong encoding': faults.headers({ 'content-encoding': 'gzip' }),
  'an echo': (a, asked) => {
    const sent = asked.entry.authorization ?? '';
    const decoded = Buffer.from(sent.split(' ')[1] ?? '', 'base64').toString();
    const message = `you sent ${sent}${sent.startsWith('Basic') ? `, that is ${decoded}` : ''}`;
    faults.status(403, { body: JSON.stringify({ errors: [{ code: 'DENIED', message }] }) })(a, asked);
  },
};

/** All that can be seen of the failures of one client: its errors and what it said before each retry. */
async function failures(registry: TestRegistry, client: TestClient): Promise<unknown[]> {
  const seen: unknown[] = [];
  const note = async (work: Promise<unknown>): Promise<void> => {
    const err: unknown = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (err !== undefined) seen.push(err);
  };
  await note(fetchAll(client, registry, layer));
  await note(resolve(client, registry.ref('app', 'v1')));
  return [...seen, ...client.retried];
}

describe('secrets', () => {
  for (const scheme of ['basic', 'bearer'] as const) {
    it(`are in no error with ${scheme}, whatever fails, neither at the registry nor at its token server`, async () => {
      let count = 0;
      for (const [what, effect] of Object.entries(EFFECTS)) {
        for (const kind of ['blob', 'token'] as const) {
          await using registry = await TestRegistry.start({ auth: auths[scheme] });
          registry.add('app', 'v1', app);
          // The stall of an answer to a faulty request is a tenth of a second, in all the places where it may happen.
          const client = new TestClient({
            credentials: basicCredentials(registry.host),
            headersTimeoutMs: 30,
            stall: { stallMs: 30 },
            retry: { attempts: 2 },
          });
          registry.fault({ match: { kind, beforeAuth: kind === 'token' }, do: effect });
          const errors = await failures(registry, client);
          assert.ok(scheme === 'basic' || errors.length > 0 || what === 'a wrong encoding', what);
          for (const err of errors) lookOver(err);
          count += errors.length;
          assert.ok(!leaks(printed(client)), 'a secret in the client itself');
          await client[Symbol.asyncDispose]();
        }
      }
      assert.ok(count > 20);
    });
  }

  it('of a CDN and of a proxy are in no error either', async () => {
    for (const effect of Object.values(EFFECTS)) {
      await using registry = await TestRegistry.start();
      registry.add('app', 'v1', app);
      await using origin = await TestOrigin.start({ blobs: registry.blobs, hostname: 'cdn.example' });
      await using proxy = await TestProxy.start({
        credentials: `proxy:${MARKER}`,
        hosts: { 'registry.example:80': registry.host, [`cdn.example:${origin.port}`]: `127.0.0.1:${origin.port}` },
      });
      registry.fault({ match: { kind: 'blob' }, do: origin.redirectHere() });
      origin.fault({ do: effect });
      await using client = new TestClient({
        hosts: { dirs: [], plainHttp: true, insecure: false },
        proxies: { http: proxy.url.replace('://', `://proxy:${MARKER}@`) },
        headersTimeoutMs: 50,
        stall: { stallMs: 50 },
        retry: { attempts: 1 },
      });
      const err: unknown = await fetchAll(client, { host: 'registry.example' }, layer).catch(
        (reason: unknown) => reason,
      );
      if (!Buffer.isBuffer(err)) lookOver(err);
    }
  });

  it('are in no file of the store, also when the transfer breaks off', async () => {
    await using dir = await tempDir();
    await using registry = await TestRegistry.start({ auth: { scheme: 'bearer', users } });
    registry.add('app', 'v1', app);
    await using client = new TestClient({ credentials: basicCredentials(registry.host) });
    const store = new ContentStore({ root: dir.join('store') });
    registry.fault({ match: { kind: 'blob' }, do: faults.cut(5000) });
    const ingest = await store.ingest(
      { ref: refKey(layer), digest: layer.digest, size: layer.size },
      { signal: never },
    );
    assert.ok(ingest.state === 'open');
    const body = await client.fetcher(`${registry.host}/app`).fetch('blob', layer, { signal: never });
    await assert.rejects(fill(ingest.writer, body));
    await ingest.writer[Symbol.asyncDispose]();
    const files = await readdir(dir.path, { recursive: true, withFileTypes: true });
    assert.ok(files.some((file) => file.isFile()));
    for (const file of files.filter((each) => each.isFile())) {
      const text = await readFile(join(file.parentPath, file.name), 'latin1');
      assert.ok(!leaks(text) && !text.includes('test-token-'), file.name);
    }
  });

  it('are in nothing that a process prints when it crashes with one of these errors', async () => {
    await using dir = await tempDir();
    await using registry = await TestRegistry.start({ auth: { scheme: 'bearer', users } });
    registry.add('app', 'v1', app);
    registry.fault({ match: { kind: 'blob' }, do: faults.cut(10, 'RST') });
    await mkdir(dir.join('docker'));
    const auth = Buffer.from(`alice:${MARKER}`).toString('base64');
    await writeFile(dir.join('docker', 'config.json'), JSON.stringify({ auths: { [registry.host]: { auth } } }));
    const client = new URL('../../src/registry/client.ts', import.meta.url).href;
    const program = `
      import { RegistryClient } from ${JSON.stringify(client)};
      const client = new RegistryClient({
        userAgent: 'test',
        credentials: { files: [${JSON.stringify(dir.join('docker', 'config.json'))}], env: {} },
        hosts: { dirs: [], plainHttp: false, insecure: false },
        retry: { attempts: 2, baseDelayMs: 1 },
        onRetry: (err) => console.error(err),
      });
      const desc = ${JSON.stringify(layer)};
      console.log(client);
      const body = await client.fetcher(${JSON.stringify(`${registry.host}/app`)}).fetch('blob', desc, { signal: new AbortController().signal });
      for await (const chunk of body) console.log(chunk.length);
    `;
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const [out, err] = await Promise.all([textOf(child.stdout), textOf(child.stderr)]);
    const text = `${out} ${err}`;
    assert.match(text, /GantryError/);
    assert.ok(!leaks(text) && !text.includes('test-token-'), text);
    assert.ok(registry.count({ kind: 'blob', authKind: 'bearer' }) > 1);
  });
});
