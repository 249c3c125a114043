import { gzipSync } from 'node:zlib';

export interface TarEntry {
  readonly name: string;
  /** '0' file, '1' hard link, '2' symbolic link, '5' directory, any other letter as it is. */
  readonly type?: string;
  readonly body?: Uint8Array | string;
  readonly linkname?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
}

const octal = (value: number, width: number): string => `${value.toString(8).padStart(width - 1, '0')}\0`;

function header(entry: TarEntry, size: number): Buffer {
  const block = Buffer.alloc(512);
  const type = entry.type ?? '0';
  block.write(entry.name, 0, 100);
  block.write(octal(entry.mode ?? (type === '5' ? 0o755 : 0o644), 8), 100);
  block.write(octal(entry.uid ?? 0, 8), 108);
  block.write(octal(entry.gid ?? 0, 8), 116);
  block.write(octal(size, 12), 124);
  block.write(octal(entry.mtime ?? 1_700_000_000, 12), 136);
  block.write('        ', 148);
  block.write(type, 156);
  block.write(entry.linkname ?? '', 157, 100);
  block.write('ustar\x0000', 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

/** A minimal ustar writer: names and links up to 100 bytes. */
export function tar(entries: readonly TarEntry[]): Buffer {
  const parts: Buffer[] = [];
  for (const entry of entries) {
    const body = Buffer.from(entry.body ?? '');
    parts.push(header(entry, body.length), body, Buffer.alloc((512 - (body.length % 512)) % 512));
  }
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

export const tarGz = (entries: readonly TarEntry[]): Buffer => gzipSync(tar(entries), { level: 6 });
