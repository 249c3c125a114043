/** Pull: from references to verified content and names in a store. */
import type { ImageNames, Ingester, Provider } from '../content/ports.ts';
import { GantryError } from '../errors.ts';
import type { Handler, ImageNode, Middleware } from '../flow/handler.ts';
import { sequence } from '../flow/sequence.ts';
import { type PlatformMatcher, parseMatcher } from '../oci/platform.ts';
import { parseReference, type Reference } from '../oci/reference.ts';
import type { Resolver } from '../remote/ports.ts';
import { childrenHandler } from './children.ts';
import { fetchHandler } from './fetch.ts';
import { filterPlatforms } from './platform.ts';

export interface PullParts {
  readonly store: Ingester & Provider;
  readonly names: ImageNames;
  readonly resolver: Resolver;
  /** Whether the store has an image of this name, so that a HEAD may be all that is needed; absent: it is always tried. */
  readonly isKnown?: (name: string) => boolean;
}

/** The handler of a pull. Its roots are image nodes; see imageNode. */
export function pullHandler(parts: PullParts): Handler {
  const content = sequence(
    fetchHandler({ store: parts.store, fetcherOf: (repository) => parts.resolver.fetcher(repository) }),
    childrenHandler(parts.store),
  );
  return sequence(imageHandler(parts), selected(content));
}

/** A run wants few different selections, and asks for each as often as it has manifests. */
const selected: Middleware = (next) => {
  const matchers = new Map<string, PlatformMatcher>();
  return filterPlatforms(({ selection }) => {
    const matcher = matchers.get(selection) ?? parseMatcher(selection);
    matchers.set(selection, matcher);
    return matcher;
  })(next);
};

/** Resolves an image at the start, and gives it its name when all that belongs to it is here. */
function imageHandler({ resolver, names, isKnown }: PullParts): Handler {
  return {
    async visit(node, ctx) {
      if (node.kind !== 'image') return { kind: 'leaf' };
      const willFetch = isKnown?.(node.name) === false;
      const { desc } = await resolver.resolve(parseReference(node.name), { signal: ctx.signal, willFetch });
      ctx.report({ kind: 'resolved', desc });
      return { kind: 'expand', children: [{ kind: 'manifest', desc }] };
    },
    async settle(node, ctx) {
      if (node.kind !== 'image') return;
      const [root] = ctx.children;
      if (root === undefined) throw new GantryError('INTERNAL', `${node.name} was not resolved`);
      await names.record(node.name, root.desc, ctx);
    },
  };
}

/** The root node of a pull. `selection` is what PlatformMatcher.text says. */
export const imageNode = (ref: Reference, target: string, selection: string): ImageNode => ({
  kind: 'image',
  name: ref.name,
  source: ref.repository,
  target,
  selection,
});
