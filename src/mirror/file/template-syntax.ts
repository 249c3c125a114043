/** Go's templates, as far as mirror files use them: text with `{{ actions }}` of values, functions, pipes and variables. */

export type Term =
  | { readonly kind: 'literal'; readonly value: string | number | boolean }
  /** `.Ref.Tag`: a path, of `data`; `$t.Year`: of a variable; `(time.Now).Year`: of a result. */
  | { readonly kind: 'field'; readonly of: string | Pipeline; readonly path: readonly string[] }
  /** `env`, `time.Now` */
  | { readonly kind: 'function'; readonly name: string };

/** A function or a value, with arguments. */
export type Command = readonly Term[];
/** What one gives is the last argument of the next. */
export type Pipeline = readonly Command[];

export type Part =
  | { readonly kind: 'text'; readonly text: string }
  /** With a name the result is kept in a variable and not printed. */
  | { readonly kind: 'action'; readonly pipeline: Pipeline; readonly variable: string | undefined };

/** What is wrong with a template; caught where its place is known. */
export class TemplateError extends Error {
  override readonly name = 'TemplateError';
}

const ACTION = /\{\{(-(?=\s))?((?:"(?:[^"\\]|\\.)*"|`[^`]*`|(?!\}\})[^])*?)((?<=\s)-)?\}\}/g;
const TOKEN =
  /\s*(?:("(?:[^"\\\n]|\\.)*")|(`[^`]*`)|(-?\d+(?:\.\d+)?)|(:=|[|()])|(\$\w*(?:\.\w+)*)|(\.\w+(?:\.\w+)*|\.)|([A-Za-z_]\w*(?:\.\w+)*))/y;
const KEYWORDS: ReadonlySet<string> = new Set('if else end range with define template block break continue'.split(' '));

interface Token {
  readonly kind: 'string' | 'number' | 'sign' | 'variable' | 'field' | 'word';
  readonly text: string;
}

/** A string as Go and JSON write it: the escapes that both know. */
function unquote(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    return String(value);
  } catch {
    throw new TemplateError('a string in the template has an escape that is not known here');
  }
}

function tokens(action: string): Token[] {
  const found: Token[] = [];
  for (TOKEN.lastIndex = 0; action.slice(TOKEN.lastIndex).trim() !== '';) {
    const match = TOKEN.exec(action);
    // Without saying which: it may be a piece of a password.
    if (match === null)
      throw new TemplateError('the template has a character between "{{" and "}}" that is not known here');
    const [, quoted, raw, number, sign, variable, field, word] = match;
    if (quoted !== undefined) found.push({ kind: 'string', text: unquote(quoted) });
    else if (raw !== undefined) found.push({ kind: 'string', text: raw.slice(1, -1) });
    else if (number !== undefined) found.push({ kind: 'number', text: number });
    else if (sign !== undefined) found.push({ kind: 'sign', text: sign });
    else if (variable !== undefined) found.push({ kind: 'variable', text: variable });
    else if (field !== undefined) found.push({ kind: 'field', text: field });
    else found.push({ kind: 'word', text: word ?? '' });
  }
  return found;
}

class ActionReader {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  read(): Part {
    const [first, second] = this.#tokens;
    if (first?.kind === 'word' && KEYWORDS.has(first.text)) {
      throw new TemplateError(
        `the template has "${first.text}", which is not known here; there are values, functions and pipes`,
      );
    }
    const assigns = first?.kind === 'variable' && second?.text === ':=';
    if (assigns) this.#at = 2;
    const pipeline = this.#pipeline();
    const rest = this.#tokens[this.#at];
    if (rest !== undefined) throw new TemplateError(`the template has a "${rest.text}" too many`);
    return { kind: 'action', pipeline, variable: assigns ? first.text : undefined };
  }

  #pipeline(): Pipeline {
    const commands: Command[] = [this.#command()];
    while (this.#tokens[this.#at]?.text === '|') {
      this.#at += 1;
      commands.push(this.#command());
    }
    return commands;
  }

  #command(): Command {
    const terms: Term[] = [];
    for (let token = this.#tokens[this.#at]; token !== undefined; token = this.#tokens[this.#at]) {
      if (token.kind === 'sign' && token.text !== '(') break;
      this.#at += 1;
      terms.push(this.#term(token));
    }
    if (terms.length === 0) throw new TemplateError('the template has an empty action');
    return terms;
  }

  #term({ kind, text }: Token): Term {
    switch (kind) {
      case 'string':
        return { kind: 'literal', value: text };
      case 'number':
        return { kind: 'literal', value: Number(text) };
      case 'sign':
        return this.#parenthesis();
      case 'variable': {
        const [name = '', ...path] = text.split('.');
        return { kind: 'field', of: name, path };
      }
      case 'field':
        return { kind: 'field', of: 'data', path: text.split('.').filter((part) => part !== '') };
      case 'word':
        if (text === 'true' || text === 'false') return { kind: 'literal', value: text === 'true' };
        return { kind: 'function', name: text };
    }
  }

  #parenthesis(): Term {
    const pipeline = this.#pipeline();
    if (this.#tokens[this.#at]?.text !== ')') throw new TemplateError('the template has a "(" that is not closed');
    this.#at += 1;
    const field = this.#tokens[this.#at];
    if (field?.kind !== 'field') return { kind: 'field', of: pipeline, path: [] };
    this.#at += 1;
    return { kind: 'field', of: pipeline, path: field.text.split('.').filter((part) => part !== '') };
  }
}

/** @throws TemplateError */
export function parseTemplate(text: string): Part[] {
  const parts: Part[] = [];
  let from = 0;
  let trims = false;
  const addText = (raw: string): void => {
    if (raw.includes('{{')) throw new TemplateError('the template has a "{{" that is not closed');
    if (raw !== '') parts.push({ kind: 'text', text: raw });
  };
  for (const { 0: whole, 1: before, 2: action = '', 3: after, index } of text.matchAll(ACTION)) {
    const raw = trims ? text.slice(from, index).trimStart() : text.slice(from, index);
    addText(before === undefined ? raw : raw.trimEnd());
    if (!/^\s*\/\*[^]*\*\/\s*$/.test(action)) parts.push(new ActionReader(tokens(action)).read());
    trims = after !== undefined;
    from = index + whole.length;
  }
  addText(trims ? text.slice(from).trimStart() : text.slice(from));
  return parts;
}
