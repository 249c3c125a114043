/** YAML as values, with the place of each of them. */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  parseDocument,
  type Alias,
  type Document,
  type Node,
  Scalar,
  visit,
} from 'yaml';
import { Lines, type Span } from './excerpt.ts';
import type { Place, Problem } from './types.ts';
import { type Env, expandVariables } from './variables.ts';

export type Path = readonly (string | number)[];

/** `sync.0.type` */
export const pathText = (path: Path): string => path.join('.');

/** Aliases can make a small file very large. */
const MAX_NODES = 200_000;
const MAX_DEPTH = 32;

/** Maps whose keys are the user's own. */
const OPEN_MAPS: ReadonlySet<string | number | undefined> = new Set(['annotations', 'apiOpts']);
/** What may be shown of an entry of `creds`. */
const PLAIN_CREDS: ReadonlySet<string | number | undefined> = new Set(
  (
    'registry hostname tls mirrors priority repoAuth reqPerSec reqConcurrent pathPrefix credHelper credExpire credHost ' +
    'blobChunk blobMax api scheme dns'
  ).split(' '),
);

interface Found {
  /** Where the value begins, and for an entry of a map the key. */
  readonly value: number;
  readonly key: number | undefined;
  /** Of a scalar without quotes: its text, for `3.10` is a number to YAML and a tag to the reader. */
  readonly plain: string | undefined;
  /** Of a scalar with variables: the text with their values. */
  readonly expanded?: string;
}

export interface ReadingOptions {
  readonly env: Env;
  /** Every scalar is the text that was written, and keys without a value are kept, as null. */
  readonly asWritten?: boolean;
}

/** A file that was parsed: its value, and where each part of it stands. */
export class MirrorDocument {
  /** Maps, lists, strings, numbers and booleans; what is null or `x-*` is left out. */
  readonly value: unknown;
  readonly problems: Problem[] = [];
  readonly warnings: Problem[] = [];
  readonly #lines: Lines;
  readonly #how: ReadingOptions;
  readonly #found = new Map<string, Found>();
  readonly #secrets: Span[] = [];
  readonly #targets: ReadonlyMap<Alias, Node>;
  /** Where a variable that is not set was left out: that may be why something is wrong there. */
  readonly #empty = new Map<string, string>();
  #nodes = 0;

  constructor(text: string, file: string, how: ReadingOptions) {
    this.#lines = new Lines(text, file);
    this.#how = how;
    const document = parseDocument(text, { prettyErrors: false, schema: 'core', version: '1.2' });
    this.#targets = aliasTargets(document);
    // A tag that is not known is only a warning to the parser, and the value is then another than was written.
    for (const { pos, message, code } of [...document.errors, ...document.warnings]) {
      const problem = this.#lines.problem(
        firstWord(text, pos[0]),
        '',
        `YAML: ${syntaxMessage(code, message)}`,
        undefined,
      );
      // One slip makes several errors, and the first of them says most.
      if (this.problems.at(-1)?.place.line !== problem.place.line) this.problems.push(problem);
    }
    if (this.problems.length > 0 || document.contents === null) return;
    this.value = this.#convert(document.contents, [], undefined);
  }

  place(path: Path): Place {
    return this.#lines.place(this.#nearest(path)?.value ?? 0);
  }

  /** A problem with what stands at a path, or with the nearest thing around it. */
  problem(path: Path, message: string, at: 'value' | 'key' = 'value'): Problem {
    const found = this.#nearest(path);
    const offset = at === 'key' ? (found?.key ?? found?.value) : found?.value;
    const empty = this.#empty.get(pathText(path));
    const said = empty === undefined ? message : `${message} (${empty})`;
    return this.#lines.problem(offset ?? 0, pathText(path), said, this.#secrets);
  }

  #nearest(path: Path): Found | undefined {
    for (let length = path.length; length >= 0; length -= 1) {
      const found = this.#found.get(pathText(path.slice(0, length)));
      if (found !== undefined) return found;
    }
    return undefined;
  }

  plain(path: Path): string | undefined {
    return this.#found.get(pathText(path))?.plain;
  }

  /** Of a scalar with variables: what it would be if their values had been written there. */
  expanded(path: Path): unknown {
    const text = this.#found.get(pathText(path))?.expanded;
    return text === undefined ? undefined : parseScalar(text);
  }

  #convert(node: Node, path: Path, key: Node | undefined, at = node.range?.[0] ?? 0): unknown {
    this.#nodes += 1;
    const keyAt = key?.range?.[0];
    const found = { value: at, key: keyAt, plain: undefined };
    this.#found.set(pathText(path), found);
    if (this.#nodes > MAX_NODES || path.length > MAX_DEPTH) {
      // Once: what is left of the file is not looked at.
      if (this.problems.length === 0)
        this.problems.push(this.problem(path, 'the file is too deep or its aliases too many'));
      return undefined;
    }
    const [from = at, to = from] = node.range ?? [];
    if (isSecret(path)) this.#secrets.push({ from, to });
    if (isAlias(node)) return this.#alias(node, path, key);
    if (isMap<Node, Node | null>(node)) return this.#map(node.items, path);
    if (isSeq<Node>(node)) return node.items.map((item, i) => this.#convert(item, [...path, i], undefined));
    return isScalar(node) ? this.#scalar(node, path, found) : undefined;
  }

  #alias(node: Alias, path: Path, key: Node | undefined): unknown {
    const target = this.#targets.get(node);
    if (target === undefined) {
      this.problems.push(
        this.problem(path, 'an alias, what begins with "*", needs an anchor before it; quote it if it is a text'),
      );
      return undefined;
    }
    // A scalar is shown where it is used, the parts of a map where they are written.
    return this.#convert(target, path, key, node.range?.[0]);
  }

  #map(items: readonly { key: Node; value: Node | null }[], path: Path): Record<string, unknown> {
    const entries = items.flatMap(({ key, value }) => {
      if (isScalar(key)) return [{ key, name: key.source ?? String(key.value), value }];
      this.problems.push(this.problem(path, 'a key is a word, not a list or a map'));
      return [];
    });
    const isMerge = ({ key, name }: { key: Scalar; name: string }): boolean =>
      name === '<<' && key.type === Scalar.PLAIN;
    const all: Record<string, unknown> = Object.create(null);
    // What is written wins over what is merged in, and of several maps that are merged the first.
    for (const { key, value } of entries.filter(isMerge)) this.#merge(all, value, path, key);
    for (const { key, name, value } of entries.filter((entry) => !isMerge(entry))) {
      if (name.startsWith('x-') && !OPEN_MAPS.has(path.at(-1))) continue;
      const at = key.range?.[0] ?? 0;
      delete all[name];
      if (value === null || (isScalar(value) && value.value === null)) {
        this.#found.set(pathText([...path, name]), { value: at, key: at, plain: undefined });
        if (this.#how.asWritten === true) all[name] = null;
      } else all[name] = this.#convert(value, [...path, name], key);
    }
    return all;
  }

  #merge(into: Record<string, unknown>, value: Node | null, path: Path, key: Node): void {
    if (value === null) return;
    const own = this.#found.get(pathText(path));
    const merged = [this.#convert(value, path, key)].flat();
    for (const each of merged.toReversed()) {
      if (isRecord(each)) Object.assign(into, each);
      else this.problems.push(this.problem(path, 'only a map can be merged in with "<<"'));
    }
    if (own !== undefined) this.#found.set(pathText(path), own);
  }

  #scalar(node: Scalar, path: Path, found: Found): unknown {
    const isPlain = node.type === Scalar.PLAIN;
    const source = isPlain ? (node.source ?? '') : String(node.value);
    if (this.#how.asWritten === true && node.value !== null) return source;
    const { text, problems, warnings } = expandVariables(source, this.#how.env);
    this.problems.push(...problems.map((message) => this.problem(path, message)));
    this.warnings.push(...warnings.map((message) => this.problem(path, message)));
    if (warnings.length > 0) this.#empty.set(pathText(path), warnings.join('; '));
    if (isPlain) this.#found.set(pathText(path), { ...found, plain: text });
    if (text === source) return node.value;
    this.#found.set(pathText(path), { ...found, plain: isPlain ? text : undefined, expanded: text });
    return text;
  }
}

/** Also what is written wrongly: a list in the place of a password, or a key that is nearly one. */
function isSecret(path: Path): boolean {
  if (path[0] === 'creds') return path.length > 2 && !PLAIN_CREDS.has(path[2]);
  return /pass|token|secret/i.test(String(path.findLast((part) => typeof part === 'string')));
}

/** The parser complains about an indent where it begins; the eye looks for what is indented. */
const firstWord = (text: string, offset: number): number =>
  offset + (/^[ \t]+(?=\S)/.exec(text.slice(offset, offset + 200))?.[0].length ?? 0);

/** What each alias stands for: what last had the anchor before it. Found in one walk; to ask an alias takes a walk each time. */
function aliasTargets(document: Document.Parsed): ReadonlyMap<Alias, Node> {
  const anchors = new Map<string, Node>();
  const targets = new Map<Alias, Node>();
  visit(document, {
    Alias: (_key, alias) => {
      const target = anchors.get(alias.source);
      if (target !== undefined) targets.set(alias, target);
    },
    Value: (_key, node) => {
      if (node.anchor !== undefined) anchors.set(node.anchor, node);
    },
  });
  return targets;
}

/** The parser's own words without what they quote of the file, which may be a password. */
function syntaxMessage(code: string, message: string): string {
  if (code === 'MULTIPLE_DOCS') return 'this is a second document; a mirror file is one';
  if (code === 'TAG_RESOLVE_FAILED') return 'a tag, what begins with "!", is not known here; quote it if it is a text';
  return message.replace(/(?:: .*|(?<=escape sequence) .*)$/s, '');
}

/** A plain scalar's value; more than a word stays text. */
function parseScalar(text: string): unknown {
  if (/^[-+]?\d{1,15}$/.test(text) || /^\d{1,15}\.\d{1,15}$/.test(text)) return Number(text);
  return /^(?:true|false)$/i.test(text) ? text.toLowerCase() === 'true' : text;
}

export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
