/** What images are to be called at the other end of a copy. */
import { canonicalName } from '../archive/image-list.ts';
import type { CallOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import { isArchive, namesArchive, parseLocation } from '../oci/location.ts';
import { parseReference, parseRepository, type Reference } from '../oci/reference.ts';
import type { CopyPair } from './copy.ts';

/** Tells which images an archive has. */
export interface ArchiveNames {
  names(repository: string, opts: CallOptions): Promise<readonly string[]>;
}

/** A copy of one image. An archive that is given without a name gets that of the source. @throws GantryError INVALID, USAGE */
export function onePair(from: string, to: string): CopyPair {
  const source = parseLocation(from);
  const target = parseLocation(to);
  if (!isArchive(target.repository)) return { source, target };
  if (target.digest !== undefined)
    throw usage(`${to} has a digest`, 'what is written gets its digest from its content');
  if (target.tag !== undefined) return { source, target };
  const name = nameOf(source);
  return { source, target: name !== undefined && fits(name, to) ? inArchive(to, name) : target };
}

/**
 * Copies of several images to one place: an archive, where they keep their names, or below a repository. An archive among the
 * sources that is given without a name stands for all images with a name in it.
 * @throws GantryError INVALID, USAGE, NOT_FOUND
 */
export async function pairsTo(
  archives: ArchiveNames,
  sources: readonly string[],
  to: string,
  opts: CallOptions,
): Promise<CopyPair[]> {
  checkPlace(to);
  const found = await Promise.all(sources.map((text) => imagesOf(archives, parseLocation(text), opts)));
  const pairs = found.flat().map((source) => ({ source, target: targetBelow(to, source) }));
  const sourceOf = new Map<string, string>();
  for (const { source, target } of pairs) {
    const other = sourceOf.get(target.name) ?? source.name;
    if (other !== source.name) {
      throw usage(`${other} and ${source.name} would both become ${target.name}`, 'copy them one by one');
    }
    sourceOf.set(target.name, source.name);
  }
  return [...new Map(pairs.map((pair) => [pair.target.name, pair])).values()];
}

async function imagesOf(archives: ArchiveNames, source: Reference, opts: CallOptions): Promise<Reference[]> {
  const { repository, tag, digest } = source;
  if (!isArchive(repository) || tag !== undefined || digest !== undefined) return [source];
  const names = await archives.names(repository, opts);
  return names.length === 0 ? [source] : names.map((name) => parseLocation(`${repository}:${name}`));
}

function targetBelow(to: string, source: Reference): Reference {
  const name = nameOf(source);
  if (name === undefined || !fits(name, to)) {
    throw usage(`${source.name} has no name that it could keep`, 'copy it alone: gantry copy SOURCE TARGET');
  }
  if (namesArchive(to)) return inArchive(to, name);
  const { path, tag } = parseReference(name);
  return parseReference(`${parseRepository(to).repository}/${path}:${tag ?? ''}`);
}

/** What an image is called, without its digest and without the archive that it is in. */
function nameOf({ repository, tag }: Reference): string | undefined {
  return isArchive(repository) || tag === undefined ? tag : `${repository}:${tag}`;
}

/** Only an image layout takes names that are no references. */
const fits = (name: string, to: string): boolean =>
  /^oci(?:-archive)?:/.test(to) || (canonicalName(name) === name && !name.includes('@'));

function inArchive(to: string, name: string): Reference {
  return parseLocation(`${parseLocation(to).repository}:${name}`);
}

/** Before anything is read. @throws GantryError INVALID, USAGE */
function checkPlace(to: string): void {
  if (!namesArchive(to)) parseRepository(to);
  else if (parseLocation(to).name !== parseLocation(to).repository) {
    throw usage(`${to} names one image`, 'leave the name out: each image keeps its own');
  }
}

const usage = (message: string, hint: string): GantryError =>
  new GantryError('USAGE', message, { origin: 'user', hint });
