/** Makes the plan of a run: which images, which bytes, what it costs, and how long it will take. */
import type { CallOptions } from '../../call.ts';
import type { ImageResult } from '../../flow/dispatcher.ts';
import type { Resolver } from '../../remote/ports.ts';
import { placeOf } from '../../flow/handler.ts';
import type { Job, JobItem } from './job.ts';
import { failureOf, type MirrorImage } from './outcome.ts';
import {
  type Amount,
  type MirrorPlan,
  type PlanBlob,
  type PlanImage,
  PLAN_VERSION,
  type PlanTarget,
} from './plan-file.ts';
import { etaOf } from './rate.ts';
import { type ReportRule, sum } from './report.ts';
import type { RequestCounter } from './request-count.ts';
import { Heard, namesOf } from './results.ts';
import { Survey } from './survey.ts';

export interface PlanParts {
  readonly resolver: Resolver;
  readonly file: string;
  readonly job: Job;
  readonly rules: readonly ReportRule[];
  readonly counter: RequestCounter;
  /** Bytes per second; measured unless given. */
  readonly rate: number | undefined;
}

export async function makePlan(parts: PlanParts, opts: CallOptions): Promise<MirrorPlan> {
  const { resolver, job, rules } = parts;
  const created = new Date().toISOString();
  const heard = new Heard();
  const survey = new Survey(resolver);
  const roots = job.items.map(({ root }) => root);
  const { images: results } = await survey.walk(roots, { ...opts, onEvent: heard.listen(undefined) });
  const images = job.items.flatMap((item, i) => planImage(item, results[i], { heard, survey }) ?? []);
  const blobs = survey.blobs.map(planBlob);
  const targets = targetsOf(blobs, survey, images);
  const failed = job.items.flatMap(({ rule, root }, i) => {
    const error = results[i]?.error;
    return error === undefined ? [] : [{ rule, source: root.name, error: failureOf(error) }];
  });
  const eta = await etaOf(resolver, blobs, { ...opts, rate: parts.rate });
  return {
    document: 'mirror-plan',
    version: PLAN_VERSION,
    created,
    file: parts.file,
    images,
    unchanged: job.items.length - images.length - failed.length + countOf(job.settled, 'immutable'),
    failures: [...listFailures(rules), ...settledFailures(job.settled), ...failed],
    targets,
    blobs,
    requests: { plan: parts.counter.counts, run: manifestGets(images, survey) },
    eta,
  };
}

function planImage(
  { rule, root }: JobItem,
  result: ImageResult | undefined,
  { heard, survey }: { readonly heard: Heard; readonly survey: Survey },
): PlanImage | undefined {
  const resolved = heard.about(root);
  if (result?.state !== 'done' || resolved === undefined || !survey.isUnlike(root)) return undefined;
  const { desc, was, from = desc.digest } = resolved;
  const outcome = was === undefined ? 'missing' : 'changed';
  const before = was === undefined ? {} : { was };
  return { ...namesOf(rule, root), outcome, digest: desc.digest, pinned: from, ...before };
}

const countOf = (images: readonly MirrorImage[], wanted: string): number =>
  images.filter(({ outcome }) => outcome === wanted).length;

const listFailures = (rules: readonly ReportRule[]): MirrorPlan['failures'] =>
  rules.flatMap(({ rule, source, error, repositories }) => [
    ...(error === undefined ? [] : [{ rule, source, error }]),
    ...repositories.flatMap((each) =>
      each.error === undefined ? [] : [{ rule, source: each.source, error: each.error }],
    ),
  ]);

const settledFailures = (settled: readonly MirrorImage[]): MirrorPlan['failures'] =>
  settled.flatMap(({ rule, source, error }) => (error === undefined ? [] : [{ rule, source, error }]));

/** Sent to the first repository that lacks it, unless one has it; the others take it from there. */
function planBlob({ desc, registry, source, wanted, present }: Survey['blobs'][number]): PlanBlob {
  const absent = [...wanted].filter((target) => !present.has(target));
  const sent = present.size === 0 ? absent.slice(0, 1) : [];
  const { digest, size } = desc;
  return { registry, digest, size, source, send: sent, mount: absent.slice(sent.length), present: [...present] };
}

function targetsOf(blobs: readonly PlanBlob[], survey: Survey, images: readonly PlanImage[]): PlanTarget[] {
  const registries = new Set(images.map(({ target }) => placeOf(target)));
  return [...registries].map((registry) => {
    const own = blobs.filter((blob) => blob.registry === registry);
    const amount = (of: 'send' | 'mount' | 'present'): Amount => ({
      blobs: sum(own, (blob) => blob[of].length),
      bytes: sum(own, (blob) => blob[of].length * blob.size),
    });
    const manifests = survey.manifests.filter(({ target }) => target === registry).length;
    return { registry, send: amount('send'), mount: amount('mount'), present: amount('present'), manifests };
  });
}

/** A run reads the manifest of each of its images, and once each of those below. */
function manifestGets(images: readonly PlanImage[], survey: Survey): MirrorPlan['requests']['run'] {
  const gets = new Map<string, number>();
  const count = (registry: string): unknown => gets.set(registry, (gets.get(registry) ?? 0) + 1);
  for (const { source } of images) count(placeOf(source));
  for (const { source, isRoot } of survey.manifests) if (!isRoot) count(source);
  return [...gets].map(([registry, manifestGets]) => ({ registry, manifestGets }));
}
