/** What translations of other tools' files have in common. */
import { stringify } from 'yaml';
import { GantryError } from '../../errors.ts';
import { parseRepository } from '../../oci/reference.ts';
import { isRecord, MirrorDocument, type Path } from '../file/document.ts';
import { formatProblem } from '../file/build.ts';
import type { Problem } from '../file/types.ts';
import { escapeVariables } from '../file/variables.ts';

/** A mirror file, and what the other file says that it cannot. */
export interface Imported {
  readonly text: string;
  /** `images.yml:3:5: quay.io.cert-dir: ...`, a line each. */
  readonly notes: readonly string[];
}

export interface ImportOptions {
  /** Registry, and maybe a path in it, to mirror to; a variable stands for it when it is left out. */
  readonly target?: string | undefined;
}

const TARGET = '${TARGET:?the registry to mirror to}';

export interface SyncEntry {
  readonly source: string;
  readonly targets: readonly string[];
  readonly type: 'image' | 'repository';
  readonly tags?: Readonly<Record<string, unknown>>;
}

/** Backslashes for what means something in a regular expression; of a tag's characters that is the dot. */
export const exactly = (tag: string): string => tag.replaceAll('.', '\\.');

/** A pattern that may match anywhere, for one that holds for the whole tag. */
export function anchored(pattern: string): string {
  if (pattern.includes('|')) return `.*(?:${pattern}).*`;
  const from = pattern.startsWith('^') ? pattern.slice(1) : `.*${pattern}`;
  return /(?<!\\)\$$/.test(from) ? from.slice(0, -1) : `${from}.*`;
}

/** `registry.example.com:5000` -> `REGISTRY_EXAMPLE_COM_5000_PASSWORD` */
const variableFor = (registry: string): string =>
  `${registry
    .replaceAll(/\W+/g, '_')
    .replace(/^(?=\d)/, '_')
    .toUpperCase()}_PASSWORD`;

export class Importer {
  readonly #document: MirrorDocument;
  readonly #target: string;
  readonly #notes: string[];
  readonly #creds: Record<string, unknown>[];
  readonly #sync: SyncEntry[] = [];

  /**
   * @param beside another file of the same import, with which credentials and notes are put together
   * @throws GantryError INVALID for what is no YAML or JSON
   */
  constructor(text: string, file: string, options: ImportOptions, beside?: Importer) {
    this.#notes = beside === undefined ? [] : beside.#notes;
    this.#creds = beside === undefined ? [] : beside.#creds;
    this.#document = new MirrorDocument(text, file, { env: {}, asWritten: true });
    if (this.#document.problems.length > 0) throw this.#failure(this.#document.problems);
    this.#target = (options.target ?? TARGET).replace(/\/+$/, '');
  }

  /** @throws GantryError INVALID for what is no map */
  get root(): Readonly<Record<string, unknown>> {
    const { value } = this.#document;
    if (isRecord(value)) return value;
    throw this.#failure([this.#document.problem([], 'expected a map')]);
  }

  fail(path: Path, message: string): GantryError {
    return this.#failure([this.#document.problem(path, message)]);
  }

  #failure(problems: readonly Problem[]): GantryError {
    return new GantryError('INVALID', problems.map(formatProblem).join('\n'), { origin: 'user' });
  }

  note(path: Path, message: string): void {
    const [first = ''] = formatProblem(this.#document.problem(path, message, 'key')).split('\n');
    this.#notes.push(first);
  }

  /** Where an image goes that the file names no place for. */
  defaultTarget(repository: string): string {
    return `${this.#target}/${repository}`;
  }

  /** The name of a repository in full; undefined, and a note, for what is none. */
  repository(text: string, path: Path): ReturnType<typeof parseRepository> | undefined {
    try {
      return parseRepository(text);
    } catch (err) {
      if (!(err instanceof GantryError)) throw err;
      this.note(path, `left out: ${err.message.split('\n')[0]}`);
      return undefined;
    }
  }

  add(entry: SyncEntry, path: Path): void {
    const others = this.#sync.filter(({ source }) => source !== entry.source);
    const taken = new Set(others.flatMap(({ targets }) => targets));
    for (const target of entry.targets.filter((each) => taken.has(each))) {
      this.note(path, `another source goes to ${target} as well; their tags will mix`);
    }
    this.#sync.push(entry);
  }

  /** Passwords stay where they are: what is written here is meant to be kept in a repository. */
  credentials(registry: string, { user, pass, tls }: { user: unknown; pass: unknown; tls?: string }, path: Path): void {
    const entry: Record<string, unknown> = { registry };
    if (typeof user === 'string') entry['user'] = variable(user) ?? escapeVariables(user);
    if (typeof pass === 'string') entry['pass'] = variable(pass) ?? this.#password(registry, path);
    if (tls !== undefined) entry['tls'] = tls;
    if (Object.keys(entry).length > 1) this.#creds.push(entry);
  }

  #password(registry: string, path: Path): string {
    const name = variableFor(registry);
    this.note(path, `the password is not carried over; put it into the variable ${name}`);
    return `\${${name}:?the password for ${registry}}`;
  }

  /** @throws GantryError INVALID when nothing is left to mirror */
  done(tool: string): Imported {
    if (this.#sync.length === 0) throw this.fail([], `there is nothing to mirror in it; is it a file of ${tool}?`);
    const sync = this.#sync.map(({ source, targets, ...rest }) =>
      Object.assign({ source }, targets.length === 1 ? { target: targets[0] } : { targets }, rest),
    );
    const creds = this.#creds.length === 0 ? {} : { creds: this.#creds };
    const text = stringify({ version: 1, ...creds, sync }, { lineWidth: 0 });
    return { text, notes: this.#notes };
  }
}

/** `$NAME` and `${NAME}` in place of a value. */
function variable(text: string): string | undefined {
  const name = /^\$(?:\{(\w+)\}|(\w+))$/.exec(text);
  return name === null ? undefined : `\${${name[1] ?? name[2] ?? ''}}`;
}
