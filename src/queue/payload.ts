/** What is kept in Redis for later, made small: the request of a run, and what the visit of a node leaves for its settle. */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Child } from '../flow/handler.ts';
import type { Root } from './record.ts';

/** Shorter ones are kept as they are. */
const DEFLATE_FROM = 4096;
/** Ten thousand descriptors with annotations; what comes out of Redis was put there by us, but a bound costs nothing. */
const MAX_BYTES = 64 << 20;

const pack = (json: string): string =>
  json.length < DEFLATE_FROM ? json : `z${deflateRawSync(json, { level: 1 }).toString('base64')}`;

const unpack = (packed: string): string =>
  packed.startsWith('z')
    ? inflateRawSync(Buffer.from(packed.slice(1), 'base64'), { maxOutputLength: MAX_BYTES }).toString()
    : packed;

export const packChildren = (children: readonly Child[]): string => pack(JSON.stringify(children));

export function unpackChildren(payload: string): Child[] {
  const children: Child[] = payload === '' ? [] : JSON.parse(unpack(payload));
  return children;
}

/** A chunk of a request: the records of one registry are alike, and shrink to a tenth. */
export const packRoots = (roots: readonly Root[]): string => pack(JSON.stringify(roots));

export function unpackRoots(chunk: string): Root[] {
  const roots: Root[] = JSON.parse(unpack(chunk));
  return roots;
}
