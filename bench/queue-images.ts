import type { Child, Handler, ImageNode, Node } from '../src/flow/handler.ts';
import { digestOf } from '../src/oci/digest.ts';
import { OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST } from '../src/oci/media-types.ts';

/** A config and eight layers. */
const BLOBS = 9;

/** Images without content: each is a manifest with nine blobs, so eleven nodes. */
export interface SyntheticImages {
  /** Tells the content of one set from that of any other; lower-case letters. */
  readonly name: string;
  readonly images: number;
  /** So many images after one another have the same blobs. */
  readonly sharedBy: number;
}

/** All that an image consists of is told by its repository, so that a handler needs nothing else. */
export const rootsOf = ({ name, images, sharedBy }: SyntheticImages): ImageNode[] =>
  Array.from({ length: images }, (_, i) => {
    const source = `registry.example/${name}-${sharedBy}/app-${i}`;
    return { kind: 'image', name: `${source}:latest`, source, target: 'bench', selection: '' };
  });

/** Places in the graph; what several images share counts in each of them. */
export const descriptorsOf = ({ images }: SyntheticImages): number => images * (2 + BLOBS);

/** Nodes of the graph. */
export const distinctOf = ({ images, sharedBy }: SyntheticImages): number =>
  images * 2 + Math.ceil(images / sharedBy) * BLOBS;

const blobOf = (group: string, index: number): Child => {
  const mediaType = index === 0 ? OCI_CONFIG : OCI_LAYER_GZIP;
  return { kind: 'blob', desc: { mediaType, digest: digestOf(`${group} ${index}`), size: 1_000_000 + index } };
};

function childrenOf(node: Node): Child[] {
  const [, name = '', sharedBy = '', image = ''] = /\/([a-z]+)-(\d+)\/app-(\d+)$/.exec(node.source) ?? [];
  if (node.kind === 'image') {
    return [{ kind: 'manifest', desc: { mediaType: OCI_MANIFEST, digest: digestOf(node.name), size: 1_500 } }];
  }
  const group = `${name} ${Math.floor(Number(image) / Number(sharedBy))}`;
  return Array.from({ length: BLOBS }, (_, index) => blobOf(group, index));
}

/** Does nothing but answer children. */
export const emptyHandler: Handler = {
  visit: (node) =>
    Promise.resolve(node.kind === 'blob' ? { kind: 'leaf' } : { kind: 'expand', children: childrenOf(node) }),
};
