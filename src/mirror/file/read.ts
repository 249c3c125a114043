/** Reads a mirror file, and says all that is wrong with it at once. Opens nothing: files come through a function. */
import type { z } from 'zod';
import { GantryError } from '../../errors.ts';
import { credsOf } from './creds.ts';
import { isRecord, MirrorDocument, type Path } from './document.ts';
import { EntryReader } from './entry.ts';
import { foreignTool } from './foreign.ts';
import { ruleOf } from './rules.ts';
import { credsSchema, defaultsSchema, syncSchema, WITHOUT_EFFECT } from './schema.ts';
import { checkStructure, lenient } from './structure.ts';
import type { MirrorFile, Problem } from './types.ts';

export interface ReadParts {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** For `{{ file "path" }}`. What it throws becomes a problem with its message. */
  readonly readFile: (path: string) => string;
  /** For `{{ time.Now }}`; the clock if it is left out. */
  readonly now?: () => Date;
}

/** More would hide the first of them. */
const MAX_PROBLEMS = 50;

/** `mirror.yml:8:11: sync.0.type: expected image, repository or registry`, the line, and a caret below the place. */
export function formatProblem({ place, path, message, excerpt }: Problem): string {
  const where = `${place.file}:${place.line}:${place.column}`;
  return `${where}: ${path === '' ? '' : `${path}: `}${message}\n${excerpt}`;
}

/** One for each place: what cannot be read is also not what was expected, and the first says why. */
function inOrder(problems: readonly Problem[]): Problem[] {
  const first = new Map<string, Problem>();
  for (const problem of problems) {
    const { place, path } = problem;
    const key = `${path}:${place.line}:${place.column}`;
    if (!first.has(key)) first.set(key, problem);
  }
  return [...first.values()].toSorted((a, b) => a.place.line - b.place.line || a.place.column - b.place.column);
}

function failure(file: string, problems: readonly Problem[], hint?: string): GantryError {
  const all = inOrder(problems);
  const shown = all.slice(0, MAX_PROBLEMS).map(formatProblem);
  const header = all.length === 1 ? [] : [`${file}: ${all.length} problems`];
  const rest = all.length > MAX_PROBLEMS ? [`and ${all.length - MAX_PROBLEMS} more`] : [];
  return new GantryError('INVALID', [...header, ...shown, ...rest].join('\n'), {
    origin: 'user',
    ...(hint === undefined ? {} : { hint }),
  });
}

/** The entries of a list of which enough can be read, with their place in it. */
function entriesOf<T>(schema: z.ZodType<T>, list: unknown): { readonly input: T; readonly index: number }[] {
  const items: readonly unknown[] = Array.isArray(list) ? list : [];
  return items.flatMap((item, index) => {
    const input = lenient(schema, item);
    return input === undefined ? [] : [{ input, index }];
  });
}

function warnWithoutEffect(reader: EntryReader, value: unknown, path: Path): void {
  if (!isRecord(value)) return;
  for (const key of Object.keys(value)) {
    const why = Object.hasOwn(WITHOUT_EFFECT, key) ? WITHOUT_EFFECT[key] : undefined;
    if (why !== undefined) reader.warn([...path, key], why);
  }
}

/**
 * @param file how the file is called in messages
 * @throws GantryError INVALID whose message has every problem with its place, its line and a caret
 */
export function readMirrorFile(text: string, file: string, parts: ReadParts): MirrorFile {
  const document = new MirrorDocument(text, file, { env: parts.env });
  const { value } = document;
  if (document.problems.length > 0 && value === undefined) throw failure(file, document.problems);
  if (!isRecord(value)) {
    const why = value === undefined ? 'the file is empty; it needs at least "sync:" with an entry' : 'expected a map';
    throw failure(file, [document.problem([], why)]);
  }
  const foreign = foreignTool(value);
  if (foreign !== undefined) {
    const why = `this is a file of ${foreign.tool}, not a mirror file`;
    throw failure(file, [document.problem([], why)], foreign.hint);
  }
  checkStructure(document);
  const reader = new EntryReader(document, { now: () => new Date(), ...parts });
  const defaults = lenient(defaultsSchema, value['defaults'] ?? {}) ?? {};
  const inputs = { creds: entriesOf(credsSchema, value['creds']), sync: entriesOf(syncSchema, value['sync']) };
  warnWithoutEffect(reader, value['defaults'], ['defaults']);
  for (const key of ['creds', 'sync'] as const) {
    for (const { input, index } of inputs[key]) warnWithoutEffect(reader, input, [key, index]);
  }
  const creds = inputs.creds.flatMap(({ input, index }) => credsOf(reader, input, index) ?? []);
  const rules = inputs.sync.flatMap(({ input, index }) => ruleOf(reader, input, defaults, index) ?? []);
  if (document.problems.length > 0) throw failure(file, document.problems);
  return {
    file,
    creds,
    parallel: defaults.parallel === 0 ? undefined : defaults.parallel,
    skipDockerConfig: defaults.skipDockerConfig ?? false,
    userAgent: defaults.userAgent === '' ? undefined : defaults.userAgent,
    rules,
    warnings: inOrder(document.warnings),
  };
}
