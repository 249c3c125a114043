import type { CallOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { MANIFEST_ACCEPT } from '../oci/media-types.ts';
import { parseRepository } from '../oci/reference.ts';
import type { ContentKind } from '../remote/ports.ts';
import type { RegistryRequests } from './requests.ts';

/** What a repository says of some content, by HEAD. @throws GantryError NOT_FOUND, MALFORMED when it does not tell the size */
export async function statContent(
  client: RegistryRequests,
  repository: string,
  kind: ContentKind,
  digest: Digest,
  opts: CallOptions,
): Promise<Descriptor> {
  const { registry, path } = parseRepository(repository);
  const what = `${kind} ${digest} of ${repository}`;
  const headers = kind === 'manifest' ? { accept: MANIFEST_ACCEPT.join(', ') } : {};
  const object = `${kind}s/${digest}`;
  const request = { method: 'HEAD', registry, path, object, capability: 'pull', headers, expect: [200], what } as const;
  const response = await client.request(request, opts);
  await response.body[Symbol.asyncDispose]();
  const size = Number(response.header('content-length') ?? Number.NaN);
  if (Number.isSafeInteger(size) && size >= 0)
    return { mediaType: response.header('content-type') ?? '', digest, size };
  throw new GantryError('MALFORMED', `${what}: the registry does not tell its size`, { origin: 'source', digest });
}
