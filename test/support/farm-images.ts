/** Images for a farm: many, small, over blobs that they share; and what the registry must have seen of them. */
import { Random } from '../../bench/random.ts';
import { type Image, image } from './images.ts';
import { randomBytesOf, type TestRegistry } from './registry.ts';
import type { LogEntry } from './registry/log.ts';

export interface Corpus {
  readonly refs: readonly string[];
  readonly images: ReadonlyMap<string, Image>;
  /** Of all manifests and blobs. */
  readonly digests: ReadonlySet<string>;
}

export interface CorpusOptions {
  readonly images: number;
  /** From which each image takes four, beside a configuration of its own. */
  readonly blobs: number;
  /** Tells the content of one registry from that of another. */
  readonly seed?: string;
  /** Over which the images are spread; 20 unless given. */
  readonly repositories?: number;
}

const LAYERS = 4;
const REPOSITORIES = 20;

export const contentOf = ({ desc, config, layers }: Image): string[] =>
  [desc, config, ...layers].map(({ digest }) => digest);

export function corpusOf(refs: ReadonlyMap<string, Image>): Corpus {
  return { refs: [...refs.keys()], images: refs, digests: new Set([...refs.values()].flatMap(contentOf)) };
}

/** Puts images into a registry, spread over repositories. */
export function fill(registry: TestRegistry, options: CorpusOptions): Corpus {
  const { images, blobs, seed = '', repositories = REPOSITORIES } = options;
  const random = new Random(`${seed} ${images} images`);
  const pool = Array.from({ length: blobs }, (_, i) => randomBytesOf(`${seed} shared ${i}`, 500 + (i % 100)));
  const made = new Map<string, Image>();
  for (let i = 0; i < images; i += 1) {
    const chosen = Array.from({ length: LAYERS }, () => pool[random.between(0, blobs - 1)] ?? Buffer.alloc(1));
    const each = image({ seed: `${seed} ${i}`, layers: chosen.map((raw) => ({ raw })) });
    const [repo, tag] = [`r${i % repositories}`, `t${i}`];
    registry.add(repo, tag, each);
    made.set(registry.ref(repo, tag), each);
  }
  return corpusOf(made);
}

const BLOB_GET = { method: 'GET', kind: 'blob' } as const;

/** GETs of blobs that were answered with all of the content. */
export const wholeBodies = (registry: TestRegistry): LogEntry[] =>
  registry.log.select({ ...BLOB_GET, status: 200, where: ({ outcome }) => outcome === 'sent' });
