/**
 * Places that an image is copied from and to: a registry, or an archive of one of these kinds.
 *
 *     oci:DIR[:NAME][@DIGEST]   oci-archive:FILE[:NAME][@DIGEST]   docker-archive:FILE[:REFERENCE]
 *
 * As in skopeo, the path ends at the first colon: a NAME may be a whole reference, `docker.io/library/redis:7`.
 */
import { resolve } from 'node:path';
import { GantryError } from '../errors.ts';
import { type Digest, isDigest } from './digest.ts';
import { parseReference, type Reference } from './reference.ts';
import { pointAt, showText } from './show.ts';

export type ArchiveKind = 'oci' | 'oci-archive' | 'docker-archive';

/** `oci://` is how Helm names a registry. */
const TRANSPORT = /^(oci|oci-archive|docker-archive):(?!\/\/)/;
/** A registry may be called `oci`, too, but a path there starts with a port and not with a slash. */
const ARCHIVE = /^(?:oci|oci-archive|docker-archive):\//;
/** PATH_MAX. */
const MAX_PATH = 4096;
// oxlint-disable-next-line no-control-regex -- these are what would break lines, logs and quoting
const BAD_IN_PATH = /["'\\\u0000-\u001f\u007f:]/;
/** What may stand in org.opencontainers.image.ref.name (image-spec, annotations.md), and what tags may have beyond that. */
const NAME = /^\w[\w.:@+/-]{0,1023}$/;

/** Whether a text means an archive, well-formed or not. */
export const namesArchive = (text: string): boolean => TRANSPORT.test(text);

/** Whether it is an archive that `Reference.repository` names. */
export const isArchive = (repository: string): boolean => ARCHIVE.test(repository);

/** Whether it is an archive that appears when it is whole; what a directory has got stays. */
export const isTarArchive = (repository: string): boolean => isArchive(repository) && !repository.startsWith('oci:');

/** The place within which a blob is one: the registry of a repository, `host[:port]`; an archive is a place of its own. */
export const registryOf = (repository: string): string =>
  isArchive(repository) ? repository : (repository.split('/', 1)[0] ?? repository);

/** The kind and the absolute path of an archive. */
export function archiveOf(repository: string): { readonly kind: ArchiveKind; readonly path: string } {
  const path = repository.slice(repository.indexOf(':') + 1);
  if (repository.startsWith('oci:')) return { kind: 'oci', path };
  return { kind: repository.startsWith('oci-archive:') ? 'oci-archive' : 'docker-archive', path };
}

function invalid(why: string, text: string, at: number): GantryError {
  return new GantryError('INVALID', `invalid archive: ${why}\n${pointAt(text, at)}`, { origin: 'user' });
}

/**
 * Reads the name of an image in a registry or in an archive. Of an archive `registry` is the kind, `path` the absolute path,
 * `tag` the name of the image there, or undefined where there is none.
 * @throws GantryError INVALID, with a second and third line that point at the place
 */
export function parseLocation(text: string): Reference {
  const kind = TRANSPORT.exec(text)?.[1];
  return kind === undefined ? parseReference(text) : parseArchive(kind, text);
}

function parseArchive(kind: string, text: string): Reference {
  const start = kind.length + 1;
  const { named, digest } = splitDigest(text);
  const colon = named.indexOf(':', start);
  const pathEnd = colon < 0 ? named.length : colon;
  const path = parsePath(text, start, pathEnd);
  const given = colon < 0 ? undefined : named.slice(colon + 1);
  if (kind === 'docker-archive' && digest !== undefined) {
    throw invalid('an image in a docker-archive goes by its name, FILE:NAME:TAG', text, named.length);
  }
  const tag = given === undefined ? undefined : parseName(kind, text, given, pathEnd + 1);
  const repository = `${kind}:${path}`;
  const name = `${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
  return { registry: kind, path, repository, tag, digest, name };
}

function splitDigest(text: string): { named: string; digest: Digest | undefined } {
  const at = text.lastIndexOf('@');
  const last = text.slice(at + 1);
  if (at < 0 || !/^sha(?:256|512):/.test(last)) return { named: text, digest: undefined };
  if (isDigest(last)) return { named: text.slice(0, at), digest: last };
  throw invalid('a digest is sha256: and 64, or sha512: and 128 lower-case hex digits', text, at + 1);
}

function parsePath(text: string, start: number, end: number): string {
  const given = text.slice(start, end);
  if (given === '') throw invalid('the path is missing', text, start);
  const bad = BAD_IN_PATH.exec(given);
  if (bad !== null) {
    throw invalid(`the character ${showText(bad[0])} is not allowed in the path`, text, start + bad.index);
  }
  const path = resolve(given);
  if (path.length > MAX_PATH) throw invalid(`the path is longer than ${MAX_PATH} characters`, text, start);
  const inherited = BAD_IN_PATH.exec(path);
  if (inherited === null) return path;
  throw invalid(`the path of this directory has the character ${showText(inherited[0])}`, text, start);
}

function parseName(kind: string, text: string, given: string, start: number): string {
  if (given === '') throw invalid('the name after ":" is missing', text, start);
  if (kind !== 'docker-archive') {
    if (NAME.test(given)) return given;
    throw invalid('a name has letters, digits and ". _ : @ + / -", and starts with a letter or digit', text, start);
  }
  const ref = parseReference(given);
  if (ref.digest === undefined) return ref.name;
  throw invalid('a name in a docker-archive has a tag and no digest', text, text.indexOf('@', start));
}
