import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ask, type Got } from '../../support/ask.ts';
import { image } from '../../support/images.ts';
import { type AuthOptions, faults, type RegistryOptions, TestRegistry } from '../../support/registry.ts';

const basic = (user: string, password: string): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
const SCOPE = 'repository:app:pull';

async function startWith(auth: AuthOptions, more: RegistryOptions = {}): Promise<TestRegistry> {
  const registry = await TestRegistry.start({ ...more, auth });
  registry.add('app', 'v1', image());
  return registry;
}

const read = (registry: TestRegistry, authorization?: string): Promise<Got> =>
  ask(`${registry.url}/v2/app/manifests/v1`, { headers: authorization === undefined ? {} : { authorization } });

async function tokenOf(registry: TestRegistry, headers: Record<string, string> = {}, scope = SCOPE): Promise<string> {
  const got = await ask(`${registry.tokenUrl}/token?service=test-registry&scope=${scope}`, { headers });
  const answer: { token: string } = JSON.parse(got.body.toString());
  return answer.token;
}

const post = (registry: TestRegistry, form: Record<string, string>): Promise<Got> =>
  ask(`${registry.tokenUrl}/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams(form).toString(),
  });

describe('authentication of the test registry', () => {
  it('asks for Basic and takes the right password only', async () => {
    await using registry = await startWith({ scheme: 'basic', users: { alice: 'secret' } });
    const refused = await read(registry);
    assert.equal(refused.status, 401);
    assert.equal(refused.headers['www-authenticate'], 'Basic realm="test registry"');
    assert.equal((await read(registry, basic('alice', 'wrong'))).status, 401);
    assert.equal((await read(registry, basic('alice', 'secret'))).status, 200);
    assert.equal(registry.log.entries.at(-1)?.authKind, 'basic');
  });

  it('hands out bearer tokens for GET with Basic', async () => {
    await using registry = await startWith({ scheme: 'bearer', users: { alice: 'secret' }, ownPort: true });
    assert.notEqual(registry.tokenUrl, registry.url);
    const challenge = (await read(registry)).headers['www-authenticate'];
    assert.equal(challenge, `Bearer realm="${registry.tokenUrl}/token",service="test-registry",scope="${SCOPE}"`);
    assert.equal((await ask(`${registry.tokenUrl}/token?scope=${SCOPE}`)).status, 401);
    const token = await tokenOf(registry, { authorization: basic('alice', 'secret') });
    assert.equal((await read(registry, `Bearer ${token}`)).status, 200);
    assert.equal(registry.count({ server: 'token', kind: 'token' }), 2);
  });

  it('hands out tokens for a password and for an identity token by POST', async () => {
    const identityTokens = ['identity'];
    await using registry = await startWith({ scheme: 'bearer', users: { alice: 'secret' }, identityTokens });
    for (const form of [
      { grant_type: 'refresh_token', refresh_token: 'identity' },
      { grant_type: 'password', username: 'alice', password: 'secret' },
    ]) {
      const got = await post(registry, { ...form, service: 'test-registry', scope: SCOPE });
      const { access_token: token }: { access_token: string } = JSON.parse(got.body.toString());
      assert.equal((await read(registry, `Bearer ${token}`)).status, 200);
    }
    assert.equal((await post(registry, { grant_type: 'refresh_token', refresh_token: 'other' })).status, 401);
    await using old = await startWith({ scheme: 'bearer', identityTokens, post: false });
    assert.equal((await post(old, { grant_type: 'refresh_token', refresh_token: 'identity' })).status, 404);
  });

  it('lets tokens expire after some uses, and on request', async () => {
    await using registry = await startWith({ scheme: 'bearer', anonymous: true, uses: 2 });
    const token = `Bearer ${await tokenOf(registry)}`;
    const seen = [await read(registry, token), await read(registry, token), await read(registry, token)];
    assert.deepEqual(
      seen.map((got) => got.status),
      [200, 200, 401],
    );
    assert.match(String(seen[2]?.headers['www-authenticate']), /error="invalid_token"/);
    const second = `Bearer ${await tokenOf(registry)}`;
    registry.auth.expireTokens();
    assert.equal((await read(registry, second)).status, 401);
    await using never = await startWith({ scheme: 'bearer', anonymous: true, uses: 0 });
    assert.equal((await read(never, `Bearer ${await tokenOf(never)}`)).status, 401);
  });

  it('grants no more than the scope that was asked for', async () => {
    const grant = (repo: string): string[] => (repo === 'app' ? ['pull'] : []);
    await using registry = await startWith({ scheme: 'bearer', anonymous: true, grant });
    const other = `Bearer ${await tokenOf(registry, {}, 'repository:other:pull')}`;
    const refused = await read(registry, other);
    assert.equal(refused.status, 401);
    assert.match(String(refused.headers['www-authenticate']), /error="insufficient_scope"/);
    assert.equal((await read(registry, `Bearer ${await tokenOf(registry)}`)).status, 200);
  });

  it('sends the challenges that the test wants: several, none, with a hostile realm', async () => {
    const both = (honest: string): string => `Negotiate, ${honest}, Basic realm="b"`;
    await using several = await startWith({ scheme: 'bearer', challenge: both });
    assert.match(String((await read(several)).headers['www-authenticate']), /^Negotiate, Bearer .*, Basic realm="b"$/);
    await using silent = await startWith({ scheme: 'basic', users: {}, challenge: () => undefined });
    const refused = await read(silent);
    assert.equal(refused.status, 401);
    assert.equal(refused.headers['www-authenticate'], undefined);
    await using hostile = await startWith({ scheme: 'bearer', realm: 'http://169.254.169.254/latest' });
    assert.match(
      String((await read(hostile)).headers['www-authenticate']),
      /realm="http:\/\/169\.254\.169\.254\/latest"/,
    );
  });

  it('applies faults to what authentication lets through, or to everything when asked', async () => {
    await using registry = await startWith({ scheme: 'bearer', anonymous: true });
    using fault = registry.fault({ match: { kind: 'manifest' }, do: faults.status(403) });
    assert.equal((await read(registry)).status, 401);
    const token = `Bearer ${await tokenOf(registry)}`;
    const denied = await read(registry, token);
    assert.equal(denied.status, 403);
    assert.match(denied.body.toString(), /DENIED/);
    fault.remove();
    registry.fault({ match: { kind: 'manifest', beforeAuth: true }, do: faults.status(500) });
    assert.equal((await read(registry)).status, 500);
  });

  it('breaks the token answer like any other', async () => {
    await using registry = await startWith({ scheme: 'bearer', anonymous: true, ownPort: true });
    registry.fault({ match: { kind: 'token' }, do: faults.html() });
    const got = await ask(`${registry.tokenUrl}/token?scope=${SCOPE}`);
    assert.match(got.headers['content-type'] ?? '', /html/);
    registry.clearFaults();
    registry.fault({ match: { kind: 'token' }, do: faults.body(`{"token":"${'x'.repeat(200_000)}"}`) });
    assert.equal((await ask(`${registry.tokenUrl}/token?scope=${SCOPE}`)).body.length, 200_012);
  });
});
