import { test } from 'node:test';
import { chaos } from '../support/farm-kills.ts';

test('200 images over 600 blobs, while four workers and Redis are killed: nothing is lost or fetched in vain', (t) =>
  chaos({ images: 200, blobs: 600, kills: 4, timeoutMs: 60_000 }, t));
