import { farmJob } from './farm.ts';
import type { Job } from './jobs.ts';
import { queueJob } from './queue.ts';
import { upJob } from './up.ts';

/** What is measured of a farm; there is no peer to compare it with. */
export const FARM_JOBS: Readonly<Record<string, Job>> = {
  queue: { about: 'what the queue costs: 10,000 images and a handler that does nothing', rounds: 3, run: queueJob },
  farm: { about: 'four workers beside one, pulling from a registry that is far away', rounds: 1, run: farmJob },
  up: { about: 'from nothing to a farm that has pulled an image', rounds: 5, run: upJob },
};
