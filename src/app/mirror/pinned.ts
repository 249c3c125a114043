/** What of a plan can still be done as it was planned. */
import type { CallOptions } from '../../call.ts';
import { asGantryError } from '../../errors.ts';
import { inParallel } from '../../flow/slots.ts';
import type { Digest } from '../../oci/digest.ts';
import { parseReference } from '../../oci/reference.ts';
import type { Resolver } from '../../remote/ports.ts';
import { itemOf, type Job, type JobItem } from './job.ts';
import { failureOf, type MirrorImage } from './outcome.ts';
import type { ReadPlan } from './plan-file.ts';
import { namesOf } from './results.ts';

/** More than one registry is asked for at a time: those of several come together. */
const AT_A_TIME = 32;

/**
 * One HEAD for an image. One whose tag has moved is left, or with `replan` copied as it is now. All others go by the digest that was
 * planned, whatever becomes of their tag meanwhile.
 */
export async function pinnedJob(
  resolver: Resolver,
  { images }: ReadPlan,
  { signal, replan }: CallOptions & { readonly replan: boolean },
): Promise<Job> {
  const judged = await inParallel(
    images,
    AT_A_TIME,
    { signal },
    async ({ item, pinned }): Promise<JobItem | MirrorImage> => {
      const { rule, root } = item;
      const ref = parseReference(root.name);
      if (ref.digest !== undefined) return item;
      try {
        const { desc } = await resolver.resolve(ref, { signal });
        if (desc.digest === pinned) return itemOf({ ...namesOf(rule, root), source: `${ref.name}@${pinned}` });
        if (replan) return item;
        return { ...namesOf(rule, root), outcome: 'moved', digest: desc.digest, why: whyMoved(pinned, desc.digest) };
      } catch (err) {
        const error = asGantryError(err);
        const outcome = error.code === 'CANCELLED' ? 'cancelled' : 'failed';
        return { ...namesOf(rule, root), outcome, error: failureOf(error) };
      }
    },
  );
  return {
    items: judged.filter((each) => 'root' in each),
    settled: judged.filter((each) => 'outcome' in each),
  };
}

const whyMoved = (pinned: Digest, now: Digest): string =>
  `its tag means ${short(now)} now, and meant ${short(pinned)} when the plan was made: left alone (--replan copies it as it is)`;

const short = (digest: Digest): string => digest.slice(0, digest.indexOf(':') + 13);
