import type { ByteStream, CallOptions, OpenOptions } from '../call.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Pusher } from '../remote/ports.ts';

/** An archive to write to. Disposing it drops what is not committed. */
export interface ArchiveTarget extends Pusher, AsyncDisposable {
  /** A manifest that was put: who gives it a second name may have to read it again. @throws GantryError NOT_FOUND */
  fetchManifest(desc: Descriptor, opts: OpenOptions): Promise<ByteStream>;
  /** Makes all that was put appear, whole and durable. Nothing is put afterwards. */
  commit(opts: CallOptions): Promise<void>;
}
