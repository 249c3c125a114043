/** Copies what a mirror file asks for. */
import type { CallOptions } from '../../call.ts';
import type { Dispatcher, DispatchOptions, ImageResult, RunResult } from '../../flow/dispatcher.ts';
import { type Handler, type Node, placeOf } from '../../flow/handler.ts';
import { LocalDispatcher } from '../../flow/local-dispatcher.ts';
import { copyHandler } from '../../handlers/copy.ts';
import { writeChecked } from '../../handlers/write-check.ts';
import type { BlobPlaces } from '../../remote/places.ts';
import type { Resolver } from '../../remote/ports.ts';
import { withSharedSources } from '../../remote/shared-sources.ts';
import { Spool } from '../../store/spool.ts';
import { dispatchPull } from '../pull.ts';
import type { HeadStart } from './head-start.ts';
import type { JobItem } from './job.ts';
import type { MirrorImage, Outcome } from './outcome.ts';
import { reserved, type ReserveParts } from './quota.ts';
import { Heard, imagesOf } from './results.ts';
import { sharedResolver } from './shared-resolver.ts';

/** Runs some roots: in this process, or on a farm. */
export type Dispatch = (roots: readonly Node[], opts: DispatchOptions) => Promise<RunResult>;

/** Two HEADs for an image that is as it should be. Failures are in the result; an abort gives a result, too. */
export async function copyItems(
  items: readonly JobItem[],
  dispatch: Dispatch,
  opts: DispatchOptions,
): Promise<MirrorImage[]> {
  if (items.length === 0) return [];
  const heard = new Heard();
  const roots = items.map(({ root }) => root);
  const result = await dispatch(roots, { ...opts, onEvent: heard.listen(opts.onEvent) });
  return imagesOf(items, result, heard, copiedOrEqual);
}

/** What hangs on an image that is equal may have been missing. */
const copiedOrEqual = ({ isEqual, bytes, mounted }: ImageResult): Outcome =>
  isEqual && bytes === 0 && mounted === 0 ? 'equal' : 'copied';

/** Something that can tell whether a repository may be written. */
export interface WriteChecks {
  pusher(repository: string): { check(opts: CallOptions): Promise<void> };
}

export interface HereOptions extends CallOptions {
  readonly concurrency: number;
  readonly places: BlobPlaces;
  /** What was asked already. */
  readonly head?: HeadStart | undefined;
  readonly quota: ReserveParts;
}

/** In this process. The right to write is asked for before anything is transferred, once for each repository that lacks something. */
export function dispatchHere(resolver: Resolver, registries: WriteChecks, options: HereOptions): Dispatch {
  const { concurrency, signal, quota, places, head } = options;
  const checked = writeChecked((repository) => registries.pusher(repository).check({ signal }));
  const dispatcher: Dispatcher = {
    dispatch: async (run, opts) => {
      await using spool = new Spool();
      const several = sourcesOfSeveral(run.roots);
      const once = withSharedSources(resolver, spool, (repository) => several.has(repository));
      const asked = head?.through(once) ?? once;
      const quick = copyHandler({ resolver: sharedResolver(asked, { signal }), places, isAlone: true });
      // Asks anew each time what a name means, and by HEAD.
      const careful = reserved(quota)(copyHandler({ resolver: once, places, isAlone: false }));
      const handlerOf = ({ source }: Node): Handler => (quota.reserves.has(source) ? careful : quick);
      const handler: Handler = {
        visit: (node, ctx) => handlerOf(node).visit(node, ctx),
        settle: async (node, ctx) => handlerOf(node).settle?.(node, ctx),
      };
      return await new LocalDispatcher({ handler: checked(handler), concurrency }).dispatch(run, opts);
    },
  };
  return (roots, opts) => dispatchPull(dispatcher, roots, opts);
}

/** Repositories whose blobs go to more than one registry. */
function sourcesOfSeveral(roots: readonly Node[]): ReadonlySet<string> {
  const places = new Map<string, Set<string>>();
  for (const { source, target } of roots) {
    const known = places.get(source) ?? new Set();
    places.set(source, known.add(placeOf(target)));
  }
  return new Set([...places].flatMap(([source, { size }]) => (size > 1 ? source : [])));
}
