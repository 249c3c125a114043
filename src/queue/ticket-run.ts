/** The life of a ticket in a worker: begin, visit, children and their tickets, settle, done. See docs/farm.md. */
import { lockBackoffMs } from '../call.ts';
import { GantryError, isCode, retryClass } from '../errors.ts';
import { anotherWayMayHelp } from '../flow/another-source.ts';
import type { WorkerObserver } from '../flow/farm-observer.ts';
import {
  type Child,
  type Handler,
  type HandlerContext,
  type Node,
  type NodeEvent,
  nodeLabel,
  type Visit,
} from '../flow/handler.ts';
import { type GraphLimits, settleStep, visitStep } from '../flow/step.ts';
import { errorRecord, memoryOf } from './error-record.ts';
import type { EventSender } from './events.ts';
import type { Begun, Finished, Hold, RunGraph } from './graph.ts';
import { packChildren, unpackChildren } from './payload.ts';
import { childRecord, laneOf, nodeJson, readRecord } from './record.ts';
import { type Ticket, ticketId, type Tickets } from './tickets.ts';

/** Points at which a test may stop a worker. */
export type Step = 'visited' | 'added' | 'settling' | 'done';

/** What every ticket of a worker needs. */
export interface TicketParts {
  readonly handler: Handler;
  readonly limits: GraphLimits;
  readonly tickets: Tickets;
  readonly worker: string;
  /** Tries of a node that fails for a passing reason, the first included. */
  readonly attempts: number;
  readonly leaseMs: number;
  readonly retryDelayMs: (tries: number) => number;
  /** Whether this worker has the place where a node's content goes, such as its store. */
  readonly hasTarget: (target: string) => boolean;
  readonly observer: WorkerObserver | undefined;
  readonly onStep: (step: Step) => Promise<void> | void;
  /** A run wants further images to be handed to the workers. */
  readonly onHungry: (run: string) => void;
  sender(run: string): EventSender;
}

/** Why a ticket is put down before its end. */
export type StopReason = 'unwanted' | 'lost' | 'stopping';

export class Stop extends Error {
  readonly reason: StopReason;

  constructor(reason: StopReason) {
    super(`stopped: ${reason}`);
    this.reason = reason;
  }
}

/** What becomes of the job. */
export type Outcome =
  | { readonly state: 'done' | 'failed' | 'dropped' }
  /** Once more after a while; what waits for a lease is woken earlier. */
  | { readonly state: 'parked' | 'retried'; readonly afterMs: number }
  /** The registry wants to be left alone by everybody. */
  | { readonly state: 'blocked'; readonly afterMs: number; readonly why: string }
  /** For another worker, at once. */
  | { readonly state: 'returned' };

/** A worker that has not what a node needs looks at it again after so long, in case that nobody else took it. */
const NOT_MINE_MS = 2_000;
/** A 429 that does not say for how long. */
const BLOCKED_MS = 10_000;
/** Hundreds of delays by the registry for one node are no delays any more. */
const MAX_PICKUPS = 1_000;
const PROGRESS_EVERY_MS = 250;

/** A transfer that goes on, for `active`. */
export interface Transfer {
  readonly node: Node;
  readonly run: string;
  readonly lane: string;
  readonly startedAt: number;
  readonly startOffset: number;
  offset: number;
}

/** One ticket in the hand of a worker. */
export class TicketRun {
  readonly ticket: Ticket;
  readonly lane: string;
  readonly controller = new AbortController();
  /** Absent until bytes move. */
  transfer: Transfer | undefined;
  readonly #parts: TicketParts;
  readonly #graph: RunGraph;
  readonly #pickups: number;
  #events: EventSender | undefined;
  #record = '';
  #hold: Hold;
  #bytes = 0;
  #resolved = '';
  #toldAt = -Infinity;
  #isOver = false;

  /** @param pickups how often this ticket was taken before */
  constructor(parts: TicketParts, graph: RunGraph, ticket: Ticket, lane: string, pickups: number) {
    this.#parts = parts;
    this.#graph = graph;
    this.ticket = ticket;
    this.lane = lane;
    this.#pickups = pickups;
    const owner = ticketId({ ...ticket, phase: 'visit' });
    this.#hold = { node: ticket.node, lease: '', owner, fence: '0' };
  }

  /** What is held while this goes on. */
  get hold(): Hold {
    return this.#hold;
  }

  /** Does nothing once the work is done and is only being written down. */
  stop(reason: StopReason): void {
    if (!this.#isOver) this.controller.abort(new Stop(reason));
  }

  async handle(): Promise<Outcome> {
    const where = { lane: this.lane, leaseMs: this.#parts.leaseMs, worker: this.#parts.worker };
    const begun = await this.#graph.begin(this.ticket, this.#hold.owner, where);
    if (begun.state === 'busy') return { state: 'parked', afterMs: lockBackoffMs(this.#pickups) };
    if (begun.state !== 'go') return { state: 'dropped' };
    try {
      return await this.#begun(begun);
    } finally {
      this.#events?.flush();
      this.transfer = undefined;
    }
  }

  async #begun(begun: Begun & { state: 'go' }): Promise<Outcome> {
    const { node, depth } = readRecord(begun.record);
    if (begun.fence !== '0' && node.kind !== 'image') {
      this.#hold = { ...this.#hold, lease: `${node.target} ${node.desc.digest}`, fence: begun.fence };
    }
    if (!this.#parts.hasTarget(node.target)) return this.#release({ state: 'parked', afterMs: NOT_MINE_MS });
    if (begun.watched) this.#events = this.#parts.sender(this.ticket.run);
    this.#record = nodeJson(begun.record);
    try {
      if (begun.phase === 'settle') return await this.#settle(node, depth, unpackChildren(begun.payload));
      if (this.#pickups === 0) this.#events?.tell('started', this.#record);
      return await this.#visit(node, depth);
    } catch (err) {
      return await this.#failed(node, depth, err, begun.tries);
    }
  }

  async #visit(node: Node, depth: number): Promise<Outcome> {
    const { handler, limits, onStep } = this.#parts;
    const { signal } = this.controller;
    const visit = await visitStep(handler, node, this.#context(node), { depth, limits });
    signal.throwIfAborted();
    await onStep('visited');
    switch (visit.kind) {
      case 'later':
        return this.#later(visit);
      case 'skip':
        this.#events?.tell('skipped', this.#record);
        return this.#done(true);
      case 'leaf':
        return this.#settle(node, depth, []);
      case 'expand':
        return visit.children.length === 0 ? this.#settle(node, depth, []) : this.#expand(node, depth, visit.children);
    }
  }

  async #later({ afterMs, reason }: Visit & { kind: 'later' }): Promise<Outcome> {
    this.#events?.tell('node', this.#record, { event: { kind: 'waiting', reason } });
    return this.#release({ state: 'parked', afterMs });
  }

  async #expand(node: Node, depth: number, children: readonly Child[]): Promise<Outcome> {
    const { onStep, onHungry } = this.#parts;
    const records = children.map((child) => childRecord(node, child, depth + 1));
    const payload = packChildren(children);
    const options = { resolved: this.#resolved, payload, lane: laneOf(node), watched: this.#events !== undefined };
    this.#events?.flush();
    const added = await this.#graph.add(this.#hold, options, records);
    await onStep('added');
    switch (added.state) {
      case 'cycle':
        throw cycle(node, children[added.index]);
      case 'broken':
        if (added.isHungry) onHungry(this.ticket.run);
        return this.#release({ state: 'failed' });
      case 'late':
        return this.#release({ state: 'dropped' });
      case 'open':
        await this.#goOn({ parked: added.parked, isHungry: false });
        return { state: 'done' };
      case 'ready':
        return this.#settle(node, depth, children);
    }
  }

  async #settle(node: Node, depth: number, children: readonly Child[]): Promise<Outcome> {
    const { onStep, handler, limits } = this.#parts;
    await onStep('settling');
    const ctx = { ...this.#context(node), children, carry: '', round: 0 };
    const more = await settleStep(handler, node, ctx, { depth, limits });
    if (more.length > 0) throw new GantryError('UNSUPPORTED', 'a farm does not handle what settle adds yet');
    this.controller.signal.throwIfAborted();
    this.#events?.tell('done', this.#record);
    return this.#done(false);
  }

  async #done(isSkipped: boolean): Promise<Outcome> {
    this.#events?.flush();
    this.#isOver = true;
    const what = { bytes: this.#bytes, isSkipped, resolved: this.#resolved };
    const finished = await this.#graph.done(this.#hold, what);
    await this.#parts.onStep('done');
    if (finished === undefined) return { state: 'dropped' };
    await this.#goOn(finished);
    return { state: 'done' };
  }

  async #goOn({ parked, isHungry }: Finished): Promise<void> {
    const { tickets, onHungry } = this.#parts;
    if (parked.length > 0) await tickets.wake(parked);
    if (isHungry) onHungry(this.ticket.run);
  }

  async #release(outcome: Outcome, hasFailed = false): Promise<Outcome> {
    this.#events?.flush();
    const parked = await this.#graph.release(this.#hold, hasFailed);
    if (parked.length > 0) await this.#parts.tickets.wake(parked);
    return outcome;
  }

  async #failed(node: Node, depth: number, err: unknown, tries: number): Promise<Outcome> {
    if (this.controller.signal.aborted) return this.#stopped();
    // What a handler throws has a code. The rest is Redis, and tells nothing about the node.
    if (!(err instanceof GantryError)) throw err;
    if (isCode(err, 'RATE_LIMITED') && this.#pickups < MAX_PICKUPS) {
      return this.#release({ state: 'blocked', afterMs: err.retryAfterMs ?? BLOCKED_MS, why: err.message });
    }
    const other = await this.#anotherWay(node, err);
    if (other !== undefined) return this.#again(other, depth);
    if (retryClass(err) === 'backoff' && tries + 1 < this.#parts.attempts) {
      this.#events?.tell('node', this.#record, { event: { kind: 'waiting', reason: err.message } });
      const afterMs = Math.max(err.retryAfterMs ?? 0, this.#parts.retryDelayMs(tries));
      return this.#release({ state: 'retried', afterMs }, true);
    }
    return this.#failedForGood(err);
  }

  async #failedForGood(err: GantryError): Promise<Outcome> {
    const record = errorRecord(err);
    this.#events?.tell('failed', this.#record, { error: record });
    this.#events?.flush();
    this.#isOver = true;
    this.#parts.observer?.failed(err.code, err.origin);
    const error = JSON.stringify(record);
    const finished = await this.#graph.fail(this.#hold, { memory: memoryOf(err), error, resolved: this.#resolved });
    if (finished !== undefined) await this.#goOn(finished);
    return { state: 'failed' };
  }

  /** Takes the node to the next repository that may have it; undefined when there is none. */
  async #anotherWay(failed: Node, err: GantryError): Promise<string | undefined> {
    const records = await this.#graph.waysOf(this.ticket.node);
    const at = records.findIndex((record) => anotherWayMayHelp(err, failed, readRecord(record).node));
    const record = records[at];
    if (record === undefined) return undefined;
    return (await this.#graph.reroute(this.ticket.node, record, records.slice(at + 1))) ? record : undefined;
  }

  async #again(record: string, depth: number): Promise<Outcome> {
    const { node } = readRecord(record);
    this.#record = nodeJson(record);
    this.#events?.tell('started', this.#record);
    try {
      return await this.#visit(node, depth);
    } catch (err) {
      return this.#failed(node, depth, err, 0);
    }
  }

  #stopped(): Promise<Outcome> {
    const why: unknown = this.controller.signal.reason;
    const reason = why instanceof Stop ? why.reason : 'unwanted';
    if (reason === 'stopping') return this.#release({ state: 'returned' });
    // Somebody else may have it by now; if nobody has, another look tells.
    return this.#release(reason === 'lost' ? { state: 'parked', afterMs: 1_000 } : { state: 'dropped' });
  }

  #context(node: Node): HandlerContext {
    const report = (event: NodeEvent): void => this.#report(node, event);
    return { signal: this.controller.signal, attempt: this.#pickups, report };
  }

  #report(node: Node, event: NodeEvent): void {
    if (event.kind === 'resolved') this.#resolved = JSON.stringify(event.desc);
    if (event.kind === 'present') this.#parts.observer?.present(this.lane);
    if (event.kind === 'fetched') this.#fetched(event.bytes);
    if (event.kind === 'progress') {
      this.#moved(node, event.offset);
      const now = performance.now();
      if (now - this.#toldAt < PROGRESS_EVERY_MS) return;
      this.#toldAt = now;
    }
    this.#events?.tell('node', this.#record, { event });
  }

  #fetched(bytes: number): void {
    this.#bytes += bytes;
    const startedAt = this.transfer?.startedAt ?? Date.now();
    this.#parts.observer?.transferred(this.lane, (Date.now() - startedAt) / 1000, bytes);
  }

  #moved(node: Node, offset: number): void {
    const { run } = this.ticket;
    this.transfer ??= { node, run, lane: this.lane, startedAt: Date.now(), startOffset: offset, offset };
    this.transfer.offset = offset;
  }
}

const cycle = (node: Node, child: Child | undefined): GantryError =>
  new GantryError('MALFORMED', `${nodeLabel(node)} contains ${child?.desc.digest ?? 'a manifest'}, which contains it`, {
    origin: 'source',
  });
