import { GantryError } from '../errors.ts';
import { digestOf, type Digest } from './digest.ts';

/**
 * The ChainID of every prefix of a list of layers, the bottom layer first (image-spec, config.md#layer-chainid): the
 * n-th names the file system after n layers.
 */
export function chainIds(diffIds: readonly Digest[]): Digest[] {
  const chain: Digest[] = [];
  let below: Digest | undefined;
  for (const diffId of diffIds) {
    below = below === undefined ? diffId : digestOf(`${below} ${diffId}`);
    chain.push(below);
  }
  return chain;
}

/**
 * The ChainID of a list of layers (image-spec, config.md#layer-chainid).
 * @throws GantryError INVALID for an empty list, which the specification gives no name
 */
export function chainId(diffIds: readonly Digest[]): Digest {
  const last = chainIds(diffIds).at(-1);
  if (last === undefined) throw new GantryError('INVALID', 'an image without layers has no chain id');
  return last;
}
