/** Which artifacts come along with an image. */
import type { Descriptor } from '../oci/descriptor.ts';

/** What an artifact has to be; all that is given must fit. */
export interface ArtifactMatch {
  readonly artifactType?: string;
  /** An empty value: the annotation has to be there, whatever it says. */
  readonly annotations: Readonly<Record<string, string>>;
}

export interface ArtifactFilter {
  /** Globs of artifact types; empty: all. */
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  /** Of referrers alone, one of which has to fit; empty: all. */
  readonly matches: readonly ArtifactMatch[];
}

/**
 * Whether a text is of a form in which `*` stands for any text and `?` for one character. It goes back to the last star only, which
 * is enough, and keeps a form of many stars from taking for ever.
 */
export function fitsGlob(glob: string, text: string): boolean {
  let [at, seen] = [0, 0];
  let star = -1;
  let after = 0;
  while (seen < text.length) {
    if (glob[at] === '*') {
      star = at;
      after = seen;
      at += 1;
    } else if (glob[at] === '?' || glob[at] === text[seen]) {
      at += 1;
      seen += 1;
    } else if (star >= 0) {
      after += 1;
      at = star + 1;
      seen = after;
    } else {
      return false;
    }
  }
  return /^\**$/.test(glob.slice(at));
}

/** An artifact whose type nobody tells goes by the empty type. */
export function wantsType({ include, exclude }: ArtifactFilter, type = ''): boolean {
  const isIn = include.length === 0 || include.some((glob) => fitsGlob(glob, type));
  return isIn && !exclude.some((glob) => fitsGlob(glob, type));
}

/** For entries of a list of referrers, which have the artifact type, or else the media type of the config (distribution-spec, "Listing Referrers"). */
export const wantsReferrer = (filter: ArtifactFilter, desc: Descriptor): boolean =>
  wantsType(filter, desc.artifactType) &&
  (filter.matches.length === 0 || filter.matches.some((match) => fits(match, desc)));

const fits = ({ artifactType, annotations }: ArtifactMatch, desc: Descriptor): boolean =>
  (artifactType === undefined || artifactType === desc.artifactType) &&
  Object.entries(annotations).every(([name, value]) => {
    const has = desc.annotations?.[name];
    return has !== undefined && (value === '' || value === has);
  });
