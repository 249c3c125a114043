/** The programs that people pull with, against `gantry server --store`. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { type Digest, digestOf } from '../../src/oci/digest.ts';
import * as types from '../../src/oci/media-types.ts';
import { ContentStore } from '../../src/store/content-store.ts';
import { artifact, helmChart } from '../support/artifacts.ts';
import { newUser, type User } from '../support/cli.ts';
import { image, type LayerSpec, multiPlatform } from '../support/images.ts';
import { newPodman } from '../support/podman.ts';
import { cleanEnv, type Gantry, run, runOk, type RunResult, spawnGantry } from '../support/process.ts';
import { type Content, readAll } from '../support/registry/content.ts';
import type { Bundle } from '../support/registry/storage.ts';
import { putImage } from '../support/serving.ts';
import { tar } from '../support/tar.ts';
import { type TempDir, tempDir } from '../support/temp.ts';

const TOKEN = 'serve-clients-0123456789abcdef';

const zstdLayer = (name: string): LayerSpec => {
  const plain = tar([{ name, body: name.repeat(1000) }]);
  return { raw: zstdCompressSync(plain), mediaType: types.OCI_LAYER_ZSTD, diffId: digestOf(plain) };
};

/** What engines run. */
const IMAGES: Readonly<Record<string, Bundle>> = {
  'docker.io/library/oci:1': image({ seed: 'oci', layers: [300_000, 20, { entries: [] }] }),
  'docker.io/library/docker:1': image({ seed: 'docker', mediaTypes: 'docker' }),
  'docker.io/team/zstd:1': image({ seed: 'zstd', layers: [zstdLayer('a'), zstdLayer('b')] }),
  'ghcr.io/team/deep/many:v1.2': image({ seed: 'many', layers: Array.from({ length: 24 }, (_, i) => 100 + i) }),
  'localhost:5000/multi:latest': multiPlatform({ platforms: ['linux/amd64', 'linux/arm64/v8'], attestations: true }),
  'localhost:5000/docker-multi:latest': multiPlatform({ seed: 'list', mediaTypes: 'docker' }),
};

/** What only registries hold. */
const ARTIFACTS: Readonly<Record<string, Bundle>> = {
  'ghcr.io/things/empty:1': image({
    layers: [],
    artifactType: 'application/x',
    config: { bytes: '{}', mediaType: types.OCI_EMPTY },
  }),
  'ghcr.io/things/thing:1': artifact(),
  'ghcr.io/things/chart:1': helmChart(),
};

/** By an algorithm that neither skopeo nor podman of Debian takes. */
const SHA512: Readonly<Record<string, Bundle>> = {
  'ghcr.io/things/sha512:1': image({ layers: [{ raw: Buffer.from('by sha512'), algorithm: 'sha512' }] }),
};

const ALL = { ...IMAGES, ...ARTIFACTS, ...SHA512 };

interface Served {
  readonly host: string;
  readonly store: ContentStore;
}

const stack = new AsyncDisposableStack();
let dir: TempDir;
let served: Served;

async function startServer(store: ContentStore, ...args: string[]): Promise<{ host: string; gantry: Gantry }> {
  const gantry = stack.use(await spawnGantry(['server', '--store', store.root, '--port', '0', ...args]));
  const [, host = ''] = await gantry.process.waitForOutput(/http:\/\/(127\.0\.0\.1:\d+)/);
  return { host, gantry };
}

before(async () => {
  dir = stack.use(await tempDir('gantry-serve-'));
  const store = new ContentStore({ root: dir.join('store') });
  for (const [name, bundle] of Object.entries(ALL)) await putImage(store, name, bundle);
  served = { host: (await startServer(store)).host, store };
});
after(() => stack.disposeAsync());

/** `localhost:5000/multi:latest` -> `127.0.0.1:1234/localhost_5000/multi:latest` */
const refOf = (name: string): string => `${served.host}/${name.replace(/^([^/]*):(\d+)\//, '$1_$2/')}`;

const contentsOf = (bundle: Bundle): [Digest, Buffer][] => {
  const manifests = [...bundle.manifests].map(([digest, { content }]): [Digest, Content] => [digest, content]);
  return [...manifests, ...bundle.blobs].map(([digest, content]) => [digest, readAll(content)]);
};

const skopeo = (...args: string[]): Promise<RunResult> => runOk('skopeo', ['--insecure-policy', ...args]);

/** What skopeo's `dir:` has must be what the image is made of, byte for byte. */
async function assertCopied(directory: string, bundle: Bundle): Promise<void> {
  const files = await readdir(directory);
  for (const [digest, bytes] of contentsOf(bundle)) {
    const hex = digest.replace(/^.*:/, '');
    const name = digest === bundle.desc.digest ? 'manifest.json' : files.find((file) => file.startsWith(hex));
    assert.ok(name !== undefined, `${digest} is missing`);
    assert.ok((await readFile(join(directory, name))).equals(bytes), digest);
  }
}

test('skopeo copies everything, byte for byte, and lists tags', async () => {
  for (const [name, bundle] of Object.entries({ ...IMAGES, ...ARTIFACTS })) {
    const to = dir.join('skopeo', bundle.desc.digest.slice(7));
    await mkdir(to, { recursive: true });
    await skopeo(
      'copy',
      '--all',
      '--preserve-digests',
      '--src-tls-verify=false',
      `docker://${refOf(name)}`,
      `dir:${to}`,
    );
    await assertCopied(to, bundle);
  }
  const inspected = await skopeo('inspect', '--tls-verify=false', `docker://${refOf('docker.io/library/oci:1')}`);
  const found: { Digest: string; RepoTags: string[] } = JSON.parse(inspected.stdout);
  assert.deepEqual([found.Digest, found.RepoTags], [ALL['docker.io/library/oci:1']?.desc.digest, ['1']]);
});

test('podman pulls every image, by tag and by digest', async () => {
  await using engine = await newPodman();
  for (const [name, { desc }] of Object.entries(IMAGES)) {
    const ref = refOf(name);
    for (const each of [ref, `${ref.replace(/:[^:/]*$/, '')}@${desc.digest}`]) {
      const id = await engine.pull('--tls-verify=false', each);
      const shown = await engine.podman('image', 'inspect', '--format', '{{json .RepoDigests}}', id);
      assert.ok(shown.stdout.includes(desc.digest), `${each}: ${shown.stdout}`);
    }
  }
});

test('curl gets every manifest and blob, and goes on where it was', async () => {
  const config: string[] = [];
  const wanted: { file: string; bytes: Buffer; digest: Digest }[] = [];
  const out = dir.join('curl');
  await mkdir(out);
  for (const [name, bundle] of Object.entries(ALL)) {
    const path = refOf(name)
      .replace(/:[^:/]*$/, '')
      .replace('/', '/v2/');
    for (const [digest, bytes] of contentsOf(bundle)) {
      const file = join(out, `${wanted.length}`);
      wanted.push({ file, bytes, digest });
      // Part of it is there already.
      const isBlob = !bundle.manifests.has(digest);
      if (isBlob && bytes.length > 1) await writeFile(file, bytes.subarray(0, bytes.length >> 1));
      const resume = isBlob && bytes.length > 1 ? 'continue-at = -\n' : '';
      const url = `http://${path}/${isBlob ? 'blobs' : 'manifests'}/${digest}`;
      config.push(`url = "${url}"\noutput = "${file}"\n${resume}write-out = "%{http_code} %header{etag}\\n"\n`);
    }
  }
  await writeFile(join(out, 'config'), config.join('next\nfail\nsilent\n'));
  const { stdout } = await runOk('curl', ['-sf', '-K', join(out, 'config')]);
  const answers = stdout.trim().split('\n');
  assert.equal(answers.length, wanted.length);
  for (const [i, { file, bytes, digest }] of wanted.entries()) {
    assert.match(answers[i] ?? '', new RegExp(`^20[06] "${digest}"$`));
    assert.ok((await readFile(file)).equals(bytes), digest);
  }
  assert.ok(answers.some((answer) => answer.startsWith('206')));
});

test('gantry pulls everything from it, and verifies it', async () => {
  await using user: User = await newUser();
  const names = Object.keys(ALL).map(refOf);
  const pulled = await user.gantry(['pull', '-q', '--platform', 'all', ...names]);
  assert.equal(pulled.code, 0, pulled.stderr);
  assert.equal((await user.gantry(['verify'])).code, 0);
  for (const bundle of Object.values(ALL)) {
    for (const [digest, bytes] of contentsOf(bundle)) {
      assert.ok((await readFile(join(user.store, 'blobs', digest.replace(':', '/')))).equals(bytes), digest);
    }
  }
});

test('it is a mirror for gantry, which says which registry is meant', async () => {
  await using user = await newUser();
  const hosts = join(user.home, 'hosts');
  for (const registry of ['docker.io', 'ghcr.io']) {
    await mkdir(join(hosts, registry), { recursive: true });
    const toml = `server = "http://127.0.0.1:1"\n[host."http://${served.host}"]\ncapabilities = ["pull", "resolve"]\n`;
    await writeFile(join(hosts, registry, 'hosts.toml'), toml);
  }
  const names = ['docker.io/library/oci:1', 'ghcr.io/team/deep/many:v1.2'];
  const pulled = await user.gantry(['pull', '-q', '--hosts-dir', hosts, ...names]);
  assert.equal(pulled.code, 0, pulled.stderr);
  assert.equal((await user.gantry(['images', '-q'])).stdout, `${names.join('\n')}\n`);
});

const MIRROR = (registry: string): string =>
  `[[registry]]\nlocation = "${registry}"\n[[registry.mirror]]\nlocation = "${served.host}${registry === 'docker.io' ? '' : `/${registry}`}"\ninsecure = true\n`;

test('it is a mirror for skopeo and podman, which put their own path before the name', async () => {
  const home = dir.join('home');
  await mkdir(join(home, '.config/containers'), { recursive: true });
  const conf = ['docker.io', 'ghcr.io'].map(MIRROR).join('');
  await writeFile(join(home, '.config/containers/registries.conf'), conf);
  await using engine = await newPodman(conf);
  for (const name of ['docker.io/library/oci:1', 'docker.io/team/zstd:1', 'ghcr.io/team/deep/many:v1.2']) {
    const bundle = ALL[name];
    assert.ok(bundle !== undefined);
    const to = dir.join('mirrored', bundle.desc.digest.slice(7));
    await mkdir(to, { recursive: true });
    const copy = ['--insecure-policy', 'copy', '--preserve-digests', `docker://${name}`, `dir:${to}`];
    await runOk('skopeo', copy, { env: cleanEnv(home) });
    await assertCopied(to, bundle);
    if (name.startsWith('docker.io/')) await engine.pull(name);
  }
});

test('it answers as dockerd and containerd ask a mirror', async () => {
  const { desc } = ALL['docker.io/library/oci:1'] ?? {};
  for (const path of [
    'library/oci/manifests/1',
    'library/oci/manifests/1?ns=docker.io',
    `library/oci/manifests/${desc?.digest}?ns=docker.io`,
  ]) {
    const answer = await fetch(`http://${served.host}/v2/${path}`, {
      method: 'HEAD',
      headers: { accept: `${types.OCI_INDEX}, ${types.OCI_MANIFEST}, */*` },
    });
    assert.deepEqual([answer.status, answer.headers.get('docker-content-digest')], [200, desc?.digest], path);
  }
  const multi = await fetch(`http://${served.host}/v2/multi/manifests/latest?ns=localhost:5000`);
  assert.equal(
    `sha256:${digestOf(Buffer.from(await multi.arrayBuffer())).slice(7)}`,
    ALL['localhost:5000/multi:latest']?.desc.digest,
  );
});

test('names of one registry are not those of another', async () => {
  for (const path of [
    'team/deep/many/manifests/v1.2',
    'ghcr.io/library/oci/manifests/1',
    'library/oci/manifests/1?ns=ghcr.io',
  ]) {
    assert.equal((await fetch(`http://${served.host}/v2/${path}`)).status, 404, path);
  }
});

/** Of a request with this path as it is. */
async function statusOf(host: string, path: string): Promise<string> {
  const [name, port] = host.split(':');
  const [answer]: IncomingMessage[] = await once(request({ host: name, port, path, agent: false }).end(), 'response');
  answer?.resume();
  return String(answer?.statusCode);
}

test('where reading is protected, the token is the password', async () => {
  const file = dir.join('token');
  await writeFile(file, TOKEN);
  const { host, gantry } = await startServer(served.store, '--protect-reads', '--token-file', file);
  const ref = `docker://${host}/docker.io/library/oci:1`;
  const inspect = (...args: string[]): Promise<RunResult> =>
    run('skopeo', ['inspect', '--tls-verify=false', ...args, ref]);
  const refused = await inspect();
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /unauthorized|authentication required/i);
  assert.notEqual((await inspect('--creds', 'any:wrong-wrong-wrong-wrong')).code, 0);
  assert.equal((await inspect('--creds', `any:${TOKEN}`)).code, 0);
  const path = '/oci/manifests/1';
  for (const way of ['/v2', '/V2', '/%76%32', '/x/../v2', '//v2', '/v2/', '/./v2', `http://${host}/v2`]) {
    assert.match(await statusOf(host, `${way}${path}`), /^40[134]$/, way);
  }
  await using engine = await newPodman();
  await engine.pull('--tls-verify=false', '--creds', `any:${TOKEN}`, ref);
  assert.ok(!`${gantry.process.stdout}${gantry.process.stderr}`.includes(TOKEN));
});

test('crane, where it is installed, pulls every image, byte for byte', async () => {
  if ((await run('sh', ['-c', 'command -v crane'])).code !== 0) return;
  for (const [name, bundle] of Object.entries({ ...IMAGES, ...ARTIFACTS })) {
    const to = dir.join('crane', bundle.desc.digest.slice(7));
    await runOk('crane', ['pull', '--insecure', '--format', 'oci', refOf(name), to]);
    for (const [digest, bytes] of contentsOf(bundle)) {
      assert.ok((await readFile(join(to, 'blobs', digest.replace(':', '/')))).equals(bytes), `${name}: ${digest}`);
    }
  }
  const { stdout } = await runOk('crane', ['catalog', '--insecure', served.host]);
  assert.ok(stdout.includes('localhost_5000/multi\n'));
});

test('an index of which platforms are missing is served as it is', async () => {
  const whole = multiPlatform({ seed: 'partial' });
  const [first] = whole.entries;
  assert.ok(first !== undefined);
  const partial = { ...whole, manifests: new Map([...whole.manifests].filter(([digest]) => digest !== first.digest)) };
  const name = 'docker.io/library/partial:1';
  await putImage(served.store, name, partial);
  assert.equal((await fetch(`http://${served.host}/v2/partial/manifests/1`)).status, 200);
  assert.equal((await fetch(`http://${served.host}/v2/partial/manifests/${first.digest}`)).status, 404);
});
