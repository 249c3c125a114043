/** Has a farm bring blobs into the store, ahead of its bulk work: the workers keep what registries allow, this process need not know it. */
import { type CallOptions, sleep } from '../../call.ts';
import { GantryError, isCode } from '../../errors.ts';
import type { ContentNode } from '../../flow/handler.ts';
import { registryOf } from '../../oci/location.ts';
import type { Farm } from '../../queue/farm.ts';
import type { Lapsing } from './lapsing.ts';
import type { FetchBlob } from './transfers.ts';

export interface FarmFetchParts {
  readonly farm: Farm;
  /** For when the farm cannot. */
  readonly alone: FetchBlob;
  /** Noted when Redis does not answer, which is then left alone: each client would wait for it anew. */
  readonly away: RedisAway;
  readonly log: (line: string) => void;
}

export type RedisAway = Lapsing<true>;

/** How long Redis is left alone, in milliseconds. */
const ALONE_MS = 10_000;

/** The run of one blob is of no interest for long. */
const KEEP_MS = 600_000;
/** Redis is waited for no longer than a client would. */
const AWAY_MS = 5_000;
/** How often it is asked whether there are still workers, in milliseconds. */
const LOOK_MS = 2_000;

/**
 * Two that ask for one blob, in two processes as well, share a run. Without a worker for the store, or without Redis, the blob is fetched here: what
 * a worker has left is taken up.
 */
export function farmFetch({ farm, alone, away, log }: FarmFetchParts): FetchBlob {
  return async (node, opts) => {
    const why = isAway(away) ? 'Redis did not answer a moment ago' : await byWorkers(farm, node, away, opts);
    if (why === undefined) return;
    opts.signal.throwIfAborted();
    log(`pull-through: ${why}: fetching ${node.desc.digest} without the farm`);
    await alone(node, opts);
  };
}

/** Undefined when it is done; else why the farm cannot. @throws GantryError why the blob cannot be had */
async function byWorkers(
  farm: Farm,
  node: ContentNode,
  away: RedisAway,
  opts: CallOptions,
): Promise<string | undefined> {
  const over = new AbortController();
  const signal = AbortSignal.any([opts.signal, over.signal]);
  try {
    if (!(await hasWorker(farm, node, opts))) return 'no worker for this store';
    return await Promise.race([ended(farm, node, { signal }), abandoned(farm, node, { signal })]);
  } catch (err) {
    opts.signal.throwIfAborted();
    if (err instanceof FailedRun) throw err.error;
    noteAway(away);
    return farm.named(err).message;
  } finally {
    over.abort();
  }
}

export const isAway = (away: RedisAway): boolean => away.get('') === true;
export const noteAway = (away: RedisAway): void => away.set('', true, ALONE_MS);

/** The blob failed, not the farm. */
class FailedRun extends Error {
  readonly error: GantryError;

  constructor(error: GantryError) {
    super(error.message);
    this.error = error;
  }
}

async function ended(farm: Farm, node: ContentNode, { signal }: CallOptions): Promise<undefined> {
  const run = await farm.submit([node], { ahead: true, labels: { for: 'pull-through' }, keepMs: KEEP_MS });
  const dispatcher = farm.dispatcher({ leaveOnAbort: true, awayMs: AWAY_MS });
  const [image] = (await dispatcher.follow(run, [node], { signal })).images;
  if (image?.state === 'done') return undefined;
  const error = image?.error ?? new GantryError('CANCELLED', `the run ${run} was cancelled`);
  // Cancelled by somebody else: to whoever waits for the blob it is a failure like any other.
  throw new FailedRun(isCode(error, 'CANCELLED') ? new GantryError('UPSTREAM', error.message) : error);
}

async function abandoned(farm: Farm, node: ContentNode, { signal }: CallOptions): Promise<string> {
  for (;;) {
    await sleep(LOOK_MS, signal);
    if (!(await hasWorker(farm, node, { signal }))) return 'the workers for this store are gone';
  }
}

async function hasWorker(farm: Farm, { source, target }: ContentNode, opts: CallOptions): Promise<boolean> {
  const lane = registryOf(source);
  const workers = await farm.workers(opts);
  return workers.some(({ store, lanes }) => store === target && (lanes?.includes(lane) ?? true));
}
