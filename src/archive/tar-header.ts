/** Headers of tar files (POSIX.1-2001, pax; GNU tar's long names and large sizes), one block of 512 bytes each. */
import { GantryError } from '../errors.ts';
import { malformed } from '../oci/fields.ts';
import { showText } from '../oci/show.ts';

export const BLOCK = 512;

export interface TarHeader {
  readonly name: string;
  /** One character: `0` is a file, `1` a hard link, `2` a symbolic link, `5` a directory, `x` and `g` PAX, `L` and `K` GNU. */
  readonly type: string;
  /** Bytes that follow, without padding. */
  readonly size: number;
  readonly link: string;
}

/** What stands in a PAX record and is read here. */
export interface Overrides {
  name?: string;
  link?: string;
  size?: number;
}

/** The size of the content of an entry, rounded up to whole blocks. */
export const padded = (size: number): number => Math.ceil(size / BLOCK) * BLOCK;

/** Text up to the first NUL. */
function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return Buffer.from(bytes.subarray(0, end < 0 ? bytes.length : end)).toString();
}

/** Octal digits; or, as GNU tar writes what is larger, a big-endian number behind a first byte of 0x80. */
function numberOf(bytes: Uint8Array, where: string): number {
  const first = bytes[0] ?? 0;
  if ((first & 0x80) !== 0) {
    let value = first & 0x7f;
    for (const byte of bytes.subarray(1)) value = value * 256 + byte;
    if (Number.isSafeInteger(value)) return value;
    throw malformed(where, 'a size beyond 2^53');
  }
  const digits = textOf(bytes).trim();
  if (!/^[0-7]*$/.test(digits)) throw malformed(where, `${showText(digits)} is not a number in octal`);
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

function checksum(block: Uint8Array): number {
  let sum = 8 * 0x20; // the field itself counts as spaces
  for (let i = 0; i < BLOCK; i += 1) if (i < 148 || i >= 156) sum += block[i] ?? 0;
  return sum;
}

/** @param where names the place in messages. @throws GantryError MALFORMED */
export function decodeHeader(block: Uint8Array, where: string): TarHeader {
  const said = textOf(block.subarray(148, 156)).trim();
  if (!/^[0-7]+$/.test(said) || Number.parseInt(said, 8) !== checksum(block)) {
    throw malformed(where, 'no tar header stands there: its checksum is wrong');
  }
  const name = textOf(block.subarray(0, 100));
  // GNU tar has other fields where POSIX has the prefix, and a magic of its own.
  const posix = textOf(block.subarray(257, 263)) === 'ustar';
  const prefix = posix ? textOf(block.subarray(345, 500)) : '';
  const type = String.fromCharCode(block[156] ?? 0);
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    type: type === '\0' || type === '7' ? '0' : type,
    size: numberOf(block.subarray(124, 136), where),
    link: textOf(block.subarray(157, 257)),
  };
}

/**
 * Reads the records of a PAX header, `LENGTH KEY=VALUE\n` each, into `overrides`.
 * @throws GantryError MALFORMED; UNSUPPORTED for a sparse file, whose content is not what stands in the archive
 */
export function decodePax(bytes: Uint8Array, overrides: Overrides, where: string): void {
  const records = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < records.length;) {
    const space = records.indexOf(0x20, at);
    const length = space < 0 ? '' : records.toString('latin1', at, Math.min(space, at + 12));
    const end = at + Number(length);
    if (!/^[1-9][0-9]{0,8}$/.test(length) || end > records.length || records[end - 1] !== 0x0a || space >= end) {
      throw malformed(where, 'a PAX record of a wrong length');
    }
    const equals = records.indexOf(0x3d, space);
    if (equals < 0 || equals >= end) throw malformed(where, 'a PAX record without "="');
    const key = records.toString('utf8', space + 1, equals);
    takeRecord(key, records.toString('utf8', equals + 1, end - 1), overrides, where);
    at = end;
  }
}

function takeRecord(key: string, value: string, overrides: Overrides, where: string): void {
  if (key === 'path') overrides.name = value;
  if (key === 'linkpath') overrides.link = value;
  if (key === 'size') {
    if (!/^[0-9]{1,16}$/.test(value) || !Number.isSafeInteger(Number(value))) {
      throw malformed(where, `a PAX record says the size is ${showText(value, 40)}`);
    }
    overrides.size = Number(value);
  }
  if (key.startsWith('GNU.sparse.')) throw sparse(where);
}

export const sparse = (where: string): GantryError =>
  new GantryError('UNSUPPORTED', `${where}: a sparse file`, {
    origin: 'source',
    hint: 'make the archive again without --sparse',
  });

/** What fits into eleven octal digits. */
const MAX_OCTAL_SIZE = 0o77777777777;

function block(name: string, type: string, size: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  header.write(name, 0, 100);
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  if (size <= MAX_OCTAL_SIZE) {
    header.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
    header.write('ustar\x0000', 257);
  } else {
    header.writeUInt8(0x80, 124);
    header.writeBigUInt64BE(BigInt(size), 128);
    header.write('ustar  \0', 257);
  }
  header.write('00000000000\0', 136);
  header.write(type, 156);
  header.write(`${checksum(header).toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

const MAX_NAME = 100;

/** Bytes that encodeHeader makes for an entry of this name; one block, unless the name is long. */
export const headerSize = (name: string): number => (name.length <= MAX_NAME ? BLOCK : 3 * BLOCK);

/** A header for a file. Owner, mode and time are the same for all: equal images make equal entries. Names are ASCII. */
export function encodeHeader(name: string, size: number): Buffer {
  if (name.length <= MAX_NAME) return block(name, '0', size);
  const record = paxRecord('path', name);
  const content = Buffer.alloc(BLOCK);
  content.write(record);
  return Buffer.concat([block('PaxHeader', 'x', record.length), content, block(name.slice(0, MAX_NAME), '0', size)]);
}

/** The length counts itself. */
function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + 1;
  while (`${length}${rest}`.length !== length) length += 1;
  return `${length}${rest}`;
}
