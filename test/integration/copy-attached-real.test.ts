/** What hangs on images, at a registry of the Docker project, which knows no referrers: skopeo reads what has come there. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fallbackTag } from '../../src/oci/attached.ts';
import { cosignSignature } from '../support/artifacts.ts';
import { type Listed, referrer, SBOM, SIGNATURE } from '../support/attached.ts';
import { newUser, type User } from '../support/cli.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { image } from '../support/images.ts';
import { runOk } from '../support/process.ts';
import { TestRegistry } from '../support/registry.ts';

const app = image({ seed: 'real', layers: [3000] });
const signature = referrer(app.desc, SIGNATURE);
const sbom = referrer(app.desc, SBOM);
const sealed = referrer(sbom.desc, SIGNATURE);
const cosigned = cosignSignature(app.desc);

let source: TestRegistry;
let docker: DockerRegistry;
let user: User;

before(async () => {
  source = await TestRegistry.start();
  docker = await DockerRegistry.start();
  user = await newUser();
  source.add('app', 'v1', app);
  for (const each of [signature, sbom, sealed]) source.add('app', undefined, each);
  source.add('app', cosigned.tag, cosigned);
});
after(async () => {
  await source[Symbol.asyncDispose]();
  await docker[Symbol.asyncDispose]();
  await user[Symbol.asyncDispose]();
});

async function raw(ref: string): Promise<string> {
  const { stdout } = await runOk('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${ref}`]);
  return stdout;
}

async function listedBy(ref: string): Promise<string[]> {
  const index: { manifests: Listed[] } = JSON.parse(await raw(ref));
  return index.manifests.map(({ digest, artifactType = '' }) => `${digest} ${artifactType}`).toSorted();
}

const textOf = ({ desc }: { desc: { digest: string } }, type: string): string => `${desc.digest} ${type}`;
const FLAGS = ['-a', '-q', '--referrers', '--digest-tags'];

async function copy(from: string, to: string): Promise<void> {
  const { code, stderr } = await user.gantry(['copy', ...FLAGS, from, to]);
  assert.deepEqual([code, stderr], [0, '']);
}

test('signatures of all kinds come to a registry that knows none, and from there to another', async () => {
  const to = `${docker.host}/mirror`;
  await copy(source.ref('app', 'v1'), `${to}:v1`);
  assert.deepEqual(
    await listedBy(`${to}:${fallbackTag(app.desc.digest)}`),
    [textOf(signature, SIGNATURE), textOf(sbom, SBOM)].toSorted(),
  );
  assert.deepEqual(await listedBy(`${to}:${fallbackTag(sbom.desc.digest)}`), [textOf(sealed, SIGNATURE)]);
  assert.equal(await raw(`${to}:${cosigned.tag}`), cosigned.manifest.toString());
  assert.equal(await raw(`${to}@${sealed.desc.digest}`), sealed.manifest.toString());

  await using other = await TestRegistry.start();
  await copy(`${to}:v1`, other.ref('again', 'v1'));
  const there = other.stored.get('again');
  assert.deepEqual([...(there?.tags.keys() ?? [])].toSorted(), ['v1', cosigned.tag].toSorted());
  const all = [app, signature, sbom, sealed, cosigned];
  assert.deepEqual([...(there?.manifests.keys() ?? [])].toSorted(), all.map(({ desc }) => desc.digest).toSorted());
  assert.deepEqual(other.violations, []);
});

test('processes that add to one list of referrers at the same time lose nothing that the next copy does not bring', async () => {
  const to = `${docker.host}/busy`;
  const count = 4;
  const signed = image({ seed: 'busy', layers: [500] });
  const all = Array.from({ length: count }, (_, i) => referrer(signed.desc, SIGNATURE, `busy ${i}`));
  await using stack = new AsyncDisposableStack();
  const places: TestRegistry[] = [];
  for (const each of all) {
    const place = stack.use(await TestRegistry.start());
    place.add('app', 'v1', signed);
    place.add('app', undefined, each);
    places.push(place);
  }
  await Promise.all(places.map((place, i) => copy(place.ref('app', 'v1'), `${to}:v${i}`)));
  const tag = fallbackTag(signed.desc.digest);
  const wanted = all.map((each) => textOf(each, SIGNATURE)).toSorted();
  const listed = await listedBy(`${to}:${tag}`);
  assert.ok(listed.length > 0 && listed.every((each) => wanted.includes(each)));
  // A registry cannot compare and swap: whoever is overwritten after having looked finds out at the next copy.
  for (const [i, place] of places.entries()) await copy(place.ref('app', 'v1'), `${to}:v${i}`);
  assert.deepEqual(await listedBy(`${to}:${tag}`), wanted);
});

test('a dry run says what would be copied, and reads no manifest', async () => {
  const to = `${docker.host}/dry:v1`;
  const dry = async (...more: string[]): Promise<string> => {
    source.log.clear();
    const { code, stdout, stderr } = await user.gantry(['copy', '-n', '-a', ...more, source.ref('app', 'v1'), to]);
    assert.deepEqual([code, stderr, source.count({ method: 'GET', kind: 'manifest' })], [0, '', 0]);
    return stdout;
  };
  assert.match(await dry(), /^copy .*sha256:/m);
  assert.equal(await dry('-q'), `${to}@${app.desc.digest}\n`);
  await copy(source.ref('app', 'v1'), to);
  assert.match(await dry('--referrers', '--digest-tags'), /^equal /m);
  source.add('app', undefined, referrer(app.desc, SIGNATURE, 'late'));
  assert.match(await dry('--referrers'), /^attach /m);
  assert.equal(await dry('-q'), '');
  const [image]: { outcome: string; target: string }[] = JSON.parse(await dry('--format', 'json'));
  assert.deepEqual([image?.outcome, image?.target], ['equal', to]);
});

test('a dry run of an image that is not there fails as the copy would', async () => {
  const { code, stderr } = await user.gantry(['copy', '-n', source.ref('app', 'none'), `${docker.host}/dry:none`]);
  assert.equal(code, 4);
  assert.match(stderr, /manifest none of/);
});

test('what is attached does not go to archives, and that is said before anything is copied', async () => {
  source.log.clear();
  const { code, stderr } = await user.gantry([
    'copy',
    '--referrers',
    source.ref('app', 'v1'),
    'oci-archive:x.tar:app:v1',
  ]);
  assert.equal(code, 2);
  assert.match(stderr, /--referrers and --digest-tags: oci-archive:.*holds images alone/);
  assert.equal(source.log.entries.length, 0);
});
