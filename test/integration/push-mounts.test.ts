/** Mounts, and what registries make of them. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { failureOf, never, TestClient } from '../support/clients.ts';
import { assertAbsent, assertThere, blobOf, push } from '../support/pushing.ts';
import { faults, type RegistryOptions, TestRegistry } from '../support/registry.ts';

const blob = blobOf('mount', 100_000);

/** A registry that has the blob in `library`. */
async function started(options: RegistryOptions = {}): Promise<TestRegistry> {
  const registry = await TestRegistry.start(options);
  registry.stored.putBlob('library', blob.content, blob.desc.digest);
  return registry;
}

const mount = (client: TestClient, registry: TestRegistry, from: string): Promise<boolean> =>
  client.pusher(`${registry.host}/app`).mount(blob.desc, `${registry.host}/${from}`, { signal: never });

describe('a mount', () => {
  it('is one request and no bytes', async () => {
    await using registry = await started();
    await using client = new TestClient();
    assert.equal(await mount(client, registry, 'library'), true);
    assertThere(registry, blob);
    assert.deepEqual(
      registry.log.entries.map((entry) => [entry.kind, entry.bytesReceived]),
      [['mount', 0]],
    );
    assert.match(registry.log.entries[0]?.path ?? '', /[?&]from=library(?:&|$)/);
  });

  it('that is answered 202 becomes the upload', async () => {
    await using registry = await started({ mounts: 'refuse' });
    await using client = new TestClient();
    assert.equal(await mount(client, registry, 'library'), false);
    await push(client, registry, blob);
    assertThere(registry, blob);
    assert.equal(registry.count({ kind: 'upload-start' }), 0);
    assert.equal(registry.uploads.size, 0);
  });

  it('whose session is lost before the upload does no harm', async () => {
    await using registry = await started({ mounts: 'refuse' });
    await using client = new TestClient();
    assert.equal(await mount(client, registry, 'library'), false);
    registry.uploads.forget();
    await push(client, registry, blob);
    assertThere(registry, blob);
  });

  for (const mounts of ['401', '404'] as const) {
    it(`that is answered ${mounts} is not one, and the upload goes ahead`, async () => {
      await using registry = await started({ mounts });
      await using client = new TestClient();
      assert.equal(await mount(client, registry, 'library'), false);
      assertAbsent(registry, blob);
      await push(client, registry, blob);
      assertThere(registry, blob);
      assert.ok(registry.count({ kind: 'mount' }) <= 2);
    });
  }

  it('from a repository that may not be read is not one, and the upload goes ahead', async () => {
    const grant = (repo: string): string[] => (repo === 'app' ? ['pull', 'push'] : []);
    for (const lacking of [401, 403] as const) {
      await using registry = await started({ auth: { scheme: 'bearer', anonymous: true, grant, lacking } });
      await using client = new TestClient();
      assert.equal(await mount(client, registry, 'library'), false);
      await push(client, registry, blob);
      assertThere(registry, blob);
    }
  });

  it('of a blob that is not there is not one', async () => {
    await using registry = await TestRegistry.start();
    await using client = new TestClient();
    assert.equal(await mount(client, registry, 'library'), false);
    await push(client, registry, blob);
    assertThere(registry, blob);
  });

  it('that only claims to have succeeded is found out by asking, and the upload goes ahead', async () => {
    await using registry = await started({ mounts: 'lie' });
    await using client = new TestClient();
    const pusher = client.pusher(`${registry.host}/app`);
    await mount(client, registry, 'library');
    assert.equal(await pusher.has('blob', blob.desc, { signal: never }), false);
    await push(client, registry, blob);
    assertThere(registry, blob);
    assert.equal(await pusher.has('blob', blob.desc, { signal: never }), true);
  });

  it('is tried again after 500, and given up after the budget', async () => {
    await using registry = await started();
    await using client = new TestClient();
    registry.fault({ match: { kind: 'mount' }, times: 2, unserved: true, do: faults.status(500) });
    assert.equal(await mount(client, registry, 'library'), true);
    registry.clearFaults();
    registry.log.clear();
    registry.fault({ match: { kind: 'mount' }, unserved: true, do: faults.status(500) });
    const err = await failureOf(mount(client, registry, 'library'), 'UPSTREAM');
    assert.equal(err.origin, 'target');
    assert.equal(err.digest, blob.desc.digest);
    assert.equal(registry.count({ kind: 'mount' }), 3);
  });
});
