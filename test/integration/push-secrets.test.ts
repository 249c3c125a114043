/** Which credentials go where while something is pushed. */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { TagRemover } from '../../src/registry/delete.ts';
import { basicCredentials, failureOf, leaks, MARKER, never, printed, resolve, TestClient } from '../support/clients.ts';
import { image } from '../support/images.ts';
import { assertAbsent, assertThere, blobOf, push } from '../support/pushing.ts';
import {
  type AuthOptions,
  type Effect,
  faults,
  type RegistryOptions,
  TestOrigin,
  TestRegistry,
} from '../support/registry.ts';
import { tempDir } from '../support/temp.ts';
import { certificates } from '../support/tls.ts';

const blob = blobOf('secrets', 100_000);
const app = image({ seed: 'secrets' });
const users = { alice: MARKER };
const BASIC: AuthOptions = { scheme: 'basic', users };
const BEARER: AuthOptions = { scheme: 'bearer', users, ownPort: true };

const started = (options: RegistryOptions): Promise<TestRegistry> => TestRegistry.start(options);
const clientOf = (registry: TestRegistry): TestClient =>
  new TestClient({ credentials: basicCredentials(registry.host) });

/** Tells what was sent in confidence: as it came, and as what it decodes to. */
const echo =
  (status: number, header = 'authorization'): Effect =>
  (answer, asked) => {
    const sent = String(asked.entry.headers[header] ?? '');
    const decoded = Buffer.from(sent.split(' ')[1] ?? '', 'base64').toString();
    faults.error(status, `you sent ${sent}, which is ${/^[ -~]*$/.test(decoded) ? decoded : 'a token'}`)(answer, asked);
  };

/** Requests at the other origin of a registry, and how many of them came with a secret. */
const elsewhere = (registry: TestRegistry): [number, number] => [
  registry.count({ server: 'uploads' }),
  registry.count({ server: 'uploads', where: (e) => e.authorization !== undefined || e.cookie !== undefined }),
];

describe('credentials of a push', () => {
  for (const [name, auth] of [
    ['Basic', BASIC],
    ['a token', BEARER],
  ] as const) {
    it(`(${name}) do not go to a Location elsewhere`, async () => {
      await using registry = await started({ auth, location: 'elsewhere' });
      await using client = clientOf(registry);
      await push(client, registry, blob);
      assertThere(registry, blob);
      assert.deepEqual(elsewhere(registry), [1, 0]);
    });

    it(`(${name}) do not go along with a redirect, and the bytes are sent again`, async () => {
      await using registry = await started({ auth, location: 'elsewhere' });
      await using client = clientOf(registry);
      const home = faults.location((at) => at.replace(registry.uploadUrl, registry.url));
      registry.fault({ match: { kind: 'upload-start' }, do: home });
      const away = faults.redirect((path) => `${registry.uploadUrl}${path}`, 307);
      registry.fault({ match: { kind: 'upload-end', server: 'registry' }, unserved: true, do: away });
      const source = await push(client, registry, blob);
      assertThere(registry, blob);
      assert.deepEqual(elsewhere(registry), [1, 0]);
      assert.deepEqual(source.opened, [0, 0]);
    });

    it(`(${name}) do not go to a place that asks for them`, async () => {
      await using registry = await started({ auth });
      await using other = await TestOrigin.start({ wantsAuth: true });
      await using client = clientOf(registry);
      const signed = `${other.url}/upload?X-Amz-Signature=test-signature-1`;
      registry.fault({ match: { kind: 'upload-start' }, do: faults.location(() => signed) });
      const err = await failureOf(push(client, registry, blob), 'UPSTREAM', 'UNAUTHORIZED', 'DENIED');
      assert.equal(err.origin, 'target');
      assert.deepEqual(other.leaks(), []);
      assert.ok(other.count({ method: 'PUT' }) >= 1);
      assert.ok(other.log.entries.length <= 20, other.log.text());
      assertAbsent(registry, blob);
    });
  }

  it('go on with an upload in parts, and stay at home', async () => {
    await using registry = await started({
      auth: BEARER,
      location: 'elsewhere',
      chunkedOnly: { over: 10, status: 413 },
    });
    await using client = clientOf(registry);
    await push(client, registry, blob);
    assertThere(registry, blob);
    const [requests, secrets] = elsewhere(registry);
    assert.ok(requests >= 3);
    assert.equal(secrets, 0);
  });

  it('are not taken from https to http', async () => {
    const certs = await certificates();
    await using dir = await tempDir();
    await using registry = await started({ auth: BASIC, tls: certs.server });
    await using open = await TestOrigin.start();
    await mkdir(dir.join(registry.host), { recursive: true });
    await writeFile(dir.join(registry.host, 'hosts.toml'), `server = "https://${registry.host}"`);
    await using client = new TestClient({
      credentials: basicCredentials(registry.host),
      hosts: { dirs: [dir.path], plainHttp: false, insecure: false },
      ca: [certs.ca.toString()],
    });
    await push(client, registry, blob);
    assertThere(registry, blob);
    registry.stored.removeBlob('app', blob.desc.digest);
    for (const order of [
      { match: { kind: 'upload-start' }, do: faults.location(() => `${open.url}/upload`) },
      { match: { kind: 'upload-end' }, unserved: true, do: faults.redirect(`${open.url}/upload`, 307) },
    ] as const) {
      registry.clearFaults();
      registry.fault(order);
      const err = await failureOf(push(client, registry, blob), 'REFUSED');
      assert.equal(err.origin, 'target');
    }
    assert.equal(open.log.entries.length, 0);
    assertAbsent(registry, blob);
  });

  it('that run out between POST and PUT are renewed, and the bytes are sent again', async () => {
    await using registry = await started({ auth: BEARER });
    await using client = clientOf(registry);
    const expire = faults.afterwards(() => registry.auth.expireTokens());
    registry.fault({ match: { kind: 'upload-start' }, times: 1, do: expire });
    const source = await push(client, registry, blob);
    assertThere(registry, blob);
    assert.deepEqual(source.opened, [0, 0]);
    assert.equal(registry.count({ kind: 'upload-end' }), 2);
    assert.equal(registry.count({ kind: 'token' }), 2);
    assert.equal(registry.count({ kind: 'upload-start', authKind: 'bearer' }), 1);
  });

  it('that are good for reading only end with one clear error, before bytes are sent', async () => {
    for (const [auth, code] of [
      [{ ...BEARER, grant: () => ['pull'], lacking: 403 }, 'DENIED'],
      [{ ...BEARER, grant: () => ['pull'] }, 'DENIED'],
      [{ ...BASIC, grant: () => ['pull'] }, 'DENIED'],
    ] as const) {
      await using registry = await started({ auth });
      await using client = clientOf(registry);
      const err = await failureOf(push(client, registry, blob), code, 'UNAUTHORIZED');
      assert.equal(err.origin, 'target');
      assert.ok(err.message.includes(registry.host), err.message);
      assert.ok(registry.count({ kind: 'upload-start' }) <= 2);
      assert.equal(registry.count({ kind: 'upload-end' }), 0);
    }
  });

  it('are asked for both repositories of a mount', async () => {
    await using registry = await started({ auth: BEARER });
    await using client = clientOf(registry);
    registry.stored.putBlob('library', blob.content, blob.desc.digest);
    const pusher = client.pusher(`${registry.host}/app`);
    assert.equal(await pusher.mount(blob.desc, `${registry.host}/library`, { signal: never }), true);
    assertThere(registry, blob);
    assert.ok(registry.count({ kind: 'mount' }) <= 2);
  });

  for (const [name, auth] of [
    ['Basic', BASIC],
    ['a token', BEARER],
  ] as const) {
    it(`(${name}) stay out of errors when a registry repeats them, as they came or decoded`, async () => {
      await using registry = await started({ auth });
      await using client = clientOf(registry);
      registry.add('app', 'v1', app);
      const opts = { signal: never };
      const repository = `${registry.host}/app`;
      registry.fault({ match: { kind: 'upload-end' }, unserved: true, do: echo(400) });
      assert.match((await failureOf(push(client, registry, blob), 'UNSUPPORTED')).message, /\[secret\]/);
      registry.clearFaults();
      registry.fault({ match: {}, unserved: true, do: echo(403) });
      for (const work of [
        () => resolve(client, `${repository}:v1`),
        () => push(client, registry, blob),
        () => client.pusher(repository).putManifest(app.desc, app.manifest, opts),
      ]) {
        assert.match((await failureOf(work(), 'DENIED')).message, /\[secret\]/);
      }
      registry.clearFaults();
      registry.fault({ match: { method: 'DELETE' }, unserved: true, do: echo(405) });
      const removal = await new TagRemover(client).remove(repository, 'v1', opts);
      assert.ok(removal.state === 'unsupported' && removal.why.includes('[secret]'));
      assert.ok(!leaks(printed(removal)) && !printed(removal).includes('test-token-'), removal.why);
    });
  }

  it('of hosts.toml, too, and of a token server', async () => {
    await using dir = await tempDir();
    await using registry = await started({});
    await mkdir(dir.join(registry.host), { recursive: true });
    const header = `[host."${registry.url}".header]\nx-key = "${MARKER}"`;
    await writeFile(dir.join(registry.host, 'hosts.toml'), header);
    await using client = new TestClient({ hosts: { dirs: [dir.path], plainHttp: true, insecure: false } });
    registry.fault({ match: {}, unserved: true, do: echo(403, 'x-key') });
    assert.match((await failureOf(push(client, registry, blob), 'DENIED')).message, /\[secret\]/);
    await using other = await started({ auth: BEARER });
    await using known = clientOf(other);
    other.fault({ match: { kind: 'token', beforeAuth: true }, unserved: true, do: echo(403) });
    assert.match((await failureOf(push(known, other, blob), 'DENIED')).message, /\[secret\]/);
  });

  it('in a Location are neither shown nor sent', async () => {
    await using registry = await started({});
    await using client = new TestClient();
    const withUser = faults.location((at) => at.replace('http://', `http://alice:${MARKER}@`));
    registry.fault({ match: { kind: 'upload-start' }, do: withUser });
    registry.fault({ match: { kind: 'upload-end' }, unserved: true, do: faults.status(400) });
    await failureOf(push(client, registry, blob), 'UNSUPPORTED', 'REFUSED', 'MALFORMED');
    assert.equal(registry.count({ where: (entry) => entry.authorization !== undefined }), 0);
  });
});
