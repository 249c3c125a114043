import { type ByteStream, type OpenOptions, sleep } from '../call.ts';
import { asGantryError, GantryError, isCode } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { MAX_MANIFEST_BYTES } from '../oci/manifest.ts';
import { isNonDistributable, MANIFEST_ACCEPT } from '../oci/media-types.ts';
import { parseRepository } from '../oci/reference.ts';
import type { ContentKind } from '../remote/ports.ts';
import { aboutContent } from '../remote/registry-errors.ts';
import type { RegistryRequest, RegistryRequests } from './requests.ts';
import { refuseDisguises } from './disguise.ts';
import type { RateLimit } from './rate-limit.ts';
import { type OnRetry, retryDelayMs, type RetryConfig } from './retry.ts';
import type { HttpResponse } from './transport.ts';

/** Progress that counts: after so many bytes a transfer has earned a fresh budget of tries. */
const EARNED_BYTES = 1 << 20;
/** And still a transfer that breaks after every mebibyte must end. */
const MAX_RESUMES = 100;

export interface BlobFetchParts {
  readonly client: RegistryRequests;
  readonly repository: string;
  readonly kind: ContentKind;
  readonly desc: Descriptor;
  readonly retry: RetryConfig;
  readonly rateLimit: RateLimit | undefined;
  readonly onRetry: OnRetry | undefined;
}

/**
 * The content of one descriptor as a stream that goes on where a broken connection left off. It does not verify: it may
 * join parts of different content, which the digest of the whole will tell.
 */
export class BlobFetch implements ByteStream {
  /** A read of the socket that is all body; one that holds headers, too, does not fill its ArrayBuffer. */
  readonly exclusive = true;
  readonly #parts: BlobFetchParts;
  readonly #opts: OpenOptions;
  #response: HttpResponse;
  /** Bytes of the present response that come before what is wanted: its server did not honour the range. */
  #skip: number;
  #offset: number;
  #etag: string | undefined;
  /** The server answers ranges wrongly; from now on everything is read from the start and the head thrown away. */
  #rangesBroken = false;

  private constructor(parts: BlobFetchParts, opts: OpenOptions, first: { response: HttpResponse; skip: number }) {
    this.#parts = parts;
    this.#opts = opts;
    this.#offset = opts.offset ?? 0;
    this.#response = first.response;
    this.#skip = first.skip;
    this.#etag = strongEtag(first.response);
  }

  /** Answers when the registry has started to send. */
  static async open(parts: BlobFetchParts, opts: OpenOptions): Promise<ByteStream> {
    const { desc } = parts;
    const offset = opts.offset ?? 0;
    if (offset >= desc.size) return empty; // a Range from there would be answered by 416
    if (parts.kind === 'manifest' && desc.size > MAX_MANIFEST_BYTES) {
      throw failure('TOO_LARGE', parts, `has ${desc.size} bytes, more than ${MAX_MANIFEST_BYTES}`);
    }
    try {
      return new BlobFetch(parts, opts, await request(parts, { offset, etag: undefined }, opts));
    } catch (err) {
      if (isCode(err, 'NOT_FOUND') && isForeign(desc)) throw foreign(parts, err);
      if (!(err instanceof BrokenRange)) throw err;
      const fetch = new BlobFetch(parts, opts, await request(parts, { offset: 0, etag: undefined }, opts));
      fetch.#skip = offset;
      fetch.#rangesBroken = true;
      return fetch;
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    const { desc } = this.#parts;
    let earnedAt = this.#offset;
    let failures = 0;
    for (let resumes = 0; ; resumes += 1) {
      try {
        yield* this.#read();
        if (this.#offset >= desc.size) return;
        throw failure('NETWORK', this.#parts, `ended at ${this.#offset} of ${desc.size} bytes`);
      } catch (err) {
        if (this.#opts.signal.aborted) throw err;
        if (this.#offset - earnedAt >= EARNED_BYTES) failures = 0;
        earnedAt = this.#offset;
        failures += 1;
        const error = aboutContent(asGantryError(err), desc.digest);
        const delayMs = resumes >= MAX_RESUMES ? undefined : retryDelayMs(error, failures, this.#parts.retry);
        if (delayMs === undefined) throw error;
        this.#parts.onRetry?.(error, delayMs);
        await sleep(delayMs, this.#opts.signal);
        await this.#resume();
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#response.body[Symbol.asyncDispose]();
  }

  async *#read(): AsyncGenerator<Uint8Array, void, undefined> {
    const { desc } = this.#parts;
    for await (const chunk of this.#response.body) {
      const wanted = this.#skip === 0 ? chunk : chunk.subarray(Math.min(this.#skip, chunk.byteLength));
      this.#skip -= chunk.byteLength - wanted.byteLength;
      if (this.#parts.rateLimit !== undefined) await this.#parts.rateLimit.pass(chunk.byteLength, this.#opts);
      if (wanted.byteLength === 0) continue;
      this.#offset += wanted.byteLength;
      if (this.#offset > desc.size) throw failure('SIZE_MISMATCH', this.#parts, `is longer than ${desc.size} bytes`);
      yield wanted;
    }
  }

  /** Asks for the rest. The registry is asked again, never the place that it redirected to: signed URLs run out. */
  async #resume(): Promise<void> {
    try {
      const offset = this.#rangesBroken ? 0 : this.#offset;
      const { response, skip } = await request(this.#parts, { offset, etag: this.#etag }, this.#opts);
      this.#response = response;
      this.#skip = this.#rangesBroken ? this.#offset : skip;
      this.#etag = strongEtag(response);
    } catch (err) {
      if (!(err instanceof BrokenRange) || this.#rangesBroken) throw err;
      this.#rangesBroken = true;
      await this.#resume();
    }
  }
}

const empty: ByteStream = {
  async *[Symbol.asyncIterator]() {
    // nothing is missing
  },
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

/** The answer to a Range is of no use; without Range it may be. */
class BrokenRange extends Error {}

interface RangeWanted {
  readonly offset: number;
  readonly etag: string | undefined;
}

async function request(
  parts: BlobFetchParts,
  range: RangeWanted,
  opts: OpenOptions,
): Promise<{ response: HttpResponse; skip: number }> {
  const { client, desc } = parts;
  const { offset } = range;
  const response = await client.request(requestFor(parts, range), opts);
  try {
    refuseDisguises(response, nameOf(parts), parts.kind === 'blob' && hasLength(response, desc.size));
    if (response.status === 416) throw new BrokenRange();
    if (response.status === 206) checkRange(response, range, desc.size);
    else checkLength(response, parts);
    return { response, skip: response.status === 206 ? 0 : offset };
  } catch (err) {
    await response.body[Symbol.asyncDispose]();
    throw err;
  }
}

function requestFor(parts: BlobFetchParts, { offset, etag }: RangeWanted): RegistryRequest {
  const { repository, kind, desc } = parts;
  const { registry, path } = parseRepository(repository);
  const accept = kind === 'manifest' ? { accept: [...new Set([desc.mediaType, ...MANIFEST_ACCEPT])].join(', ') } : {};
  const ifRange = offset > 0 && etag !== undefined ? { 'if-range': etag } : {};
  const range = offset > 0 ? { range: `bytes=${offset}-`, ...ifRange } : {};
  return {
    method: 'GET',
    registry,
    path,
    object: `${kind}s/${desc.digest}`,
    capability: 'pull',
    headers: { ...accept, ...range },
    expect: offset > 0 ? [200, 206, 416] : [200],
    what: nameOf(parts),
    digest: desc.digest,
  };
}

/** RFC 9110 section 14.4. What starts elsewhere, or is about something of another size, cannot be joined. */
function checkRange(response: HttpResponse, { offset, etag }: RangeWanted, size: number): void {
  const [, start, total] =
    /^bytes (\d{1,16})-\d{1,16}\/(\d{1,16}|\*)$/.exec(response.header('content-range') ?? '') ?? [];
  const changed = etag !== undefined && strongEtag(response) !== undefined && strongEtag(response) !== etag;
  if (Number(start) !== offset || (total !== '*' && Number(total) !== size) || changed) throw new BrokenRange();
}

function checkLength(response: HttpResponse, parts: BlobFetchParts): void {
  const length = response.header('content-length');
  if (length === undefined || hasLength(response, parts.desc.size)) return;
  throw failure('SIZE_MISMATCH', parts, `is sent with ${length} bytes, not ${parts.desc.size}`);
}

const hasLength = (response: HttpResponse, size: number): boolean => Number(response.header('content-length')) === size;

const nameOf = ({ kind, desc, repository }: BlobFetchParts): string => `${kind} ${desc.digest} of ${repository}`;

const failure = (code: 'NETWORK' | 'SIZE_MISMATCH' | 'TOO_LARGE', parts: BlobFetchParts, what: string): GantryError =>
  new GantryError(code, `${nameOf(parts)} ${what}`, {
    origin: 'source',
    digest: parts.desc.digest,
    host: parseRepository(parts.repository).registry,
  });

/** Its registry may decline to hold it (image-spec, layer.md, "Non-Distributable Layers"). */
const isForeign = (desc: Descriptor): boolean => isNonDistributable(desc.mediaType) || (desc.urls ?? []).length > 0;

const foreign = (parts: BlobFetchParts, cause: GantryError): GantryError =>
  new GantryError(
    'NOT_FOUND',
    `${nameOf(parts)} is not in the registry: it is of type ${parts.desc.mediaType.slice(0, 120)}`,
    {
      origin: 'source',
      status: 404,
      digest: parts.desc.digest,
      ...(cause.host === undefined ? {} : { host: cause.host }),
      hint: 'gantry does not follow the urls of such layers',
      cause,
    },
  );

function strongEtag(response: HttpResponse): string | undefined {
  const etag = response.header('etag');
  return etag?.startsWith('"') === true ? etag : undefined;
}
