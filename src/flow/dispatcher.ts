/** The port of dispatchers: what runs a handler over the graph of a run, in this process or on many machines. */
import type { CallOptions } from '../call.ts';
import type { GantryError } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Node, NodeEvent } from './handler.ts';

/** One request to move a set of images. Roots of the same node key are handled once and reported each. */
export interface Run {
  readonly id: string;
  readonly roots: readonly Node[];
}

export type ImageState = 'done' | 'failed' | 'cancelled';

export interface ImageResult {
  readonly root: Node;
  readonly state: ImageState;
  /** What the reference resolved to, when it came that far. */
  readonly desc: Descriptor | undefined;
  /** Why it is not done. */
  readonly error: GantryError | undefined;
  /** The target had it already. */
  readonly isEqual: boolean;
  /** Why its root was skipped, which counts as done. */
  readonly skipped?: string;
  /** What came over the wire for it. What several images share is counted for one of them. */
  readonly bytes: number;
  /** Blobs that the target took from another of its repositories. */
  readonly mounted: number;
  /** From its first visit to its end, in milliseconds. */
  readonly tookMs: number;
}

export interface RunResult {
  /** In the order of the run's roots. */
  readonly images: readonly ImageResult[];
}

/** What a dispatcher tells while it runs. */
export type DispatchEvent =
  | { readonly kind: 'node'; readonly node: Node; readonly event: NodeEvent }
  | { readonly kind: 'added' | 'started' | 'done' | 'skipped'; readonly node: Node }
  | { readonly kind: 'failed'; readonly node: Node; readonly error: GantryError }
  | { readonly kind: 'image'; readonly result: ImageResult };

export interface DispatchOptions extends CallOptions {
  /** Must not throw. */
  readonly onEvent?: (event: DispatchEvent) => void;
}

export interface Dispatcher {
  /**
   * Resolves when every image is done, failed or cancelled and nothing of the run goes on any more. One image's failure
   * never stops another image. An aborted signal cancels what is left; the promise still resolves.
   */
  dispatch(run: Run, opts: DispatchOptions): Promise<RunResult>;
}
