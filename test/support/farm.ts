/** A farm of real processes: workers that may be killed, a Redis that keeps its data, one store for all of them. */
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CopyPair, copyRoots } from '../../src/app/copy.ts';
import type { ImageRecord, RunStatus, WorkerStatus } from '../../src/flow/farm-status.ts';
import type { ImageResult } from '../../src/flow/dispatcher.ts';
import type { ImageNode } from '../../src/flow/handler.ts';
import { imageNode } from '../../src/handlers/pull.ts';
import { parseReference } from '../../src/oci/reference.ts';
import type { RedisSettings } from '../../src/queue/connection.ts';
import { Farm } from '../../src/queue/farm.ts';
import type { FarmTimes } from '../../src/queue/worker.ts';
import { ContentStore } from '../../src/store/content-store.ts';
import { never } from './clients.ts';
import type { NodeOptions } from './farm-node.ts';
import { cleanEnv, type Running, start } from './process.ts';
import { TestRedis, type TestRedisOptions } from './redis.ts';
import { tempDir } from './temp.ts';

/** So short that a test sees how the work of a dead worker goes to others. */
export const TIMES: FarmTimes = { lockMs: 2_000, leaseMs: 2_000, stalledMs: 1_000, tickMs: 200, sweepMs: 500 };

export interface TestFarmOptions {
  readonly workers?: number;
  /** Tickets at a time of each worker. */
  readonly concurrency?: number;
  /** `appendonly` unless said otherwise. */
  readonly redis?: TestRedisOptions;
}

const opts = { signal: never };
const NODE = join(import.meta.dirname, 'farm-node.ts');
/** One for all workers: to compile everything anew would take longer than what most tests do. */
const COMPILE_CACHE = join(tmpdir(), 'gantry-test-compile-cache');

/** Waits for what has no event. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>, timeoutMs = 30_000): Promise<void> {
  for (const deadline = performance.now() + timeoutMs; !(await isSo());) {
    if (performance.now() > deadline) assert.fail(`not within ${timeoutMs} ms: ${what}`);
    await sleep(20);
  }
}

/** In what two lists differ, short enough to be read: empty when they hold the same, in whatever order. */
export function differences(found: readonly string[], wanted: readonly string[]): string {
  const left = new Map<string, number>();
  for (const each of wanted) left.set(each, (left.get(each) ?? 0) + 1);
  for (const each of found) left.set(each, (left.get(each) ?? 0) - 1);
  const [missing, extra] = [[...left].filter(([, n]) => n > 0), [...left].filter(([, n]) => n < 0)];
  return [missing, extra]
    .map((list, i) => list.slice(0, 5).map(([each]) => `${'-+'[i]}${each}`))
    .flat()
    .join(' ');
}

interface Parts {
  readonly redis: TestRedis;
  readonly settings: RedisSettings;
  readonly store: ContentStore;
  readonly client: Farm;
  readonly concurrency: number;
}

export class TestFarm implements AsyncDisposable {
  readonly redis: TestRedis;
  readonly settings: RedisSettings;
  readonly store: ContentStore;
  /** As a producer and an operator see it. */
  readonly client: Farm;
  readonly #concurrency: number;
  readonly #stack: AsyncDisposableStack;
  /** Those that live, by process id. */
  readonly #workers = new Map<number, Running>();

  private constructor(parts: Parts, stack: AsyncDisposableStack) {
    this.redis = parts.redis;
    this.settings = parts.settings;
    this.store = parts.store;
    this.client = parts.client;
    this.#concurrency = parts.concurrency;
    this.#stack = stack;
  }

  static async start({ workers = 3, concurrency = 4, redis: wanted }: TestFarmOptions = {}): Promise<TestFarm> {
    await using stack = new AsyncDisposableStack();
    const temp = stack.use(await tempDir('gantry-farm-'));
    const redis = stack.use(await TestRedis.start({ appendonly: true, ...wanted }));
    const settings = { url: redis.url, ...(redis.ca === undefined ? {} : { caFile: redis.ca }) };
    const client = stack.use(await Farm.open(settings, opts));
    const store = new ContentStore({ root: temp.join('store') });
    await store.create();
    const farm = new TestFarm({ redis, settings, store, client, concurrency }, stack.move());
    await Promise.all(Array.from({ length: workers }, () => farm.startWorker()));
    return farm;
  }

  get pids(): number[] {
    return [...this.#workers.keys()];
  }

  /** Answers its process id once it takes tickets; of one that is to die, at once. */
  async startWorker(extra: Pick<NodeOptions, 'dieAt'> & { readonly concurrency?: number } = {}): Promise<number> {
    const { settings: redis, store } = this;
    const options: NodeOptions = { redis, store: store.root, times: TIMES, concurrency: this.#concurrency, ...extra };
    const env = cleanEnv(store.root, { NODE_COMPILE_CACHE: COMPILE_CACHE });
    const worker = this.#stack.use(start(process.execPath, [NODE, JSON.stringify(options)], { env }));
    this.#workers.set(worker.pid, worker);
    if (extra.dieAt === undefined) await worker.waitForOutput(/^ready$/m);
    return worker.pid;
  }

  signalWorker(pid: number, signal: NodeJS.Signals): void {
    this.#workers.get(pid)?.kill(signal);
  }

  /** Ends a worker, and answers what it wrote to stderr. */
  async endWorker(pid: number, signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<string> {
    this.signalWorker(pid, signal);
    return this.gone(pid);
  }

  /** When a worker has ended by itself. */
  async gone(pid: number): Promise<string> {
    const worker = this.#workers.get(pid);
    assert.ok(worker, `no worker ${pid}`);
    const { stderr } = await worker.done;
    this.#workers.delete(pid);
    return stderr;
  }

  /** What the workers that live have written to stderr. */
  get problems(): string {
    return [...this.#workers.values()].map(({ stderr }) => stderr).join('');
  }

  async roots(refs: readonly string[]): Promise<ImageNode[]> {
    const target = await this.store.id();
    return refs.map((ref) => imageNode(parseReference(ref), target, ''));
  }

  async submit(refs: readonly string[]): Promise<string> {
    return this.client.submit(await this.roots(refs), { isNew: true });
  }

  /** A run that copies. */
  submitCopy(pairs: readonly CopyPair[]): Promise<string> {
    return this.client.submit(copyRoots({ pairs, selection: '' }), { isNew: true });
  }

  /** Redis may be away meanwhile. */
  async ended(run: string, timeoutMs = 60_000): Promise<RunStatus> {
    let last: RunStatus | undefined;
    const isOver = async (): Promise<boolean> => {
      last = await this.client.run(run).catch(() => undefined);
      return last !== undefined && last.state !== 'running';
    };
    await until(`the end of ${run}`, isOver, timeoutMs).catch((err: unknown) => this.#explain(run, err));
    assert.ok(last);
    return last;
  }

  /** Whatever helps to see why a run does not end. */
  async #explain(run: string, err: unknown): Promise<never> {
    const [status, reasons, lanes] = await Promise.all([
      this.client.run(run).catch(String),
      this.client.waitReasons(run, opts).catch(String),
      this.client.lanes(opts).catch(String),
    ]);
    throw new Error(`${JSON.stringify({ status, reasons, lanes }, undefined, 2)}\n${this.problems}`, { cause: err });
  }

  images(run: string): Promise<ImageRecord[]> {
    return Array.fromAsync(this.client.images(run, opts));
  }

  /** What the images of a run have cost, in the order of the request. */
  async results(run: string): Promise<readonly ImageResult[]> {
    const roots = await this.client.rootsOf(run);
    return (await this.client.dispatcher().follow(run, roots, opts)).images;
  }

  /** Waits for a run all of whose images are done, each told once. */
  async done(run: string, refs: readonly string[], timeoutMs?: number): Promise<void> {
    const status = await this.ended(run, timeoutMs);
    const images = await this.images(run);
    const failed = images.find(({ state }) => state !== 'done');
    assert.equal(failed, undefined, `${failed?.name}: ${failed?.error?.code} ${failed?.error?.message}`);
    assert.deepEqual([status.state, status.images.done, images.length], ['done', refs.length, refs.length]);
    assert.equal(
      differences(
        images.map(({ name }) => name),
        refs,
      ),
      '',
    );
  }

  /** What the workers say of themselves, by process id. */
  async statuses(): Promise<Map<number, WorkerStatus>> {
    const found = await this.client.workers(opts);
    return new Map(found.map((status) => [status.pid, status]));
  }

  /** The worker that has so many bytes of some transfer. */
  async writerWith(bytes: number): Promise<number> {
    let pid: number | undefined;
    await until(`a transfer with ${bytes} bytes`, async () => {
      const all = [...(await this.statuses()).values()];
      pid = all.find(({ active }) => active.some(({ offset }) => offset >= bytes))?.pid;
      return pid !== undefined;
    });
    assert.ok(pid);
    return pid;
  }

  /** The store has exactly these, and each as its digest says. */
  async assertHolds(digests: Iterable<string>): Promise<void> {
    const found: string[] = [];
    for await (const { digest } of this.store.walk(opts)) {
      assert.ok(await this.store.isIntact(digest, opts), `${digest} is damaged`);
      found.push(digest);
    }
    assert.equal(differences(found, [...new Set(digests)]), '');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pid of this.pids) this.signalWorker(pid, 'SIGKILL'); // also what is stopped
    await this.#stack[Symbol.asyncDispose]();
  }
}
