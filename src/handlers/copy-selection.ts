/** What a copy is to take of its images, as the text that every node of it carries: two that differ are two nodes. */
import { GantryError } from '../errors.ts';
import { MANIFEST_ACCEPT } from '../oci/media-types.ts';
import { parseMatcher, type PlatformMatcher } from '../oci/platform.ts';
import type { ArtifactFilter, ArtifactMatch } from './artifact-filter.ts';

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

/** What comes along that an image does not list: signatures and the like. */
export interface AttachedSelection extends ArtifactFilter {
  /** What has the manifest as its `subject`. */
  readonly referrers: boolean;
  /** The repositories that referrers are read from and go to, when they are not those of the image. */
  readonly referrerSource: string | undefined;
  readonly referrerTarget: string | undefined;
  /** What has a tag that is made of the manifest's digest, as cosign's signatures have. */
  readonly digestTags: boolean;
  /** Globs of artifact types: of each there has to be one, or the image is not copied. */
  readonly require: readonly string[];
  /** Of an image that the target has already nothing is looked for. */
  readonly fastCheck: boolean;
}

export interface CopySelection {
  readonly platforms: PlatformMatcher;
  readonly index: IndexMode;
  /** Look below what is at the target already: it may be there in part. */
  readonly isDeep: boolean;
  /** Layers that their makers do not let others hand on come along, too (image-spec, layer.md, "Non-Distributable Layers"). */
  readonly nonDistributable: boolean;
  readonly attached: AttachedSelection;
  /** Only images whose root is of one of these types; undefined: all. */
  readonly mediaTypes: readonly string[] | undefined;
}

const MODES: ReadonlySet<string> = new Set<IndexMode>(['full', 'sparse', 'strip', 'image']);
const isMode = (text: string): text is IndexMode => MODES.has(text);

/** A selection in parts: what is not said is not wanted, or not limited. */
export interface SelectionParts {
  /** What PlatformMatcher.text says. */
  readonly platforms?: string;
  readonly index?: IndexMode;
  readonly isDeep?: boolean;
  readonly nonDistributable?: boolean;
  readonly attached?: Partial<AttachedSelection>;
  /** Empty: all. */
  readonly mediaTypes?: readonly string[];
}

/**
 * What who asks for platforms by hand means: one takes the place of an index; of several a new index is made, which refers to nothing that is not
 * there.
 * @param platforms what PlatformMatcher.text says
 */
export const selectedPlatforms = (platforms: string): Pick<SelectionParts, 'platforms' | 'index'> => ({
  platforms,
  index: platforms.includes(',') ? 'strip' : 'image',
});

/** Short, since every node has it, and without quotes, which URLSearchParams encodes. */
export function formatSelection(selection: SelectionParts): string {
  const { platforms = '', index = 'full', isDeep = false, nonDistributable = false, mediaTypes = [] } = selection;
  const fields = new URLSearchParams();
  if (platforms !== '') fields.set('platforms', platforms);
  if (platforms !== '' && index !== 'full') fields.set('index', index);
  if (isDeep) fields.set('deep', '1');
  if (nonDistributable) fields.set('nd', '1');
  if (mediaTypes.length > 0) fields.set('mt', lettersOf(mediaTypes));
  appendAttached(fields, selection.attached ?? {});
  return fields.toString();
}

/** Their places among those that gantry handles: an image of any other type is not copied anyway. */
const lettersOf = (mediaTypes: readonly string[]): string =>
  MANIFEST_ACCEPT.flatMap((type, i) => (mediaTypes.includes(type) ? i : [])).join('');

function appendAttached(fields: URLSearchParams, attached: Partial<AttachedSelection>): void {
  if (attached.referrers === true) fields.set('ref', '1');
  if (attached.referrerSource !== undefined) fields.set('rs', attached.referrerSource);
  if (attached.referrerTarget !== undefined) fields.set('rt', attached.referrerTarget);
  if (attached.digestTags === true) fields.set('dt', '1');
  if (attached.fastCheck === true) fields.set('fast', '1');
  for (const glob of attached.include ?? []) fields.append('in', glob);
  for (const glob of attached.exclude ?? []) fields.append('ex', glob);
  for (const glob of attached.require ?? []) fields.append('req', glob);
  for (const match of attached.matches ?? []) fields.append('m', formatMatch(match));
}

/** The artifact type goes without a name, which no annotation does. */
function formatMatch({ artifactType, annotations }: ArtifactMatch): string {
  const fields = new URLSearchParams(annotations);
  if (artifactType !== undefined) fields.set('', artifactType);
  return fields.toString();
}

export function parseSelection(text: string): CopySelection {
  const fields = new URLSearchParams(text);
  const index = fields.get('index') ?? 'full';
  if (!isMode(index)) throw new GantryError('INTERNAL', `a selection with an index of ${JSON.stringify(index)}`);
  const letters = fields.get('mt');
  return {
    platforms: parseMatcher(index === 'full' ? '' : (fields.get('platforms') ?? '')),
    index,
    isDeep: fields.has('deep'),
    nonDistributable: fields.has('nd'),
    mediaTypes: letters === null ? undefined : MANIFEST_ACCEPT.filter((_type, i) => letters.includes(String(i))),
    attached: {
      referrers: fields.has('ref'),
      referrerSource: fields.get('rs') ?? undefined,
      referrerTarget: fields.get('rt') ?? undefined,
      digestTags: fields.has('dt'),
      fastCheck: fields.has('fast'),
      include: fields.getAll('in'),
      exclude: fields.getAll('ex'),
      require: fields.getAll('req'),
      matches: fields.getAll('m').map(parseMatch),
    },
  };
}

function parseMatch(text: string): ArtifactMatch {
  const fields = new URLSearchParams(text);
  const artifactType = fields.get('');
  fields.delete('');
  return { annotations: Object.fromEntries(fields), ...(artifactType === null ? {} : { artifactType }) };
}

/** A run wants few different selections, and asks for each as often as it has manifests. */
export class Selections {
  readonly #known = new Map<string, CopySelection>();

  of({ selection }: { readonly selection: string }): CopySelection {
    const known = this.#known.get(selection) ?? parseSelection(selection);
    this.#known.set(selection, known);
    return known;
  }
}
