/** One challenge of a WWW-Authenticate field (RFC 9110, section 11.6.1). */
export interface Challenge {
  /** Lower case: `bearer`, `basic`. */
  readonly scheme: string;
  /** Names in lower case; of a name that comes twice the first. Empty where the challenge has a token68. */
  readonly params: ReadonlyMap<string, string>;
  /** The bare value that some schemes send in place of parameters: `Negotiate YII...==`. */
  readonly token68: string | undefined;
}

const MAX_LENGTH = 8 * 1024;
const MAX_CHALLENGES = 16;
const MAX_PARAMS = 32;

const SEPARATORS = /[ \t,]*/y;
const TOKEN = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y;
const EQUALS = /[ \t]*=[ \t]*/y;
// Before parameters: `abc==` is a token68 only when nothing of its own follows, else it is the start of `abc="x"`.
const TOKEN68 = /[ \t]+([A-Za-z0-9\-._~+/]+=*)(?=[ \t]*(?:,|$))/y;
const QUOTED = /"([^"\\]*(?:\\[^][^"\\]*)*)"/y;
// Wider than a token: registries send URLs and scopes without quotes.
const BARE = /[^\s",]+/y;
const REST_OF_ELEMENT = /[^",]+|"/y;

interface Draft {
  readonly scheme: string;
  readonly params: Map<string, string>;
  readonly token68: string | undefined;
}

/** Reads one field value. What it cannot read it steps over, so that nothing that was read before is lost. */
class Reader {
  readonly #text: string;
  /** The field was cut at the bound: an element that reaches the end of the text may be half of one. */
  readonly #cut: boolean;
  readonly #found: Draft[];
  #at = 0;

  constructor(text: string, cut: boolean, found: Draft[]) {
    this.#text = text;
    this.#cut = cut;
    this.#found = found;
  }

  read(): void {
    let current: Draft | undefined;
    for (;;) {
      this.#take(SEPARATORS);
      if (this.#at >= this.#text.length) return;
      const name = this.#take(TOKEN)?.[0];
      if (name === undefined) {
        this.#stepOver();
      } else if (this.#take(EQUALS) !== undefined) {
        this.#param(current, name);
      } else {
        if (this.#found.length >= MAX_CHALLENGES || this.#half()) return;
        current = { scheme: name.toLowerCase(), params: new Map(), token68: this.#token68() };
        this.#found.push(current);
      }
    }
  }

  #take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text) ?? undefined;
    if (match !== undefined) this.#at = pattern.lastIndex;
    return match;
  }

  #half(): boolean {
    return this.#cut && this.#at >= this.#text.length;
  }

  #token68(): string | undefined {
    const token = this.#take(TOKEN68)?.[1];
    return this.#half() ? undefined : token;
  }

  #param(current: Draft | undefined, name: string): void {
    const value = this.#value();
    // A parameter before any scheme belongs to nobody.
    if (value === undefined || current === undefined || current.params.size >= MAX_PARAMS) return;
    const key = name.toLowerCase();
    if (!current.params.has(key)) current.params.set(key, value);
  }

  #value(): string | undefined {
    const quoted = this.#take(QUOTED)?.[1];
    if (quoted !== undefined) {
      const value = quoted.replace(/\\([^])/g, '$1');
      // A value ends up in a URL or a message; a control character in it is an attack or an accident.
      // oxlint-disable-next-line no-control-regex
      return /[\u0000-\u0008\u000a-\u001f\u007f]/.test(value) ? undefined : value;
    }
    if (this.#text[this.#at] === '"') {
      // The quote is never closed: the rest cannot be told apart.
      this.#at = this.#text.length;
      return undefined;
    }
    const bare = this.#take(BARE)?.[0];
    return this.#half() ? undefined : bare;
  }

  /** Goes on behind what is no element, quoted strings in one piece: their commas separate nothing. */
  #stepOver(): void {
    if (this.#take(QUOTED) === undefined) this.#take(REST_OF_ELEMENT);
  }
}

/**
 * The challenges of a 401, in the order of the registry. Several may stand in one field, and the field may come several
 * times. Never throws: of malformed input it gives what stands before the damage, and what can be made out after it.
 */
export function parseChallenges(header: string | readonly string[]): Challenge[] {
  const found: Draft[] = [];
  let budget = MAX_LENGTH;
  for (const field of typeof header === 'string' ? [header] : header) {
    if (budget <= 0 || found.length >= MAX_CHALLENGES) break;
    new Reader(field.slice(0, budget), field.length > budget, found).read();
    budget -= field.length;
  }
  return found;
}
