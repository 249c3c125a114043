/** Manifests that say something wrong of content that others want. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ask } from '../support/ask.ts';
import { firstLayer, never } from '../support/clients.ts';
import { until } from '../support/farm.ts';
import { image, index } from '../support/images.ts';
import { askedOf, blobOf, manifestOf, PullThroughWorld } from '../support/pull-through.ts';
import { faults, randomBytesOf, TestRegistry } from '../support/registry.ts';
import { digestOf } from '../../src/oci/digest.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts';

const opts = { signal: never };
const MIB = 1 << 20;
const big = image({ seed: 'big', layers: [{ raw: randomBytesOf('big', 4 * MIB) }] });
const layer = firstLayer(big);

/** Puts a manifest whose layer is said to be this. */
function lie(registry: TestRegistry, repo: string, said: Descriptor): void {
  const { config } = big;
  const document = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [said] };
  registry.stored.putManifest(repo, JSON.stringify(document), { mediaType: OCI_MANIFEST, tag: 'lie' });
}

describe('a layer of which another manifest says the wrong size', () => {
  it('comes whole to whoever asks while it comes', async () => {
    await using w = await PullThroughWorld.serving();
    w.registry.add('app', '1', big);
    lie(w.registry, 'app', { ...layer, size: 1000 });
    await w.fetched('app', big.desc, manifestOf('1'));
    const [go, came] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    using _held = w.registry.fault({
      match: { kind: 'blob', method: 'GET' },
      do: faults.holdBody(3 * MIB, go.promise),
    });
    const first = w.get('app', blobOf(layer), { onBytes: (total) => total >= 2 * MIB && came.resolve() });
    await came.promise;
    assert.equal((await w.get('app', manifestOf('lie'))).status, 200);
    const second = w.fetched('app', layer);
    await w.registry.log.waitFor({ method: 'HEAD', kind: 'blob' });
    go.resolve();
    await second;
    assert.equal(digestOf((await first).body), layer.digest);
  });

  it('comes although that one was the only one that was asked for', async () => {
    await using w = await PullThroughWorld.serving();
    w.registry.add('app', '1', big);
    lie(w.registry, 'app', { ...layer, size: 1000 });
    assert.equal((await w.get('app', manifestOf('lie'))).status, 200);
    assert.equal((await w.get('app', blobOf(layer))).status, 502);
    await w.fetched('app', layer);
  });

  it('is never given out with the bytes of a registry that others ask', async () => {
    await using evil = await TestRegistry.start();
    const rules = ({ host }: { host: string }): object => ({
      rules: [host, evil.host].map((each) => ({ match: `${each}/**` })),
    });
    await using w = await PullThroughWorld.serving({ rules });
    w.registry.add('app', '1', big);
    lie(evil, 'app', { ...layer, size: 20 * MIB });
    evil.stored.putBlob('app', Buffer.alloc(20 * MIB, 'EVIL'), layer.digest);
    using _stalled = evil.fault({ match: { kind: 'blob' }, do: faults.stallBody(8 * MIB) });
    const gone = new AbortController();
    const evilName = `${w.url}/v2/${evil.host.replace(':', '_')}/app`;
    assert.equal((await ask(`${evilName}/${manifestOf('lie')}`)).status, 200);
    const left = ask(`${evilName}/${blobOf(layer)}`, { signal: gone.signal }).catch(() => undefined);
    await until('6 MiB of what is wrong', async () => ((await w.store.active(opts))[0]?.offset ?? 0) >= 6 * MIB);
    // Nobody has told yet how large it is: not the one who was there first.
    await w.fetched('app', layer);
    gone.abort();
    await left;
    assert.deepEqual(askedOf(w.registry), [`HEAD blob ${layer.digest}`, `GET blob ${layer.digest}`]);
  });
});

it('a manifest of which its index says the wrong size comes when it is asked for again', async () => {
  await using w = await PullThroughWorld.serving();
  const child = image({ seed: 'child' });
  const { desc } = child;
  w.registry.add('app', '1', child);
  const document = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [{ ...desc, size: desc.size + 1 }] };
  w.registry.stored.putManifest('app', JSON.stringify(document), { mediaType: OCI_INDEX, tag: 'lie' });
  assert.equal((await w.get('app', manifestOf('lie'))).status, 200);
  assert.equal((await w.get('app', manifestOf(desc.digest))).status, 502);
  await w.fetched('app', desc, manifestOf(desc.digest));
});

it('a manifest that another one lists as a layer is found by its digest', async () => {
  await using w = await PullThroughWorld.serving();
  const child = image({ seed: 'child' });
  w.registry.add('app', '1', index([{ of: child, platform: { os: 'linux', architecture: 'amd64' } }]));
  lie(w.registry, 'app', { ...child.desc, mediaType: 'application/octet-stream' });
  assert.equal((await w.get('app', manifestOf('lie'))).status, 200);
  await w.fetched('app', child.desc, manifestOf(child.desc.digest));
});
