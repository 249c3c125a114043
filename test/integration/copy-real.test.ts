/** What is copied from one registry of the Docker project to another is the same there, as skopeo reads it. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { digestOf } from '../../src/oci/digest.ts';
import { OCI_LAYER_ZSTD } from '../../src/oci/media-types.ts';
import { artifact, cosignSignature, foreignLayerImage, helmChart } from '../support/artifacts.ts';
import { newUser, type User } from '../support/cli.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { image, multiPlatform } from '../support/images.ts';
import { runOk } from '../support/process.ts';
import type { Bundle } from '../support/registry/storage.ts';
import { readAll } from '../support/registry.ts';
import { tar } from '../support/tar.ts';
import { tempDir } from '../support/temp.ts';

let source: DockerRegistry;
let target: DockerRegistry;
let user: User;

before(async () => {
  source = await DockerRegistry.start();
  target = await DockerRegistry.start({
    validation: { manifests: { urls: { allow: ['^https://layers[.]example/'] } } },
  });
  user = await newUser();
});
after(async () => {
  await source[Symbol.asyncDispose]();
  await target[Symbol.asyncDispose]();
  await user[Symbol.asyncDispose]();
});

const zstdLayer = { raw: zstdCompressSync(tar([{ name: 'file', body: 'packed by zstd' }])), mediaType: OCI_LAYER_ZSTD };

const KINDS: Readonly<Record<string, Bundle>> = {
  'an OCI image': image({ seed: 'oci', layers: [10_000, 300_000] }),
  'a Docker schema 2 image': image({ seed: 'docker', mediaTypes: 'docker' }),
  'a multi-platform index': multiPlatform({ seed: 'index' }),
  'a Docker manifest list': multiPlatform({ seed: 'list', mediaTypes: 'docker' }),
  'layers packed by zstd': image({ seed: 'zstd', layers: [zstdLayer, 100] }),
  'an empty layer': image({ seed: 'empty', layers: [{ entries: [] }, { entries: [] }, 100] }),
  'an image without layers': image({ seed: 'none', layers: [] }),
  'a Helm chart': helmChart(),
  'an artifact with the empty config': artifact({ content: 'an artifact' }),
  'a signature': cosignSignature(image({ seed: 'signed' }).desc),
};

/** What skopeo reads of an image, all of it: digests of manifests and blobs. */
async function readBack(ref: string): Promise<Set<string>> {
  await using dir = await tempDir('gantry-read-back-');
  const args = ['--insecure-policy', 'copy', '-q', '--all', '--preserve-digests', '--src-tls-verify=false'];
  await runOk('skopeo', [...args, `docker://${ref}`, `dir:${dir.path}`]);
  const files = (await readdir(dir.path)).filter((name) => name !== 'version');
  return new Set(await Promise.all(files.map(async (name) => digestOf(await readFile(join(dir.path, name))))));
}

const digestsOf = ({ manifests, blobs }: Bundle): Set<string> => new Set([...manifests.keys(), ...blobs.keys()]);

describe('a copy from docker-registry to docker-registry', () => {
  for (const [what, bundle] of Object.entries(KINDS)) {
    it(`of ${what} is read back whole by skopeo`, async () => {
      const name = what.replaceAll(' ', '-').toLowerCase();
      await source.push(name, 'v1', bundle);
      const to = `${target.host}/copies/${name}:v1`;
      const copied = await user.gantry(['copy', '-a', '-q', `${source.host}/${name}:v1`, to]);
      assert.equal(copied.code, 0, copied.stderr);
      assert.equal(copied.stdout, `${target.host}/copies/${name}@${bundle.desc.digest}\n`);
      assert.deepEqual(await readBack(to), digestsOf(bundle));
    });
  }

  it('leaves layers out that may not be handed on, and keeps their urls', async () => {
    const made = foreignLayerImage('https://layers.example/foreign');
    const own = new Map([...made.blobs].filter(([, content]) => !readAll(content).equals(made.foreign)));
    await source.push('foreign', 'v1', { ...made, blobs: own });
    const to = `${target.host}/copies/foreign:v1`;
    const copied = await user.gantry(['copy', '-a', '-q', `${source.host}/foreign:v1`, to]);
    assert.equal(copied.code, 0, copied.stderr);
    const raw = await runOk('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${to}`]);
    assert.equal(raw.stdout, made.manifest.toString());
    const head = await fetch(`${target.url}/v2/copies/foreign/blobs/${digestOf(made.foreign)}`, { method: 'HEAD' });
    assert.equal(head.status, 404);
  });

  it('of one platform of an index is that image', async () => {
    const index = multiPlatform({ seed: 'one' });
    await source.push('one', 'v1', index);
    const to = `${target.host}/copies/one:v1`;
    const copied = await user.gantry(['copy', '-q', '--platform', 'linux/arm64', `${source.host}/one:v1`, to]);
    assert.equal(copied.code, 0, copied.stderr);
    const { stdout } = await runOk('skopeo', ['inspect', '--config', '--tls-verify=false', `docker://${to}`]);
    const config: { architecture: string } = JSON.parse(stdout);
    assert.equal(config.architecture, 'arm64');
    const absent = await user.gantry(['copy', '-q', '--platform', 'linux/sparc', `${source.host}/one:v1`, to]);
    assert.equal(absent.code, 4);
    assert.match(absent.stderr, /has no image for linux\/sparc/);
  });

  it('from one repository of a registry to another sends nothing', async () => {
    const made = image({ seed: 'within', layers: [50_000] });
    await source.push('within', 'v1', made);
    const args = ['copy', '-a', '--format', 'json', `${source.host}/within:v1`, `${source.host}/elsewhere:v1`];
    const copied = await user.gantry(args);
    assert.equal(copied.code, 0, copied.stderr);
    const [result]: { bytes: number; mounted: number }[] = JSON.parse(copied.stdout);
    assert.deepEqual([result?.bytes, result?.mounted], [made.desc.size, made.blobs.size]);
    assert.deepEqual(await readBack(`${source.host}/elsewhere:v1`), digestsOf(made));
  });

  it('again does nothing', async () => {
    const made = image({ seed: 'again' });
    await source.push('again', 'v1', made);
    const args = ['copy', '-a', '--format', 'json', `${source.host}/again:v1`, `${target.host}/copies/again:v1`];
    await user.gantry(args);
    const second = await user.gantry(args);
    const [result]: { equal: boolean; bytes: number }[] = JSON.parse(second.stdout);
    assert.deepEqual([second.code, result?.equal, result?.bytes], [0, true, 0]);
  });
});

describe('a push from the store', () => {
  it('brings what was pulled, and says what is not there', async () => {
    const made = multiPlatform({ seed: 'push' });
    await source.push('push', 'v1', made);
    const from = `${source.host}/push:v1`;
    const to = `${target.host}/pushed/push:v2`;
    assert.equal((await user.gantry(['pull', '-q', '-a', from])).code, 0);
    const pushed = await user.gantry(['push', '-q', '-a', from, to]);
    assert.equal(pushed.code, 0, pushed.stderr);
    assert.deepEqual(await readBack(to), digestsOf(made));
    const absent = await user.gantry(['push', '-q', `${source.host}/absent:v1`, to]);
    assert.equal(absent.code, 4);
    assert.match(absent.stderr, /there is no image .*absent:v1 in the store/);
  });
});
