/** Files of image-syncer (its README, "Configure Files") as a mirror file. */
import { isRecord, type Path } from '../file/document.ts';
import { anchored, exactly, type Imported, Importer, type ImportOptions } from './import.ts';

export interface ImageSyncerOptions extends ImportOptions {
  /** The file of `--auth`, when it is one of its own. */
  readonly auth?: { readonly text: string; readonly file: string } | undefined;
}

interface Source {
  readonly repository: string;
  readonly tags: readonly string[];
  readonly pattern: string | undefined;
  readonly digest: string | undefined;
}

/** `repo`, `repo:tag`, `repo:tag,tag`, `repo:/regex/`, `repo@digest` */
function parseSource(text: string): Source {
  const none = { tags: [], pattern: undefined, digest: undefined };
  const [, byPattern, pattern] = /^(.+?):\/(.+)\/$/.exec(text) ?? [];
  if (byPattern !== undefined && pattern !== undefined) return { ...none, repository: byPattern, pattern };
  const [before = '', digest] = text.split('@');
  if (digest !== undefined) return { ...none, repository: before, digest };
  const [, repository = text, tags = ''] = /^(.+):([^/]*)$/.exec(text) ?? [];
  return { ...none, repository, tags: tags.split(',').filter((tag) => tag !== '') };
}

const hasTag = (target: string): boolean => /:[^/]*$/.test(target.replace(/^[^/]*\//, ''));

class ImageSyncerReader {
  readonly #importer: Importer;

  constructor(importer: Importer) {
    this.#importer = importer;
  }

  rule(text: string, value: unknown, path: Path): void {
    const given = (Array.isArray(value) ? value : [value ?? '']).map(String);
    const source = parseSource(text);
    const name = this.#importer.repository(source.repository, path);
    if (name === undefined) return;
    const targets = given.map((each) =>
      each === '' ? this.#importer.defaultTarget(name.path.split('/').at(-1) ?? name.path) : each,
    );
    const [tag, ...more] = source.tags;
    const isOne =
      source.digest !== undefined || (tag !== undefined && more.length === 0 && source.pattern === undefined);
    if (isOne) return this.#image(text, source, targets, path);
    if (targets.some(hasTag)) {
      this.#importer.note(path, 'left out: several tags cannot go to one tag');
      return undefined;
    }
    const allow = source.pattern === undefined ? source.tags.map(exactly) : [anchored(source.pattern)];
    const least = source.tags.length > 0 ? { minTags: source.tags.length } : {};
    const tags = allow.length > 0 ? { tags: { allow, ...least } } : {};
    this.#importer.add({ source: source.repository, targets, type: 'repository', ...tags }, path);
  }

  #image(text: string, { digest, tags }: Source, targets: readonly string[], path: Path): void {
    const suffix = digest === undefined ? `:${tags[0] ?? 'latest'}` : `@${digest}`;
    const named = targets.map((target) => (hasTag(target) || target.includes('@') ? target : `${target}${suffix}`));
    this.#importer.add({ source: text, targets: named, type: 'image' }, path);
  }
}

function readAuth(importer: Importer, entries: unknown, path: Path): void {
  if (!isRecord(entries)) throw importer.fail(path, 'expected a map of registries');
  for (const [registry, value] of Object.entries(entries)) {
    const at = [...path, registry];
    if (!isRecord(value)) throw importer.fail(at, 'expected username and password');
    if (registry.includes('/')) {
      importer.note(at, 'it has no counterpart; credentials are for a whole registry');
      continue;
    }
    const tls = value['insecure'] === 'true' ? { tls: 'disabled' } : {};
    const credentials = { user: value['username'], pass: value['password'], ...tls };
    importer.credentials(registry, credentials, [...at, 'password']);
  }
}

/** @throws GantryError INVALID with the place */
export function importImageSyncer(text: string, file: string, options: ImageSyncerOptions = {}): Imported {
  const importer = new Importer(text, file, options);
  const reader = new ImageSyncerReader(importer);
  const { root } = importer;
  const isWhole = isRecord(root['images']);
  const images = isWhole ? root['images'] : root;
  if (isWhole && root['auth'] !== undefined) readAuth(importer, root['auth'], ['auth']);
  if (options.auth !== undefined) {
    const beside = new Importer(options.auth.text, options.auth.file, {}, importer);
    readAuth(beside, beside.root, []);
  }
  for (const [source, value] of Object.entries(isRecord(images) ? images : {})) {
    const path = isWhole ? ['images', source] : [source];
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      throw importer.fail(path, 'expected a target or a list of targets');
    }
    reader.rule(source, value, path);
  }
  return importer.done('image-syncer');
}
