/** From what a mirror file says to rules; all that is wrong is said at once. Opens nothing: files come through a function. */
import { GantryError } from '../../errors.ts';
import { credsOf } from './creds.ts';
import { isRecord, type MirrorDocument, type Path } from './document.ts';
import { EntryReader } from './entry.ts';
import { ruleOf } from './rules.ts';
import type { CredsInput, DefaultsInput, SyncInput } from './schema.ts';
import type { MirrorFile, Problem } from './types.ts';
import { WITHOUT_EFFECT } from './without-effect.ts';

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

export function failure(file: string, problems: readonly Problem[], hint?: string): GantryError {
  const all = inOrder(problems);
  const shown = all.slice(0, MAX_PROBLEMS).map(formatProblem);
  const header = all.length === 1 ? [] : [`${file}: ${all.length} problems`];
  const rest = all.length > MAX_PROBLEMS ? [`and ${all.length - MAX_PROBLEMS} more`] : [];
  return new GantryError('INVALID', [...header, ...shown, ...rest].join('\n'), {
    origin: 'user',
    ...(hint === undefined ? {} : { hint }),
  });
}

function warnWithoutEffect(reader: EntryReader, value: unknown, path: Path): void {
  if (!isRecord(value)) return;
  for (const key of Object.keys(value)) {
    const why = Object.hasOwn(WITHOUT_EFFECT, key) ? WITHOUT_EFFECT[key] : undefined;
    if (why !== undefined) reader.warn([...path, key], why);
  }
}

/** An entry of a list, with its place there. */
export interface Listed<T> {
  readonly input: T;
  readonly index: number;
}

/** What a file says, as far as its shape is right. */
export interface Said {
  readonly defaults: DefaultsInput;
  readonly creds: readonly Listed<CredsInput>[];
  readonly sync: readonly Listed<SyncInput>[];
}

/** @throws GantryError INVALID whose message has every problem with its place, its line and a caret */
export function buildMirrorFile(document: MirrorDocument, file: string, said: Said, parts: ReadParts): MirrorFile {
  const reader = new EntryReader(document, { now: () => new Date(), ...parts });
  const { defaults } = said;
  warnWithoutEffect(reader, defaults, ['defaults']);
  for (const key of ['creds', 'sync'] as const) {
    for (const { input, index } of said[key]) warnWithoutEffect(reader, input, [key, index]);
  }
  const creds = said.creds.flatMap(({ input, index }) => credsOf(reader, input, index) ?? []);
  const rules = said.sync.flatMap(({ input, index }) => ruleOf(reader, input, defaults, index) ?? []);
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
