import { type CallOptions, sleep } from '../call.ts';
import { GantryError } from '../errors.ts';
import type { FarmView, MemoryView } from '../flow/farm-status.ts';
import type { Exposition } from './exposition.ts';
import { setFarm } from './farm-gauges.ts';
import { Meters } from './meters.ts';

/** Prometheus itself gives a scrape up after ten seconds unless it is told otherwise. */
const DEADLINE_MS = 5000;
/** Two Prometheus servers and a curious user cost the farm one reading. */
const KEPT_MS = 1000;
/** The newest; reading all that a farm ever ran would make each scrape slower than the one before. */
const MAX_RUNS = 1000;

interface Scrape {
  readonly text: Promise<Exposition>;
  /** On the clock of `performance.now()`; infinite while it goes on. */
  expiresAt: number;
}

type View = FarmView & MemoryView;

const scrapes = new WeakMap<View, Scrape>();

/**
 * The state of the farm as metrics, read when it is asked for; what was read up to a second ago is given again. A caller
 * that gives up leaves alone those who wait for the same reading.
 * @throws GantryError TIMEOUT when the farm does not answer within five seconds
 */
export async function farmMetrics(view: View, { signal }: CallOptions): Promise<Exposition> {
  signal.throwIfAborted();
  const known = scrapes.get(view);
  const scrape = known !== undefined && performance.now() < known.expiresAt ? known : start(view);
  const aborted = Promise.withResolvers<never>();
  const stop = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([scrape.text, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function start(view: View): Scrape {
  const scrape: Scrape = { text: inTime(view), expiresAt: Infinity };
  scrapes.set(view, scrape);
  scrape.text.then(
    () => {
      scrape.expiresAt = performance.now() + KEPT_MS;
    },
    () => scrapes.delete(view), // a failure is not kept
  );
  return scrape;
}

/** The deadline holds for a view that does not listen to its signal as well. */
async function inTime(view: View): Promise<Exposition> {
  const stop = new AbortController();
  const late = sleep(DEADLINE_MS, stop.signal).then((): never => {
    throw new GantryError('TIMEOUT', `the farm did not answer within ${DEADLINE_MS / 1000} s`, {
      hint: 'is its Redis reachable, and not overloaded?',
    });
  });
  try {
    return await Promise.race([read(view, stop), late]);
  } finally {
    stop.abort();
  }
}

async function read(view: View, { signal }: CallOptions): Promise<Exposition> {
  const [runs, lanes, workers, memory] = await Promise.all([
    view.runs({ signal, limit: MAX_RUNS }),
    view.lanes({ signal }),
    view.workers({ signal }),
    view.memory({ signal }),
  ]);
  const meters = new Meters(); // new each time, so that a lane that is gone leaves nothing behind
  setFarm(meters, { runs, lanes, workers, memory }, Date.now());
  return meters.text();
}
