/** Schedules of a mirror file at a real Redis: made, changed, removed, and each tick taken once. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Queue } from 'bullmq';
import { type Schedule, Schedules, type SchedulesOptions, type Tick } from '../../src/queue/schedules.ts';
import { until } from '../support/farm.ts';
import { type Opened, openedRedis } from '../support/farm-graph.ts';
import { TestRedis } from '../support/redis.ts';

let server: TestRedis;
let opened: Opened;

before(async () => {
  server = await TestRedis.start();
  opened = await openedRedis(server);
});
after(async () => {
  await opened[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

let files = 0;
const newFile = (): string => `file-${(files += 1)}`;

const open = (options: Pick<SchedulesOptions, 'file'> & Partial<SchedulesOptions>): Schedules =>
  Schedules.open({
    redis: opened.redis,
    onTick: () => Promise.resolve(),
    onError: (err) => assert.fail(String(err)),
    lockMs: 2_000,
    stalledMs: 500,
    ...options,
  });

/** What Redis holds of a file. */
async function stored(file: string): Promise<string[]> {
  const queue = new Queue(`mirror_${file}`, { connection: opened.redis, prefix: '{gantry}' });
  try {
    const all = await queue.getJobSchedulers(0, -1);
    return all.map(({ key, pattern, every }) => `${key} ${pattern ?? every}`).toSorted();
  } finally {
    await queue.close();
  }
}

const daily: Schedule = { id: 'a', when: { cron: '0 3 * * *' } };
const hourly: Schedule = { id: 'b', when: { everyMs: 3_600_000 } };
const everySecond: Schedule = { id: 'b', when: { everyMs: 1_000 } };

describe('the schedules of a file', () => {
  test('are made, changed and removed, and left alone while they stand', async () => {
    const file = newFile();
    await using schedules = open({ file });
    assert.deepEqual(await schedules.set([daily, hourly]), { made: ['a', 'b'], removed: [] });
    assert.deepEqual(await stored(file), ['a 0 3 * * *', 'b 3600000']);
    assert.deepEqual(await schedules.set([daily, hourly]), { made: [], removed: [] });
    const later: Schedule = { id: 'a', when: { cron: '30 4 * * 1' } };
    assert.deepEqual(await schedules.set([later, hourly]), { made: ['a'], removed: [] });
    assert.deepEqual(await schedules.set([later]), { made: [], removed: ['b'] });
    assert.deepEqual(await stored(file), ['a 30 4 * * 1']);
  });

  test('are none of another file', async () => {
    const [file, other] = [newFile(), newFile()];
    await using schedules = open({ file });
    await using others = open({ file: other });
    await schedules.set([daily]);
    await others.set([hourly]);
    await schedules.set([]);
    assert.deepEqual([await stored(file), await stored(other)], [[], ['b 3600000']]);
  });

  test('are made again when their next tick was lost', async () => {
    const file = newFile();
    await using schedules = open({ file });
    await schedules.set([daily]);
    const queue = new Queue(`mirror_${file}`, { connection: opened.redis, prefix: '{gantry}' });
    const [tick] = await queue.getJobs(['delayed']);
    await server.command('DEL', `{gantry}:mirror_${file}:${tick?.id}`);
    await queue.close();
    assert.deepEqual(await schedules.set([daily]), { made: ['a'], removed: [] });
    assert.deepEqual(await schedules.set([daily]), { made: [], removed: [] });
  });
});

test('each tick is taken once, whoever serves the file', async () => {
  const file = newFile();
  const taken: string[] = [];
  const onTick =
    (who: string) =>
    async ({ schedule, isOverlapping, run }: Tick): Promise<void> => {
      taken.push(`${who} ${schedule} ${isOverlapping} ${run}`);
    };
  await using first = open({ file, onTick: onTick('first') });
  await using second = open({ file, onTick: onTick('second') });
  await Promise.all([first.set([everySecond]), second.set([everySecond])]);
  assert.deepEqual(await stored(file), ['b 1000']);
  first.start();
  second.start();
  const startedAt = Date.now();
  await until('four ticks', () => taken.length >= 4);
  const most = (Date.now() - startedAt) / 1_000 + 2;
  assert.ok(taken.length <= most, `${taken.length} ticks in ${most} s`);
  assert.ok(
    taken.every((each) => each.endsWith(' b false undefined')),
    taken.join(', '),
  );
});

test('what was due while nobody took ticks comes once, and not as often as it was due', async () => {
  const file = newFile();
  let ticks = 0;
  await using schedules = open({
    file,
    onTick: async () => {
      ticks += 1;
    },
  });
  await schedules.set([{ id: 'b', when: { everyMs: 100 } }]);
  const madeAt = Date.now();
  await until('twenty times due', () => Date.now() - madeAt > 2_000);
  const startedAt = Date.now();
  schedules.start();
  await until('some ticks', () => ticks >= 3);
  const most = (Date.now() - startedAt) / 100 + 2;
  assert.ok(ticks <= most, `${ticks} ticks in place of ${most}`);
});

test('a tick during an open one knows it, and the next one after it does not', async () => {
  const file = newFile();
  const gate = Promise.withResolvers<void>();
  const seen: boolean[] = [];
  const onTick = async ({ isOverlapping }: Tick): Promise<void> => {
    seen.push(isOverlapping);
    if (seen.length === 1) await gate.promise;
  };
  await using schedules = open({ file, onTick });
  await schedules.set([everySecond]);
  schedules.start();
  await until('two ticks beside the first', () => seen.length >= 3);
  assert.deepEqual(seen.slice(0, 3), [false, true, true]);
  gate.resolve();
  await until('a tick after it', () => seen.at(-1) === false);
});

test('a tick whose process ends in good order goes back with its run, and is taken up by the next process', async () => {
  const file = newFile();
  const held = Promise.withResolvers<void>();
  const wait = ({ signal }: Tick): Promise<never> =>
    new Promise((_resolve, reject) =>
      signal.addEventListener('abort', () => reject(new Error('stopped')), { once: true }),
    );
  {
    const onTick = async (tick: Tick): Promise<void> => {
      if (tick.isOverlapping) return;
      await tick.started('r123');
      held.resolve();
      await wait(tick);
    };
    await using first = open({ file, onTick });
    await first.set([hourly]);
    first.start();
    await held.promise;
  }
  const runs: (string | undefined)[] = [];
  await using second = open({ file, onTick: async ({ run }) => void runs.push(run) });
  assert.deepEqual(await second.set([hourly]), { made: [], removed: [] });
  second.start();
  await until('the tick again', () => runs.length > 0);
  assert.deepEqual(runs, ['r123']);
  assert.deepEqual(await stored(file), ['b 3600000']);
});

test('what a tick throws is told, and the next tick comes', async () => {
  const file = newFile();
  const told: unknown[] = [];
  let ticks = 0;
  const onTick = async (): Promise<void> => {
    ticks += 1;
    throw new Error(`tick ${ticks}`);
  };
  await using schedules = open({ file, onTick, onError: (err) => told.push(err) });
  await schedules.set([everySecond]);
  schedules.start();
  await until('two ticks', () => told.length >= 2);
  assert.deepEqual(told.slice(0, 2).map(String), ['Error: tick 1', 'Error: tick 2']);
});
