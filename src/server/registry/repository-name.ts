/** Which repository a request means, and under which name a repository is asked for. */
import { isCode } from '../../errors.ts';
import { parseRepository } from '../../oci/reference.ts';

/** A colon cannot stand in the name of a repository, so that the port of a registry has an underscore before it. */
const WITH_PORT = /^([a-z0-9.-]+)[_:]([0-9]{1,5})$/;
/** Of the grammar of the distribution spec. */
const NAME_CHARACTERS = /^[a-z0-9._/-]+$/;
const DEFAULT_REGISTRY = 'docker.io';

/**
 * The repository in full, `docker.io/library/redis`.
 * @param path as it stands in the request; its first part may be a registry: `ghcr.io/owner/name`, `localhost_5000/name`. Without one it is
 *   docker.io's, which is how dockerd asks a mirror.
 * @param namespace the parameter `ns`, with which containerd tells a mirror the registry
 * @returns undefined for what cannot be one
 */
export function repositoryOf(path: string, namespace: string | undefined): string | undefined {
  const slash = path.indexOf('/');
  const first = path.slice(0, Math.max(slash, 0));
  const [registry, rest] =
    namespace === undefined && isRegistry(first)
      ? [first.replace(WITH_PORT, '$1:$2'), path.slice(slash + 1)]
      : [namespace ?? DEFAULT_REGISTRY, path];
  if (!isRegistry(registry)) return undefined;
  try {
    return parseRepository(`${registry}/${rest}`).repository;
  } catch (err) {
    if (isCode(err, 'INVALID')) return undefined;
    throw err;
  }
}

/** The name under which `repositoryOf` finds a repository; undefined where its registry cannot stand in a name (an IPv6 address). */
export function requestNameOf(repository: string): string | undefined {
  const slash = repository.indexOf('/');
  const name = repository.slice(0, slash).replace(WITH_PORT, '$1_$2') + repository.slice(slash);
  return NAME_CHARACTERS.test(name) && repositoryOf(name, undefined) === repository ? name : undefined;
}

/** What the first part of a reference must be to name a registry (distribution/reference), in the lower case of repository names. */
const isRegistry = (text: string): boolean =>
  !text.includes('/') && (text === 'localhost' || text.includes('.') || text.includes(':') || WITH_PORT.test(text));
