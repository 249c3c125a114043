import { asGantryError, GantryError } from '../errors.ts';
import type { DispatchEvent, Dispatcher, DispatchOptions, ImageResult, Run, RunResult } from './dispatcher.ts';
import { type Ended, Graph, type Image, type Vertex } from './graph.ts';
import type { Child, Handler, HandlerContext, Node, NodeEvent, Visit } from './handler.ts';
import { DEFAULT_LIMITS, type GraphLimits, settleStep, visitStep } from './step.ts';

export interface LocalDispatcherOptions {
  readonly handler: Handler;
  /** Nodes that are handled at the same time. A node that waits, for its children or for another writer, holds no slot. */
  readonly concurrency: number;
  readonly limits?: GraphLimits;
}

/** Runs a handler over a graph in this process: slots and promises, no Redis. */
export class LocalDispatcher implements Dispatcher {
  readonly #options: LocalDispatcherOptions;

  /** @throws GantryError USAGE when concurrency is not a positive integer */
  constructor(options: LocalDispatcherOptions) {
    if (!Number.isSafeInteger(options.concurrency) || options.concurrency < 1) {
      throw new GantryError('USAGE', `concurrency must be a positive integer, got ${options.concurrency}`, {
        origin: 'user',
      });
    }
    this.#options = options;
  }

  async dispatch(run: Run, opts: DispatchOptions): Promise<RunResult> {
    return new LocalRun(this.#options, opts).finish(run.roots);
  }
}

/** One dispatch call. */
class LocalRun {
  readonly #handler: Handler;
  readonly #concurrency: number;
  readonly #limits: GraphLimits;
  readonly #opts: DispatchOptions;
  readonly #graph = new Graph();
  /** Last in, first out: depth first keeps the number of open nodes small, and finishes images instead of starting more. */
  readonly #ready: Vertex[] = [];
  /** Roots that have not been started, the next one last. */
  #roots: Vertex[] = [];
  readonly #timers = new Map<Vertex, NodeJS.Timeout>();
  readonly #running = new Map<Vertex, AbortController>();
  readonly #idle = Promise.withResolvers<undefined>();

  constructor(options: LocalDispatcherOptions, opts: DispatchOptions) {
    this.#handler = options.handler;
    this.#concurrency = options.concurrency;
    this.#limits = options.limits ?? DEFAULT_LIMITS;
    this.#opts = opts;
  }

  async finish(roots: readonly Node[]): Promise<RunResult> {
    this.#roots = roots.flatMap((node) => this.#graph.addRoot(node) ?? []).toReversed();
    const cancel = (): void => {
      this.#ended(this.#graph.cancel(cancelled(this.#opts.signal.reason)));
      this.#pump();
    };
    if (this.#opts.signal.aborted) cancel();
    else this.#opts.signal.addEventListener('abort', cancel, { once: true });
    try {
      this.#pump();
      await this.#idle.promise;
    } finally {
      this.#opts.signal.removeEventListener('abort', cancel);
    }
    return { images: this.#graph.images.map(resultOf) };
  }

  #emit(event: DispatchEvent): void {
    this.#opts.onEvent?.(event);
  }

  #pump(): void {
    while (this.#running.size < this.#concurrency) {
      const vertex = this.#ready.pop() ?? this.#roots.pop();
      if (vertex === undefined) break;
      // The queue is not searched for what has been dropped; it falls out here.
      if (vertex.status === 'idle') void this.#handle(vertex);
    }
    if (this.#running.size === 0 && this.#timers.size === 0) this.#idle.resolve(undefined);
  }

  async #handle(vertex: Vertex): Promise<void> {
    const controller = new AbortController();
    this.#running.set(vertex, controller);
    vertex.status = 'running';
    try {
      if (vertex.phase === 'visit') await this.#visit(vertex, controller.signal);
      else await this.#settle(vertex, controller.signal);
    } catch (err) {
      this.#failed(vertex, asGantryError(err), controller.signal);
    } finally {
      this.#running.delete(vertex);
      this.#pump();
    }
  }

  async #visit(vertex: Vertex, signal: AbortSignal): Promise<void> {
    if (vertex.attempt === 0) this.#emit({ kind: 'started', node: vertex.node });
    vertex.startedAtMs ??= performance.now();
    const visit = await visitStep(this.#handler, vertex.node, this.#context(vertex, signal), this.#where(vertex));
    signal.throwIfAborted();
    this.#answered(vertex, visit);
    // Without open children there is nothing to wait for, and the slot is already ours.
    if (isReady(vertex)) await this.#settle(vertex, signal);
  }

  #answered(vertex: Vertex, visit: Visit): void {
    switch (visit.kind) {
      case 'later':
        vertex.status = 'idle';
        vertex.attempt += 1;
        this.#park(vertex, visit.afterMs); // before it is told: who listens may abort the run
        this.#emit({ kind: 'node', node: vertex.node, event: { kind: 'waiting', reason: visit.reason } });
        return;
      case 'skip':
        vertex.skipped = visit.reason;
        this.#emit({ kind: 'skipped', node: vertex.node });
        this.#finished(vertex);
        return;
      case 'leaf':
        this.#expand(vertex, []);
        return;
      case 'expand':
        vertex.carry = visit.carry ?? '';
        this.#expand(vertex, visit.children);
    }
  }

  /** Not a copy of the depth: meanwhile an image may come that has this node nearer to its root. */
  #where(vertex: Vertex): { readonly depth: number; readonly limits: GraphLimits } {
    return {
      limits: this.#limits,
      get depth() {
        return vertex.depth;
      },
    };
  }

  #expand(vertex: Vertex, children: readonly Child[]): void {
    const { toVisit, broken } = this.#graph.expand(vertex, children);
    for (const child of toVisit) this.#emit({ kind: 'added', node: child.node });
    // Reversed, because the last one in is the first one out: children start in the order of their parent.
    for (const child of toVisit.toReversed()) this.#ready.push(child);
    if (broken !== undefined) this.#ended(this.#graph.failAbove(vertex, broken));
  }

  async #settle(vertex: Vertex, signal: AbortSignal): Promise<void> {
    for (;;) {
      vertex.status = 'running';
      const { children, carry, round } = vertex;
      const ctx = { ...this.#context(vertex, signal), children, carry, round };
      const more = await settleStep(this.#handler, vertex.node, ctx, this.#where(vertex));
      signal.throwIfAborted();
      if (more.length === 0) break;
      vertex.round += 1;
      this.#expand(vertex, more);
      if (!isReady(vertex)) return; // else all of them are done, and the slot is still ours
    }
    this.#emit({ kind: 'done', node: vertex.node });
    this.#finished(vertex);
  }

  #finished(vertex: Vertex): void {
    const { ready, completed } = this.#graph.finish(vertex);
    for (const result of completed) this.#emit({ kind: 'image', result });
    for (const parent of ready) this.#ready.push(parent);
  }

  #failed(vertex: Vertex, error: GantryError, signal: AbortSignal): void {
    if (signal.aborted) {
      if (this.#graph.giveUp(vertex) === 'again') this.#ready.push(vertex);
    } else if (this.#graph.tryAnotherWay(vertex, error)) {
      this.#ready.push(vertex);
    } else {
      const ended = this.#graph.fail(vertex, error); // also before it is told
      this.#emit({ kind: 'failed', node: vertex.node, error });
      this.#ended(ended);
    }
  }

  #ended({ results, unwanted }: Ended): void {
    for (const vertex of unwanted) {
      clearTimeout(this.#timers.get(vertex));
      this.#timers.delete(vertex);
      this.#running.get(vertex)?.abort(new GantryError('CANCELLED', 'no image needs this any more'));
    }
    for (const result of results) this.#emit({ kind: 'image', result });
  }

  #park(vertex: Vertex, afterMs: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(vertex);
      this.#ready.push(vertex);
      this.#pump();
    }, afterMs);
    this.#timers.set(vertex, timer);
  }

  #context(vertex: Vertex, signal: AbortSignal): HandlerContext {
    const report = (event: NodeEvent): void => {
      if (event.kind === 'resolved') {
        vertex.resolved = event.desc;
        vertex.isEqual = event.isEqual === true;
      }
      if (event.kind === 'fetched') vertex.moved.bytes += event.bytes;
      if (event.kind === 'mounted') vertex.moved.mounted += 1;
      this.#emit({ kind: 'node', node: vertex.node, event });
    };
    return { signal, attempt: vertex.attempt, report };
  }
}

const isReady = (vertex: Vertex): boolean =>
  vertex.status === 'idle' && vertex.phase === 'settle' && vertex.below.size === 0;

const cancelled = (reason: unknown): GantryError =>
  reason instanceof GantryError ? reason : new GantryError('CANCELLED', 'cancelled', { cause: reason });

function resultOf(image: Image): ImageResult {
  if (image.result === undefined) throw new GantryError('INTERNAL', 'a run ended with an image that had no result');
  return image.result;
}
