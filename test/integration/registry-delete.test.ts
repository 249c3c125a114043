/** Tags are deleted, and nothing but tags, at registries of every habit. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TagRemover } from '../../src/registry/delete.ts';
import { basicCredentials, failureOf, never, TestClient } from '../support/clients.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { image } from '../support/images.ts';
import { runOk } from '../support/process.ts';
import { faults, TestRegistry } from '../support/registry.ts';

const opts = { signal: never };
const one = image({ seed: 'one', layers: [1000] });
const two = image({ seed: 'two', layers: [1000] });

const tagsOf = (registry: TestRegistry): string[] => [...(registry.stored.get('app')?.tags.keys() ?? [])].toSorted();

async function filled(options: Parameters<typeof TestRegistry.start>[0] = {}): Promise<TestRegistry> {
  const registry = await TestRegistry.start(options);
  registry.add('app', '1', one);
  registry.add('app', '1.0', one);
  registry.add('app', '2', two);
  return registry;
}

test('a tag goes with one request, and its manifest stays', async () => {
  await using registry = await filled();
  await using client = new TestClient();
  const remover = new TagRemover(client);
  const repository = `${registry.host}/app`;
  assert.deepEqual(await remover.remove(repository, '1', opts), { state: 'deleted' });
  assert.deepEqual(tagsOf(registry), ['1.0', '2']);
  assert.ok(registry.stored.get('app')?.manifests.has(one.desc.digest));
  assert.equal(registry.log.entries.length, 1);
  assert.deepEqual(await remover.remove(repository, 'none', opts), { state: 'absent' });
});

test('where tags cannot be deleted a placeholder takes the tag, and goes with it', async () => {
  await using registry = await filled({ tagDeletes: false });
  await using client = new TestClient();
  const remover = new TagRemover(client);
  const repository = `${registry.host}/app`;
  assert.deepEqual(await remover.remove(repository, '1', opts), { state: 'deleted' });
  assert.deepEqual(tagsOf(registry), ['1.0', '2']);
  assert.deepEqual(await remover.remove(repository, '2', opts), { state: 'deleted' });
  assert.deepEqual(tagsOf(registry), ['1.0']);
  assert.deepEqual(registry.violations, []);
  const left = [...(registry.stored.get('app')?.manifests.keys() ?? [])];
  assert.deepEqual(left.toSorted(), [one.desc.digest, two.desc.digest].toSorted(), 'no placeholder is left');
  assert.equal(registry.count({ kind: 'delete-tag' }), 1, 'what it does not do is asked once');
  const deleted = registry.log.select({ kind: 'delete-manifest' }).map(({ object }) => object);
  assert.equal(new Set(deleted).size, 3, 'each placeholder is like no other');
  assert.ok(!deleted.includes(one.desc.digest) && !deleted.includes(two.desc.digest));
});

test('a registry that deletes nothing is left as it is', async () => {
  await using registry = await filled({ deletes: false });
  await using client = new TestClient();
  const remover = new TagRemover(client);
  const repository = `${registry.host}/app`;
  const removal = await remover.remove(repository, '1', opts);
  assert.equal(removal.state, 'unsupported');
  assert.match(removal.state === 'unsupported' ? removal.why : '', /answered 405, UNSUPPORTED/);
  assert.deepEqual(tagsOf(registry), ['1', '1.0', '2']);
  assert.equal(registry.stored.get('app')?.tags.get('1'), one.desc.digest);
  assert.equal(registry.count({ kind: 'put-tag' }), 0);
  const before = registry.log.entries.length;
  assert.equal((await remover.remove(repository, '2', opts)).state, 'unsupported');
  assert.equal(registry.log.entries.length, before + 1, 'all but whether the tag is there was asked once');
});

test('a deletion that fails on its last step says what the tag holds', async () => {
  await using registry = await filled({ tagDeletes: false });
  await using client = new TestClient();
  registry.fault({ match: { kind: 'delete-manifest', nth: 2 }, do: faults.status(400), unserved: true });
  const err = await failureOf(new TagRemover(client).remove(`${registry.host}/app`, '1', opts), 'UPSTREAM');
  assert.deepEqual([err.origin, err.status], ['target', 400]);
  assert.match(err.hint ?? '', /the tag holds the placeholder sha256:/);
});

test('the token is asked for with the right to delete, and who may not is told so', async () => {
  await using registry = await filled({ auth: { scheme: 'bearer', users: { alice: 'pass' } } });
  await using client = new TestClient({ credentials: basicCredentials(registry.host, 'pass') });
  const remover = new TagRemover(client);
  assert.deepEqual(await remover.remove(`${registry.host}/app`, '1', opts), { state: 'deleted' });
  const [token] = registry.log.select({ kind: 'token' });
  assert.match(decodeURIComponent(`${token?.path} ${token?.body}`), /scope=repository:app:\S*delete/);
  registry.fault({ match: { kind: 'delete-tag' }, do: faults.status(403), unserved: true });
  const err = await failureOf(remover.remove(`${registry.host}/app`, '2', opts), 'DENIED');
  assert.equal(err.origin, 'target');
});

test('at docker-registry a tag goes, and another tag of the same image stays', async () => {
  await using registry = await DockerRegistry.start();
  for (const tag of ['1', '1.0']) await registry.push('app', tag, one);
  await using client = new TestClient();
  const remover = new TagRemover(client);
  assert.deepEqual(await remover.remove(`${registry.host}/app`, '1', opts), { state: 'deleted' });
  const listed = await Array.fromAsync(client.tags(`${registry.host}/app`, opts));
  assert.deepEqual(listed.flat(), ['1.0']);
  const { stdout } = await runOk('skopeo', ['inspect', '--tls-verify=false', `docker://${registry.host}/app:1.0`]);
  const inspected: { Digest: string } = JSON.parse(stdout);
  assert.equal(inspected.Digest, one.desc.digest);
  assert.deepEqual(await remover.remove(`${registry.host}/app`, '1', opts), { state: 'absent' });
});
