import type { Descriptor } from './descriptor.ts';
import { isConfigType, isIndexType, isLayerType, isManifestType } from './media-types.ts';

const kindOf = (mediaType: string): string => {
  if (isManifestType(mediaType)) return 'manifest';
  if (isIndexType(mediaType)) return 'index';
  if (isLayerType(mediaType)) return 'layer';
  if (isConfigType(mediaType)) return 'config';
  return 'unknown';
};

/** Names the ongoing ingest of a descriptor, as containerd's MakeRefKey does: `layer-sha256:...`. */
export const refKey = (desc: Pick<Descriptor, 'mediaType' | 'digest'>): string =>
  `${kindOf(desc.mediaType)}-${desc.digest}`;
