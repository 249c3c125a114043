import assert from 'node:assert/strict';
import type { LookupFunction } from 'node:net';
import { describe, it } from 'node:test';
import {
  basicCredentials,
  failureOf,
  fetchWhole,
  firstLayer,
  inlineCredentials,
  MARKER,
  never,
  resolve,
  TestClient,
} from '../support/clients.ts';
import { image } from '../support/images.ts';
import { TestProxy } from '../support/proxy.ts';
import { type AuthOptions, faults, randomBytesOf, TestOrigin, TestRegistry } from '../support/registry.ts';
import { certificates } from '../support/tls.ts';

const app = image({ seed: 'auth', layers: [{ raw: randomBytesOf('auth', 100_000) }] });
const layer = firstLayer(app);
const users = { alice: MARKER };

async function started(auth: AuthOptions): Promise<TestRegistry> {
  const registry = await TestRegistry.start({ auth });
  registry.add('app', 'v1', app);
  registry.add('other', 'v1', app);
  return registry;
}

const v1 = (registry: TestRegistry, repo = 'app'): string => registry.ref(repo, 'v1');
const base64 = (text: string): string => Buffer.from(text).toString('base64');

describe('authorization', () => {
  it('Basic: asked once, then brought along to every repository', async () => {
    await using registry = await started({ scheme: 'basic', users });
    await using client = new TestClient({ credentials: basicCredentials(registry.host) });
    await resolve(client, v1(registry));
    await fetchWhole(client, registry, layer);
    await resolve(client, v1(registry, 'other'));
    assert.deepEqual(
      registry.log.entries.map(({ status, authKind }) => [status, authKind]),
      [
        [401, 'none'],
        [200, 'basic'],
        [200, 'basic'],
        [200, 'basic'],
      ],
    );
  });

  it('Bearer: one token for a repository, used for everything in it', async () => {
    await using registry = await started({ scheme: 'bearer', users, ownPort: true });
    await using client = new TestClient({ credentials: basicCredentials(registry.host) });
    await resolve(client, v1(registry));
    await fetchWhole(client, registry, layer);
    assert.equal(registry.count({ status: 401 }), 1);
    const [token] = registry.log.select({ kind: 'token' });
    assert.equal(token?.path, '/token?service=test-registry&scope=repository%3Aapp%3Apull&account=alice');
    assert.equal(token?.authKind, 'basic');
    // The next repository needs no 401: who to ask is known.
    await resolve(client, v1(registry, 'other'));
    assert.equal(registry.count({ status: 401 }), 1);
    assert.equal(registry.count({ kind: 'token' }), 2);
  });

  it('Bearer: anonymous tokens where there are no credentials', async () => {
    await using registry = await started({ scheme: 'bearer', anonymous: true, field: 'access_token' });
    await using client = new TestClient();
    await resolve(client, v1(registry));
    assert.equal(registry.log.select({ kind: 'token' })[0]?.authKind, 'none');
  });

  it('a hundred requests at once fetch one token', async () => {
    await using registry = await started({ scheme: 'bearer', users });
    await using client = new TestClient({ credentials: basicCredentials(registry.host), maxPerRegistry: 100 });
    await Promise.all(Array.from({ length: 100 }, () => resolve(client, v1(registry))));
    assert.equal(registry.count({ kind: 'token' }), 1);
  });

  it('a token that runs out in the middle of a pull is renewed, once for all', async () => {
    await using registry = await started({ scheme: 'bearer', users });
    await using client = new TestClient({ credentials: basicCredentials(registry.host), maxPerRegistry: 20 });
    await resolve(client, v1(registry));
    registry.auth.expireTokens();
    await Promise.all(Array.from({ length: 20 }, () => fetchWhole(client, registry, layer)));
    assert.equal(registry.count({ kind: 'token' }), 2);
    // Also in the middle of a body.
    registry.log.clear();
    const expire = faults.afterwards(() => registry.auth.expireTokens());
    registry.fault({ match: { kind: 'blob' }, times: 1, do: [faults.cut(10_000), expire] });
    await fetchWhole(client, registry, layer);
    assert.deepEqual(
      registry.log.entries.map(({ kind, status, range }) => [kind, status, range]),
      [
        ['blob', 200, undefined],
        ['blob', 401, 'bytes=10000-'],
        ['token', 200, undefined],
        ['blob', 206, 'bytes=10000-'],
      ],
    );
  });

  it('a token that says when it ends is renewed before', async () => {
    await using registry = await started({ scheme: 'bearer', users, expiresIn: 0.05 });
    await using client = new TestClient({ credentials: basicCredentials(registry.host) });
    await resolve(client, v1(registry));
    await new Promise((done) => setTimeout(done, 60));
    await resolve(client, v1(registry));
    assert.equal(registry.count({ kind: 'token' }), 2);
    assert.equal(registry.count({ status: 401 }), 1);
  });

  it('401 for ever ends after the second', async () => {
    await using registry = await started({ scheme: 'bearer', users, uses: 0 });
    await using client = new TestClient({ credentials: basicCredentials(registry.host) });
    const err = await failureOf(resolve(client, v1(registry)), 'UNAUTHORIZED');
    assert.equal(err.message, `${registry.host}/app: the credentials were declined`);
    assert.equal(err.hint, `gantry login ${registry.host}`);
    assert.equal(err.status, 401);
    assert.equal(registry.count({ kind: 'manifest' }), 2);
    assert.equal(registry.count({ kind: 'token' }), 1);
  });

  it('401 for ever with Basic', async () => {
    await using registry = await started({ scheme: 'basic', users: {} });
    await using client = new TestClient({ credentials: basicCredentials(registry.host) });
    await failureOf(resolve(client, v1(registry)), 'UNAUTHORIZED');
    assert.equal(registry.count(), 2);
    await failureOf(resolve(client, v1(registry)), 'UNAUTHORIZED');
    assert.ok(registry.count() <= 4);
  });

  it('401 without a challenge, with an unknown one, or with a damaged one', async () => {
    for (const [challenge, message] of [
      [() => undefined, /: the credentials were declined$/],
      [() => 'Negotiate, NTLM abc==', /asks for an authentication that gantry does not know$/],
      [() => 'Bearer realm="http://unclosed', /credentials were declined$/],
      [() => 'Bearer service="no realm"', /credentials were declined$/],
    ] as const) {
      await using registry = await started({ scheme: 'basic', users, challenge });
      await using client = new TestClient({ credentials: basicCredentials(registry.host) });
      const err = await failureOf(resolve(client, v1(registry)), 'UNAUTHORIZED');
      assert.match(err.message, message);
      assert.equal(registry.count(), 1);
      assert.equal(registry.log.entries[0]?.authorization, undefined);
    }
  });

  it('without credentials the error says how to bring some', async () => {
    await using registry = await started({ scheme: 'bearer', users });
    await using client = new TestClient();
    const err = await failureOf(resolve(client, v1(registry)), 'UNAUTHORIZED');
    assert.equal(err.message, `${registry.host}/app needs credentials, or does not exist`);
    assert.equal(err.hint, `gantry login ${registry.host}`);
    // Docker Hub gives everybody a token, which is good for nothing where there is no repository.
    await using hub = await started({ scheme: 'bearer', anonymous: true, grant: () => [] });
    const denied = await failureOf(resolve(client, v1(hub)), 'UNAUTHORIZED');
    assert.match(denied.message, /needs credentials, or does not exist$/);
  });

  it('several challenges: the one that we can answer is answered', async () => {
    for (const challenge of [
      (honest: string) => `Negotiate, ${honest}, Basic realm="b"`,
      (honest: string) => ['Negotiate', 'Basic realm="b"', honest],
      (honest: string) => `Basic realm="a, b", ${honest}`,
    ]) {
      await using registry = await started({ scheme: 'bearer', users, challenge });
      await using client = new TestClient({ credentials: basicCredentials(registry.host) });
      await resolve(client, v1(registry));
      assert.equal(registry.log.entries.at(-1)?.authKind, 'bearer');
    }
  });

  it('an identity token is exchanged by POST', async () => {
    const identitytoken = `identity-${MARKER}`;
    await using registry = await started({ scheme: 'bearer', identityTokens: [identitytoken], ownPort: true });
    await using client = new TestClient({ credentials: inlineCredentials(registry.host, { identitytoken }) });
    await resolve(client, v1(registry));
    const [token] = registry.log.select({ kind: 'token' });
    assert.equal(token?.method, 'POST');
    assert.equal(token?.path, '/token');
    assert.deepEqual(Object.fromEntries(new URLSearchParams(token?.body)), {
      service: 'test-registry',
      scope: 'repository:app:pull',
      grant_type: 'refresh_token',
      refresh_token: identitytoken,
      client_id: 'gantry',
    });
  });

  it('an identity token where the server takes none, or declines it', async () => {
    for (const more of [{ post: false }, { identityTokens: ['another'] }]) {
      await using registry = await started({ scheme: 'bearer', ...more });
      const credentials = inlineCredentials(registry.host, { identitytoken: MARKER });
      await using client = new TestClient({ credentials });
      const err = await failureOf(resolve(client, v1(registry)), 'UNAUTHORIZED');
      assert.match(err.message, /credentials were declined$/);
      assert.equal(registry.count({ kind: 'token' }), 1);
    }
  });

  it('a registrytoken is sent as it stands, and never to a token server', async () => {
    await using registry = await started({ scheme: 'bearer', users });
    const registrytoken = `raw-${MARKER}`;
    await using client = new TestClient({ credentials: inlineCredentials(registry.host, { registrytoken }) });
    await failureOf(resolve(client, v1(registry)), 'UNAUTHORIZED');
    assert.equal(registry.log.entries[0]?.authorization, `Bearer ${registrytoken}`);
    assert.equal(registry.count({ kind: 'token' }), 0);
    await using broken = new TestClient({
      credentials: inlineCredentials(registry.host, { registrytoken: `${MARKER}\r\nx: y` }),
    });
    await failureOf(resolve(broken, v1(registry)), 'INVALID', 'UNAUTHORIZED');
  });

  it('ping tells whether the credentials are good', async () => {
    await using registry = await started({ scheme: 'basic', users });
    await using good = new TestClient({ credentials: basicCredentials(registry.host) });
    await good.ping(registry.host, { signal: never });
    await using bad = new TestClient({ credentials: basicCredentials(registry.host, `wrong-${MARKER}`) });
    await failureOf(bad.ping(registry.host, { signal: never }), 'UNAUTHORIZED');
  });

  describe('a token server', () => {
    const bearer = { scheme: 'bearer', users, ownPort: true } as const;
    const answers: readonly (readonly [string, ReturnType<typeof faults.body>, string])[] = [
      ['a huge answer', faults.body(JSON.stringify({ token: 'x'.repeat(100_000) })), 'TOO_LARGE'],
      ['an endless answer', faults.hugeManifest(), 'TOO_LARGE'],
      ['garbage', faults.body(`{"token": ${MARKER}`), 'MALFORMED'],
      ['a web page', faults.html(), 'MALFORMED'],
      ['null', faults.body('null'), 'MALFORMED'],
      ['an empty token', faults.body('{"token":""}'), 'MALFORMED'],
      ['a token that is no string', faults.body('{"token":{"a":1}}'), 'MALFORMED'],
      ['a token with a line break', faults.body(JSON.stringify({ token: `${MARKER}\r\nx-injected: 1` })), 'MALFORMED'],
      ['a token that is not ASCII', faults.body(JSON.stringify({ token: `${MARKER}ü` })), 'MALFORMED'],
    ];
    for (const [what, effect, code] of answers) {
      it(`that gives ${what} is not believed, and asked once`, async () => {
        await using registry = await started(bearer);
        await using client = new TestClient({ credentials: basicCredentials(registry.host) });
        registry.fault({ match: { kind: 'token' }, do: effect });
        const err = await failureOf(resolve(client, v1(registry)), 'TOO_LARGE', 'MALFORMED');
        assert.equal(err.code, code);
        assert.match(err.message, new RegExp(new URL(registry.tokenUrl).host));
        assert.equal(registry.count({ kind: 'token' }), 1);
        assert.equal(registry.count({ kind: 'manifest' }), 1);
      });
    }

    it('that fails is asked again', async () => {
      await using registry = await started(bearer);
      await using client = new TestClient({ credentials: basicCredentials(registry.host), headersTimeoutMs: 100 });
      for (const effect of [faults.status(503), faults.drop(), faults.stallHeaders, faults.cut(3)]) {
        registry.fault({ match: { kind: 'token' }, times: 1, do: effect });
        registry.auth.expireTokens();
        await resolve(client, v1(registry));
      }
      // The connection that was cut had been used before: nobody's failure.
      assert.equal(client.retried.length, 3);
    });

    it('that says 403 has its reason told, without what it repeats of our secrets', async () => {
      await using registry = await started(bearer);
      await using client = new TestClient({ credentials: basicCredentials(registry.host) });
      const message = `no: ${MARKER} and ${base64(`alice:${MARKER}`)}`;
      const body = JSON.stringify({ errors: [{ code: 'DENIED', message }] });
      registry.fault({ match: { kind: 'token', beforeAuth: true }, do: faults.status(403, { body }) });
      const err = await failureOf(resolve(client, v1(registry)), 'DENIED');
      assert.match(err.message, /answered 403 for a token for .*: DENIED: no: \[secret\] and \[secret\]$/);
    });

    it('that redirects is not followed', async () => {
      await using registry = await started(bearer);
      await using origin = await TestOrigin.start();
      await using client = new TestClient({ credentials: basicCredentials(registry.host) });
      registry.fault({ match: { kind: 'token' }, do: faults.redirect(`${origin.url}/token`) });
      const err = await failureOf(resolve(client, v1(registry)), 'REFUSED');
      assert.match(err.message, /names the token server http:.*\/token, which redirects$/);
      assert.equal(origin.count(), 0);
    });

    it('of a registry that answers with our secret in its error: it is not shown', async () => {
      await using registry = await started({ scheme: 'basic', users });
      await using client = new TestClient({ credentials: basicCredentials(registry.host) });
      const message = `you sent ${base64(`alice:${MARKER}`)}`;
      const body = JSON.stringify({ errors: [{ code: 'DENIED', message }] });
      registry.fault({ match: { kind: 'blob' }, do: faults.status(403, { body }) });
      const err = await failureOf(fetchWhole(client, registry, layer), 'DENIED');
      assert.match(err.message, /: DENIED: you sent \[secret\]$/);
    });
  });

  describe('a hostile realm', () => {
    it('over http from an https registry gets nothing', async () => {
      const { ca, server } = await certificates();
      await using origin = await TestOrigin.start();
      const auth = { scheme: 'bearer', users, realm: `${origin.url}/token?${MARKER}` } as const;
      await using registry = await TestRegistry.start({ tls: server, auth });
      const hosts = { dirs: [], plainHttp: false, insecure: new Set([registry.host]) };
      const credentials = basicCredentials(registry.host);
      await using client = new TestClient({ ca: [ca.toString()], hosts, credentials });
      const err = await failureOf(resolve(client, v1(registry)), 'REFUSED');
      assert.match(err.message, /names the token server http:.*\/token, which is not https although the registry is/);
      assert.equal(origin.count(), 0);
    });

    it('with a user name, or of another scheme, gets nothing', async () => {
      for (const realm of [`http://alice:${MARKER}@127.0.0.1:1/token`, `ldap://127.0.0.1/`, 'http://[/']) {
        await using registry = await started({ scheme: 'bearer', users, realm });
        await using client = new TestClient({ credentials: basicCredentials(registry.host) });
        await failureOf(resolve(client, v1(registry)), 'REFUSED');
        assert.equal(registry.count(), 1);
      }
    });

    it('at an address inside, named by a public registry, gets nothing', async () => {
      await using origin = await TestOrigin.start();
      const places = [
        `127.0.0.1:${origin.port}`,
        'localhost',
        '169.254.169.254',
        '[fd00::1]',
        `inside.example:${origin.port}`,
      ];
      for (const place of places) {
        await using registry = await started({ scheme: 'bearer', users, realm: `http://${place}/token` });
        await using proxy = await TestProxy.start({ hosts: { 'registry.example:80': registry.host } });
        const lookup: LookupFunction = (name, _options, callback) =>
          callback(null, [{ address: name === 'registry.example' ? '93.184.215.14' : '127.0.0.1', family: 4 }]);
        await using client = new TestClient({
          lookup,
          credentials: basicCredentials('registry.example'),
          hosts: { dirs: [], plainHttp: true, insecure: false },
          // The proxy reaches the registry; what it names is reached directly, where addresses are checked.
          proxies: { http: proxy.url, none: 'inside.example,169.254.169.254,fd00::/8' },
        });
        const err = await failureOf(resolve(client, 'registry.example/app:v1'), 'REFUSED');
        assert.match(err.message, /is a private address|has no public address/);
        assert.equal(registry.count(), 1);
      }
      assert.equal(origin.count(), 0);
    });
  });
});
