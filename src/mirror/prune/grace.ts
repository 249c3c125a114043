/** Since when tags are gone: what is remembered, and what follows from it. */
import type { Digest } from '../../oci/digest.ts';
import type { GoneTag } from './gone.ts';
import type { Gone } from './types.ts';

/** A tag that is gone, with what it means at the target now. */
export interface Present extends GoneTag {
  readonly digest: Digest;
}

/** What to remember: a tag that is not gone any more, or means something else, starts anew. */
export const remembered = (
  present: readonly Present[],
  before: ReadonlyMap<string, Gone>,
  nowMs: number,
): ReadonlyMap<string, Gone> =>
  new Map(
    present.map(({ tag, digest }): [string, Gone] => {
      const known = before.get(tag);
      return [tag, known?.digest === digest ? known : { digest, since: nowMs }];
    }),
  );

export const isSame = (a: ReadonlyMap<string, Gone>, b: ReadonlyMap<string, Gone>): boolean =>
  a.size === b.size &&
  [...a].every(([tag, { digest, since }]) => b.get(tag)?.digest === digest && b.get(tag)?.since === since);

/** Milliseconds until the tag may be deleted, 0 when it may now; undefined when it never is. */
export function dueInMs(tag: GoneTag, since: number, now: { readonly ms: number; readonly remembers: boolean }) {
  if (!tag.mayDelete) return undefined;
  if (tag.graceMs === 0) return 0;
  // Without a memory each run sees it gone for the first time.
  return now.remembers ? Math.max(0, since + tag.graceMs - now.ms) : undefined;
}
