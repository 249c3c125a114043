/** What a handler tells while it has a ticket in hand: kept for the graph, passed on to those who watch and to the metrics. */
import type { WorkerObserver } from '../flow/farm-observer.ts';
import type { Node, NodeEvent } from '../flow/handler.ts';

const PROGRESS_EVERY_MS = 250;

/** A transfer that goes on. */
export interface Transfer {
  readonly node: Node;
  readonly run: string;
  readonly lane: string;
  readonly startedAt: number;
  readonly startOffset: number;
  offset: number;
}

/** What a ticket has brought. */
export interface Moved {
  readonly bytes: number;
  /** Blobs. */
  readonly mounted: number;
}

export interface ReportParts {
  readonly run: string;
  readonly lane: string;
  readonly observer: WorkerObserver | undefined;
  readonly tell: (event: NodeEvent) => void;
}

export class TicketReport {
  /** Absent until bytes move. */
  transfer: Transfer | undefined;
  readonly #parts: ReportParts;
  #moved: Moved = { bytes: 0, mounted: 0 };
  #resolved = '';
  #toldAt = -Infinity;

  constructor(parts: ReportParts) {
    this.#parts = parts;
  }

  /** What an image resolved to, as the graph keeps it: a descriptor as JSON, after a `=` where the target has it already. */
  get resolved(): string {
    return this.#resolved;
  }

  /** What has been moved since this was asked last. */
  takeMoved(): Moved {
    const moved = this.#moved;
    this.#moved = { bytes: 0, mounted: 0 };
    return moved;
  }

  add(node: Node, event: NodeEvent): void {
    const { observer, lane, tell } = this.#parts;
    if (event.kind === 'resolved') {
      this.#resolved = `${event.isEqual === true ? '=' : ''}${JSON.stringify(event.desc)}`;
    }
    if (event.kind === 'present') observer?.present(lane);
    if (event.kind === 'fetched') this.#fetched(event.bytes);
    if (event.kind === 'mounted') this.#moved = { ...this.#moved, mounted: this.#moved.mounted + 1 };
    if (event.kind === 'progress') {
      this.#progressed(node, event.offset);
      const now = performance.now();
      if (now - this.#toldAt < PROGRESS_EVERY_MS) return;
      this.#toldAt = now;
    }
    tell(event);
  }

  #fetched(bytes: number): void {
    const { observer, lane } = this.#parts;
    this.#moved = { ...this.#moved, bytes: this.#moved.bytes + bytes };
    const startedAt = this.transfer?.startedAt ?? Date.now();
    observer?.transferred(lane, (Date.now() - startedAt) / 1000, bytes);
  }

  #progressed(node: Node, offset: number): void {
    const { run, lane } = this.#parts;
    this.transfer ??= { node, run, lane, startedAt: Date.now(), startOffset: offset, offset };
    this.transfer.offset = offset;
  }
}
