import { parseRepository } from '../oci/reference.ts';
import { listPages, type ListOptions } from './pages.ts';
import type { RegistryRequests } from './requests.ts';

const TAG = /^\w[\w.-]{0,127}$/;

/** Lists the tags of a repository (distribution-spec, "Listing Tags"). */
export function listTags(client: RegistryRequests, repository: string, opts: ListOptions): AsyncGenerator<string[]> {
  const { registry, path } = parseRepository(repository);
  const list = { registry, path, object: 'tags/list', field: 'tags', noun: 'tag' };
  return listPages(client, { ...list, what: `the tags of ${repository}`, accepts: (tag) => TAG.test(tag) }, opts);
}
