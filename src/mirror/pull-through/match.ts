/** Patterns of paths. Requests bring the paths: the cost of a match is bounded by the product of the lengths, whatever the pattern. */

/** By parts. `*` in a part stands for any text within it, the part `**` for one part or more. */
export type PathPattern = readonly string[];

export function matchesPath(pattern: PathPattern, path: string): boolean {
  // One part or more is one part, and any number of them.
  const tokens = pattern.flatMap((part) => (part === '**' ? ['*', '**'] : [part]));
  return matches(tokens, path.split('/'), '**', (part, text) =>
    matches(Array.from(part), Array.from(text), '*', isSame),
  );
}

const isSame = (one: string, other: string): boolean => one === other;

/**
 * Whether the items are what the tokens say, of which `star` stands for any number of items. Only the last star that was met is ever gone
 * back to: it can take over what an earlier one would have to give.
 */
function matches(
  tokens: readonly string[],
  items: readonly string[],
  star: string,
  isOne: (token: string, item: string) => boolean,
): boolean {
  let [at, from] = [0, 0];
  let last: number | undefined;
  for (let index = 0; index < items.length;) {
    const [token, item = ''] = [tokens[at], items[index]];
    if (token === star) {
      [last, from] = [at, index];
      at += 1;
    } else if (token !== undefined && isOne(token, item)) {
      at += 1;
      index += 1;
    } else if (last !== undefined) {
      from += 1;
      [at, index] = [last + 1, from];
    } else {
      return false;
    }
  }
  return tokens.slice(at).every((token) => token === star);
}
