import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { Secret } from '../../src/secret.ts';
import { failureOf, fetchWhole, firstLayer, MARKER, resolve, TestClient } from '../support/clients.ts';
import { image } from '../support/images.ts';
import {
  type Effect,
  faults,
  randomBytesOf,
  type RegistryOptions,
  TestOrigin,
  TestRegistry,
} from '../support/registry.ts';
import { tempDir } from '../support/temp.ts';
import { certificates } from '../support/tls.ts';

const app = image({ seed: 'mirrors', layers: [{ raw: randomBytesOf('mirrors', 100_000) }] });
const layer = firstLayer(app);
const basic = { scheme: 'basic', users: { alice: MARKER } } as const;

/** A mirror and a registry that both have the image, and a client that is told of the mirror. */
class Setup implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly registry: TestRegistry;
  readonly mirror: TestRegistry;
  readonly client: TestClient;

  private constructor(registry: TestRegistry, mirror: TestRegistry, client: TestClient) {
    this.registry = registry;
    this.mirror = mirror;
    this.client = client;
  }

  static async start(
    options: { registry?: RegistryOptions; mirror?: RegistryOptions; lines?: string[] } = {},
  ): Promise<Setup> {
    const dir = await tempDir();
    const registry = await TestRegistry.start(options.registry);
    const mirror = await TestRegistry.start(options.mirror);
    for (const each of [registry, mirror]) each.add('app', 'v1', app);
    await mkdir(dir.join(registry.host));
    const lines = [`[host."${mirror.url}"]`, ...(options.lines ?? ['capabilities = ["pull", "resolve"]'])];
    await writeFile(dir.join(registry.host, 'hosts.toml'), lines.join('\n'));
    const explicit = new Map([[registry.host, { username: 'alice', password: new Secret(MARKER) }]]);
    const client = new TestClient({
      hosts: { dirs: [dir.path], plainHttp: false, insecure: false },
      credentials: { explicit, files: [], env: {} },
    });
    const made = new Setup(registry, mirror, client);
    for (const each of [dir, registry, mirror, client]) made.#stack.use(each);
    return made;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }

  resolve(): Promise<unknown> {
    return resolve(this.client, this.registry.ref('app', 'v1'));
  }
}

describe('mirrors of hosts.toml', () => {
  it('are asked first, told which registry is meant, and get no credentials of it', async () => {
    await using setup = await Setup.start({ registry: { auth: basic } });
    const { registry, mirror, client } = setup;
    await setup.resolve();
    await fetchWhole(client, registry, layer);
    assert.equal(registry.count(), 0);
    assert.deepEqual(
      mirror.log.entries.map(({ path, authKind }) => [new URL(path, mirror.url).searchParams.get('ns'), authKind]),
      [
        [registry.host, 'none'],
        [registry.host, 'none'],
      ],
    );
  });

  it('that want credentials get those of their own host or none, never those of the registry', async () => {
    await using setup = await Setup.start({ registry: { auth: basic }, mirror: { auth: basic } });
    await setup.resolve();
    assert.ok(setup.mirror.log.entries.every((entry) => entry.authorization === undefined));
    assert.equal(setup.registry.log.entries.at(-1)?.authKind, 'basic');
    // Not by way of a token server either.
    await using other = await Setup.start({
      registry: { auth: basic },
      mirror: { auth: { scheme: 'bearer', users: { alice: MARKER }, ownPort: true } },
    });
    await other.resolve();
    assert.ok(other.mirror.log.entries.every((entry) => entry.authorization === undefined));
  });

  const failures: readonly (readonly [string, Effect])[] = [
    ['500', faults.status(500)],
    ['404', faults.status(404)],
    ['403', faults.status(403)],
    ['400', faults.status(400)],
    ['a limit of an hour', faults.retryAfter('3600')],
    ['a cut connection', faults.drop()],
    ['a redirect to nowhere', faults.redirect(undefined)],
    ['a redirect loop', faults.redirectLoop],
    ['a redirect to a file', faults.redirect('file:///etc/passwd')],
    ['a web page', faults.html()],
    ['no HTTP', faults.raw('SSH-2.0\r\n')],
    ['too many headers', faults.manyHeaders(20, 8000)],
  ];
  for (const [what, effect] of failures) {
    it(`that give ${what} are passed by`, async () => {
      await using setup = await Setup.start();
      const { registry, mirror, client } = setup;
      mirror.fault({ do: effect });
      await setup.resolve();
      if (what !== 'a web page') await fetchWhole(client, registry, layer);
      assert.ok(registry.count() > 0);
      assert.ok(mirror.count() > 0);
    });
  }

  it('that are not there cost two tries, not the whole budget', async () => {
    await using setup = await Setup.start();
    await setup.mirror[Symbol.asyncDispose]();
    await setup.resolve();
    assert.equal(setup.client.retried.length, 1);
    assert.equal(setup.registry.count(), 1);
  });

  it('whose limit is known are not even asked', async () => {
    await using setup = await Setup.start();
    setup.mirror.fault({ do: faults.retryAfter('3600') });
    await setup.resolve();
    await setup.resolve();
    assert.equal(setup.mirror.count(), 1);
    assert.equal(setup.registry.count(), 2);
  });

  it('that break off in the middle are asked again for the rest, then the registry', async () => {
    await using setup = await Setup.start();
    const { registry, mirror, client } = setup;
    mirror.fault({ match: { kind: 'blob', nth: 1 }, do: faults.cut(20_000) });
    mirror.fault({ match: { kind: 'blob', ranged: true }, do: faults.status(500) });
    await fetchWhole(client, registry, layer);
    assert.deepEqual(
      registry.log.entries.map((entry) => entry.range),
      ['bytes=20000-'],
    );
  });

  it('a 404 of the registry itself is the answer', async () => {
    await using setup = await Setup.start();
    const { registry, mirror, client } = setup;
    mirror.fault({ do: faults.status(500) });
    const err = await failureOf(resolve(client, registry.ref('app', 'nothing')), 'NOT_FOUND');
    assert.equal(err.host, registry.host);
  });

  it('that may only pull are not asked to resolve', async () => {
    await using setup = await Setup.start({ lines: ['capabilities = ["pull"]'] });
    await setup.resolve();
    assert.deepEqual([setup.mirror.count(), setup.registry.count()], [0, 1]);
    await fetchWhole(setup.client, setup.registry, layer);
    assert.deepEqual([setup.mirror.count(), setup.registry.count()], [1, 1]);
  });

  it('get the headers that are configured for them, and a redirect gets none of these', async () => {
    const lines = [
      'capabilities = ["pull"]',
      `[host."PLACE".header]`,
      `x-token = "${MARKER}"`,
      `authorization = "Bearer ${MARKER}"`,
    ];
    await using dir = await tempDir();
    await using registry = await TestRegistry.start();
    registry.add('app', 'v1', app);
    await using origin = await TestOrigin.start({ blobs: registry.blobs });
    await mkdir(dir.join('registry.example'));
    const text = [`[host."PLACE"]`, ...lines].join('\n').replaceAll('PLACE', registry.url);
    await writeFile(dir.join('registry.example', 'hosts.toml'), text);
    await using client = new TestClient({ hosts: { dirs: [dir.path], plainHttp: false, insecure: false } });
    registry.fault({ match: { kind: 'blob' }, do: origin.redirectHere() });
    await fetchWhole(client, { host: 'registry.example' }, layer);
    assert.equal(registry.log.entries[0]?.headers['x-token'], MARKER);
    assert.equal(registry.log.entries[0]?.authorization, `Bearer ${MARKER}`);
    assert.equal(origin.log.entries[0]?.headers['x-token'], undefined);
    assert.deepEqual(origin.leaks(), []);
  });

  it('with a CA of their own keep it to themselves', async () => {
    const { server, caFile } = await certificates();
    await using setup = await Setup.start({
      mirror: { tls: server },
      lines: ['capabilities = ["pull", "resolve"]', `ca = "${caFile}"`],
    });
    await setup.resolve();
    assert.deepEqual([setup.mirror.count(), setup.registry.count()], [1, 0]);
  });

  it('a hosts.toml that is broken is an error, and is read again when it is mended', async () => {
    await using dir = await tempDir();
    await using registry = await TestRegistry.start();
    registry.add('app', 'v1', app);
    await mkdir(dir.join(registry.host));
    const file = dir.join(registry.host, 'hosts.toml');
    await writeFile(file, `server = "${MARKER}\n`);
    await using client = new TestClient({ hosts: { dirs: [dir.path], plainHttp: false, insecure: false } });
    const err = await failureOf(resolve(client, registry.ref('app', 'v1')), 'INVALID');
    assert.ok(err.message.startsWith(`${file}:1:`), err.message);
    assert.equal(registry.count(), 0);
    await writeFile(file, '');
    await resolve(client, registry.ref('app', 'v1'));
  });
});
