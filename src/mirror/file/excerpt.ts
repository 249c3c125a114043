/** A line of a file with a caret below the place, and without what may be secret. */
import type { Place, Problem } from './types.ts';

/** Columns that may stand on each side of the place. */
const SIDE = 90;
/** What would move the cursor or turn the text around in a terminal. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
const printable = (text: string): string => text.replaceAll(UNPRINTABLE, '?');

const HIDDEN = '[secret]';
/** Where a syntax error leaves no tree to tell what is secret. */
const SECRET_KEY = /(?:pass|secret|token|key|cert|auth|cred|opts)[^:]*:/i;

/** From one offset in the text up to another. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** The text of a file, for places and excerpts. */
export class Lines {
  readonly #file: string;
  readonly #text: string;
  /** Where each line begins. */
  readonly #starts: readonly number[];

  constructor(text: string, file: string) {
    this.#file = file;
    this.#text = text;
    this.#starts = [0, ...Array.from(text.matchAll(/\n/g), ({ index }) => index + 1)];
  }

  place(offset: number): Place {
    // The last line that begins at or before it: there may be a hundred thousand, and a place for each rule.
    let [line, after] = [0, this.#starts.length];
    while (after - line > 1) {
      const middle = (line + after) >> 1;
      if ((this.#starts[middle] ?? 0) <= offset) line = middle;
      else after = middle;
    }
    return { file: this.#file, line: line + 1, column: offset - (this.#starts[line] ?? 0) + 1 };
  }

  /** What stands at an offset. `secrets` are hidden; undefined where they are not known, which hides the line if in doubt. */
  problem(offset: number, path: string, message: string, secrets: readonly Span[] | undefined): Problem {
    const place = this.place(offset);
    const from = this.#starts[place.line - 1] ?? 0;
    const to = (this.#starts[place.line] ?? this.#text.length + 1) - 1;
    const hidden = secrets ?? (this.#mayBeSecret(place.line) ? [{ from: this.#afterKey(from, to), to }] : []);
    const before = this.#shown(from, Math.min(offset, to), hidden);
    const after = this.#shown(Math.min(offset, to), to, hidden);
    const left = before.length > SIDE ? `...${before.slice(-SIDE)}` : before;
    const right = after.length > SIDE ? `${after.slice(0, SIDE)}...` : after;
    return {
      place,
      path: printable(path),
      message: printable(message),
      excerpt: `  ${left}${right}\n  ${' '.repeat(left.length)}^`,
    };
  }

  /** Within the section `creds`, or with a key that sounds like it. */
  #mayBeSecret(line: number): boolean {
    const lines = this.#text.split('\n').slice(0, line);
    const section = lines.findLast((each) => /^[^\s#-]/.test(each)) ?? '';
    return !/^(?:sync|rules|defaults|version)\b/.test(section) || SECRET_KEY.test(lines.at(-1) ?? '');
  }

  #afterKey(from: number, to: number): number {
    return from + (/^[\s-]*(?:[\w.-]+:)?\s*/.exec(this.#text.slice(from, to))?.[0].length ?? 0);
  }

  #shown(from: number, to: number, hidden: readonly Span[]): string {
    let out = '';
    for (let at = from; at < to;) {
      const span = hidden.find((each) => each.from <= at && at < each.to);
      const next = Math.min(to, ...hidden.map((each) => each.from).filter((each) => each > at));
      // A span that began before `from` was shown with what stands before it.
      if (span !== undefined) out += span.from === at || from === at ? HIDDEN : '';
      else out += this.#text.slice(at, next);
      at = span === undefined ? next : Math.min(to, span.to);
    }
    return printable(out.replaceAll('\t', ' '));
  }
}
