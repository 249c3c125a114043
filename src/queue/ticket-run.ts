/** The life of a ticket in a worker: begin, visit, children and their tickets, settle, done. See docs/farm.md. */
import { lockBackoffMs } from '../call.ts';
import { GantryError, isCode, retryClass } from '../errors.ts';
import { anotherWayMayHelp } from '../flow/another-source.ts';
import {
  type Child,
  type HandlerContext,
  isRepository,
  type Node,
  type NodeEvent,
  nodeLabel,
  placeOf,
  type Visit,
} from '../flow/handler.ts';
import { settleStep, visitStep } from '../flow/step.ts';
import { errorRecord, memoryOf } from './error-record.ts';
import type { EventSender } from './events.ts';
import type { Added, Begun, ChildRecord, Finished, Hold, RunGraph } from './graph.ts';
import { type Left, packLeft, unpackLeft } from './payload.ts';
import { childRecord, laneOf, leaseOf, nodeJson, readRecord, type Recorded, settleLaneOf } from './record.ts';
import type { HeldSlot } from './slots.ts';
import { type Outcome, Stop, type StopReason, type TicketParts } from './ticket-parts.ts';
import { TicketReport, type Transfer } from './ticket-report.ts';
import { type Ticket, ticketId, visitTicket } from './tickets.ts';

/** A worker that has not what a node needs looks at it again after so long, in case that nobody else took it. */
const NOT_MINE_MS = 2_000;
/** A 429 that does not say for how long. */
const BLOCKED_MS = 10_000;
/** Hundreds of delays by the registry for one node are no delays any more. */
const MAX_PICKUPS = 1_000;
/** Who waits for a slot is woken; should that come too early, before he waits, he looks again after so long, doubled each time. */
const SLOT_AGAIN_MS = 1_000;
const MAX_REASON = 300;

/** What settle is told of its node, and how many times it has added children. */
interface Settling extends Left {
  readonly round: number;
}

/** One ticket in the hand of a worker. */
export class TicketRun {
  readonly ticket: Ticket;
  readonly lane: string;
  readonly controller = new AbortController();
  readonly #report: TicketReport;
  readonly #parts: TicketParts;
  readonly #graph: RunGraph;
  readonly #pickups: number;
  #events: EventSender | undefined;
  #record = '';
  #hold: Hold;
  #isOver = false;

  /** @param pickups how often this ticket was taken before */
  constructor(parts: TicketParts, graph: RunGraph, ticket: Ticket, lane: string, pickups: number) {
    this.#parts = parts;
    this.#graph = graph;
    this.ticket = ticket;
    this.lane = lane;
    this.#pickups = pickups;
    const owner = ticketId(visitTicket(ticket.run, ticket.node));
    this.#hold = { node: ticket.node, lease: '', owner, fence: '0' };
    const tell = (event: NodeEvent): void => this.#events?.tell('node', this.#record, { event });
    this.#report = new TicketReport({ run: ticket.run, lane, observer: parts.observer, tell });
  }

  /** What moves now, for `active`. */
  get transfer(): Transfer | undefined {
    return this.#report.transfer;
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
    if (begun.state === 'blocked') return { state: 'parked', afterMs: begun.afterMs };
    if (begun.state !== 'go') return { state: 'dropped' };
    try {
      return await this.#begun(begun);
    } finally {
      this.#events?.flush();
      this.#report.transfer = undefined;
    }
  }

  async #begun(begun: Begun & { state: 'go' }): Promise<Outcome> {
    if (begun.waitedMs !== undefined) this.#parts.observer?.leaseWaited(begun.waitedMs / 1000);
    const at = readRecord(begun.record);
    const { node } = at;
    if (begun.fence !== '0' && node.kind !== 'image') {
      this.#hold = { ...this.#hold, lease: leaseOf(node), fence: begun.fence };
    }
    if (!this.#parts.hasTarget(node.target)) return this.#release({ state: 'parked', afterMs: NOT_MINE_MS });
    if (begun.watched) this.#events = this.#parts.sender(this.ticket.run);
    this.#record = nodeJson(begun.record);
    try {
      if (begun.phase === 'settle') {
        return await this.#settle(at, { ...unpackLeft(begun.payload), round: begun.round });
      }
      if (this.#pickups === 0) this.#events?.tell('started', this.#record);
      return await this.#visit(at);
    } catch (err) {
      return await this.#failed(at, err, begun.tries);
    }
  }

  async #visit(at: Recorded): Promise<Outcome> {
    const { handler, limits, onStep } = this.#parts;
    const slot = await this.#slotFor(at.node);
    if (slot !== undefined && 'afterMs' in slot) {
      return this.#later({ afterMs: slot.afterMs, reason: `${placeOf(at.node.target)} takes no more at a time` });
    }
    await using _slot = slot;
    slot?.signal.addEventListener('abort', () => this.stop('lost'), { once: true });
    const visit = await visitStep(handler, at.node, this.#context(at.node), { depth: at.depth, limits });
    this.controller.signal.throwIfAborted();
    await onStep('visited');
    switch (visit.kind) {
      case 'later':
        return this.#later(visit);
      case 'skip':
        this.#events?.tell('skipped', this.#record);
        return this.#done(visit.reason.slice(0, MAX_REASON) || 'skipped');
      case 'leaf':
        return this.#settle(at, { children: [], carry: '', round: 0 });
      case 'expand': {
        const { children, carry = '' } = visit;
        return this.#expand(at, children, { children, carry, round: 0 });
      }
    }
  }

  /** A blob that goes to another registry than that of the ticket's lane needs a slot there, too. */
  async #slotFor({ kind, target }: Node): Promise<HeldSlot | { readonly afterMs: number } | undefined> {
    if ((kind !== 'blob' && kind !== 'upload') || !isRepository(target)) return undefined;
    const registry = placeOf(target);
    if (registry === this.lane) return undefined;
    const slot = await this.#parts.slots.tryTake(registry, `${this.lane} ${ticketId(this.ticket)}`);
    if (!('afterMs' in slot)) return slot;
    return { afterMs: Math.min(slot.afterMs, SLOT_AGAIN_MS * 2 ** Math.min(this.#pickups, 10)) };
  }

  async #later({ afterMs, reason }: Omit<Visit & { kind: 'later' }, 'kind'>): Promise<Outcome> {
    this.#events?.tell('node', this.#record, { event: { kind: 'waiting', reason } });
    return this.#release({ state: 'parked', afterMs });
  }

  /** @param next what the settle after these children is told */
  async #expand(at: Recorded, children: readonly Child[], next: Settling): Promise<Outcome> {
    if (children.length === 0) return this.#settle(at, next);
    const { onStep, onHungry } = this.#parts;
    const { node, depth } = at;
    const records = children.map((child) => childRecord(node, child, depth + 1));
    const settleLane = settleLaneOf(node);
    const added = await this.#add(node, records, next, settleLane === this.lane ? '' : settleLane);
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
        return this.#settle(at, next);
    }
  }

  /** Notes children, and what the settle after them is told. What was gathered is told first: see EventSender. */
  #add(node: Node, records: readonly ChildRecord[], next: Settling, settleLane: string): Promise<Added> {
    const isMixed = next.children.some(({ scope }) => scope !== undefined);
    const options = {
      resolved: this.#report.resolved,
      payload: packLeft(next),
      lane: isMixed ? '' : laneOf(node),
      watched: this.#events !== undefined,
      round: next.round,
      settleLane,
      moved: this.#report.takeMoved(),
    };
    this.#events?.flush();
    return this.#graph.add(this.#hold, options, records);
  }

  async #settle(at: Recorded, left: Settling): Promise<Outcome> {
    const { onStep, handler, limits } = this.#parts;
    const { children, carry, round } = left;
    await onStep('settling');
    const ctx = { ...this.#context(at.node), ...left };
    const more = await settleStep(handler, at.node, ctx, { depth: at.depth, limits });
    this.controller.signal.throwIfAborted();
    if (more.length > 0) {
      // A visit without children has gone on to here, and the graph does not know yet what it has left.
      if (round === 0 && children.length === 0) await this.#add(at.node, [], left, '');
      return this.#expand(at, more, { children: children.concat(more), carry, round: round + 1 });
    }
    this.#events?.tell('done', this.#record);
    return this.#done('');
  }

  /** @param skipped why it was, or empty */
  async #done(skipped: string): Promise<Outcome> {
    this.#events?.flush();
    this.#isOver = true;
    const what = { ...this.#report.takeMoved(), skipped, resolved: this.#report.resolved };
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

  async #failed(at: Recorded, err: unknown, tries: number): Promise<Outcome> {
    if (this.controller.signal.aborted) return this.#stopped();
    // What a handler throws has a code. The rest is Redis, and tells nothing about the node.
    if (!(err instanceof GantryError)) throw err;
    if (isCode(err, 'RATE_LIMITED') && this.#pickups < MAX_PICKUPS) {
      const lane = laneOfFault(err, at.node, this.lane);
      return this.#release({ state: 'blocked', lane, afterMs: err.retryAfterMs ?? BLOCKED_MS, why: err.message });
    }
    const other = await this.#anotherWay(at.node, err);
    if (other !== undefined) return this.#again(other, at.depth);
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
    const finished = await this.#graph.fail(this.#hold, {
      memory: memoryOf(err),
      error,
      resolved: this.#report.resolved,
    });
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
    const at = { node: readRecord(record).node, depth };
    this.#record = nodeJson(record);
    this.#events?.tell('started', this.#record);
    try {
      return await this.#visit(at);
    } catch (err) {
      return this.#failed(at, err, 0);
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
    const report = (event: NodeEvent): void => this.#report.add(node, event);
    return { signal: this.controller.signal, attempt: this.#pickups, report };
  }
}

/** The lane of the registry that wants to be left alone. That of the target is read now and then, too. */
function laneOfFault({ origin, host }: GantryError, { target }: Node, own: string): string {
  if (!isRepository(target)) return own;
  const place = placeOf(target);
  return origin === 'target' || host === place ? place : own;
}

const cycle = (node: Node, child: Child | undefined): GantryError =>
  new GantryError('MALFORMED', `${nodeLabel(node)} contains ${child?.desc.digest ?? 'a manifest'}, which contains it`, {
    origin: 'source',
  });
