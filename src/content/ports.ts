/** The ports of local content. Each has the fewest methods that its users need; sums are made at the place of use. */
import type { ByteStream, CallOptions, OpenOptions } from '../call.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';

/** Reads content. */
export interface Provider {
  /** @throws GantryError NOT_FOUND when the content is not here */
  open(desc: Pick<Descriptor, 'digest' | 'size'>, opts: OpenOptions): Promise<ByteStream>;
}

/** A file that is open, for whoever sends its bytes on from memory of their own. Closed by whoever opened it, once. */
export interface OpenFile {
  /** Bytes, when it was opened: content does not change. */
  readonly size: number;
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }>;
  close(): Promise<void>;
}

/** Opens content as a file, where it is one. */
export interface FileProvider {
  /** Undefined when the content is not here. It stays readable until it is closed, whoever deletes it. */
  openFile(digest: Digest, opts: CallOptions): Promise<OpenFile | undefined>;
}

export interface ContentInfo {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly createdAt: Date;
}

/** Tells what is here. */
export interface InfoProvider {
  stat(digest: Digest, opts: CallOptions): Promise<ContentInfo | undefined>;
}

/** Deletes and lists content. */
export interface ContentManager {
  /** @throws GantryError NOT_FOUND */
  delete(digest: Digest, opts: CallOptions): Promise<void>;
  walk(opts: CallOptions): AsyncIterable<ContentInfo>;
}

export interface IngestRequest {
  /** Names the ingest: a ref key, or any text of up to 1,024 characters. Two writers of one ref exclude each other. */
  readonly ref: string;
  /** Checked at commit; absent: whatever the bytes hash to. */
  readonly digest?: Digest;
  /** Checked while writing and at commit, in bytes. */
  readonly size?: number;
}

/** Expected outcomes of starting a write are values, so that the compiler asks for each. */
export type Ingest =
  | { readonly state: 'open'; readonly writer: ContentWriter }
  | { readonly state: 'present'; readonly info: ContentInfo }
  | { readonly state: 'busy'; readonly since: Date };

export interface Ingester {
  ingest(request: IngestRequest, opts: CallOptions): Promise<Ingest>;
}

/**
 * One unfinished write. Disposing it keeps the bytes, so that a later ingest of the same ref resumes at `offset`.
 */
export interface ContentWriter extends AsyncDisposable {
  /** Bytes held so far, those of an earlier attempt included. */
  readonly offset: number;
  /**
   * Takes the bytes over: the caller must not change them afterwards. Answers a promise only when the caller should
   * wait before it sends more. With `exclusive` a chunk that fills its ArrayBuffer is freed as soon as it is on its way to
   * the disk.
   * @throws GantryError SIZE_MISMATCH as soon as there is a byte too many
   */
  write(chunk: Uint8Array, exclusive?: boolean): void | Promise<void>;
  /**
   * Makes the content visible under its digest, whole and durable, and ends the ingest. Content that is there already
   * is success.
   * @throws GantryError DIGEST_MISMATCH, SIZE_MISMATCH (all partial data is dropped), LOST_LOCK
   */
  commit(opts: CallOptions): Promise<ContentInfo>;
  /** Drops all partial data and ends the ingest. */
  discard(): Promise<void>;
}

export interface IngestStatus {
  readonly ref: string;
  readonly offset: number;
  readonly total: number | undefined;
  readonly expected: Digest | undefined;
  readonly startedAt: Date;
  readonly updatedAt: Date;
}

/** Content of which everything is known but its bytes. */
export type FollowRequest = Required<IngestRequest>;

export interface FollowOptions extends CallOptions {
  /** After so long without a byte it is given up, in milliseconds; a minute unless given. */
  readonly patienceMs?: number;
  /** Whether more will come for all that the caller knows: so long it is waited for. */
  readonly isExpected?: () => boolean;
}

/** Reads content while it is being written, by whomever. */
export interface GrowingProvider {
  /**
   * A stream that goes on through takeovers, and ends only when all of it is here and every byte that was handed out was right; undefined when
   * the content is neither here nor being written. Its iteration throws DIGEST_MISMATCH, TIMEOUT, and NOT_FOUND when the write was given up.
   */
  follow(request: FollowRequest, opts: FollowOptions): Promise<ByteStream | undefined>;
}

/** Looks after unfinished writes. */
export interface IngestManager {
  active(opts: CallOptions): Promise<IngestStatus[]>;
  /** @throws GantryError NOT_FOUND, BUSY while a live writer holds it */
  abort(ref: string, opts: CallOptions): Promise<void>;
}

export interface CollectOptions extends CallOptions {
  /** Only tell what would go. */
  readonly dryRun: boolean;
  /** Unfinished writes that nobody holds and that have not moved for this long go, too. Milliseconds. */
  readonly ingestsOlderThanMs: number;
}

export interface Collected {
  readonly blobs: readonly ContentInfo[];
  readonly ingests: readonly IngestStatus[];
}

/** Tells which content is needed, reading manifests through the provider that it is given. May be asked twice. */
export type Mark = (provider: Provider, opts: CallOptions) => Promise<ReadonlySet<Digest>>;

/** Deletes what is not needed, safely beside running pulls. */
export interface Collector {
  /** @throws GantryError BUSY while another collection runs */
  collect(mark: Mark, opts: CollectOptions): Promise<Collected>;
}

export interface ImageRecord {
  /** A normalised reference, or the name that another tool wrote. */
  readonly name: string;
  readonly desc: Descriptor;
}

/** Image names: which content is called what. Any number of processes may record at once and none is lost. */
export interface ImageNames {
  record(name: string, desc: Descriptor, opts: CallOptions): Promise<void>;
  lookup(name: string, opts: CallOptions): Promise<ImageRecord | undefined>;
  list(opts: CallOptions): Promise<ImageRecord[]>;
  /** @throws GantryError NOT_FOUND */
  remove(name: string, opts: CallOptions): Promise<void>;
}
