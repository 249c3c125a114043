import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InvalidArgumentError } from '@commander-js/extra-typings';
import { laneView } from '../../../src/cli/farm-lane-view.ts';
import { failureGroups, runText, runView } from '../../../src/cli/farm-run-view.ts';
import { ageText, orNull, parseLimit, parseQuota, quotaText } from '../../../src/cli/farm-text.ts';
import type { ErrorRecord, ImageRecord, LaneStatus, RunStatus } from '../../../src/flow/farm-status.ts';

test('a quota is requests and a period, and is shown as it is read', () => {
  for (const [text, requests, periodMs] of [
    ['100/6h', 100, 21_600_000],
    ['5000/1d', 5000, 86_400_000],
    ['3/90s', 3, 90_000],
    ['10/15m', 10, 900_000],
  ] as const) {
    assert.deepEqual(parseQuota(text), { requests, periodMs });
    assert.equal(quotaText({ requests, periodMs }), text);
  }
  assert.equal(quotaText({ requests: 1, periodMs: 1_500 }), '1/1500ms');
  assert.deepEqual([orNull(parseQuota('none')), orNull(parseLimit('none')), parseLimit('4')], [null, null, 4]);
  for (const text of ['', '5', '0/1h', '5/0h', '5/h', '-5/1h', '5/1w', '5/1.5h', '1e3/1h', '5/1h ']) {
    assert.throws(() => parseQuota(text), InvalidArgumentError, text);
  }
});

test('an age is never below nothing: another clock may be ahead', () => {
  assert.equal(ageText(Date.now() + 60_000), '0.0 s');
});

const lane = (more: Partial<LaneStatus>): LaneStatus => ({
  name: 'docker.io',
  tickets: { waiting: 1, active: 2, delayed: 3 },
  oldestAt: undefined,
  concurrency: undefined,
  quota: undefined,
  headroom: [],
  paused: false,
  blockedUntil: undefined,
  blockedBecause: undefined,
  workers: 4,
  ...more,
});

test('a lane shows what is left for whoever has the least, and what holds it up', () => {
  const quota = { requests: 100, periodMs: 21_600_000 };
  const headroom = [
    { identity: 'a', limit: 100, remaining: 73 },
    { identity: 'b', limit: 100, remaining: 5 },
  ];
  assert.deepEqual(laneView.row(lane({})), ['docker.io', '1', '2', '3', '-', '-', '-', '4', 'open']);
  assert.equal(laneView.row(lane({ quota }))[6], '100/6h');
  assert.equal(laneView.row(lane({ quota, headroom }))[6], '5 of 100/6h');
  assert.equal(laneView.row(lane({ headroom }))[6], '5 of 100');
  const blocked = { blockedUntil: Date.now() + 185_500, blockedBecause: '429' };
  assert.match(
    laneView.row(lane({ ...blocked, paused: true })).at(-1) ?? '',
    /^paused, blocked for 3 min [56] s: 429$/,
  );
});

const error = (code: ErrorRecord['code'], more: Partial<ErrorRecord> = {}): ErrorRecord => ({
  code,
  origin: 'source',
  message: `${code} it is`,
  ...more,
});
const ended = (name: string, why?: ErrorRecord): ImageRecord => ({
  name,
  state: why === undefined ? 'done' : 'failed',
  digest: undefined,
  mediaType: undefined,
  error: why,
  endedAt: 0,
});
async function* all(images: readonly ImageRecord[]): AsyncGenerator<ImageRecord> {
  yield* images;
}

const run: RunStatus = {
  id: 'r1',
  state: 'running',
  createdAt: Date.now() - 61_000,
  endedAt: undefined,
  images: { total: 10, fed: 10, open: 2, done: 1, failed: 7, cancelled: 0 },
  nodes: { known: 30, done: 3, failed: 7, skipped: 0 },
  failuresByCode: { NOT_FOUND: 7 },
  bytes: 2048,
  bytesPerSecond: 1024,
  etaMs: 30_000,
  labels: { target: 'store' },
};

test('failures come in groups of code and origin, the largest first, with five examples each', async () => {
  const images = [
    ended('fine'),
    ended('a', error('DENIED')),
    ended('b', error('NOT_FOUND', { origin: 'target' })),
    ...Array.from({ length: 6 }, (_, i) => ended(`c${i}`, error('NOT_FOUND', { host: 'h', message: 'gone\n  ^' }))),
  ];
  const groups = await failureGroups(all(images));
  assert.deepEqual(
    groups.map(({ code, origin, count, examples }) => [code, origin, count, examples.length]),
    [
      ['NOT_FOUND', 'source', 6, 5],
      ['DENIED', 'source', 1, 1],
      ['NOT_FOUND', 'target', 1, 1],
    ],
  );
  const text = runText(run, ['one', 'two'], groups.slice(0, 1));
  assert.equal(
    text,
    [
      'run     r1',
      'state   running for 1 min 1 s',
      'images  1 of 10 done, 7 failed',
      'nodes   3 of 30 done, 7 failed',
      'bytes   2.0 KiB (1.0 KiB/s)',
      'left    about 30.0 s, going by the images so far',
      'target  store',
      'waits   one',
      '        two',
      '',
      '6 NOT_FOUND (source)',
      ...[0, 1, 2, 3, 4].map((i) => `  c${i}: h: gone`),
      '  and 1 more',
      '',
    ].join('\n'),
  );
});

test('what is not known yet is null in JSON, and times are RFC 3339', () => {
  const { createdAt, endedAt, etaMs } = runView.json({ ...run, createdAt: 0, etaMs: undefined });
  assert.deepEqual([createdAt, endedAt, etaMs], ['1970-01-01T00:00:00.000Z', null, null]);
});
