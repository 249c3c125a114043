import { GantryError } from '../errors.ts';
import type { Middleware, Node } from '../flow/handler.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { formatPlatform, type PlatformMatcher, selectManifests } from '../oci/platform.ts';

/**
 * Lets through only the entries of an index that are wanted: for each platform the best one, and those that name none.
 * `matcherOf` tells what a node wants.
 */
export const filterPlatforms =
  (matcherOf: (node: Node) => PlatformMatcher): Middleware =>
  (next) => ({
    ...next,
    async visit(node, ctx) {
      const visit = await next.visit(node, ctx);
      if (visit.kind !== 'expand') return visit;
      const entries = visit.children.filter((child) => child.kind === 'manifest').map((child) => child.desc);
      const matcher = matcherOf(node);
      const selected = new Set(selectManifests(entries, matcher));
      if (entries.length > 0 && selected.size === 0) throw nothingFor(node, entries, matcher);
      return {
        kind: 'expand',
        children: visit.children.filter((each) => each.kind !== 'manifest' || selected.has(each.desc)),
      };
    },
  });

const MAX_SHOWN = 12;

export function nothingFor(node: Node, entries: readonly Descriptor[], matcher: PlatformMatcher): GantryError {
  const there = [
    ...new Set(entries.flatMap(({ platform }) => (platform === undefined ? [] : formatPlatform(platform)))),
  ];
  const shown = there.slice(0, MAX_SHOWN).join(', ') + (there.length > MAX_SHOWN ? ', ...' : '');
  const digest = node.kind === 'image' ? {} : { digest: node.desc.digest };
  return new GantryError('NOT_FOUND', `${node.source} has no image for ${matcher.text}; it has ${shown}`, {
    origin: 'user', // what is asked for is not there: no other repository with this index has it either
    ...digest,
    hint: 'choose with --platform, or take all with --all-platforms',
  });
}
