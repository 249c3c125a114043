/** Memory does not grow with blobs. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test, type TestContext } from 'node:test';
import { newUser } from '../support/cli.ts';
import { image } from '../support/images.ts';
import { SyntheticBlob, TestRegistry } from '../support/registry.ts';

const MAX_RSS_MIB = 200;

type Copying = (registry: TestRegistry, target: TestRegistry) => readonly string[];

const pull: Copying = (registry) => ['pull', '-q', registry.ref('big', 'v1')];
const copy: Copying = (registry, target) => ['copy', '-q', '-a', registry.ref('big', 'v1'), target.ref('big', 'v1')];

/** Moves an image with layers of these sizes; gives the most memory that the process had at any time. */
async function peakOf(how: Copying, sizes: readonly number[], t: TestContext): Promise<number> {
  await using registry = await TestRegistry.start();
  await using target = await TestRegistry.start();
  const layers = [];
  for (const [seed, size] of sizes.entries()) layers.push({ synthetic: await SyntheticBlob.random({ seed, size }) });
  const made = image({ layers });
  registry.add('big', 'v1', made);
  await using user = await newUser();
  const started = performance.now();
  await using moving = await user.spawn(how(registry, target));
  let peak = 0;
  const watch = setInterval(() => {
    readFile(`/proc/${moving.process.pid}/status`, 'utf8').then(
      (status) => {
        peak = Math.max(peak, Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024);
      },
      () => undefined, // it has ended
    );
  }, 50);
  const result = await moving.process.done;
  clearInterval(watch);
  const seconds = (performance.now() - started) / 1000;
  assert.deepEqual([result.code, result.stderr], [0, '']);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  t.diagnostic(`peak RSS ${peak.toFixed(0)} MiB, ${(total / 1e6 / seconds).toFixed(0)} MB/s`);
  assert.equal(registry.log.bytesSent({ kind: 'blob', method: 'GET' }) >= total, true);
  if (how === copy) assert.equal(target.stored.get('big')?.tags.get('v1'), made.desc.digest);
  return peak;
}

for (const [name, how] of Object.entries({ pulled: pull, copied: copy })) {
  test(`one blob of 2 GB that is ${name} takes at most 200 MiB of memory`, { timeout: 600_000 }, async (t) => {
    const peak = await peakOf(how, [2_000_000_000], t);
    assert.ok(peak > 0 && peak <= MAX_RSS_MIB, `${peak} MiB`);
  });

  test(`sixteen blobs of 200 MB, ${name} at once, take at most 200 MiB of memory`, { timeout: 600_000 }, async (t) => {
    const sizes = Array.from({ length: 16 }, () => 200_000_000);
    const peak = await peakOf(how, sizes, t);
    assert.ok(peak > 0 && peak <= MAX_RSS_MIB, `${peak} MiB`);
  });
}
