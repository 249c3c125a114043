import { createHash, type Hash } from 'node:crypto';
import { GantryError } from '../errors.ts';

declare const digestBrand: unique symbol;

/** A digest that was checked: `sha256:` + 64 or `sha512:` + 128 lower-case hex digits (image-spec, descriptor.md#digests). */
export type Digest = string & { readonly [digestBrand]: true };

export type Algorithm = 'sha256' | 'sha512';

const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

export const isDigest = (text: unknown): text is Digest => typeof text === 'string' && DIGEST.test(text);

/**
 * The only way from a string to a Digest: nothing else may become a path, a URL or a key.
 * @throws GantryError INVALID
 */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  const shown = JSON.stringify(text.length > 160 ? `${text.slice(0, 160)}...` : text);
  throw new GantryError('INVALID', `not a digest: ${shown}`, {
    origin: 'user',
    hint: 'a digest is sha256: and 64, or sha512: and 128 lower-case hex digits',
  });
}

export const algorithmOf = (digest: Digest): Algorithm => (digest.startsWith('sha512:') ? 'sha512' : 'sha256');

export const hexOf = (digest: Digest): string => digest.slice(7);

/** A running hash that ends in a Digest. */
export class Digester {
  readonly algorithm: Algorithm;
  readonly #hash: Hash;

  constructor(algorithm: Algorithm = 'sha256') {
    this.algorithm = algorithm;
    this.#hash = createHash(algorithm);
  }

  update(chunk: Uint8Array): void {
    this.#hash.update(chunk);
  }

  /** Ends the hash; a second call throws. */
  digest(): Digest {
    return parseDigest(`${this.algorithm}:${this.#hash.digest('hex')}`);
  }
}

/** The digest of bytes in memory. */
export function digestOf(bytes: Uint8Array | string, algorithm: Algorithm = 'sha256'): Digest {
  const digester = new Digester(algorithm);
  digester.update(typeof bytes === 'string' ? Buffer.from(bytes) : bytes);
  return digester.digest();
}
