/** What a worker of a farm does with a node: where it goes decides. */
import { type Handler, isRepository, type Node } from '../flow/handler.ts';
import { copyHandler } from '../handlers/copy.ts';
import { pullHandler, type PullParts } from '../handlers/pull.ts';
import type { BlobPlaces } from '../remote/places.ts';

export interface FarmHandlerParts extends Pick<PullParts, 'store' | 'names' | 'resolver'> {
  readonly places: BlobPlaces;
}

/** Pulls what is for a store, and copies what is for a repository. Other workers may have the other half of the same node. */
export function farmHandler({ places, ...parts }: FarmHandlerParts): Handler {
  // Without isKnown: to fetch a manifest in place of its HEAD pays only where the same process then stores it.
  const pull = pullHandler(parts);
  const copy = copyHandler({ resolver: parts.resolver, places, isAlone: false });
  const handlerOf = ({ target }: Node): Handler => (isRepository(target) ? copy : pull);
  return {
    visit: (node, ctx) => handlerOf(node).visit(node, ctx),
    settle: async (node, ctx) => handlerOf(node).settle?.(node, ctx),
  };
}
