/**
 * Where a key stands in a TOML text, for messages. The parser tells no positions of what it has accepted, so this reads
 * the beginnings of lines only; text within a multi-line string can at worst make a message point a few lines off.
 */

const KEY_PART = /[ \t]*(?:"((?:[^"\\\n]|\\.)*)"|'([^'\n]*)'|([A-Za-z0-9_-]+))[ \t]*/y;

/** A dotted key that begins at `at`, and where it ends. */
function keyAt(text: string, at: number): { parts: string[]; end: number } | undefined {
  const parts: string[] = [];
  let end = at;
  for (;;) {
    KEY_PART.lastIndex = end;
    const match = KEY_PART.exec(text);
    if (match === null) return undefined;
    parts.push(match[1] ?? match[2] ?? match[3] ?? '');
    end = KEY_PART.lastIndex;
    if (text[end] !== '.') return { parts, end };
    end += 1;
  }
}

/** How many leading parts two keys have in common. */
function common(a: readonly string[], b: readonly string[]): number {
  const differs = a.findIndex((part, i) => part !== b[i]);
  return differs === -1 ? a.length : differs;
}

export interface TomlPosition {
  readonly line: number;
  readonly column: number;
}

/** The line that defines `path`, or the nearest thing around it. Both numbers begin at 1. */
export function positionOf(toml: string, path: readonly string[]): TomlPosition {
  let table: readonly string[] = [];
  let best = { line: 1, column: 1, depth: 0 };
  for (const [index, line] of toml.split('\n').entries()) {
    const start = /^[ \t\ufeff]*/.exec(line)?.[0].length ?? 0;
    const isHeader = line[start] === '[';
    const key = keyAt(line, start + (isHeader ? (/^\[{1,2}/.exec(line.slice(start))?.[0].length ?? 0) : 0));
    if (key === undefined || line[key.end] !== (isHeader ? ']' : '=')) continue;
    const full = isHeader ? key.parts : [...table, ...key.parts];
    if (isHeader) table = full;
    // Only what leads to the path counts: a sibling of it says nothing.
    const depth = common(full, path) === Math.min(full.length, path.length) ? Math.min(full.length, path.length) : 0;
    if (depth > best.depth) best = { line: index + 1, column: start + 1, depth };
    if (depth === path.length) break;
  }
  return { line: best.line, column: best.column };
}
