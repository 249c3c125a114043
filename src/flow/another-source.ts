import { type GantryError, isCode, retryClass } from '../errors.ts';
import type { ContentNode, Node } from './handler.ts';

/**
 * Names one way to get a node's content. Images that share a digest may read it from different repositories, and one of
 * them may tell lies about its size or type: that must not hurt the others.
 */
export const wayOf = (node: Node): string =>
  node.kind === 'image' ? node.source : `${node.source} ${node.target} ${sayingOf(node)}`;

const sayingOf = ({ desc }: ContentNode): string => `${desc.size} ${desc.mediaType} ${desc.urls?.join(' ') ?? ''}`;

/** Whether what failed one way may work another way. What is wrong with a registry is wrong for all its repositories. */
export function anotherWayMayHelp(error: GantryError, failed: Node, other: Node): boolean {
  // A blob may come to any repository of the target: one that may not be written hurts no other.
  if (error.origin === 'target') return retryClass(error) === 'elsewhere' && other.target !== failed.target;
  if (error.origin !== 'source' && retryClass(error) !== 'elsewhere') return false;
  const ofRegistry = retryClass(error) === 'backoff' || isCode(error, 'TLS');
  return !ofRegistry || registryOf(failed) !== registryOf(other);
}

const registryOf = ({ source }: Node): string => source.split('/', 1)[0] ?? '';
