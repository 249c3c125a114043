/** Walks the graph of a run without moving it: reads manifests at the sources, and asks the targets what they have. */
import { randomUUID } from 'node:crypto';
import type { DispatchOptions, RunResult } from '../../flow/dispatcher.ts';
import { type ContentNode, type Handler, type Node, type NodeEvent, nodeKey, placeOf } from '../../flow/handler.ts';
import { LocalDispatcher } from '../../flow/local-dispatcher.ts';
import { inParallel } from '../../flow/slots.ts';
import { copyHandler } from '../../handlers/copy.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { LocalPlaces } from '../../remote/places.ts';
import type { Resolver } from '../../remote/ports.ts';
import { sharedResolver } from './shared-resolver.ts';

/** A blob that some repositories of a registry want. */
export interface SurveyedBlob {
  readonly desc: Descriptor;
  /** The registry that it goes to. */
  readonly registry: string;
  /** A repository that has it. */
  readonly source: string;
  readonly wanted: ReadonlySet<string>;
  /** Those of them that have it. */
  readonly present: ReadonlySet<string>;
}

interface Found {
  readonly desc: Descriptor;
  readonly registry: string;
  readonly source: string;
  readonly wanted: Set<string>;
  readonly present: Set<string>;
}

const AT_A_TIME = 32;

export class Survey {
  readonly #resolver: Resolver;
  readonly #blobs = new Map<string, Found>();
  readonly #unlike = new Set<string>();
  /** Manifests that will have to be put: the registry that they go to, the one that they come from, and whether an image leads to them. */
  readonly manifests: { readonly target: string; readonly source: string; readonly isRoot: boolean }[] = [];

  constructor(resolver: Resolver) {
    this.#resolver = resolver;
  }

  get blobs(): readonly SurveyedBlob[] {
    return [...this.#blobs.values()];
  }

  /** Whether something of an image is not there: it may be what hangs on an image that is equal. */
  isUnlike(root: Node): boolean {
    return this.#unlike.has(nodeKey(root));
  }

  /** Failures are in the result. */
  async walk(roots: readonly Node[], opts: DispatchOptions): Promise<RunResult> {
    const resolver = sharedResolver(this.#resolver, opts);
    const handler = this.#looking(copyHandler({ resolver, places: new LocalPlaces(), isAlone: false }));
    const dispatcher = new LocalDispatcher({ handler, concurrency: AT_A_TIME });
    const result = await dispatcher.dispatch({ id: randomUUID(), roots }, opts);
    await this.#askForBlobs(opts);
    return result;
  }

  /** Without a second half: nothing is ever put. */
  #looking(next: Handler): Handler {
    const roots = new Set<string>();
    return {
      visit: async (node, ctx) => {
        if (node.kind === 'blob' || node.kind === 'upload') return { kind: 'leaf' };
        let isThere = false;
        const report = (event: NodeEvent): void => {
          isThere ||= event.kind === 'present';
          ctx.report(event);
        };
        const visit = await next.visit(node, { signal: ctx.signal, attempt: ctx.attempt, report });
        if (visit.kind !== 'expand') return visit;
        if (node.kind === 'image') {
          this.#unlike.add(nodeKey(node));
          for (const { desc } of visit.children) roots.add(`${node.target} ${desc.digest}`);
        } else if (!isThere) this.#manifest(node, visit.children, roots.has(`${node.target} ${node.desc.digest}`));
        return { kind: 'expand', children: visit.children };
      },
    };
  }

  #manifest(node: ContentNode, children: readonly { kind: string; desc: Descriptor }[], isRoot: boolean): void {
    const { source, target } = node;
    const registry = placeOf(target);
    this.manifests.push({ target: registry, source: placeOf(source), isRoot });
    for (const { kind, desc } of children) {
      if (kind !== 'blob') continue;
      const key = `${registry} ${desc.digest}`;
      const found = this.#blobs.get(key) ?? { desc, registry, source, wanted: new Set(), present: new Set() };
      found.wanted.add(target);
      this.#blobs.set(key, found);
    }
  }

  /** A target that does not answer has told its failure with its images. */
  async #askForBlobs(opts: DispatchOptions): Promise<void> {
    const questions = [...this.#blobs.values()].flatMap((blob) => [...blob.wanted].map((target) => ({ blob, target })));
    await inParallel(questions, AT_A_TIME, opts, async ({ blob, target }) => {
      const has = this.#resolver.pusher(target).has('blob', blob.desc, opts);
      if (await has.catch(() => false)) blob.present.add(target);
    });
  }
}
