/** One upload session at a registry (distribution-spec, "Pushing blobs"): start, parts, end, and where it stands. */
import type { CallOptions } from '../call.ts';
import { GantryError, isCode } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { parseRepository } from '../oci/reference.ts';
import { nextUrl } from './redirect.ts';
import type { RegistryRequest, RegistryRequests } from './requests.ts';
import type { HttpResponse } from './transport.ts';
import type { VerifiedUpload } from './verified-upload.ts';

export interface UploadParts {
  readonly client: RegistryRequests;
  /** `host[:port]/path`. */
  readonly repository: string;
}

/** Where an upload goes on. The place changes with each answer. */
export interface Session {
  readonly at: URL;
  /** Bytes that the registry has. */
  readonly offset: number;
  /** The least that it takes in one part that is not the last (`OCI-Chunk-Min-Length`); 0 when it does not say. */
  readonly minChunk: number;
}

export type Started = { readonly state: 'open'; readonly session: Session } | { readonly state: 'mounted' };

/**
 * Starts an upload; with `mount` it asks for a blob that the registry has in the repository `from`, a path.
 * @throws GantryError DENIED, UNAUTHORIZED, ... when the repository may not be written
 */
export async function startUpload(
  parts: UploadParts,
  mount: { readonly digest: string; readonly from: string } | undefined,
  opts: CallOptions,
): Promise<Started> {
  const query =
    mount === undefined ? '' : `?${new URLSearchParams({ mount: mount.digest, from: mount.from }).toString()}`;
  const request = {
    ...common(parts, `an upload to ${parts.repository}`),
    method: 'POST',
    object: `blobs/uploads/${query}`,
    from: mount?.from,
    expect: mount === undefined ? [202] : [201, 202],
  } as const;
  const response = await parts.client.request(request, opts);
  await response.body.discard();
  if (response.status === 201) return { state: 'mounted' };
  return { state: 'open', session: sessionOf(response, parts) };
}

/**
 * Sends all that is left, and ends the upload with the same request.
 * @throws GantryError UPSTREAM also for success that is told too early
 */
export async function sendRest(
  parts: UploadParts,
  session: Session,
  desc: Descriptor,
  upload: VerifiedUpload,
  opts: CallOptions,
): Promise<void> {
  const { offset } = session;
  await upload.seek(offset);
  const range = offset === 0 ? {} : { 'content-range': `${offset}-${desc.size - 1}` };
  const isEmpty = offset === desc.size;
  const at = new URL(session.at);
  at.searchParams.set('digest', desc.digest);
  const request = {
    ...common(parts, whatOf(desc, parts)),
    method: 'PUT',
    object: '',
    at,
    headers: isEmpty ? {} : { 'content-type': 'application/octet-stream', ...range },
    ...(isEmpty ? {} : { body: upload.part(offset, desc.size) }),
    // 202 and 204 are what some registries answer in the place of 201.
    expect: [201, 202, 204, 416],
    retry: false,
  } as const;
  const response = await parts.client.request(request, opts);
  await response.body.discard();
  if (response.status === 416) throw wrong(response, `has another part of ${request.what} than was believed`);
  // Who has an answer before it has the blob cannot mean this one.
  if (!upload.isAtEnd)
    throw wrong(response, `answered ${response.status} for ${request.what} before all of it was sent`);
}

/** What may be better when the registry was asked where the upload stands. */
function wrong({ status, url }: HttpResponse, what: string): GantryError {
  return new GantryError('UPSTREAM', `${url.host} ${what}`, { origin: 'target', host: url.host, status });
}

/** Where a part ends that has `chunkBytes`, if there are so many, and more where the registry wants more. */
export const partEnd = ({ offset, minChunk }: Session, { size }: Descriptor, chunkBytes: number): number =>
  Math.min(size, offset + Math.max(chunkBytes, minChunk));

/** Sends the part to before `end`. Answers where the upload stands then. @throws GantryError UPSTREAM for what cannot be */
export async function sendChunk(
  parts: UploadParts,
  session: Session,
  desc: Descriptor,
  upload: VerifiedUpload,
  opts: CallOptions & { readonly end: number },
): Promise<Session> {
  const { offset } = session;
  const { end } = opts;
  await upload.seek(offset);
  const request = {
    ...common(parts, whatOf(desc, parts)),
    method: 'PATCH',
    object: '',
    at: session.at,
    headers: { 'content-type': 'application/octet-stream', 'content-range': `${offset}-${end - 1}` },
    body: upload.part(offset, end),
    expect: [202, 416],
    retry: false,
  } as const;
  const response = await parts.client.request(request, opts);
  await response.body.discard();
  if (response.status === 416) return askSession(parts, session, upload, opts); // it has another number of bytes than we believe
  return sessionOf(response, parts, { before: session, offset: rangeEnd(response) || end, upload });
}

/**
 * Where an upload stands, as the registry sees it.
 * @throws GantryError NOT_FOUND when it knows nothing of it any more, UPSTREAM when that cannot be
 */
export async function askSession(
  parts: UploadParts,
  session: Session,
  upload: VerifiedUpload,
  opts: CallOptions,
): Promise<Session> {
  const request = {
    ...common(parts, `the state of an upload to ${parts.repository}`),
    method: 'GET',
    object: '',
    at: session.at,
    expect: [200, 202, 204],
  } as const;
  const response = await parts.client.request(request, opts);
  await response.body.discard();
  return sessionOf(response, parts, { before: session, offset: rangeEnd(response) ?? 0, upload });
}

/** Tells the registry that nothing more will come. What it makes of that does not matter. */
export async function cancelUpload(parts: UploadParts, session: Session, opts: CallOptions): Promise<void> {
  const request = {
    ...common(parts, `the end of an upload to ${parts.repository}`),
    method: 'DELETE',
    object: '',
    at: session.at,
    expect: [200, 202, 204],
    retry: false,
  } as const;
  try {
    const response = await parts.client.request(request, opts);
    await response.body.discard();
  } catch (err) {
    if (!isCode(err, 'NOT_FOUND', 'UNSUPPORTED', 'DENIED', 'UNAUTHORIZED', 'UPSTREAM', 'NETWORK', 'TIMEOUT')) throw err;
  }
}

const common = ({ repository }: UploadParts, what: string): Omit<RegistryRequest, 'method' | 'object' | 'expect'> => {
  const { registry, path } = parseRepository(repository);
  return { registry, path, capability: 'push', headers: {}, what };
};

const whatOf = (desc: Descriptor, { repository }: UploadParts): string => `blob ${desc.digest} to ${repository}`;

interface Standing {
  readonly before: Session;
  /** What the registry says that it has. */
  readonly offset: number;
  readonly upload: VerifiedUpload;
}

/** An answer without Location leaves it where it was; the first one must have it. */
function sessionOf(response: HttpResponse, parts: UploadParts, standing?: Standing): Session {
  const { before, offset = 0, upload } = standing ?? {};
  if (upload !== undefined && offset > upload.given) {
    throw wrong(response, `has ${offset} bytes of an upload to ${parts.repository} that was sent ${upload.given}`);
  }
  const location = response.header('location');
  if (location === undefined && before === undefined) {
    throw new GantryError('MALFORMED', `an upload to ${parts.repository} was started without a Location`, {
      origin: 'target',
    });
  }
  const from = before?.at ?? response.url;
  const minChunk = Number(response.header('oci-chunk-min-length') ?? before?.minChunk ?? 0);
  return {
    at: location === undefined ? from : nextUrl(from, location, `an upload to ${parts.repository}`),
    offset,
    minChunk: Number.isSafeInteger(minChunk) && minChunk > 0 ? Math.min(minChunk, MAX_MIN_CHUNK) : 0,
  };
}

/** A registry that asks for more in one part would not get it in parts at all. */
const MAX_MIN_CHUNK = 1 << 30;

/** `Range: 0-1023`: 1,024 bytes are there. `0-0` is how registries say that there are none: that it is one is not believed. */
function rangeEnd(response: HttpResponse): number | undefined {
  const [, last] = /^(?:bytes=)?0-(\d{1,16})$/.exec(response.header('range')?.trim() ?? '') ?? [];
  if (last === undefined) return undefined;
  return Number(last) === 0 ? 0 : Number(last) + 1;
}
