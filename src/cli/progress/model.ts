/** What a run has done so far, gathered from the dispatcher's events; how it is shown is the business of the views. */
import type { DispatchEvent, ImageResult } from '../../flow/dispatcher.ts';
import { type ContentNode, isRepository, type NodeEvent, nodeKey } from '../../flow/handler.ts';
import { refKey } from '../../oci/ref-key.ts';

export type RowState = 'waiting' | 'busy' | 'downloading' | 'copying' | 'done' | 'exists' | 'mounted' | 'failed';

export interface Row {
  /** `layer-sha256:3b28...`, whole. */
  readonly ref: string;
  readonly total: number;
  state: RowState;
  offset: number;
}

export class ProgressModel {
  readonly rows = new Map<string, Row>();
  /** The rows of nodes that were seen before: events come by the ten thousand, and a key costs a string each time. */
  readonly #rowOf = new WeakMap<ContentNode, Row>();
  readonly #startedAt = performance.now();
  readonly #imagesTotal: number;
  #imagesEnded = 0;
  #imagesFailed = 0;
  /** Bytes that came over the wire in this run. */
  #transferred = 0;
  /** Bytes of all content that is known to belong to the run, and of what is here. */
  #known = 0;
  #here = 0;

  constructor(images: number) {
    this.#imagesTotal = images;
  }

  get images(): { total: number; ended: number; failed: number } {
    return { total: this.#imagesTotal, ended: this.#imagesEnded, failed: this.#imagesFailed };
  }
  get transferred(): number {
    return this.#transferred;
  }
  get known(): number {
    return this.#known;
  }
  get here(): number {
    return this.#here;
  }
  get elapsedMs(): number {
    return performance.now() - this.#startedAt;
  }
  /** Bytes per second since the start. */
  get rate(): number {
    return this.#transferred / Math.max(0.001, this.elapsedMs / 1000);
  }
  /** Until all that is known is here, in milliseconds; undefined while there is nothing to go by. */
  get etaMs(): number | undefined {
    const left = this.#known - this.#here;
    return this.rate < 1 ? undefined : (left / this.rate) * 1000;
  }

  apply(event: DispatchEvent): void {
    if (event.kind === 'image') this.#ended(event.result);
    else if (event.node.kind !== 'image') this.#content(event.node, event);
  }

  #ended(result: ImageResult): void {
    this.#imagesEnded += 1;
    if (result.state !== 'done') this.#imagesFailed += 1;
  }

  #content(node: ContentNode, event: Exclude<DispatchEvent, { kind: 'image' }>): void {
    const row = this.#row(node);
    switch (event.kind) {
      case 'node':
        this.#nodeEvent(row, event.event, isRepository(node.target) ? 'copying' : 'downloading');
        return;
      case 'failed':
        row.state = 'failed';
        return;
      case 'added':
      case 'started':
      case 'done':
      case 'skipped':
    }
  }

  #nodeEvent(row: Row, event: NodeEvent, moving: 'copying' | 'downloading'): void {
    switch (event.kind) {
      case 'progress': {
        // The first report of a transfer says where it starts: what an earlier attempt has left is here, not transferred.
        const starts = row.state !== moving;
        if (!starts) this.#transferred += Math.max(0, event.offset - row.offset);
        this.#here += event.offset - row.offset;
        row.offset = event.offset;
        row.state = moving;
        return;
      }
      case 'present':
      case 'mounted':
        this.#here += row.total - row.offset;
        row.offset = row.total;
        if (row.state !== 'done') row.state = event.kind === 'present' ? 'exists' : 'mounted';
        return;
      case 'fetched': {
        // Of a transfer on a farm not every report comes here.
        const unheard = row.total - row.offset;
        this.#transferred += Math.min(unheard, event.bytes);
        this.#here += unheard;
        row.offset = row.total;
        row.state = 'done';
        return;
      }
      case 'waiting':
        row.state = 'busy';
        return;
      case 'resolved':
    }
  }

  #row(node: ContentNode): Row {
    const seen = this.#rowOf.get(node);
    if (seen !== undefined) return seen;
    const row = this.#rowByKey(nodeKey(node), node);
    this.#rowOf.set(node, row);
    return row;
  }

  #rowByKey(key: string, node: ContentNode): Row {
    const known = this.rows.get(key);
    if (known !== undefined) return known;
    const row: Row = { ref: refKey(node.desc), total: node.desc.size, state: 'waiting', offset: 0 };
    this.rows.set(key, row);
    this.#known += row.total;
    return row;
  }
}
