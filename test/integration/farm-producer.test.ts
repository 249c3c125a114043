/** A producer that is killed as soon as its request is stored. Runs itself as that producer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { imageNode } from '../../src/handlers/pull.ts';
import { parseReference } from '../../src/oci/reference.ts';
import type { RedisSettings } from '../../src/queue/connection.ts';
import { Farm } from '../../src/queue/farm.ts';
import { never } from '../support/clients.ts';
import { differences, TestFarm } from '../support/farm.ts';
import { image } from '../support/images.ts';
import { run } from '../support/process.ts';
import { TestRegistry } from '../support/registry.ts';

const IMAGES = 1_500;
const REPOSITORIES = 10;

interface Order {
  readonly redis: RedisSettings;
  readonly target: string;
  readonly host: string;
}

const refsAt = (host: string): string[] =>
  Array.from({ length: IMAGES }, (_, i) => `${host}/r${i % REPOSITORIES}:t${i}`);

async function produce({ redis, target, host }: Order): Promise<void> {
  const farm = await Farm.open(redis, { signal: never });
  const id = await farm.submit(refsAt(host).map((ref) => imageNode(parseReference(ref), target, '')));
  process.stdout.write(id, () => process.kill(process.pid, 'SIGKILL'));
}

if (process.argv[2] === 'produce') {
  const order: Order = JSON.parse(process.argv[3] ?? '');
  await produce(order);
} else {
  test('a run of 1,500 images is finished although its producer is dead', async () => {
    await using registry = await TestRegistry.start();
    const shared = image({ layers: [{ raw: Buffer.from('shared') }] });
    for (let i = 0; i < IMAGES; i += 1) registry.add(`r${i % REPOSITORIES}`, `t${i}`, shared);
    await using farm = await TestFarm.start();
    const order: Order = { redis: farm.settings, target: await farm.store.id(), host: registry.host };
    const producer = await run(process.execPath, [import.meta.filename, 'produce', JSON.stringify(order)]);
    assert.deepEqual([producer.signal, producer.stderr], ['SIGKILL', '']);
    await farm.done(producer.stdout, refsAt(registry.host));
    const names = await farm.store.names.list({ signal: never });
    assert.equal(
      differences(
        names.map(({ name }) => name),
        refsAt(registry.host),
      ),
      '',
    );
  });
}
