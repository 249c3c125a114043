/** Runs: stored, found, looked at, cancelled. What is asked of a farm goes through here; workers do the rest. */
import { hash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { CallOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import type { ErrorRecord, RunStatus } from '../flow/farm-status.ts';
import type { Node } from '../flow/handler.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { isArchive } from '../oci/location.ts';
import type { Keys } from './keys.ts';
import { packRoots, unpackRoots } from './payload.ts';
import { readRecord, recordOf, type Root } from './record.ts';
import { CHUNK, statusOf } from './run-status.ts';
import { count, text } from './script.ts';
import { cancel, submit } from './scripts/run.ts';

export interface SubmitOptions {
  /** What people should see of the request: target, platforms. */
  readonly labels?: Readonly<Record<string, string>>;
  /** A run of its own, even where an open one asks for the same. */
  readonly isNew?: boolean;
  /** Images handed to the workers at a time. */
  readonly maxOpen?: number;
  /** Results are kept for so long after the end. */
  readonly keepMs?: number;
  /** Somebody listens from the start. */
  readonly watched?: boolean;
  /** Its images are taken before all that waits in their lanes, the last one first. For what somebody waits for; a few at most. */
  readonly ahead?: boolean;
}

/** How a root of the request ended. */
export interface Ended {
  /** Of the root in the request. */
  readonly index: number;
  readonly state: 'done' | 'failed';
  readonly desc: Descriptor | undefined;
  readonly error: ErrorRecord | undefined;
  readonly endedAt: number;
  /** These as an ImageResult has them. */
  readonly isEqual: boolean;
  readonly skipped: string | undefined;
  readonly bytes: number;
  readonly mounted: number;
  readonly tookMs: number;
}

export interface ResultPage {
  readonly ended: readonly Ended[];
  /** After the last of them. */
  readonly place: string | undefined;
  /** There were no more. */
  readonly isAll: boolean;
}

export interface FollowOptions {
  /** Stops following. */
  readonly leave?: AbortSignal;
  /** Redis does not answer; told once for each outage. */
  readonly onAway?: () => void;
  /** Without an answer for so long it is given up; a minute unless given. */
  readonly awayMs?: number;
}

const MAX_OPEN = 1_000;
const KEEP_MS = 7 * 24 * 3_600_000;
/** For so long a watcher counts as there without saying so again. */
const WATCH_MS = 15_000;
const RESULTS_A_CALL = 1_000;
const CHUNKS_A_CALL = 20;
/** Longer than it takes to find out that a run is lost. */
const BLOCK_MS = 2_000;
const AWAY_MS = 60_000;
const ASK_AGAIN_MS = 250;

export class Runs {
  readonly #redis: Redis;
  readonly #keys: Keys;

  constructor(redis: Redis, keys: Keys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /**
   * Stores a request. Answers the id of its run: while one of the same request is open, that one.
   * @throws GantryError USAGE for archives: the files of one machine are not those of another
   */
  async submit(roots: readonly Node[], options: SubmitOptions = {}): Promise<string> {
    const { labels = {}, isNew = false, maxOpen = MAX_OPEN, keepMs = KEEP_MS } = options;
    const { watched = false, ahead = false } = options;
    refuseArchives(roots);
    const records = roots.map((node, index): Root => [index, recordOf(node, 0)]);
    const chunks: string[] = [];
    for (let i = 0; i < records.length; i += CHUNK) chunks.push(packRoots(records.slice(i, i + CHUNK)));
    const what = hash('sha256', JSON.stringify([labels, ...chunks]), 'base64url').slice(0, 24);
    const same = isNew ? '' : `${this.#keys.tag}:req:${what}`;
    const id = `r${randomBytes(5).toString('hex')}`;
    const said = [JSON.stringify(labels), watched ? WATCH_MS : 0, ahead ? 1 : 0];
    const args = [same, maxOpen, keepMs, roots.length, ...said, ...chunks];
    return text(await submit.run(this.#redis, this.#keys.run(id), args));
  }

  /** @throws GantryError NOT_FOUND */
  async status(run: string): Promise<RunStatus> {
    const found = await this.find(run);
    if (found !== undefined) return found;
    throw new GantryError('NOT_FOUND', `there is no run ${run.slice(0, 80)}`, {
      origin: 'user',
      hint: 'see `gantry runs list`; results are kept for a week',
    });
  }

  async find(run: string): Promise<RunStatus | undefined> {
    const fields = await this.#redis.hgetall(`${this.#keys.run(run)}:m`);
    return fields['st'] === undefined ? undefined : statusOf(run, fields);
  }

  /**
   * The newest first. Those that go on are always among them: a long one would be lost behind the many short ones that came since. Of more than fit, those
   * that go on longest.
   */
  async list(limit = 50): Promise<RunStatus[]> {
    const [open, newest] = await Promise.all([
      this.#redis.smembers(this.#keys.open),
      this.#redis.zrevrange(this.#keys.runs, 0, limit - 1),
    ]);
    const found = (await Promise.all([...new Set([...open, ...newest])].map((id) => this.find(id))))
      .filter((run) => run !== undefined)
      .toSorted((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1));
    const running = found.filter(({ state }) => state === 'running').slice(-limit);
    const others = found.filter(({ state }) => state !== 'running').slice(0, limit - running.length);
    const listed = new Set([...running, ...others]);
    return found.filter((run) => listed.has(run));
  }

  /** Ends a run: its tickets are nothing to do any more, and transfers stop. False when it had ended. @throws GantryError NOT_FOUND */
  async cancel(run: string, why = 'cancelled on request'): Promise<boolean> {
    const answer = count(await cancel.run(this.#redis, this.#keys.run(run), [why]));
    if (answer === -1) await this.status(run);
    return answer === 1;
  }

  /** Tells the workers that somebody listens to what happens in the run. */
  async watch(run: string): Promise<void> {
    const key = `${this.#keys.run(run)}:m`;
    if ((await this.#redis.exists(key)) === 1) await this.#redis.hset(key, 'watch', Date.now() + WATCH_MS);
  }

  /** The request, in its order. */
  async roots(run: string): Promise<Node[]> {
    return (await Array.fromAsync(this.requested(run))).flat();
  }

  /** The request in parts, in its order: whoever has other things to do is not kept from them by one of a million images. */
  async *requested(run: string): AsyncGenerator<readonly Node[]> {
    for (let from = 0; ; from += CHUNKS_A_CALL) {
      const chunks = await this.#redis.lrange(`${this.#keys.run(run)}:q`, from, from + CHUNKS_A_CALL - 1);
      yield chunks.flatMap((chunk) => unpackRoots(chunk).map(([, record]) => readRecord(record).node));
      if (chunks.length < CHUNKS_A_CALL) return;
    }
  }

  /** All results so far. */
  async *results(run: string, opts: CallOptions): AsyncGenerator<Ended> {
    for (let place: string | undefined; ;) {
      opts.signal.throwIfAborted();
      const next = await this.resultsAfter(run, place);
      yield* next.ended;
      if (next.isAll) return;
      place = next.place;
    }
  }

  /** Some results after a place in the stream of them, which an earlier call has told; undefined: from the start. */
  async resultsAfter(run: string, place: string | undefined): Promise<ResultPage> {
    const from = place === undefined ? '-' : `(${place}`;
    const entries = await this.#redis.xrange(this.#stream(run), from, '+', 'COUNT', RESULTS_A_CALL);
    return {
      ended: entries.filter(isResult).map(endedOf),
      place: entries.at(-1)?.[0] ?? place,
      isAll: entries.length < RESULTS_A_CALL,
    };
  }

  /**
   * Results as they come, until the run is over and nothing of it goes on. Waits on a connection of its own, also through an outage.
   * @throws GantryError UPSTREAM when Redis has lost the run, NETWORK when it stays away
   */
  async *follow(run: string, options: FollowOptions = {}): AsyncGenerator<Ended> {
    const { leave } = options;
    const hasLeft = (): boolean => leave?.aborted === true;
    const waiting = this.#redis.duplicate();
    waiting.on('error', () => undefined); // it reconnects by itself
    const stop = (): void => waiting.disconnect();
    leave?.addEventListener('abort', stop, { once: true });
    let awaySince: number | undefined;
    try {
      for (let place = '0'; !hasLeft();) {
        let entries: Entry[];
        try {
          entries = await this.#next(waiting, run, place);
          awaySince = undefined;
        } catch (err) {
          if (err instanceof GantryError) throw err;
          if (hasLeft()) return;
          if (awaySince === undefined) options.onAway?.();
          awaySince ??= performance.now();
          if (performance.now() - awaySince > (options.awayMs ?? AWAY_MS)) throw away(run);
          await sleep(ASK_AGAIN_MS);
          continue;
        }
        place = entries.at(-1)?.[0] ?? place;
        yield* entries.filter(isResult).map(endedOf);
        if (entries.some(isEnd)) return;
      }
    } finally {
      leave?.removeEventListener('abort', stop);
      waiting.disconnect();
    }
  }

  /** What comes after a place in a run's results; nothing when it takes too long. */
  async #next(waiting: Redis, run: string, place: string): Promise<Entry[]> {
    const key = this.#stream(run);
    const streams = await waiting.xread('COUNT', RESULTS_A_CALL, 'BLOCK', BLOCK_MS, 'STREAMS', key, place);
    const entries = streams?.[0]?.[1] ?? [];
    if (entries.length === 0 && (await this.find(run)) === undefined) throw lost(run);
    return entries;
  }

  #stream(run: string): string {
    return `${this.#keys.run(run)}:e`;
  }
}

type Entry = [id: string, fields: string[]];

const isEnd = ([, fields]: Entry): boolean => fields[0] === 'end';
const isResult = (entry: Entry): boolean => !isEnd(entry);

function endedOf([id, fields]: Entry): Ended {
  const of = new Map<string, string>();
  for (let i = 0; i + 1 < fields.length; i += 2) of.set(fields[i] ?? '', fields[i + 1] ?? '');
  const desc: Descriptor | undefined = of.has('d') ? JSON.parse(of.get('d') ?? '') : undefined;
  const error: ErrorRecord | undefined = of.has('e') ? JSON.parse(of.get('e') ?? '') : undefined;
  return {
    index: Number(of.get('i')),
    state: of.get('s') === 'done' ? 'done' : 'failed',
    desc,
    error,
    endedAt: Number(id.split('-')[0]),
    isEqual: of.has('q'),
    skipped: of.get('k'),
    bytes: Number(of.get('b') ?? 0),
    mounted: Number(of.get('m') ?? 0),
    tookMs: Number(of.get('t') ?? 0),
  };
}

function refuseArchives(roots: readonly Node[]): void {
  const archive = roots.flatMap(({ source, target }) => [source, target]).find(isArchive);
  if (archive === undefined) return;
  throw new GantryError('USAGE', `a farm copies between registries, not with the archive ${archive}`, {
    origin: 'user',
    hint: 'the workers of a farm do not see the files of this machine: copy it without --redis',
  });
}

const lost = (run: string): GantryError =>
  new GantryError('UPSTREAM', `the queue knows nothing of run ${run} any more: Redis has lost its data`, {
    hint: 'run the command again; what is in the store stays',
  });

const away = (run: string): GantryError =>
  new GantryError('NETWORK', 'redis has not answered for too long', {
    hint: `the run goes on when it is back: \`gantry runs watch ${run}\``,
  });
