/** The YAML file of `skopeo sync --src yaml` (skopeo-sync(1)) as a mirror file. */
import { isRecord, type Path } from '../file/document.ts';
import { isDigest } from '../../oci/digest.ts';
import { anchored, exactly, type Imported, Importer, type ImportOptions, type SyncEntry } from './import.ts';

export interface SkopeoOptions extends ImportOptions {
  /** As `skopeo sync --scoped`: the whole name of the source stands behind the target. */
  readonly scoped?: boolean | undefined;
}

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((each) => typeof each === 'string');

class SkopeoReader {
  readonly #importer: Importer;
  readonly #scoped: boolean;

  constructor(importer: Importer, scoped: boolean) {
    this.#importer = importer;
    this.#scoped = scoped;
  }

  registry(name: string, value: unknown): void {
    const path = [name];
    if (!isRecord(value)) throw this.#importer.fail(path, 'expected a map with "images"');
    for (const [key, part] of Object.entries(value)) {
      const at = [...path, key];
      switch (key) {
        case 'images':
          this.#each(name, part, at, (tags, source, where) => this.#images(tags, source, where));
          break;
        case 'images-by-tag-regex':
          this.#each(name, part, at, (pattern, source, where) =>
            this.#filtered(source, where, { allow: [anchored(String(pattern))] }),
          );
          break;
        case 'images-by-semver':
          this.#each(name, part, at, (range, source, where) => {
            this.#importer.note(
              where,
              'skopeo leaves pre-releases out of ranges; deny them here: deny: [".*-(?:rc|beta|alpha).*"]',
            );
            this.#filtered(source, where, { semverRange: [String(range)] });
          });
          break;
        case 'credentials':
        case 'tls-verify':
          break; // together, below
        case 'cert-dir':
          this.#importer.note(at, 'it has no counterpart; put the certificates below --hosts-dir');
          break;
        default:
          this.#importer.note(at, 'it has no counterpart');
      }
    }
    const { username, password } = isRecord(value['credentials']) ? value['credentials'] : {};
    const tls = value['tls-verify'] === 'false' ? { tls: 'insecure' } : {};
    this.#importer.credentials(name, { user: username, pass: password, ...tls }, [...path, 'credentials', 'password']);
  }

  #each(
    registry: string,
    images: unknown,
    path: Path,
    add: (value: unknown, source: string, path: Path) => void,
  ): void {
    if (!isRecord(images)) throw this.#importer.fail(path, 'expected a map of images');
    for (const [image, value] of Object.entries(images)) add(value, `${registry}/${image}`, [...path, image]);
  }

  #images(tags: unknown, source: string, path: Path): void {
    if (tags !== null && !isTexts(tags)) throw this.#importer.fail(path, 'expected a list of tags and digests');
    const said = tags ?? [];
    const digests = said.filter((each) => isDigest(each));
    const names = said.filter((each) => !isDigest(each));
    if (said.length === 0) this.#filtered(source, path, undefined);
    // skopeo fails when a tag is not there; so does this.
    if (names.length > 0) this.#filtered(source, path, { allow: names.map(exactly), minTags: names.length });
    for (const digest of digests) {
      const target = this.#target(source, path);
      if (target === undefined) continue;
      this.#importer.add({ source: `${source}@${digest}`, targets: [`${target}@${digest}`], type: 'image' }, path);
    }
  }

  #filtered(source: string, path: Path, tags: SyncEntry['tags']): void {
    const target = this.#target(source, path);
    if (target === undefined) return;
    const entry: SyncEntry = { source, targets: [target], type: 'repository' };
    this.#importer.add(tags === undefined ? entry : { ...entry, tags }, path);
  }

  #target(source: string, path: Path): string | undefined {
    const found = this.#importer.repository(source, path);
    if (found === undefined) return undefined;
    return this.#importer.defaultTarget(this.#scoped ? found.repository : (found.path.split('/').at(-1) ?? found.path));
  }
}

/** @throws GantryError INVALID with the place */
export function importSkopeo(text: string, file: string, options: SkopeoOptions = {}): Imported {
  const importer = new Importer(text, file, options);
  const reader = new SkopeoReader(importer, options.scoped ?? false);
  for (const [name, value] of Object.entries(importer.root)) reader.registry(name, value);
  importer.note(
    [],
    'skopeo copies one platform unless it is called with --all; here all platforms are copied, say platforms for some',
  );
  return importer.done('skopeo sync');
}
