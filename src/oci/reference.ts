/**
 * Names of images, by the rules of distribution/reference:
 *
 *     reference := [domain '/'] path [':' tag] ['@' digest]
 *
 * with the defaults that docker taught everybody: docker.io, library/ and latest.
 */
import { GantryError } from '../errors.ts';
import { isDigest, type Digest } from './digest.ts';
import { pointAt, showText } from './show.ts';

/** A place in a registry that holds manifests and blobs. */
export interface Repository {
  /** `host[:port]`: `docker.io`, `localhost:5000`, `[::1]:5000`. */
  readonly registry: string;
  /** `library/redis`. */
  readonly path: string;
  /** `registry/path`. */
  readonly repository: string;
}

export interface Reference extends Repository {
  readonly tag: string | undefined;
  /** Where there is a digest it decides; the tag beside it is for readers. */
  readonly digest: Digest | undefined;
  /** The canonical text: `repository[:tag][@digest]`. */
  readonly name: string;
}

const DEFAULT_REGISTRY = 'docker.io';
const LEGACY_DEFAULT_REGISTRY = 'index.docker.io';
const DEFAULT_TAG = 'latest';

/** Longer than any host, path, tag and digest together: a bound before any pattern is tried. */
const MAX_TEXT = 1024;
/** distribution/reference, RepositoryNameTotalLengthMax: counts the path, not the registry. */
const MAX_PATH = 255;

const LABEL = '[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?';
const HOST = new RegExp(`^(?:${LABEL}(?:\\.${LABEL})*|\\[[a-fA-F0-9:]+\\])$`);
const PORT = /^:[0-9]{1,5}$/;
const TAG = /^\w[\w.-]{0,127}$/;
const TAG_PREFIX = /^(?:\w[\w.-]{0,127})?/;
const COMPONENT = '[a-z0-9]+(?:(?:[.]|__?|-+)[a-z0-9]+)*';
/** Always matches; the length of the match is the place of the first thing wrong. */
const PATH_PREFIX = new RegExp(`^(?:${COMPONENT}(?:/${COMPONENT})*)?`);
const FOREIGN_CHARACTER = /[^A-Za-z0-9._\-:/@[\]]/;
const IMAGE_ID = /^[a-f0-9]{64}$/;
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]{0,31}:\/\//;
/** Transports of skopeo and podman. `docker:` is not among them, because docker:dind is an image. */
const TRANSPORT = /^(?:oci|oci-archive|docker-archive|docker-daemon|containers-storage|dir):/;

function invalid(noun: string, why: string, text: string, at: number): GantryError {
  return new GantryError('INVALID', `invalid ${noun}: ${why}\n${pointAt(text, at)}`, { origin: 'user' });
}

const matchLength = (pattern: RegExp, text: string): number => pattern.exec(text)?.[0].length ?? 0;

/** What nobody would mean as a name, and what distribution/reference would read as one. */
function refuseOtherThings(noun: string, text: string): void {
  if (text === '') throw new GantryError('INVALID', `invalid ${noun}: it is empty`, { origin: 'user' });
  const prefix = SCHEME.exec(text)?.[0] ?? TRANSPORT.exec(text)?.[0];
  if (prefix !== undefined) {
    const rest = text.slice(prefix.length).replace(/^\/+/, '');
    const type = prefix.endsWith('//') && rest !== '' ? showText(rest, 80) : 'a name like "ghcr.io/owner/name:tag"';
    throw invalid(noun, `it starts with ${showText(prefix)}; leave that out and type ${type}`, text, 0);
  }
  if (text.length > MAX_TEXT) throw invalid(noun, `it is longer than ${MAX_TEXT} characters`, text, MAX_TEXT);
  if (isDigest(text)) throw invalid(noun, `a digest alone names no repository; type REPOSITORY@${text}`, text, 0);
  if (IMAGE_ID.test(text)) {
    throw invalid(noun, 'a name of 64 hex digits is an image id; type REPOSITORY@sha256:... instead', text, 0);
  }
  const foreign = FOREIGN_CHARACTER.exec(text);
  if (foreign !== null)
    throw invalid(noun, `the character ${showText(foreign[0])} is not allowed`, text, foreign.index);
}

/** distribution/reference, splitDockerDomain: what tells a registry from the first part of a path. */
const looksLikeRegistry = (first: string): boolean => first === 'localhost' || /[.:A-Z]/.test(first);

function checkRegistry(noun: string, text: string, registry: string): void {
  const host = /^(?:\[[^\]]*\]|[^:]*)/.exec(registry)?.[0] ?? '';
  const port = registry.slice(host.length);
  if (!HOST.test(host)) throw invalid(noun, `${showText(host)} is not a host name or address`, text, 0);
  if (port !== '' && !(PORT.test(port) && Number(port.slice(1)) >= 1 && Number(port.slice(1)) <= 65_535)) {
    throw invalid(noun, 'the port must be a number from 1 to 65535', text, host.length + 1);
  }
  // The grammar lets "1.2.3.999" and "[:::]" through; no connection could be made to them.
  if (!URL.canParse(`http://${host}/`)) {
    throw invalid(noun, `${showText(host)} is not a host name or address`, text, 0);
  }
}

/** `start` is where `path` stands in `text`. */
function checkPath(noun: string, text: string, path: string, start: number): void {
  if (path === '') throw invalid(noun, 'the repository name is missing', text, start);
  const upper = path.search(/[A-Z]/);
  if (upper >= 0) throw invalid(noun, 'repository name must be lowercase', text, start + upper);
  const good = matchLength(PATH_PREFIX, path);
  if (good === path.length) return;
  // A slash after a good part is right; what follows it is not.
  const bad = good > 0 && path[good] === '/' ? good + 1 : good;
  switch (path.charAt(bad)) {
    case '':
    case '/':
      throw invalid(noun, 'a part of the repository name is empty', text, start + bad);
    case '.':
    case '_':
    case '-':
      throw invalid(
        noun,
        'only one ".", one or two "_" or some "-" may stand between letters or digits',
        text,
        start + bad,
      );
    default:
      throw invalid(noun, `${showText(path.charAt(bad))} is not allowed in a repository name`, text, start + bad);
  }
}

function checkTag(noun: string, text: string, tag: string, start: number): void {
  if (TAG.test(tag)) return;
  if (tag === '') throw invalid(noun, 'the tag after ":" is missing', text, start);
  const good = matchLength(TAG_PREFIX, tag);
  const why =
    good >= 128
      ? 'a tag has at most 128 characters'
      : 'a tag has letters, digits, "_", "." and "-", and starts with none of the last two';
  throw invalid(noun, why, text, start + good);
}

function checkDigest(noun: string, text: string, digest: string, start: number): Digest {
  if (isDigest(digest)) return digest;
  throw invalid(noun, 'a digest is sha256: and 64, or sha512: and 128 lower-case hex digits', text, start);
}

interface Parts extends Repository {
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
  /** Where the tag or digest begins, its ":" or "@" included. */
  readonly objectAt: number;
}

function parseParts(noun: string, text: string): Parts {
  refuseOtherThings(noun, text);
  const at = text.indexOf('@');
  const named = at < 0 ? text : text.slice(0, at);
  const slash = named.indexOf('/');
  const first = named.slice(0, Math.max(slash, 0));
  const hasRegistry = slash >= 0 && looksLikeRegistry(first);
  const pathAt = hasRegistry ? slash + 1 : 0;
  const colon = named.lastIndexOf(':');
  const tagAt = colon >= pathAt && colon > named.lastIndexOf('/') ? colon : named.length;

  if (hasRegistry) checkRegistry(noun, text, first);
  const given = named.slice(pathAt, tagAt);
  checkPath(noun, text, given, pathAt);
  const tag = tagAt < named.length ? named.slice(tagAt + 1) : undefined;
  if (tag !== undefined) checkTag(noun, text, tag, tagAt + 1);
  const digest = at < 0 ? undefined : checkDigest(noun, text, text.slice(at + 1), at + 1);

  const registry = hasRegistry && first !== LEGACY_DEFAULT_REGISTRY ? first : DEFAULT_REGISTRY;
  const path = registry === DEFAULT_REGISTRY && !given.includes('/') ? `library/${given}` : given;
  if (path.length > MAX_PATH) {
    throw invalid(
      noun,
      `a repository name has at most ${MAX_PATH} characters, this one has ${path.length}`,
      text,
      pathAt,
    );
  }
  return { registry, path, repository: `${registry}/${path}`, tag, digest, objectAt: tagAt };
}

function build(where: Repository, tag: string | undefined, digest: Digest | undefined): Reference {
  const { registry, path, repository } = where;
  const name = `${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
  return { registry, path, repository, tag, digest, name };
}

/**
 * Reads and normalises the name of an image. The tag `latest` is filled in only where there is neither tag nor digest.
 * @throws GantryError INVALID, with a second and third line that point at the place
 */
export function parseReference(text: string): Reference {
  const parts = parseParts('reference', text);
  const tag = parts.tag ?? (parts.digest === undefined ? DEFAULT_TAG : undefined);
  return build(parts, tag, parts.digest);
}

/**
 * Reads and normalises the name of a repository: a reference without tag and digest.
 * @throws GantryError INVALID, with a second and third line that point at the place
 */
export function parseRepository(text: string): Repository {
  const { registry, path, repository, tag, digest, objectAt } = parseParts('repository', text);
  if (tag !== undefined || digest !== undefined) {
    const extra = showText(text.slice(objectAt), 80);
    throw invalid('repository', `a repository has no tag or digest; leave out ${extra}`, text, objectAt);
  }
  return { registry, path, repository };
}

/**
 * Names one thing of a repository. `object` is a tag or a digest; a digest is told by its colon.
 * @throws GantryError INVALID
 */
export function withObject(repository: Repository, object: string): Reference {
  if (object.includes(':')) return build(repository, undefined, checkDigest('digest', object, object, 0));
  checkTag('tag', object, object, 0);
  return build(repository, object, undefined);
}
