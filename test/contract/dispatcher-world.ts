/** A graph of named nodes, and a handler over it that does what a test orders and writes down what it was asked. */
import type {
  Child,
  Handler,
  HandlerContext,
  ImageNode,
  Node,
  Settled,
  SettleContext,
  Visit,
} from '../../src/flow/handler.ts';
import { rootNode } from '../../src/flow/walk.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { OCI_LAYER, OCI_MANIFEST } from '../../src/oci/media-types.ts';

/** What a visit does instead of answering the children of its node; undefined: that as well. */
export type Act = (ctx: HandlerContext, node: Node) => Promise<Visit | undefined> | Visit | undefined;

export const LEAF: Visit = { kind: 'leaf' };

type SettleAct = (ctx: SettleContext, node: Node) => Promise<Settled | void>;

export class World {
  readonly visited: string[] = [];
  readonly settled: string[] = [];
  /** Calls of the handler that go on now, and the most there were. */
  running = 0;
  most = 0;
  readonly #tree: ReadonlyMap<string, readonly string[]>;
  readonly #acts = new Map<string, Act>();
  readonly #settles = new Map<string, SettleAct>();
  readonly #names = new Map<string, string>();

  /** What is listed with children is a manifest, the rest are blobs. */
  constructor(tree: Readonly<Record<string, readonly string[]>>) {
    this.#tree = new Map(Object.entries(tree));
    for (const [parent, children] of this.#tree) for (const name of [parent, ...children]) this.desc(name);
  }

  desc(name: string): Descriptor {
    const digest = digestOf(name);
    this.#names.set(digest, name);
    return { mediaType: this.#tree.has(name) ? OCI_MANIFEST : OCI_LAYER, digest, size: name.length };
  }

  root(name: string, source = 'registry.example/app', target = 'store'): Node {
    return rootNode(this.desc(name), { source, target });
  }

  image(name: string, source = 'registry.example/app', target = 'store'): ImageNode {
    return { kind: 'image', name, source, target, selection: '' };
  }

  /** What a settle may add. */
  upload(name: string): Child {
    return { kind: 'upload', desc: this.desc(name) };
  }

  onVisit(name: string, act: Act): this {
    this.#acts.set(name, act);
    return this;
  }

  onSettle(name: string, act: SettleAct): this {
    this.#settles.set(name, act);
    return this;
  }

  nameOf(node: Node): string {
    return node.kind === 'image' ? node.name : this.named(node.desc);
  }

  named({ digest }: Descriptor): string {
    return this.#names.get(digest) ?? digest;
  }

  readonly handler: Handler = {
    visit: (node, ctx) =>
      this.#count(async () => {
        const name = this.nameOf(node);
        this.visited.push(name);
        const answer = await this.#acts.get(name)?.(ctx, node);
        return answer ?? this.#expand(name);
      }),
    settle: (node, ctx) =>
      this.#count(async () => {
        const name = this.nameOf(node);
        const answer = await this.#settles.get(name)?.(ctx, node);
        if (answer === undefined) this.settled.push(name);
        return answer;
      }),
  };

  #expand(name: string): Visit {
    const children = this.#tree.get(name);
    if (children === undefined) return LEAF;
    return {
      kind: 'expand',
      children: children.map((child) => ({
        kind: this.#tree.has(child) ? 'manifest' : 'blob',
        desc: this.desc(child),
      })),
    };
  }

  async #count<T>(work: () => Promise<T>): Promise<T> {
    this.running += 1;
    this.most = Math.max(this.most, this.running);
    try {
      return await work();
    } finally {
      this.running -= 1;
    }
  }
}

/** Something that happens once and can be waited for. */
export class Flag {
  readonly #gate = Promise.withResolvers<undefined>();
  /** Resolves when it has happened. */
  readonly happened: Promise<undefined> = this.#gate.promise;

  set(): void {
    this.#gate.resolve(undefined);
  }
}

/** Rejects with the signal's reason when it aborts; a handler that hangs, but listens. */
export const untilAborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => {
    const stop = (): void => {
      const reason: unknown = signal.reason;
      reject(reason);
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
