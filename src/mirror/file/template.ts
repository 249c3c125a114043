/** What a template gives. Functions and fields that are not known are errors that name them and say which there are. */
import { messageOf } from '../../errors.ts';
import { type Command, parseTemplate, type Part, type Pipeline, type Term, TemplateError } from './template-syntax.ts';

export { TemplateError } from './template-syntax.ts';

/** What templates may look at beside their data. */
export interface TemplateParts {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readFile: (path: string) => string;
  readonly now: () => Date;
}

/** `.Ref.Tag` is `data.Ref.Tag`. */
export interface TemplateData {
  readonly [name: string]: string | TemplateData;
}

/** A month prints as its name, and as its number with `%d`. */
interface Month {
  readonly month: number;
}

type Value = string | number | boolean | Date | Month | TemplateData;

const MONTHS = 'January February March April May June July August September October November December'.split(' ');

const TIME: Readonly<Record<string, (time: Date) => Value>> = {
  Year: (time) => time.getFullYear(),
  Month: (time) => ({ month: time.getMonth() + 1 }),
  Day: (time) => time.getDate(),
  Hour: (time) => time.getHours(),
  Minute: (time) => time.getMinutes(),
  Second: (time) => time.getSeconds(),
  Unix: (time) => Math.floor(time.getTime() / 1000),
};

const isMonth = (value: Value): value is Month => typeof value === 'object' && typeof Object(value).month === 'number';

function textOf(value: Value, what: string): string {
  if (isMonth(value)) return MONTHS[value.month - 1] ?? '';
  if (typeof value !== 'object') return String(value);
  throw new TemplateError(`${what} has to be a text or a number`);
}

const numberOf = (value: Value): number | undefined => {
  if (isMonth(value)) return value.month;
  return typeof value === 'number' ? value : undefined;
};

function fieldOf(value: Value, name: string, said: string): Value {
  const known =
    value instanceof Date ? TIME : typeof value === 'object' && !isMonth(value) ? value : ({} satisfies TemplateData);
  const found = Object.hasOwn(known, name) ? known[name] : undefined;
  if (typeof found === 'function') return value instanceof Date ? found(value) : '';
  if (found !== undefined) return found;
  const names = Object.keys(known).map((each) => `.${each}`);
  const there = names.length === 0 ? 'there is nothing below it' : `there are ${names.join(', ')}`;
  throw new TemplateError(`the template has an unknown ${said}.${name}; ${there}`);
}

function formatVerb(flags: string, verb: string, value: Value | undefined): string {
  if (value === undefined) throw new TemplateError(`printf has no value for %${flags}${verb}`);
  if (verb === 's' || verb === 'v') return textOf(value, 'a value of printf').padStart(Number(flags));
  if (verb === 'q') return JSON.stringify(textOf(value, 'a value of printf'));
  const number = numberOf(value);
  if (verb !== 'd' || number === undefined)
    throw new TemplateError(`printf cannot print a value with %${flags}${verb}`);
  return String(number).padStart(Number(flags), flags.startsWith('0') ? '0' : ' ');
}

function printf(format: string, values: readonly Value[]): string {
  let next = 0;
  const text = format.replaceAll(/%(\d{0,3})(.)/g, (_whole, flags: string, verb: string) => {
    if (verb === '%') return '%';
    next += 1;
    return formatVerb(flags, verb, values[next - 1]);
  });
  if (next < values.length) throw new TemplateError('printf has more values than its format takes');
  return text;
}

/** A template, ready to be used any number of times. */
export class Template {
  readonly #parts: readonly Part[];
  readonly #use: TemplateParts;

  /** @throws TemplateError */
  constructor(text: string, use: TemplateParts) {
    this.#parts = parseTemplate(text);
    this.#use = use;
  }

  /** @throws TemplateError */
  expand(data: TemplateData): string {
    return new Run(this.#use, data).text(this.#parts);
  }
}

class Run {
  readonly #use: TemplateParts;
  readonly #data: TemplateData;
  readonly #variables = new Map<string, Value>();

  constructor(use: TemplateParts, data: TemplateData) {
    this.#use = use;
    this.#data = data;
  }

  text(parts: readonly Part[]): string {
    let out = '';
    for (const part of parts) {
      if (part.kind === 'text') out += part.text;
      else {
        const value = this.#pipeline(part.pipeline);
        if (part.variable === undefined) out += textOf(value, 'what a template prints');
        else this.#variables.set(part.variable, value);
      }
    }
    return out;
  }

  #pipeline(pipeline: Pipeline): Value {
    let value: Value | undefined;
    for (const command of pipeline) value = this.#command(command, value === undefined ? [] : [value]);
    return value ?? '';
  }

  #command([first, ...rest]: Command, piped: readonly Value[]): Value {
    if (first === undefined) return '';
    const values = [...rest.map((term) => this.#term(term)), ...piped];
    if (first.kind === 'function') return this.#call(first.name, values);
    if (values.length > 0) throw new TemplateError('the template gives arguments to something that is no function');
    return this.#term(first);
  }

  #term(term: Term): Value {
    switch (term.kind) {
      case 'literal':
        return term.value;
      case 'function':
        return this.#call(term.name, []);
      case 'field': {
        const [start, said] = this.#start(term.of);
        let value = start;
        for (const [i, name] of term.path.entries())
          value = fieldOf(value, name, [said, ...term.path.slice(0, i)].join('.'));
        return value;
      }
    }
  }

  #start(of: string | Pipeline): [value: Value, said: string] {
    if (typeof of !== 'string') return [this.#pipeline(of), '()'];
    if (of === 'data' || of === '$') return [this.#data, of === '$' ? '$' : ''];
    const value = this.#variables.get(of);
    if (value === undefined) throw new TemplateError(`the template has an unknown variable ${of}`);
    return [value, of];
  }

  #call(name: string, values: readonly Value[]): Value {
    const known: Readonly<Record<string, readonly [arity: number | undefined, call: () => Value]>> = {
      env: [1, () => this.#use.env[textOf(values[0] ?? '', 'the name of a variable')] ?? ''],
      file: [1, () => this.#file(textOf(values[0] ?? '', 'the path of a file'))],
      default: [2, () => (values[1] === '' ? (values[0] ?? '') : (values[1] ?? ''))],
      printf: [undefined, () => printf(textOf(values[0] ?? '', 'the format of printf'), values.slice(1))],
      'time.Now': [0, () => this.#use.now()],
    };
    const isNow = name.startsWith('time.Now.');
    const [base, path] = isNow ? ['time.Now', name.split('.').slice(2)] : [name, []];
    const found = Object.hasOwn(known, base) ? known[base] : undefined;
    if (found === undefined) {
      throw new TemplateError(
        `the template has an unknown function "${name}"; there are ${Object.keys(known).join(', ')}`,
      );
    }
    const [arity, call] = found;
    if (path.length > 0) {
      const value = path.reduce((whole, field) => fieldOf(whole, field, base), call());
      if (values.length === 0) return value;
    } else if (arity === undefined || values.length === arity) return call();
    throw new TemplateError(`"${name}" in the template takes ${arity ?? 0} arguments, not ${values.length}`);
  }

  /** Files of secrets end with a newline that is none of the secret's. */
  #file(path: string): string {
    try {
      return this.#use.readFile(path).replace(/\r?\n$/, '');
    } catch (err) {
      throw new TemplateError(`the template cannot read the file "${path}": ${messageOf(err)}`);
    }
  }
}
