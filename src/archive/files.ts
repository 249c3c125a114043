/** The files of an archive, by name: in a directory or in a tar file. */
import { join } from 'node:path';
import type { ByteStream, CallOptions, OpenOptions } from '../call.ts';
import { GantryError } from '../errors.ts';
import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts';
import { openFile, readRange, streamRange } from './disk.ts';

/** Names are written in the code or made from a Digest; of a tar file they are looked up in a table and never become a path. */
export interface ArchiveFiles {
  /** For messages. */
  readonly where: string;
  /** Undefined where there is no such file. */
  stream(name: string, opts: OpenOptions): Promise<ByteStream | undefined>;
  /** All of a small file. @throws GantryError TOO_LARGE beyond `limit` bytes */
  read(name: string, opts: CallOptions & { readonly limit: number }): Promise<Buffer | undefined>;
}

/** image-spec, image-layout.md. */
export const blobName = (digest: Digest): string => `blobs/${algorithmOf(digest)}/${hexOf(digest)}`;
export const INDEX_FILE = 'index.json';
export const LAYOUT_FILE = 'oci-layout';
export const LAYOUT_TEXT = '{"imageLayoutVersion":"1.0.0"}';

export class DirectoryFiles implements ArchiveFiles {
  readonly where: string;

  constructor(path: string) {
    this.where = path;
  }

  /** Bytes; undefined where there is no such file. */
  async sizeOf(name: string): Promise<number | undefined> {
    const opened = await openFile(join(this.where, name));
    await opened?.file.close();
    return opened?.size;
  }

  async stream(name: string, opts: OpenOptions): Promise<ByteStream | undefined> {
    const path = join(this.where, name);
    const opened = await openFile(path);
    if (opened === undefined) return undefined;
    const { file, size } = opened;
    return streamRange({ file, path, from: Math.min(opts.offset ?? 0, size), to: size }, opts, () => file.close());
  }

  async read(name: string, opts: CallOptions & { readonly limit: number }): Promise<Buffer | undefined> {
    const path = join(this.where, name);
    const opened = await openFile(path);
    if (opened === undefined) return undefined;
    try {
      if (opened.size <= opts.limit)
        return await readRange({ file: opened.file, path, from: 0, to: opened.size }, opts);
      throw new GantryError('TOO_LARGE', `${path} has ${opened.size} bytes, at most ${opts.limit} are read`, {
        origin: 'source',
      });
    } finally {
      await opened.file.close();
    }
  }
}
