/** Reads a file of pull-through rules that may be wrong, and says so in words, as the reader of mirror files does. */
import { failure, type ReadParts } from '../file/build.ts';
import { credsOf } from '../file/creds.ts';
import { isRecord, MirrorDocument, type Path } from '../file/document.ts';
import { EntryReader } from '../file/entry.ts';
import { credsSchema } from '../file/schema.ts';
import { checkStructure, lenient } from '../file/structure.ts';
import { durationMs } from '../file/values.ts';
import { type DefaultsInput, defaultsSchema, pullThroughSchema, type RuleInput, ruleSchema } from './schema.ts';
import type { PullThroughFile, PullThroughRule } from './types.ts';

const FRESH_MS = 5 * 60_000;
const DOCKER_HUB = 'docker.io';

/**
 * @param file how the file is called in messages
 * @throws GantryError INVALID whose message has every problem with its place, its line and a caret
 */
export function readPullThroughFile(text: string, file: string, parts: ReadParts): PullThroughFile {
  const document = new MirrorDocument(text, file, { env: parts.env });
  const { value } = document;
  if (document.problems.length > 0 && value === undefined) throw failure(file, document.problems);
  if (!isRecord(value)) {
    const why = value === undefined ? 'the file is empty; it needs at least "rules:" with an entry' : 'expected a map';
    throw failure(file, [document.problem([], why)]);
  }
  checkStructure(document, pullThroughSchema);
  const reader = new EntryReader(document, { now: () => new Date(), ...parts });
  const listed = (key: string): readonly unknown[] => (Array.isArray(value[key]) ? value[key] : []);
  const defaults = lenient(defaultsSchema, value['defaults'] ?? {}) ?? {};
  const rules = listed('rules').flatMap((item, index) => {
    const input = lenient(ruleSchema, item);
    return input === undefined ? [] : (ruleOf(reader, input, defaults, index) ?? []);
  });
  const creds = listed('creds').flatMap((item, index) => {
    const input = lenient(credsSchema, item);
    return input === undefined ? [] : (credsOf(reader, input, index) ?? []);
  });
  if (document.problems.length > 0) throw failure(file, document.problems);
  return { file, rules, creds };
}

/** Undefined, and problems, for an entry that cannot be used. */
function ruleOf(
  reader: EntryReader,
  input: RuleInput,
  defaults: DefaultsInput,
  index: number,
): PullThroughRule | undefined {
  const path = ['rules', index];
  const match = matchOf(reader, input.match, [...path, 'match']);
  const upstream = input.upstream?.replace(/\/+$/, '');
  if (upstream !== undefined && reader.registry(upstream, [...path, 'upstream'], true) === undefined) return undefined;
  if (match === undefined) return undefined;
  const freshMs = durationMs(input.fresh ?? defaults.fresh ?? '') ?? FRESH_MS;
  return { place: reader.document.place(path), match: input.match, ...match, freshMs, upstream };
}

/**
 * `HOST/PATTERN`: `*` stands for any text within a component of the path, `**` for one component or more. The host is taken as it
 * stands: with a pattern there, a client could have this server ask any machine that it can reach.
 */
function matchOf(reader: EntryReader, text: string, at: Path): Pick<PullThroughRule, 'registry' | 'path'> | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return reader.fail(at, 'expected host/path; for all of a registry write host/**');
  const host = text.slice(0, slash);
  if (host.includes('*')) return reader.fail(at, 'the host is no pattern; write a rule for each registry');
  const registry = reader.registry(host, at, false);
  if (registry === undefined) return undefined;
  const components = text.slice(slash + 1).split('/');
  const wrong = components.find((each) => each !== '**' && !/^(?!.*\*\*)[a-z0-9._*-]+$/.test(each));
  if (wrong !== undefined) {
    const why =
      wrong === '' ? 'a part of the path is empty' : `"${wrong.slice(0, 80)}" is no part of a repository name`;
    return reader.fail(at, `${why}; "*" stands for any text within a part, "**" for one part or more`);
  }
  // docker.io/redis is a short form of docker.io/library/redis, here as everywhere.
  const isShort = registry === DOCKER_HUB && components.length === 1 && components[0] !== '**';
  return { registry, path: isShort ? ['library', ...components] : components };
}
