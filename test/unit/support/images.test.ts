import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { digestOf } from '../../../src/oci/digest.ts';
import * as artifacts from '../../support/artifacts.ts';
import { DockerRegistry } from '../../support/docker-registry.ts';
import { image, multiPlatform, nestedIndex, sameChild } from '../../support/images.ts';
import { cleanEnv, run, runOk, start } from '../../support/process.ts';
import { type Bundle, readAll, SyntheticBlob, TestRegistry } from '../../support/registry.ts';
import { tempDir } from '../../support/temp.ts';

/** Every name says what it names, and the root is there. */
function assertHonest(bundle: Bundle): void {
  assert.ok(bundle.manifests.has(bundle.desc.digest));
  for (const [digest, { content }] of bundle.manifests) assert.equal(digestOf(readAll(content)), digest);
  for (const [digest, content] of bundle.blobs) assert.equal(digestOf(readAll(content)), digest);
}

describe('generated images', () => {
  it('are the same for the same options and differ for another seed', () => {
    assert.equal(image({ seed: 1 }).desc.digest, image({ seed: 1 }).desc.digest);
    assert.notEqual(image({ seed: 1 }).desc.digest, image({ seed: 2 }).desc.digest);
  });

  it('have the digests that they claim, whatever kind they are', async () => {
    const { desc } = image();
    const all: Bundle[] = [
      image({ mediaTypes: 'docker', compressible: true }),
      multiPlatform({ attestations: true }),
      sameChild(1000),
      artifacts.helmChart(),
      artifacts.cosignSignature(desc),
      artifacts.artifact({ subject: desc }),
      artifacts.foreignLayerImage('https://elsewhere.example/layer'),
      artifacts.schema1(),
      await artifacts.hugeManifestBundle(5_000_000),
    ];
    for (const bundle of all) assertHonest(bundle);
  });

  it('nest a thousand deep and repeat a thousand times', () => {
    const deep = nestedIndex(1000);
    assert.equal(deep.manifests.size, 1001);
    assert.equal(deep.manifests.keys().next().value, deep.desc.digest);
    assert.equal(sameChild(1000).manifests.size, 2);
    const { manifests }: { manifests: unknown[] } = JSON.parse(sameChild(1000).manifest.toString());
    assert.equal(manifests.length, 1000);
  });

  it('have layers that begin anywhere and occupy no memory', async () => {
    const blob = await SyntheticBlob.random({ seed: 7, size: 1_000_000 });
    const whole = readAll(blob);
    assert.equal(digestOf(whole), blob.digest);
    for (const [from, to] of [
      [0, 1],
      [15, 33],
      [262_143, 524_290],
      [999_999, 1_000_000],
    ] as const) {
      assert.deepEqual(Buffer.concat([...blob.bytes(from, to)]), whole.subarray(from, to));
    }
  });

  it('are what skopeo and umoci understand', async () => {
    await using dir = await tempDir();
    await using registry = await TestRegistry.start();
    const entries = [
      { name: 'etc/', type: '5' },
      { name: 'etc/motd', body: 'hello', mode: 0o640 },
      { name: 'etc/link', type: '2', linkname: 'motd' },
    ];
    registry.add('app', 'v1', image({ layers: [{ entries }, 100_000] }));
    const layout = `oci:${dir.join('layout')}:v1`;
    const env = cleanEnv(dir.path);
    const from = `docker://${registry.ref('app', 'v1')}`;
    await runOk('skopeo', ['--insecure-policy', 'copy', '--src-tls-verify=false', from, layout], { env });
    await runOk('umoci', ['raw', 'unpack', '--rootless', '--image', `${dir.join('layout')}:v1`, dir.join('rootfs')]);
    const { stdout } = await runOk('stat', ['-c', '%s %n', 'etc/motd', 'layer-1/data'], { cwd: dir.join('rootfs') });
    assert.equal(stdout, '5 etc/motd\n100000 layer-1/data\n');
  });
});

describe("Docker's registry", () => {
  it('takes images and serves them again, also read-only over the same storage', async () => {
    await using dir = await tempDir();
    const storage = dir.join('storage');
    const images = multiPlatform({ seed: 'docker-registry' });
    {
      await using registry = await DockerRegistry.start({ storage });
      await registry.push('team/app', 'v1', images);
    }
    await using registry = await DockerRegistry.start({ storage, readOnly: true });
    const got = await fetch(`${registry.url}/v2/team/app/manifests/v1`, { headers: { accept: images.desc.mediaType } });
    assert.equal(got.headers.get('docker-content-digest'), images.desc.digest);
    assert.deepEqual(Buffer.from(await got.arrayBuffer()), images.manifest);
    await assert.rejects(registry.push('team/app', 'v2', images), /405|UNSUPPORTED/);
  });

  it('wants a password when told to', async () => {
    const htpasswd = { user: 'alice', password: 'secret' };
    await using registry = await DockerRegistry.start({ htpasswd });
    assert.equal((await fetch(`${registry.url}/v2/`)).status, 401);
    await registry.push('app', 'v1', image());
  });
});

describe('child processes', () => {
  it('give their output and their code', async () => {
    const result = await run('sh', ['-c', 'cat; echo err >&2; exit 3'], { input: 'in' });
    assert.deepEqual(result, { code: 3, signal: null, stdout: 'in', stderr: 'err\n' });
    await assert.rejects(run('no-such-program', []), /ENOENT/);
  });

  it('end with their scope', async () => {
    let pid = 0;
    {
      await using child = start('sh', ['-c', 'echo ready; exec sleep 1000']);
      await child.waitForOutput(/ready/);
      pid = child.pid;
    }
    assert.throws(() => process.kill(pid, 0), /ESRCH/);
  });

  it('do not run longer than they may', async () => {
    assert.equal((await run('sleep', ['1000'], { timeoutMs: 20 })).signal, 'SIGKILL');
  });
});
