/** What the visit of a node leaves for its settle, in another ticket and maybe on another machine: its children. */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Child } from '../flow/handler.ts';

/** Shorter ones are kept as they are. */
const DEFLATE_FROM = 4096;
/** Ten thousand descriptors with annotations; what comes out of Redis was put there by a worker, but a bound costs nothing. */
const MAX_BYTES = 64 << 20;

export function packChildren(children: readonly Child[]): string {
  const json = JSON.stringify(children);
  return json.length < DEFLATE_FROM ? json : `z${deflateRawSync(json, { level: 1 }).toString('base64')}`;
}

export function unpackChildren(payload: string): Child[] {
  if (payload === '') return [];
  const json = payload.startsWith('z')
    ? inflateRawSync(Buffer.from(payload.slice(1), 'base64'), { maxOutputLength: MAX_BYTES }).toString()
    : payload;
  const children: Child[] = JSON.parse(json);
  return children;
}
