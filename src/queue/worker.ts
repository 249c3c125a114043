/** A worker: takes tickets of all lanes, keeps their leases, and gives everything back when it is told to stop. */
import { hostname } from 'node:os';
import { type Job, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { asGantryError, GantryError, isCode } from '../errors.ts';
import type { WorkerObserver } from '../flow/farm-observer.ts';
import type { WorkerStatus } from '../flow/farm-status.ts';
import { type Handler, isRepository } from '../flow/handler.ts';
import { Slots } from '../flow/slots.ts';
import { DEFAULT_LIMITS, type GraphLimits } from '../flow/step.ts';
import { refKey } from '../oci/ref-key.ts';
import { Control, type ControlMessage } from './control.ts';
import { errorRecord, memoryOf } from './error-record.ts';
import { EventSender } from './events.ts';
import { Feeder } from './feeder.ts';
import { RunGraph } from './graph.ts';
import { applyOutcome, delay, type HeldJob, putBack } from './job-outcome.ts';
import { Keys } from './keys.ts';
import { Lanes } from './lanes.ts';
import { Problems } from './problems.ts';
import { Reconciler } from './reconciler.ts';
import { count } from './script.ts';
import { renew } from './scripts/lease.ts';
import { SlotLeases } from './slots.ts';
import type { Outcome, Step, TicketParts } from './ticket-parts.ts';
import { TicketRun } from './ticket-run.ts';
import { queueName, TICKET_VERSION, type TicketData, ticketId, ticketOf, Tickets } from './tickets.ts';

export interface FarmTimes {
  /** After so long without a sign of life a worker's tickets go to others. */
  readonly lockMs: number;
  /** How often that is looked at. */
  readonly stalledMs: number;
  /** The same for the right to write one content; kept up every third of it. */
  readonly leaseMs: number;
  /** How often runs are swept for lost tickets. */
  readonly sweepMs: number;
  /** How often a worker says that it is there, and looks for lanes and runs. */
  readonly tickMs: number;
}

export const DEFAULT_TIMES: FarmTimes = {
  lockMs: 30_000,
  stalledMs: 10_000,
  leaseMs: 30_000,
  sweepMs: 10_000,
  tickMs: 1_000,
};

export interface FarmWorkerOptions {
  /** A connection that waits through outages; see openRedis. Stays the caller's. */
  readonly redis: Redis;
  readonly namespace?: string;
  readonly handler: Handler;
  readonly limits?: GraphLimits;
  /** Tickets handled at a time, over all lanes. */
  readonly concurrency: number;
  /** Tickets of one lane handled at a time by this worker, and what it adds to the slots of a registry that is written to; `concurrency` unless given. */
  readonly laneConcurrency?: number;
  /** The lanes that it takes tickets of; all unless given. */
  readonly lanes?: readonly string[];
  /** The id of the store that content goes to; every one unless given. Repositories are for every worker. */
  readonly target?: string;
  readonly attempts?: number;
  readonly retryDelayMs?: (tries: number) => number;
  readonly times?: Partial<FarmTimes>;
  readonly observer?: WorkerObserver;
  readonly version?: string;
  /** Names it in what people read; host name and process id unless given. */
  readonly name?: string;
  /** Told of what nobody waits for the answer to. */
  readonly onProblem?: (problem: GantryError) => void;
  /** A run is over: what it has changed can be made known. */
  readonly onRunEnded?: (run: string) => void;
  readonly onStep?: (step: Step) => Promise<void> | void;
}

/** A ticket that kills its worker so often is not tried again. BullMQ's own default gives up at the second crash of any worker. */
const MAX_STALLED = 20;
/** BullMQ's global block of a lane works on all workers only where some limiter exists. */
const LIMITER = { max: 1e9, duration: 1_000 };
/** What breaks in our own code so often breaks always. */
const MAX_DEFECTS = 4;
/** Redis did not take what a ticket had to write. */
const REDIS_TROUBLE_MS = 1_000;
const UNKNOWN_VERSION_MS = 5_000;
const retryDelay = (tries: number): number => Math.min(60_000, 1_000 * 4 ** tries) * (0.75 + Math.random() / 2);

export class FarmWorker implements AsyncDisposable {
  readonly id: string;
  readonly #options: FarmWorkerOptions;
  readonly #times: FarmTimes;
  readonly #redis: Redis;
  readonly #keys: Keys;
  readonly #tickets: Tickets;
  readonly #lanes: Lanes;
  readonly #feeder: Feeder;
  readonly #reconciler: Reconciler;
  readonly #slots: Slots;
  readonly #parts: TicketParts;
  readonly #workers = new Map<string, Worker<TicketData>>();
  /** By the id of the job. */
  readonly #active = new Map<string, TicketRun>();
  readonly #senders = new Map<string, EventSender>();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #startedAt = Date.now();
  readonly #problems: Problems;
  #control: Control | undefined;
  #stopping = false;
  #closing: Promise<void> | undefined;

  private constructor(options: FarmWorkerOptions) {
    this.#options = options;
    this.#times = { ...DEFAULT_TIMES, ...options.times };
    this.#redis = options.redis;
    this.id = `${options.name ?? `${hostname()}-${process.pid}`}-${Math.random().toString(36).slice(2, 6)}`;
    this.#keys = new Keys(options.namespace ?? 'gantry');
    this.#tickets = new Tickets(this.#redis, this.#keys);
    this.#lanes = new Lanes(this.#redis, this.#keys, this.#tickets);
    this.#feeder = new Feeder(this.#redis, this.#keys, this.id);
    this.#reconciler = new Reconciler(this.#redis, this.#keys, this.#tickets, this.id);
    this.#slots = new Slots(options.concurrency);
    this.#problems = new Problems((problem) => options.onProblem?.(problem));
    const { namespace, target, concurrency, laneConcurrency = concurrency } = options;
    this.#parts = {
      handler: options.handler,
      limits: options.limits ?? DEFAULT_LIMITS,
      tickets: this.#tickets,
      slots: new SlotLeases({
        redis: this.#redis,
        slots: laneConcurrency,
        leaseMs: this.#times.leaseMs,
        wake: (waiting) => this.#tickets.wakeOne(waiting),
        ...(namespace === undefined ? {} : { namespace }),
      }),
      worker: this.id,
      attempts: options.attempts ?? 3,
      leaseMs: this.#times.leaseMs,
      retryDelayMs: options.retryDelayMs ?? retryDelay,
      hasTarget: (wanted) => target === undefined || wanted === target || isRepository(wanted),
      observer: options.observer,
      onStep: options.onStep ?? (() => undefined),
      onHungry: (run) => this.#inBackground(this.#feeder.feed(run)),
      sender: (run) => this.#sender(run),
    };
  }

  /** Starts taking tickets. */
  static async start(options: FarmWorkerOptions): Promise<FarmWorker> {
    const worker = new FarmWorker(options);
    worker.#control = await Control.open(options.redis, worker.#keys, (message) => worker.#heard(message));
    await worker.#tick();
    const { tickMs, leaseMs, sweepMs } = worker.#times;
    worker.#every(tickMs, () => worker.#tick());
    worker.#every(Math.ceil(leaseMs / 3), () => worker.#keepLeases());
    worker.#every(sweepMs, () => worker.#reconciler.tick());
    return worker;
  }

  /** Tickets in hand. */
  get running(): number {
    return this.#active.size;
  }

  /** Gives all tickets back and ends. No attempt is lost. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#stopping = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const run of this.#active.values()) run.stop('stopping');
    await Promise.allSettled([...this.#workers.values()].map((worker) => worker.close()));
    for (const sender of this.#senders.values()) sender.flush();
    if (this.#redis.status === 'ready') {
      await Promise.allSettled([
        this.#reconciler.leave(),
        this.#redis.srem(this.#keys.workers, this.id),
        this.#redis.del(this.#keys.worker(this.id)),
      ]);
    }
    await this.#control?.[Symbol.asyncDispose]();
    await this.#tickets[Symbol.asyncDispose]();
  }

  async #process(held: HeldJob): Promise<void> {
    const { job, lane } = held;
    if (this.#stopping) return putBack(held); // a worker that closes may be handed one more
    if (!(job.data.v <= TICKET_VERSION)) return this.#leaveToOthers(held, job.data.v);
    const leave = await this.#slots.take(new AbortController().signal);
    try {
      if (this.#stopping) return await putBack(held);
      const outcome = await this.#handle(lane, job).catch((err: unknown) => this.#troubled(job, err));
      // When Redis does not take this either, the ticket stays ours until its lock runs out, and is found again by the others.
      await applyOutcome(held, outcome, this.#lanes);
    } finally {
      leave();
    }
  }

  async #handle(lane: string, job: Job<TicketData>): Promise<Outcome> {
    const ticket = ticketOf(job.data);
    const pickups = Math.max(0, job.attemptsStarted - 1 - job.stalledCounter);
    const run = new TicketRun(this.#parts, this.#graph(ticket.run), ticket, lane, pickups);
    const id = job.id ?? ticketId(ticket);
    this.#active.set(id, run);
    const { observer } = this.#options;
    const startedAt = performance.now();
    observer?.started(lane);
    let outcome: Outcome = { state: 'dropped' };
    try {
      outcome = await run.handle();
      return outcome;
    } finally {
      // After a pause of Redis the same ticket may be in our hand twice.
      if (this.#active.get(id) === run) this.#active.delete(id);
      const state = outcome.state === 'returned' ? 'dropped' : outcome.state;
      observer?.ended(lane, ticket.phase, state, (performance.now() - startedAt) / 1000);
    }
  }

  async #leaveToOthers(held: HeldJob, version: number): Promise<void> {
    this.#problems.once(
      `version ${version}`,
      new GantryError('UNSUPPORTED', `there are tickets of version ${version}, this worker knows ${TICKET_VERSION}`, {
        hint: 'they are left to newer workers: update this one',
      }),
    );
    return delay(held, UNKNOWN_VERSION_MS);
  }

  /** A ticket that BullMQ gave up: each worker that took it died. One that failed because of Redis comes back with the sweep. */
  async #gaveUp(job: Job<TicketData> | undefined, err: Error): Promise<void> {
    if (job?.deferredFailure === undefined) return this.#problem(err);
    await this.#failNode(
      job,
      new GantryError('INTERNAL', `every worker that took this ended without a word, ${MAX_STALLED} times`),
    );
    await job.remove();
  }

  /** What broke outside the handler: Redis, which comes back, or a defect, which would go round for ever. */
  async #troubled(job: Job<TicketData>, err: unknown): Promise<Outcome> {
    this.#problem(err);
    if (!isDefect(err) || job.attemptsStarted < MAX_DEFECTS) return { state: 'retried', afterMs: REDIS_TROUBLE_MS };
    await this.#failNode(job, asGantryError(err));
    return { state: 'failed' };
  }

  async #failNode({ data: { r, n } }: Job<TicketData>, fault: GantryError): Promise<void> {
    const hold = { node: n, lease: '', owner: '', fence: '0' };
    const error = JSON.stringify(errorRecord(fault));
    await this.#graph(r).fail(hold, { memory: memoryOf(fault), error, resolved: '' });
  }

  #heard({ k, r }: ControlMessage): void {
    if (this.#stopping) return;
    if (k === 'lane') this.#inBackground(this.#openLanes());
    if (r === undefined) return;
    if (k === 'feed') this.#inBackground(this.#feeder.feed(r));
    if (k === 'cancel' || k === 'ended' || k === 'unwanted') this.#inBackground(this.#stopUnwanted(r));
    if (k === 'ended') this.#options.onRunEnded?.(r);
  }

  async #tick(): Promise<void> {
    await this.#sayHello();
    await this.#openLanes();
    for (const run of await this.#redis.smembers(this.#keys.open)) {
      if (await this.#feeder.isHungry(run)) await this.#feeder.feed(run);
    }
    const open = new Set([...this.#active.values()].map(({ ticket }) => ticket.run));
    for (const run of this.#senders.keys()) if (!open.has(run)) this.#senders.delete(run);
  }

  async #sayHello(): Promise<void> {
    const status: WorkerStatus = {
      id: this.id,
      host: hostname(),
      pid: process.pid,
      version: this.#options.version ?? '',
      startedAt: this.#startedAt,
      seenAt: Date.now(),
      concurrency: this.#options.concurrency,
      running: this.#active.size,
      lanes: this.#options.lanes,
      store: this.#options.target,
      active: [...this.#active.values()].flatMap(transferOf),
    };
    const lifeMs = Math.max(5_000, this.#times.tickMs * 5);
    await this.#redis
      .multi()
      .sadd(this.#keys.workers, this.id)
      .set(this.#keys.worker(this.id), JSON.stringify(status), 'PX', lifeMs)
      .exec();
  }

  async #openLanes(): Promise<void> {
    const { lanes } = this.#options;
    for (const lane of await this.#lanes.names()) {
      if (this.#stopping || this.#workers.has(lane) || (lanes !== undefined && !lanes.includes(lane))) continue;
      this.#workers.set(lane, this.#laneWorker(lane));
    }
  }

  #laneWorker(lane: string): Worker<TicketData> {
    const { concurrency, laneConcurrency = concurrency } = this.#options;
    // Counted by BullMQ as the number of declared parameters: without the third there is no signal, which we have of our own.
    const process = (job: Job<TicketData>, token?: string): Promise<void> =>
      this.#process({ job, lane, token: token ?? '' });
    const worker = new Worker<TicketData>(queueName(lane), process, {
      connection: this.#redis,
      prefix: this.#keys.tag,
      name: this.id,
      concurrency: Math.min(concurrency, laneConcurrency),
      lockDuration: this.#times.lockMs,
      stalledInterval: this.#times.stalledMs,
      maxStalledCount: MAX_STALLED,
      limiter: LIMITER,
      removeOnComplete: { count: 0 },
      removeOnFail: { count: 0 },
      drainDelay: 5,
    });
    worker.on('error', (err) => this.#problem(err)); // without a listener it would end the process
    worker.on('lockRenewalFailed', (ids) => {
      for (const id of ids) this.#active.get(id)?.stop('lost');
    });
    worker.on('failed', (job, err) => this.#inBackground(this.#gaveUp(job, err)));
    return worker;
  }

  async #keepLeases(): Promise<void> {
    const held = [...this.#active.values()].filter(({ hold }) => hold.lease !== '');
    await Promise.all(held.map((run) => this.#keepLease(run)));
    for (const run of new Set([...this.#active.values()].map(({ ticket }) => ticket.run)))
      await this.#stopUnwanted(run);
  }

  async #keepLease(run: TicketRun): Promise<void> {
    const { lease, owner, fence } = run.hold;
    const kept = count(await renew.run(this.#redis, this.#keys.lease(lease), [owner, fence, this.#times.leaseMs]));
    // It may have been given up while we asked.
    if (kept === 0 && [...this.#active.values()].includes(run)) run.stop('lost');
  }

  async #stopUnwanted(run: string): Promise<void> {
    const active = [...this.#active.values()].filter(({ ticket }) => ticket.run === run);
    if (active.length === 0) return;
    const unwanted = await this.#graph(run).unwanted(active.map(({ ticket }) => ticket.node));
    for (const each of active) if (unwanted.has(each.ticket.node)) each.stop('unwanted');
  }

  #graph(run: string): RunGraph {
    return new RunGraph(this.#redis, this.#keys.run(run), run);
  }

  #sender(run: string): EventSender {
    const sender = this.#senders.get(run) ?? new EventSender(this.#redis, this.#keys.events(run));
    this.#senders.set(run, sender);
    return sender;
  }

  #every(ms: number, work: () => Promise<void>): void {
    let isBusy = false;
    const timer = setInterval(() => {
      if (isBusy || this.#stopping || this.#redis.status !== 'ready') return;
      isBusy = true;
      this.#inBackground(
        work().finally(() => {
          isBusy = false;
        }),
      );
    }, ms);
    this.#timers.push(timer);
  }

  #inBackground(work: Promise<void>): void {
    work.catch((err: unknown) => this.#problem(err));
  }

  #problem(err: unknown): void {
    if (!this.#stopping) this.#problems.thrown(err);
  }
}

function transferOf({ transfer }: TicketRun): WorkerStatus['active'][number][] {
  if (transfer === undefined || transfer.node.kind === 'image') return [];
  const { node, run, lane, offset, startOffset, startedAt } = transfer;
  const seconds = Math.max(0.001, (Date.now() - startedAt) / 1000);
  const bytesPerSecond = Math.round((offset - startOffset) / seconds);
  return [{ ref: refKey(node.desc), run, lane, offset, total: node.desc.size, bytesPerSecond, startedAt }];
}

/** Redis speaks by errors of its client; these are thrown by code of ours. */
const isDefect = (err: unknown): boolean =>
  isCode(err, 'INTERNAL') || err instanceof TypeError || err instanceof SyntaxError || err instanceof RangeError;
