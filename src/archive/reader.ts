import type { CallOptions } from '../call.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Reference } from '../oci/reference.ts';
import type { Fetcher } from '../remote/ports.ts';

/** An archive to read from. */
export interface ArchiveReader extends Fetcher, AsyncDisposable {
  /** @throws GantryError NOT_FOUND, MALFORMED, ... */
  resolve(ref: Reference, opts: CallOptions): Promise<Descriptor>;
  /** The first name of each image that has one. */
  names(opts: CallOptions): Promise<readonly string[]>;
}
