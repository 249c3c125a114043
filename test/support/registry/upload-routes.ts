import { type Answer, answer, type Asked, type HeaderValue, ociError } from './answer.ts';
import type { Kind } from './log.ts';
import { sessionOf } from './paths.ts';
import { ClientGone } from './request-body.ts';
import type { Repositories } from './storage.ts';
import { type Upload, Uploads } from './uploads.ts';

export interface UploadOptions {
  /** `elsewhere`: on a port of its own, which wants no credentials. Absolute unless said. */
  readonly location?: 'absolute' | 'relative' | 'elsewhere';
  /** A Location is good until bytes came after it; then 404 BLOB_UPLOAD_INVALID, as docker-registry answers. */
  readonly staleLocations?: 'taken' | 'refused';
  /** `lie`: 201, but the blob is not there. */
  readonly mounts?: 'accept' | 'refuse' | '401' | '404' | 'lie';
  /** Mounts a blob that any repository has when the request does not say from where. */
  readonly autoMount?: boolean;
  /** False: POST with a digest starts an upload, as docker-registry does. */
  readonly monolithicPost?: boolean;
  /** Told as OCI-Chunk-Min-Length. Only the last chunk may be smaller. */
  readonly minChunk?: number;
  /** 413 for a larger body. */
  readonly maxBody?: number;
  /** What a PUT or POST gets whose body is larger: more has to come in chunks. */
  readonly chunkedOnly?: { readonly over: number; readonly status: 413 | 405 };
  /** 411 for a body without Content-Length. */
  readonly lengthRequired?: boolean;
  /** What becomes of the bytes of a chunk that breaks off; kept unless said. */
  readonly partialChunks?: 'kept' | 'dropped';
  /** A blob that is larger is only hashed: reading it is a failure of the test. 64 MiB unless given. */
  readonly keepBytes?: number;
}

interface Surroundings {
  readonly stored: Repositories;
  /** The origin of blobs, and that of uploads. */
  readonly origins: () => { readonly home: string; readonly uploads: string };
  /** What says that other credentials are wanted. */
  readonly refuse: (asked: Asked) => Answer;
}

const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

const digestInvalid = (detail: string): Answer =>
  ociError(400, 'DIGEST_INVALID', 'provided digest did not match uploaded content', detail);
const uploadUnknown = (): Answer => ociError(404, 'BLOB_UPLOAD_UNKNOWN', 'blob upload unknown to registry');
const tooLarge = (): Answer => ociError(413, 'SIZE_INVALID', 'the body is too large');

/** How blobs come in: the push side of the distribution spec but for manifests. */
export class UploadRoutes {
  readonly uploads: Uploads;
  readonly #options: UploadOptions;
  readonly #around: Surroundings;
  readonly #serving: Partial<Record<Kind, (asked: Asked) => Promise<Answer> | Answer>> = {
    'upload-start': (asked) => this.#start(asked),
    mount: (asked) => this.#mount(asked),
    chunk: (asked) => this.#within(asked, (upload) => this.#chunk(asked, upload)),
    'upload-end': (asked) => this.#within(asked, (upload) => this.#end(asked, upload)),
    'upload-status': (asked) => this.#within(asked, (upload) => this.#progress(204, upload)),
    'upload-cancel': (asked) => this.#within(asked, (upload) => this.#cancel(upload)),
  };

  constructor(around: Surroundings, options: UploadOptions) {
    this.uploads = new Uploads(options.keepBytes ?? 64 * 1024 * 1024);
    this.#around = around;
    this.#options = options;
  }

  /** Undefined: the request is about something else. */
  serve(asked: Asked): Promise<Answer> | Answer | undefined {
    return this.#serving[asked.entry.kind]?.(asked);
  }

  async #start(asked: Asked): Promise<Answer> {
    const { repo = '', object } = asked.entry;
    const isWhole = object !== undefined && this.#options.monolithicPost !== false;
    const refusal = isWhole ? this.#refusedBody(asked) : undefined;
    if (refusal) return refusal;
    const upload = this.uploads.start(repo);
    if (!isWhole) return this.#started(upload);
    const ended = await this.#end(asked, upload);
    this.uploads.end(upload);
    return ended;
  }

  #started(upload: Upload): Answer {
    const { minChunk } = this.#options;
    return this.#progress(202, upload, minChunk === undefined ? {} : { 'oci-chunk-min-length': String(minChunk) });
  }

  #mount(asked: Asked): Answer {
    const { repo = '', object: digest = '' } = asked.entry;
    const { mounts = 'accept', autoMount = false } = this.#options;
    const { stored } = this.#around;
    if (mounts === '401') return this.#around.refuse(asked);
    if (mounts === '404') return ociError(404, 'NAME_UNKNOWN', 'repository name not known to registry');
    if (mounts === 'lie') return this.#created(repo, digest);
    const from = asked.url.searchParams.get('from');
    const anywhere = autoMount ? stored.findBlob(digest) : undefined;
    const found = from === null ? anywhere : stored.get(from)?.blobs.get(digest);
    if (mounts === 'refuse' || found === undefined) return this.#started(this.uploads.start(repo));
    stored.putBlob(repo, found, digest);
    return this.#created(repo, digest);
  }

  /** Whether the session is there, and the Location the last one that was told. */
  #within(asked: Asked, work: (upload: Upload) => Promise<Answer> | Answer): Promise<Answer> | Answer {
    const session = sessionOf(asked.url);
    const find = (): Upload | undefined => this.uploads.get(asked.entry.repo ?? '', session);
    const upload = find();
    if (upload === undefined) return uploadUnknown();
    const current = async (): Promise<Answer> => {
      if (find() === undefined) return uploadUnknown(); // ended by the request before
      const isStale = asked.url.searchParams.get('_state') !== stateOf(upload);
      if (!isStale || this.#options.staleLocations !== 'refused') return work(upload);
      return ociError(404, 'BLOB_UPLOAD_INVALID', 'blob upload invalid');
    };
    return upload.alone(current, asked.body.slow);
  }

  async #chunk(asked: Asked, upload: Upload): Promise<Answer> {
    const refusal = this.#refusedBody(asked) ?? this.#refusedRange(asked, upload);
    if (refusal) return refusal;
    if (upload.isShort) return ociError(400, 'BLOB_UPLOAD_INVALID', 'a chunk before this one is too small');
    const before = upload.size;
    if (!(await this.#append(asked, upload))) return tooLarge();
    upload.isShort = upload.size - before < (this.#options.minChunk ?? 0);
    return this.#progress(202, upload);
  }

  async #end(asked: Asked, upload: Upload): Promise<Answer> {
    const { repo = '', object: digest } = asked.entry;
    const refusal = this.#refusedBody(asked) ?? this.#refusedRange(asked, upload);
    if (refusal) return refusal;
    if (digest === undefined) return digestInvalid('digest missing');
    if (!DIGEST.test(digest)) return digestInvalid('digest parsing failed');
    const undo = upload.mark();
    if (!(await this.#append(asked, upload))) return tooLarge();
    if (!upload.fits(digest)) {
      undo();
      return digestInvalid(digest);
    }
    this.#around.stored.putBlob(repo, upload.content(), digest);
    this.uploads.end(upload);
    return this.#created(repo, digest);
  }

  #cancel(upload: Upload): Answer {
    this.uploads.end(upload);
    return answer(204, { 'docker-upload-uuid': upload.id });
  }

  #refusedBody({ entry }: Asked): Answer | undefined {
    const { maxBody = Infinity, chunkedOnly, lengthRequired = false } = this.#options;
    const isChunked = entry.headers['transfer-encoding'] !== undefined;
    if (lengthRequired && isChunked) return ociError(411, 'SIZE_INVALID', 'Content-Length is missing');
    const length = Number(entry.headers['content-length'] ?? 0);
    if (length > maxBody) return tooLarge();
    if (chunkedOnly === undefined || entry.kind === 'chunk' || length <= chunkedOnly.over) return undefined;
    return ociError(chunkedOnly.status, 'UNSUPPORTED', 'send this blob in chunks');
  }

  /** distribution-spec, "Pushing a blob in chunks": 416 for a chunk that is not the next one. */
  #refusedRange({ entry }: Asked, upload: Upload): Answer | undefined {
    const range = entry.headers['content-range'];
    if (range === undefined) return undefined;
    const [, first, last] = /^(\d+)-(\d+)$/.exec(range) ?? [];
    const length = Number(entry.headers['content-length'] ?? Number(last) - Number(first) + 1);
    if (Number(first) === upload.size && Number(last) - Number(first) + 1 === length) return undefined;
    const refusal = ociError(416, 'BLOB_UPLOAD_INVALID', `expected bytes from ${upload.size}, got ${range}`);
    for (const [name, value] of this.#progress(416, upload).headers) refusal.headers.set(name, value);
    return refusal;
  }

  /** False: there were more bytes than a body may have. */
  async #append({ body, entry }: Asked, upload: Upload): Promise<boolean> {
    const undo = upload.mark();
    try {
      for await (const bytes of body.rest()) {
        upload.append(bytes);
        if (entry.bytesReceived <= (this.#options.maxBody ?? Infinity)) continue;
        undo();
        return false;
      }
      return true;
    } catch (err) {
      if (err instanceof ClientGone && this.#options.partialChunks === 'dropped') undo();
      throw err;
    }
  }

  #progress(status: number, upload: Upload, more: Record<string, HeaderValue> = {}): Answer {
    const path = `/v2/${upload.repo}/blobs/uploads/${upload.id}?_state=${stateOf(upload)}`;
    return answer(status, {
      location: this.#options.location === 'relative' ? path : `${this.#around.origins().uploads}${path}`,
      range: `0-${Math.max(0, upload.size - 1)}`, // one byte and none look the same, as docker-registry has it
      'docker-upload-uuid': upload.id,
      ...more,
    });
  }

  #created(repo: string, digest: string): Answer {
    const path = `/v2/${repo}/blobs/${digest}`;
    const location = this.#options.location === 'relative' ? path : `${this.#around.origins().home}${path}`;
    return answer(201, { location, 'docker-content-digest': digest });
  }
}

/** Registries put what they want to know again into the query. */
const stateOf = (upload: Upload): string => Buffer.from(`${upload.id}@${upload.size}`).toString('base64url');
