import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServeMetrics } from '../../../src/metrics/serve-metrics.ts';
import { samplesOf } from './support.ts';

test('a rule that left the file is not waited for any more', async () => {
  const metrics = new ServeMetrics({ version: '1', mirror: 'm.yml' });
  const interval = async (rule: string): Promise<number | undefined> =>
    samplesOf((await metrics.text()).body).get(`gantry_mirror_interval_seconds{mirror="m.yml",rule="${rule}"}`);
  metrics.scheduled(
    new Map([
      ['sync.0', 3600],
      ['sync.1', 86_400],
    ]),
  );
  assert.deepEqual([await interval('sync.0'), await interval('sync.1')], [3600, 86_400]);
  metrics.scheduled(new Map([['sync.0', 60]]));
  assert.deepEqual([await interval('sync.0'), await interval('sync.1')], [60, undefined]);
  assert.equal(samplesOf((await metrics.text()).body).get('gantry_mirror_rules{mirror="m.yml"}'), 1);
});
