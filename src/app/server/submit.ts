/** Requests of the API as those of the command line: the same roots, under the same labels. */
import type { CallOptions } from '../../call.ts';
import { asGantryError, GantryError, isCode } from '../../errors.ts';
import type { ImageNode } from '../../flow/handler.ts';
import { formatSelection, selectedPlatforms } from '../../handlers/copy-selection.ts';
import { namesArchive } from '../../oci/location.ts';
import { matchAll, parseMatcher, type PlatformMatcher } from '../../oci/platform.ts';
import { parseReference, type Reference } from '../../oci/reference.ts';
import type { Farm } from '../../queue/farm.ts';
import type { SubmitJson } from '../../server/api/schema.ts';
import { copyRoots } from '../copy.ts';
import { commonTarget } from '../farm.ts';
import { pullRoots } from '../pull.ts';

/** Answers the id of the run. @throws GantryError INVALID that names what is wrong and its place, USAGE without a store to pull into */
export async function submitRequest(farm: Farm, request: SubmitJson, opts: CallOptions): Promise<string> {
  const platforms = platformsOf(request.platforms);
  if ('copy' in request) {
    const labels = { ...request.labels, platforms: platforms.text };
    return farm.submit(copyRootsOf(request.copy, platforms), { labels });
  }
  const refs = request.pull.map((text, i) => referenceAt(`pull.${i}`, text));
  const target = request.target ?? (await targetOf(farm, opts));
  return farm.submit(pullRoots({ refs, platforms }, target), {
    labels: { ...request.labels, target, platforms: platforms.text },
  });
}

function copyRootsOf(
  copies: readonly { readonly source: string; readonly target: string }[],
  platforms: PlatformMatcher,
): ImageNode[] {
  const pairs = copies.map(({ source, target }, i) => ({
    source: referenceAt(`copy.${i}.source`, source),
    target: referenceAt(`copy.${i}.target`, target),
  }));
  return copyRoots({ pairs, selection: formatSelection(selectedPlatforms(platforms.text)) });
}

function platformsOf(texts: readonly string[] | undefined): PlatformMatcher {
  if (texts === undefined || texts.length === 0) return matchAll;
  return at('platforms', () => parseMatcher(texts.join(',')));
}

const referenceAt = (place: string, text: string): Reference =>
  at(place, () => {
    if (!namesArchive(text)) return parseReference(text);
    throw new GantryError('INVALID', `${text} is an archive`, {
      origin: 'user',
      hint: 'the workers of a farm do not see the files of other machines: they pull and copy from registries',
    });
  });

/** Says where in the body it is that something is wrong. */
function at<T>(place: string, read: () => T): T {
  try {
    return read();
  } catch (err) {
    const { code, message, origin, hint } = asGantryError(err);
    throw new GantryError(code, `body.${place}: ${message}`, {
      origin,
      ...(hint === undefined ? {} : { hint }),
      cause: err,
    });
  }
}

async function targetOf(farm: Farm, opts: CallOptions): Promise<string> {
  try {
    return await commonTarget(farm, opts);
  } catch (err) {
    if (!isCode(err, 'USAGE')) throw err;
    throw new GantryError('USAGE', err.message, {
      origin: 'user',
      hint: 'start a worker, or give the id of a store as "target"',
    });
  }
}
