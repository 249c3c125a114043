/** A mirror file against its schema: every difference, in words, at its place. */
import { z } from 'zod';
import { isRecord, type MirrorDocument, type Path } from './document.ts';
import { nearest } from './nearest.ts';
import { fileSchema } from './schema.ts';
import { WITHOUT_EFFECT } from './without-effect.ts';

type Issue = z.core.$ZodIssue;

/** A file, and the schema that it is held against. */
interface Checked {
  readonly document: MirrorDocument;
  readonly root: z.ZodType;
}

const EXPECTED: Readonly<Record<string, string>> = {
  string: 'a text',
  int: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map',
  record: 'a map',
};

const listed = (words: readonly string[]): string =>
  words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;

const keysOf = (path: readonly PropertyKey[]): Path =>
  path.map((part) => (typeof part === 'number' ? part : String(part)));

function valueAt(value: unknown, path: Path): unknown {
  let found = value;
  for (const part of path) {
    if (Array.isArray(found) && typeof part === 'number') found = found[part];
    else found = isRecord(found) ? found[part] : undefined;
  }
  return found;
}

/** The schema of what stands at a path. */
function schemaAt(root: z.core.$ZodType, path: Path): z.core.$ZodType {
  let schema = root;
  for (const part of path) {
    if (schema instanceof z.ZodOptional) schema = schema.unwrap();
    if (schema instanceof z.ZodObject) schema = schema.shape[part] ?? schema;
    else if (schema instanceof z.ZodArray) schema = schema.element;
  }
  return schema instanceof z.ZodOptional ? schema.unwrap() : schema;
}

/** A union says nothing of its own: what is wrong is wrong with its member that fits best. */
function plainIssues(document: MirrorDocument, issue: Issue, base: readonly PropertyKey[] = []): Issue[] {
  const path = [...base, ...issue.path];
  if (issue.code !== 'invalid_union') return [{ ...issue, path }];
  const isList = Array.isArray(valueAt(document.value, keysOf(path)));
  const fitting =
    issue.errors.find((errors) => errors.every((each) => each.path.length > 0 === isList)) ?? issue.errors[0] ?? [];
  return fitting.flatMap((each) => plainIssues(document, each, path));
}

/**
 * YAML takes `3.10` for a number and `true` for what it says. Where a text is expected, what was written is it; and where a
 * number is expected, the value of a variable is one.
 * @returns whether something was changed
 */
function keepAsMeant(document: MirrorDocument, issues: readonly Issue[]): boolean {
  let changed = false;
  for (const issue of issues.filter(({ code }) => code === 'invalid_type')) {
    const path = keysOf(issue.path);
    const last = path.at(-1);
    const holder = valueAt(document.value, path.slice(0, -1));
    const isText = typeof valueAt(document.value, path) === 'string';
    const meant = isText ? document.expanded(path) : document.plain(path);
    if (meant === undefined || (isText && typeof meant === 'string')) continue;
    if (Array.isArray(holder) && typeof last === 'number') holder[last] = meant;
    else if (isRecord(holder) && last !== undefined) holder[last] = meant;
    changed = true;
  }
  return changed;
}

function unknownKey(root: z.core.$ZodType, key: string, path: Path): string {
  const schema = schemaAt(root, path);
  const all = schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
  const known = all.filter((each) => !Object.hasOwn(WITHOUT_EFFECT, each));
  const near = nearest(key, known);
  const hint = near === undefined ? `known are ${known.join(', ')}` : `did you mean ${near}?`;
  return `unknown key; ${hint}`;
}

function expected({ document, root }: Checked, path: Path, noun: string): string {
  const value = valueAt(document.value, path);
  const { description } = z.globalRegistry.get(schemaAt(root, path)) ?? {};
  if (value === undefined) return `missing${description === undefined ? '' : `: ${description}`}`;
  return noun === EXPECTED['array'] && typeof value === 'string'
    ? 'expected a list; write each of its items on a line of its own, with "- " in front'
    : `expected ${noun}`;
}

function message(checked: Checked, issue: Issue, path: Path): string {
  if (issue.code === 'invalid_type') return expected(checked, path, EXPECTED[issue.expected] ?? issue.expected);
  if (issue.code === 'invalid_value') return expected(checked, path, listed(issue.values.map(String)));
  if (issue.code === 'custom') return issue.message;
  if (issue.code === 'too_small') {
    if (issue.origin === 'string') return 'expected a text, this is empty';
    if (issue.origin === 'array') return 'expected at least one item';
    return `expected a number from ${issue.minimum}`;
  }
  return issue.code === 'too_big' ? 'the number is too large' : 'expected something else';
}

/**
 * Adds what is wrong to the document's problems. Afterwards its texts are texts.
 * @param root what the whole file is to be; a mirror file unless given
 */
export function checkStructure(document: MirrorDocument, root: z.ZodType = fileSchema): void {
  const checked = { document, root };
  let issues = issuesOf(checked);
  if (keepAsMeant(document, issues)) issues = issuesOf(checked);
  for (const issue of issues) {
    const path = keysOf(issue.path);
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) {
        document.problems.push(document.problem([...path, key], unknownKey(root, key, path), 'key'));
      }
    } else document.problems.push(document.problem(path, message(checked, issue, path)));
  }
}

const issuesOf = ({ document, root }: Checked): Issue[] =>
  (root.safeParse(document.value).error?.issues ?? []).flatMap((each) => plainIssues(document, each));

/** Without these an entry says nothing, and whatever else could be said of it would be wrong. */
const ESSENTIAL: ReadonlySet<string> = new Set(['source', 'target', 'targets', 'type', 'registry']);

/**
 * An entry that was complained about without the keys that are wrong, so that the rest of it is looked at as well.
 * Undefined for one of which too little is left.
 */
export function lenient<T>(schema: z.ZodType<T>, value: unknown): T | undefined {
  const { data, error } = schema.safeParse(value);
  if (error === undefined || !isRecord(value)) return data;
  const wrong = new Set(
    error.issues.flatMap((issue) =>
      issue.code === 'unrecognized_keys' && issue.path.length === 0 ? issue.keys : [String(issue.path[0])],
    ),
  );
  if ([...wrong].some((key) => ESSENTIAL.has(key))) return undefined;
  return schema.safeParse(Object.fromEntries(Object.entries(value).filter(([key]) => !wrong.has(key)))).data;
}
