/** A worker that does nothing with what it is given, and counts it. Arguments: URL of Redis, tickets handled at a time. */
import { openRedis } from '../src/queue/connection.ts';
import { FarmWorker } from '../src/queue/worker.ts';
import { emptyHandler } from './queue-images.ts';
import { beService } from './service.ts';

/** All since the start of the process. */
export interface WorkerFigures {
  readonly visits: number;
  /** Taken from the queue; those with nothing to do included. */
  readonly tickets: number;
  readonly cpuMicros: number;
}

const [url = '', concurrency = ''] = process.argv.slice(2);
const nothing = (): void => undefined;
let visits = 0;
let tickets = 0;
const redis = await openRedis({ url }, 'worker', { signal: AbortSignal.timeout(10_000) });
const worker = await FarmWorker.start({
  redis,
  concurrency: Number(concurrency),
  handler: {
    visit: (node, ctx) => {
      visits += 1;
      return emptyHandler.visit(node, ctx);
    },
  },
  observer: {
    started: () => {
      tickets += 1;
    },
    ended: nothing,
    leaseWaited: nothing,
    failed: nothing,
    present: nothing,
    transferred: nothing,
  },
  onProblem: (problem) => process.stderr.write(`worker: ${problem.message}\n`),
});

function figures(): string {
  const { user, system } = process.cpuUsage();
  const result: WorkerFigures = { visits, tickets, cpuMicros: user + system };
  return JSON.stringify(result);
}

const close = async (): Promise<void> => {
  await worker.close();
  redis.disconnect();
};
beService({ answer: figures, close });
