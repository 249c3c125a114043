/** What is kept in Redis for later, made small: the request of a run, and what a node leaves for its settle. */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Child } from '../flow/handler.ts';
import type { Root } from './record.ts';

/** Shorter ones are kept as they are. */
const DEFLATE_FROM = 4096;
/** Ten thousand descriptors with annotations and a manifest; what comes out of Redis was put there by us, but a bound costs nothing. */
const MAX_BYTES = 64 << 20;

const pack = (plain: string): string =>
  plain.length < DEFLATE_FROM ? plain : `z${deflateRawSync(plain, { level: 1 }).toString('base64')}`;

const unpack = (packed: string): string =>
  packed.startsWith('z')
    ? inflateRawSync(Buffer.from(packed.slice(1), 'base64'), { maxOutputLength: MAX_BYTES }).toString()
    : packed;

/** What settle is told, beside its round. */
export interface Left {
  readonly children: readonly Child[];
  readonly carry: string;
}

/** The children as JSON, in which no line ends, then what is carried in a line or more of its own: no quote of a manifest is escaped. */
export function packLeft({ children, carry }: Left): string {
  const json = JSON.stringify(children);
  return pack(carry === '' ? json : `${json}\n${carry}`);
}

export function unpackLeft(payload: string): Left {
  if (payload === '') return { children: [], carry: '' };
  const plain = unpack(payload);
  const at = plain.indexOf('\n');
  const children: Child[] = JSON.parse(at < 0 ? plain : plain.slice(0, at));
  return { children, carry: at < 0 ? '' : plain.slice(at + 1) };
}

/** A chunk of a request: the records of one registry are alike, and shrink to a tenth. */
export const packRoots = (roots: readonly Root[]): string => pack(JSON.stringify(roots));

export function unpackRoots(chunk: string): Root[] {
  const roots: Root[] = JSON.parse(unpack(chunk));
  return roots;
}
