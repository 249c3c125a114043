/** What a copy is to take of its images, as the text that every node of it carries: two that differ are two nodes. */
import { GantryError } from '../errors.ts';
import { parseMatcher, type PlatformMatcher } from '../oci/platform.ts';

/** What becomes of an index of which only some platforms are wanted. */
export type IndexMode =
  /** All entries come along. */
  | 'full'
  /** Only those that are wanted come; the index is the same, and refers to what is not there. */
  | 'sparse'
  /** A new index with the wanted entries only: of another digest. */
  | 'strip'
  /** The one entry that is wanted takes its place. */
  | 'image';

export interface CopySelection {
  readonly platforms: PlatformMatcher;
  readonly index: IndexMode;
  /** Look below what is at the target already: it may be there in part. */
  readonly isDeep: boolean;
  /** Layers that their makers do not let others hand on come along, too (image-spec, layer.md, "Non-Distributable Layers"). */
  readonly nonDistributable: boolean;
}

const MODES: ReadonlySet<string> = new Set<IndexMode>(['full', 'sparse', 'strip', 'image']);
const isMode = (text: string): text is IndexMode => MODES.has(text);

/** @param platforms what PlatformMatcher.text says */
export function formatSelection(selection: Partial<Omit<CopySelection, 'platforms'>> & { platforms?: string }): string {
  const { platforms = '', index = 'full', isDeep = false, nonDistributable = false } = selection;
  const fields = new URLSearchParams();
  if (platforms !== '') fields.set('platforms', platforms);
  if (platforms !== '' && index !== 'full') fields.set('index', index);
  if (isDeep) fields.set('deep', '1');
  if (nonDistributable) fields.set('nd', '1');
  return fields.toString();
}

export function parseSelection(text: string): CopySelection {
  const fields = new URLSearchParams(text);
  const index = fields.get('index') ?? 'full';
  if (!isMode(index)) throw new GantryError('INTERNAL', `a selection with an index of ${JSON.stringify(index)}`);
  return {
    platforms: parseMatcher(index === 'full' ? '' : (fields.get('platforms') ?? '')),
    index,
    isDeep: fields.has('deep'),
    nonDistributable: fields.has('nd'),
  };
}
