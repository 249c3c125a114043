import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { filesBelow, type User } from './cli.ts';
import { image } from './images.ts';
import { randomBytesOf, type TestRegistry } from './registry.ts';

/** So long that a test ends before a lock is stale: whoever gets on has seen that its owner is dead. */
export const NEVER_STALE = { GANTRY_STALE_LOCK_MS: '3600000' };

/** The names that other tools see. */
export async function indexedNames(user: Pick<User, 'store'>): Promise<string[]> {
  const text = await readFile(join(user.store, 'index.json'), 'utf8');
  const index: { manifests: { annotations?: Record<string, string> }[] } = JSON.parse(text);
  return index.manifests
    .map(({ annotations = {} }) => annotations['org.opencontainers.image.ref.name'] ?? '')
    .toSorted();
}

/** After a kill: the same command finishes without waiting, and the store is whole, complete and known to other tools. */
export async function finishesAfterKill(user: User, refs: readonly string[]): Promise<void> {
  const again = await user.gantry(['pull', '-q', ...refs], NEVER_STALE);
  assert.deepEqual([again.code, again.stderr], [0, '']);
  const names = refs.toSorted();
  assert.deepEqual((await user.gantry(['images', '-q'])).stdout.trim().split('\n'), names);
  assert.deepEqual(await indexedNames(user), names);
  const verified = await user.gantry(['verify']);
  assert.deepEqual([verified.code, verified.stderr], [0, ''], verified.stdout);
  const left = (await filesBelow(join(user.store, 'ingest'))).filter((path) => path.endsWith('.part'));
  assert.deepEqual(left, [], 'no bytes of unfinished writes');
}

/** A bulk pull that is killed so many times at random, over which it finishes all the same. */
export async function killedAtRandom(user: User, registry: TestRegistry, kills: number): Promise<void> {
  const refs = Array.from({ length: 12 }, (_, i) => {
    const layers = [8_000_000, 500_000, 2000].map((size, at) => ({
      raw: randomBytesOf(`${at === 0 ? i % 4 : i} ${at}`, size),
    }));
    registry.add(`app${i}`, 'v1', image({ seed: i, layers }));
    return `${registry.host}/app${i}:v1`;
  });
  for (let kill = 0; kill < kills; kill += 1) {
    await using pulling = await user.spawn(['pull', '-q', ...refs], NEVER_STALE);
    const afterMs = 100 + Math.random() * 900;
    await sleep(afterMs); // the moment is meant to be random: this waits for nothing
    pulling.process.kill('SIGKILL');
    await pulling.process.done;
    const verified = await user.gantry(['verify']);
    assert.doesNotMatch(verified.stderr, /damaged|unreadable/, `after kill ${kill}, at ${afterMs} ms`);
  }
  await finishesAfterKill(user, refs);
}
