import type { CallOptions } from '../call.ts';
import { GantryError, isCode } from '../errors.ts';
import { parseRepository } from '../oci/reference.ts';
import { listPages } from './pages.ts';
import type { RegistryRequests } from './requests.ts';

/**
 * Lists the repositories of a registry, as paths: `library/redis` (Docker Registry HTTP API V2, "Listing Repositories"; the
 * distribution specification has nothing of the kind).
 * @throws GantryError UNSUPPORTED where the registry does not tell, UNAUTHORIZED, ...
 */
export async function* listCatalog(
  client: RegistryRequests,
  registry: string,
  opts: CallOptions,
): AsyncGenerator<string[]> {
  const list = { registry, path: '', object: '_catalog', field: 'repositories', noun: 'repository' };
  const what = `the repositories of ${registry}`;
  try {
    yield* listPages(client, { ...list, what, accepts: (path) => isPath(registry, path) }, opts);
  } catch (err) {
    if (!isCode(err, 'NOT_FOUND', 'DENIED', 'UNAUTHORIZED', 'UNSUPPORTED')) throw err;
    const code = err.code === 'NOT_FOUND' ? 'UNSUPPORTED' : err.code;
    throw new GantryError(code, err.message, {
      origin: 'source',
      cause: err,
      hint: 'few public registries list their repositories: name each of them in an entry with type: repository',
      ...(err.host === undefined ? {} : { host: err.host }),
    });
  }
}

function isPath(registry: string, path: string): boolean {
  try {
    return parseRepository(`${registry}/${path}`).path === path;
  } catch {
    return false;
  }
}
