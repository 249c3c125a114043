import assert from 'node:assert/strict';
import { test } from 'node:test';
import { basicCredentials, failureOf, never, TestClient } from '../support/clients.ts';
import { image } from '../support/images.ts';
import { faults, TestRegistry } from '../support/registry.ts';

async function catalogOf(client: TestClient, registry: TestRegistry): Promise<string[]> {
  const all: string[] = [];
  for await (const page of client.catalog(registry.host, { signal: never })) all.push(...page);
  return all;
}

test('the repositories of a registry come page by page, with a token for the catalog', async () => {
  const auth = { scheme: 'bearer', users: { alice: 'MARKER-s3cr3t-9b2c' } } as const;
  await using registry = await TestRegistry.start({ pageSize: 2, auth });
  const names = ['a', 'b/c', 'b/d', 'e', 'f'];
  for (const name of names) registry.add(name, '1', image({ seed: name }));
  await using client = new TestClient({ credentials: basicCredentials(registry.host) });
  assert.deepEqual(await catalogOf(client, registry), names);
  assert.equal(registry.count({ kind: 'catalog', status: 200 }), 3);
});

test('a list whose next page cannot be found is not taken for all that there is', async () => {
  await using registry = await TestRegistry.start();
  registry.add('app', '1', image());
  await using client = new TestClient();
  for (const link of [
    '</v2/x?last=1>; title="a, b"; rel="next"',
    "</v2/x?last=1>; rel='next'",
    '</v2/p2>; rel="next"',
  ]) {
    using _odd = registry.fault({ match: { kind: 'tags' }, do: faults.headers({ link }) });
    const listed = async (): Promise<void> => {
      for await (const page of client.tags(`${registry.host}/app`, { signal: never })) assert.ok(page.length > 0);
    };
    const err = await failureOf(listed(), 'MALFORMED');
    assert.match(err.message, /the next page cannot be found/, link);
  }
});

test('a registry that has no catalog, or sends something else', async () => {
  await using registry = await TestRegistry.start({ catalog: false });
  await using client = new TestClient();
  const missing = await failureOf(catalogOf(client, registry), 'UNSUPPORTED');
  assert.equal(missing.origin, 'source');
  assert.match(missing.hint ?? '', /type: repository/);
  await using odd = await TestRegistry.start();
  for (const [text, expected] of [
    ['{"repositories":["../up"]}', /"\.\.\/up" is not a repository$/],
    ['{"repositories":"a"}', /no list of repositories in the answer$/],
    ['{"tags":[]}', /no list of repositories in the answer$/],
  ] as const) {
    using _fault = odd.fault({ match: { kind: 'catalog' }, do: faults.body(text) });
    const { message } = await failureOf(catalogOf(client, odd), 'MALFORMED');
    assert.match(message, expected);
  }
});
