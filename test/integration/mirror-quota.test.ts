/** `ratelimit` of a rule, against a registry that tells its limit. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { itemOf } from '../../src/app/mirror/job.ts';
import { RequestCounter } from '../../src/app/mirror/request-count.ts';
import { copyItems, dispatchHere } from '../../src/app/mirror/run.ts';
import { LocalPlaces } from '../../src/remote/places.ts';
import { ResolverTable } from '../../src/remote/resolvers.ts';
import { never, TestClient } from '../support/clients.ts';
import { image } from '../support/images.ts';
import { faults, TestRegistry } from '../support/registry.ts';

test('nothing that is counted is asked for until enough is left, and each look costs a HEAD', async () => {
  await using source = await TestRegistry.start();
  await using target = await TestRegistry.start();
  source.add('app', '1', image({ seed: 'quota' }));
  const left = (count: number) =>
    faults.headers({ 'ratelimit-limit': '100;w=60', 'ratelimit-remaining': `${count};w=60` });
  // Three looks find too little; the fourth finds enough.
  source.fault({ match: { kind: 'manifest', method: 'HEAD' }, do: left(60) });
  source.fault({ match: { kind: 'manifest', method: 'HEAD' }, times: 3, do: left(9) });
  const counter = new RequestCounter();
  await using client = new TestClient({ observer: counter });
  const told: string[] = [];
  const quota = {
    reserves: new Map([[`${source.host}/app`, { min: 10, retryMs: 5 }]]),
    remaining: (registry: string) => counter.remaining(registry),
    tell: (message: string) => told.push(message),
  };
  const resolver = new ResolverTable().register({ matches: () => true, resolver: client });
  const places = new LocalPlaces();
  const dispatch = dispatchHere(resolver, client, { concurrency: 4, signal: never, quota, places });
  const item = itemOf({ rule: 'sync.0', source: `${source.host}/app:1`, target: `${target.host}/app`, tag: '1' });
  const [copied] = await copyItems([item], dispatch, { signal: never });
  assert.equal(copied?.outcome, 'copied');
  const asked = source.log.entries.filter(({ kind }) => kind === 'manifest').map(({ method }) => method);
  assert.deepEqual(asked, ['HEAD', 'HEAD', 'HEAD', 'HEAD', 'GET']);
  assert.match(told[0] ?? '', /^\S+ has 9 requests left, and ratelimit\.min is 10: looking again in 1 min$/);
});
