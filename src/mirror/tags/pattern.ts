/**
 * Regular expressions of a mirror file, which are Go's (RE2), as JavaScript's. They hold for the whole text. What RE2 takes
 * and JavaScript cannot say is an error that names the part; so is what only JavaScript knows, for a file must mean the same
 * to regsync. JavaScript tries again where RE2 does not, and only the length of a tag (128) bounds that.
 */
import { GantryError } from '../../errors.ts';
import { bracketClass, type Complaint, literalOutside, type Piece, sharedEscape } from './character-class.ts';

/** Flags hold to the end of their group, also across `|`; JavaScript has them for groups only. */
interface Group {
  /** Of the flags that stand in the middle, how many groups they opened and with which words. */
  readonly opened: string[];
}

class Translator {
  readonly #pattern: string;
  #at = 0;
  #out = '';
  readonly #groups: Group[] = [{ opened: [] }];

  constructor(pattern: string) {
    this.#pattern = pattern;
  }

  run(): string | Complaint {
    while (this.#at < this.#pattern.length) {
      const piece = this.#piece();
      if (!('text' in piece)) return piece;
      this.#out += piece.text;
      this.#at = piece.end;
    }
    const [root, ...open] = this.#groups;
    if (open.length > 0) return { part: '(', why: 'is not closed' };
    return this.#out + ')'.repeat(root?.opened.length ?? 0);
  }

  #piece(): Piece | Complaint {
    const at = this.#at;
    const char = String.fromCodePoint(this.#pattern.codePointAt(at) ?? 0);
    switch (char) {
      case '\\':
        return this.#escape();
      case '[':
        return bracketClass(this.#pattern, at);
      case '(':
        return this.#open();
      case ')':
        return this.#close();
      case '|':
        return { text: this.#alternative(), end: at + 1 };
      case '{':
        return this.#repetition();
      case '*':
      case '+':
      case '?':
      case '.':
      case '^':
      case '$':
        return { text: char, end: at + 1 };
      default:
        return { text: literalOutside(char), end: at + char.length };
    }
  }

  #escape(): Piece | Complaint {
    const at = this.#at;
    const char = this.#pattern.charAt(at + 1);
    if (char === 'A') return { text: '^', end: at + 2 };
    if (char === 'z') return { text: '$', end: at + 2 };
    if (char === 'Z') return { part: '\\Z', why: 'is not known to RE2 either; write \\z' };
    if (/[bB]/.test(char)) return { text: `\\${char}`, end: at + 2 };
    if (char === '-') return { text: '-', end: at + 2 };
    if (char !== 'Q') return sharedEscape(this.#pattern, at);
    const found = this.#pattern.indexOf('\\E', at + 2);
    const quoted = this.#pattern.slice(at + 2, found < 0 ? undefined : found);
    return {
      text: Array.from(quoted, literalOutside).join(''),
      end: found < 0 ? this.#pattern.length : found + 2,
    };
  }

  /** `{` begins a repetition only where RE2 can read one. */
  #repetition(): Piece | Complaint {
    const [text] = /^\{\d+(?:,\d*)?\}/.exec(this.#pattern.slice(this.#at)) ?? [];
    if (text === undefined) return { text: '\\{', end: this.#at + 1 };
    const most = Math.max(...(text.match(/\d+/g) ?? []).map(Number));
    if (most > 1000) return { part: text, why: 'repeats more than a thousand times' };
    return { text, end: this.#at + text.length };
  }

  #open(): Piece | Complaint {
    const rest = this.#pattern.slice(this.#at);
    const [named, name] = /^\(\?P?<([A-Za-z_]\w*)>/.exec(rest) ?? [];
    if (named !== undefined) return this.#group(`(?<${name}>`, named.length);
    const [flags, on = '', off = '', end] = /^\(\?([imsU]*)(?:-([imsU]+))?([:)])/.exec(rest) ?? [];
    if (flags !== undefined) return this.#flags(flags, on, off, end === ')');
    if (!rest.startsWith('(?')) return this.#group('(', 1);
    const [part = '(?', kind = ''] = /^\(\?(<?[=!]|.?)/.exec(rest) ?? [];
    const looks = /[=!]/.test(kind);
    return {
      part,
      why: looks ? 'looks ahead or behind, which RE2 cannot; say what not to take in deny' : 'is not a group',
    };
  }

  #group(text: string, length: number): Piece {
    this.#groups.push({ opened: [] });
    return { text, end: this.#at + length };
  }

  /** `U` swaps greedy and lazy, and whether the whole text matches does not depend on that. */
  #flags(part: string, on: string, off: string, isBare: boolean): Piece | Complaint {
    const end = this.#at + part.length;
    const [yes, no] = [on, off].map((flags) => [...new Set(flags.replaceAll('U', ''))].join(''));
    if (yes === undefined || no === undefined || /(.).*-.*\1/.test(`${yes}-${no}`)) {
      return { part, why: 'turns a flag on and off' };
    }
    const words = yes === '' && no === '' ? '(?:' : `(?${yes}${no === '' ? '' : `-${no}`}:`;
    if (!isBare) return this.#group(words, part.length);
    if (words === '(?:') return { text: '', end };
    this.#groups.at(-1)?.opened.push(words);
    return { text: words, end };
  }

  #alternative(): string {
    const opened = this.#groups.at(-1)?.opened ?? [];
    return `${')'.repeat(opened.length)}|${opened.join('')}`;
  }

  #close(): Piece | Complaint {
    const closed = this.#groups.length > 1 ? this.#groups.pop() : undefined;
    if (closed === undefined) return { part: ')', why: 'closes a group that was not opened' };
    return { text: ')'.repeat(closed.opened.length + 1), end: this.#at + 1 };
  }
}

/** Without doubling backslashes, of which regular expressions are full. */
const quote = (text: string): string => {
  const shown = text.replaceAll(/[^\x20-\x7e]/g, '?');
  return shown.length > 80 ? `"${shown.slice(0, 80)}"...` : `"${shown}"`;
};

const invalid = (noun: string, text: string, why: string): GantryError =>
  new GantryError('INVALID', `invalid ${noun} ${quote(text)}: ${why}`, { origin: 'user' });

/**
 * The pattern for a whole text.
 * @throws GantryError INVALID that says which part cannot be used
 */
export function compilePattern(pattern: string): RegExp {
  const translated = new Translator(pattern).run();
  if (typeof translated !== 'string') {
    throw invalid('regular expression', pattern, `${quote(translated.part)} ${translated.why}`);
  }
  try {
    return new RegExp(`^(?:${translated})$`, 'u');
  } catch (err) {
    // The text of V8: `Invalid regular expression: /.../u: Nothing to repeat`
    const why = err instanceof Error ? (err.message.split(': ').at(-1) ?? '') : '';
    throw invalid('regular expression', pattern, why.charAt(0).toLowerCase() + why.slice(1));
  }
}

/** Any part of `[...]` but a slash, any character for `?`, any text for `*`. @throws GantryError INVALID */
export function compileGlob(glob: string): RegExp {
  let out = '';
  for (let at = 0; at < glob.length;) {
    const char = String.fromCodePoint(glob.codePointAt(at) ?? 0);
    if (char === '[') {
      // `[!a]` is what shells write for `[^a]`.
      const text = `${glob.slice(0, at)}${glob.slice(at).replace(/^\[!/, '[^')}`;
      const piece = bracketClass(text, at);
      if (!('text' in piece)) throw invalid('glob', glob, `${quote(piece.part)} ${piece.why}`);
      out += piece.text;
      at = piece.end;
    } else {
      out += { '*': '.*', '?': '.' }[char] ?? literalOutside(char);
      at += char.length;
    }
  }
  return new RegExp(`^(?:${out})$`, 'u');
}
