/** What is pushed to the registry of the Docker project is what comes back from it. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { failureOf, fetchWhole, never, TestClient } from '../support/clients.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { image, multiPlatform } from '../support/images.ts';
import { blobOf, TestSource } from '../support/pushing.ts';
import { readAll } from '../support/registry.ts';

const signal = never;

describe('a push to docker-registry', () => {
  it('of blobs of any size, and a mount of one of them', async () => {
    await using registry = await DockerRegistry.start();
    await using client = new TestClient();
    const pusher = client.pusher(`${registry.host}/app`);
    const blobs = [0, 1, 2, 5_000_000].map((size) => blobOf(`real ${size}`, size));
    for (const { desc, content } of blobs) {
      assert.equal(await pusher.has('blob', desc, { signal }), false);
      await pusher.push(desc, new TestSource(content), { signal });
      assert.equal(await pusher.has('blob', desc, { signal }), true);
      await fetchWhole(client, registry, desc);
    }
    const other = client.pusher(`${registry.host}/other`);
    for (const { desc } of blobs) {
      assert.equal(await other.mount(desc, `${registry.host}/app`, { signal }), true);
      await fetchWhole(client, registry, desc, { repo: 'other' });
    }
    const absent = blobOf('real absent', 10);
    assert.equal(await other.mount(absent.desc, `${registry.host}/app`, { signal }), false);
    await other.push(absent.desc, new TestSource(absent.content), { signal }); // takes the upload of the mount up
    await fetchWhole(client, registry, absent.desc, { repo: 'other' });
  });

  it('of an index is refused until its children are there, and then byte for byte', async () => {
    await using registry = await DockerRegistry.start();
    await using client = new TestClient();
    const pusher = client.pusher(`${registry.host}/app`);
    const multi = multiPlatform({ seed: 'real' });
    const put = (): Promise<unknown> => pusher.putManifest(multi.desc, multi.manifest, { signal, tag: 'v1' });
    const err = await failureOf(put(), 'NOT_FOUND');
    assert.equal(err.origin, 'target');
    assert.equal(await pusher.lookup('v1', { signal }), undefined);
    for (const [digest, content] of multi.blobs) {
      await pusher.push(
        { mediaType: 'application/octet-stream', digest, size: content.size },
        new TestSource(content),
        {
          signal,
        },
      );
    }
    for (const [digest, { content, mediaType }] of [...multi.manifests].slice(1)) {
      await pusher.putManifest({ mediaType, digest, size: content.size }, readAll(content), { signal });
    }
    await put();
    assert.equal(await pusher.lookup('v1', { signal }), multi.desc.digest);
    await fetchWhole(client, registry, multi.desc, { kind: 'manifest' });
  });

  it('that may not be made says so', async () => {
    await using registry = await DockerRegistry.start({ htpasswd: { user: 'alice', password: 'secret' } });
    await using client = new TestClient();
    const app = image();
    const pusher = client.pusher(`${registry.host}/app`);
    const err = await failureOf(pusher.putManifest(app.desc, app.manifest, { signal }), 'UNAUTHORIZED');
    assert.equal(err.origin, 'target');
    const { desc, content } = blobOf('real denied', 10);
    await failureOf(pusher.push(desc, new TestSource(content), { signal }), 'UNAUTHORIZED');
  });
});
