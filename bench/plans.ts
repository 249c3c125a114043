import type { CorpusPlan, ImagePlan } from './corpus.ts';
import type { LayerSpec } from './layer.ts';
import { Random } from './random.ts';

const KB = 1000;
const MB = 1000 * KB;
/** Content compresses by about this factor, so a layer of a wanted size starts from so many times the bytes. */
const RATIO = 2.4;

const REPOSITORIES = 24;
const TAGS = 3;
const BASES = [30 * MB, 40 * MB, 50 * MB, 60 * MB];

/**
 * What a team's registry looks like: 24 repositories of three tags on four shared bases. A base is 30 to 60 MB, a repository
 * adds a runtime of 1 to 10 MB that its tags share, and a tag adds three to six layers from a few KB to a few MB.
 */
export function pullPlan(): CorpusPlan {
  const seed = 'gantry-pull-1';
  const random = new Random(seed);
  const files = (id: string, size: number): LayerSpec => ({
    id: `${seed}/${id}`,
    bytes: Math.round(size * RATIO),
    content: 'files',
  });
  const images: ImagePlan[] = [];
  for (let r = 0; r < REPOSITORIES; r++) {
    const base = r % BASES.length;
    const shared = [
      files(`base-${base}`, BASES[base] ?? MB),
      files(`base-${base}-certificates`, (80 + 10 * base) * KB),
      files(`runtime-${r}`, random.logBetween(MB, 10 * MB)),
    ];
    for (let t = 0; t < TAGS; t++) {
      const count = random.between(3, 6);
      const layers = Array.from({ length: count }, (_, i) =>
        files(`app-${r}-${t}-${i}`, random.logBetween(3 * KB, 5 * MB)),
      );
      images.push({
        repository: `team/app-${String(r).padStart(2, '0')}`,
        tag: `v1.${t}`,
        layers: [...shared, ...layers],
      });
    }
  }
  return { name: 'pull', seed, images };
}

export interface LargeSizes {
  /** Bytes of the one big layer. */
  readonly big: number;
  /** How many layers the other image has. */
  readonly count: number;
  /** Bytes of each of them. */
  readonly each: number;
}

/** Two images for memory: one of a single big layer, one of many layers that are pulled at the same time. */
export function largePlan({ big, count, each }: LargeSizes): CorpusPlan {
  const seed = 'gantry-large-1';
  const noise = (id: string, bytes: number): LayerSpec => ({ id: `${seed}/${id}`, bytes, content: 'random' });
  return {
    name: `large-${big}-${count}x${each}`,
    seed,
    images: [
      { repository: 'large/one', tag: 'v1', layers: [noise('one', big)] },
      {
        repository: 'large/many',
        tag: 'v1',
        layers: Array.from({ length: count }, (_, i) => noise(`many-${i}`, each)),
      },
    ],
  };
}

/** What a registry serves: that of a pull, and a blob of 200 MB. */
export function servePlan(): CorpusPlan {
  const seed = 'gantry-serve-1';
  const layers: readonly LayerSpec[] = [{ id: `${seed}/one`, bytes: 200 * MB, content: 'random' }];
  return { name: 'serve', seed, images: [...pullPlan().images, { repository: 'large/one', tag: 'v1', layers }] };
}
