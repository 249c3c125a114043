/** Writes to one repository of a registry: blobs by mount or upload, manifests byte for byte. */
import type { CallOptions } from '../call.ts';
import { isCode } from '../errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { parseRepository } from '../oci/reference.ts';
import type { ContentKind, ContentSource, PushOptions, Pusher } from '../remote/ports.ts';
import { atTarget, targetError } from '../remote/registry-errors.ts';
import { BlobPush, type RegistryHabits } from './blob-push.ts';
import { hasContent, lookupTag, putManifest } from './put-manifest.ts';
import type { PlaceHolder, RegistryRequests } from './requests.ts';
import type { OnRetry, RetryConfig } from './retry.ts';
import { cancelUpload, type Session, startUpload, type UploadParts } from './upload.ts';
import { VerifiedUpload } from './verified-upload.ts';

export interface PusherParts {
  readonly client: RegistryRequests & PlaceHolder;
  /** `host[:port]/path`. */
  readonly repository: string;
  readonly retry: RetryConfig;
  readonly onRetry: OnRetry | undefined;
  /** What was learned about the registry, for all its repositories. */
  readonly habits: RegistryHabits;
}

/** Started by a mount that was not accepted; the upload that follows takes it up. */
const MAX_OPEN_SESSIONS = 64;

export class RegistryPusher implements Pusher {
  readonly #parts: PusherParts;
  readonly #upload: UploadParts;
  /** By digest. */
  readonly #sessions = new Map<string, Session>();

  constructor(parts: PusherParts) {
    this.#parts = parts;
    this.#upload = { client: parts.client, repository: parts.repository };
  }

  lookup(tag: string, opts: CallOptions): Promise<Digest | undefined> {
    return atTarget(undefined, () => lookupTag(this.#upload, tag, opts));
  }

  has(kind: ContentKind, desc: Descriptor, opts: CallOptions): Promise<boolean> {
    return atTarget(desc.digest, () => hasContent(this.#upload, kind, desc, opts));
  }

  putManifest(desc: Descriptor, bytes: Uint8Array, opts: CallOptions & { tag?: string }): Promise<void> {
    return atTarget(desc.digest, () => putManifest(this.#upload, desc, bytes, opts));
  }

  /** Whether the repository may be written: starts an upload and gives it up. @throws GantryError DENIED, UNAUTHORIZED, ... */
  async check(opts: CallOptions): Promise<void> {
    await atTarget(undefined, async () => {
      const started = await startUpload(this.#upload, undefined, opts);
      if (started.state === 'open') await cancelUpload(this.#upload, started.session, opts);
    });
  }

  async mount(desc: Descriptor, from: string, opts: CallOptions): Promise<boolean> {
    try {
      const started = await startUpload(this.#upload, { digest: desc.digest, from: parseRepository(from).path }, opts);
      if (started.state === 'mounted') return true;
      await this.#keep(desc, started.session, opts);
      return false;
    } catch (err) {
      // Not allowed to read the other repository, or a registry that knows no mounts. An upload tells whether this one may be written.
      if (isCode(err, 'UNAUTHORIZED', 'DENIED', 'NOT_FOUND', 'UNSUPPORTED')) return false;
      throw targetError(err, desc.digest);
    }
  }

  async push(desc: Descriptor, source: ContentSource, opts: PushOptions): Promise<void> {
    const session = this.#sessions.get(desc.digest);
    this.#sessions.delete(desc.digest);
    await using upload = new VerifiedUpload(desc, source, opts);
    const { client, repository } = this.#parts;
    const work = async (holder: RegistryRequests): Promise<void> => {
      const to = { client: holder, repository };
      await new BlobPush({ ...this.#parts, to, desc, upload, session }, opts).run();
    };
    try {
      await client.holding(parseRepository(repository).registry, work, opts);
    } catch (err) {
      throw upload.fault === undefined ? targetError(err, desc.digest) : err;
    }
  }

  async #keep(desc: Descriptor, session: Session, opts: CallOptions): Promise<void> {
    this.#sessions.set(desc.digest, session);
    const [oldest] = this.#sessions;
    if (this.#sessions.size <= MAX_OPEN_SESSIONS || oldest === undefined) return;
    this.#sessions.delete(oldest[0]);
    await cancelUpload(this.#upload, oldest[1], opts);
  }
}
