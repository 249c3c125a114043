/** What would change: the names at the source and at the target are compared, and nothing is read or written. */
import { randomUUID } from 'node:crypto';
import type { ImageResult, DispatchOptions } from '../../flow/dispatcher.ts';
import { type Middleware, type Node, nodeKey } from '../../flow/handler.ts';
import { LocalDispatcher } from '../../flow/local-dispatcher.ts';
import { copyHandler } from '../../handlers/copy.ts';
import { parseSelection } from '../../handlers/copy-selection.ts';
import { LocalPlaces } from '../../remote/places.ts';
import type { Resolver } from '../../remote/ports.ts';
import type { JobItem } from './job.ts';
import type { MirrorImage, Outcome } from './outcome.ts';
import { Heard, imagesOf } from './results.ts';
import { sharedResolver } from './shared-resolver.ts';

const AT_A_TIME = 32;

/** Two HEADs for an image, in the order of the items. Failures are in the result. */
export async function compareImages(
  resolver: Resolver,
  items: readonly JobItem[],
  opts: DispatchOptions,
): Promise<MirrorImage[]> {
  const heard = new Heard();
  const unlike = new Set<string>();
  // Not alone: what is missing is asked for by HEAD, too, and not read at once.
  const inner = copyHandler({ resolver: sharedResolver(resolver, opts), places: new LocalPlaces(), isAlone: false });
  const handler = onlyLooking((node) => unlike.add(nodeKey(node)))(inner);
  const dispatcher = new LocalDispatcher({ handler, concurrency: AT_A_TIME });
  const run = { id: randomUUID(), roots: items.map(({ root }) => root) };
  const result = await dispatcher.dispatch(run, { ...opts, onEvent: heard.listen(opts.onEvent) });
  const outcomeOf = ({ root, isEqual }: ImageResult): Outcome => {
    // An image that is looked at to the bottom in any case has something below it.
    if (isEqual && (!unlike.has(nodeKey(root)) || parseSelection(root.selection).isDeep)) return 'equal';
    return heard.about(root)?.was === undefined ? 'missing' : 'changed';
  };
  return imagesOf(items, result, heard, outcomeOf);
}

/** Visits images, and goes nowhere from there. */
const onlyLooking =
  (found: (node: Node) => void): Middleware =>
  (next) => ({
    visit: async (node, ctx) => {
      const visit = await next.visit(node, ctx);
      if (visit.kind !== 'expand') return visit;
      found(node);
      return { kind: 'leaf' };
    },
  });
