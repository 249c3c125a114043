/** A plan: what a run would move, as data. docs/json.md describes it. There are no credentials in it. */
import type { Digest } from '../../oci/digest.ts';
import { isDigest } from '../../oci/digest.ts';
import { parseRepository } from '../../oci/reference.ts';
import type { JobItem } from './job.ts';
import { type JsonReader, readDocument } from './json-document.ts';
import type { Failure } from './outcome.ts';
import type { RequestCount } from './request-count.ts';
import { itemAt } from './retry.ts';

export const PLAN_VERSION = 1;

export interface MirrorPlan {
  readonly document: 'mirror-plan';
  readonly version: typeof PLAN_VERSION;
  readonly created: string;
  readonly file: string;
  /** Those that would be copied. */
  readonly images: readonly PlanImage[];
  /** Images that are as they should be. */
  readonly unchanged: number;
  readonly failures: readonly { readonly rule: string; readonly source: string; readonly error: Failure }[];
  readonly targets: readonly PlanTarget[];
  readonly blobs: readonly PlanBlob[];
  readonly requests: {
    /** What making the plan has cost. */
    readonly plan: readonly RequestCount[];
    /** GETs of manifests that the run will cost, by source registry. */
    readonly run: readonly { readonly registry: string; readonly manifestGets: number }[];
  };
  /** Null where nothing has to be sent. */
  readonly eta: Eta | null;
}

export interface PlanImage {
  readonly rule: string;
  readonly source: string;
  readonly target: string;
  readonly tag?: string;
  readonly selection: string;
  readonly backup?: string;
  readonly outcome: 'missing' | 'changed';
  /** What the name at the target will mean. */
  readonly digest: string;
  /** What the source meant when the plan was made. */
  readonly pinned: string;
  readonly was?: string;
}

/** Of one registry that is written to. Counts of blobs are of blobs in repositories. */
export interface PlanTarget {
  readonly registry: string;
  readonly send: Amount;
  /** Another repository of the registry has it, or will have. */
  readonly mount: Amount;
  readonly present: Amount;
  readonly manifests: number;
}

export interface Amount {
  readonly blobs: number;
  readonly bytes: number;
}

export interface PlanBlob {
  /** Where it goes to. */
  readonly registry: string;
  readonly digest: string;
  readonly size: number;
  /** A repository that it is read from. */
  readonly source: string;
  readonly send: readonly string[];
  readonly mount: readonly string[];
  readonly present: readonly string[];
}

export interface Eta {
  readonly seconds: number;
  readonly bytesPerSecond: number;
  /** Where the rate comes from. */
  readonly basis: string;
}

/** What is to be done by a plan. */
export interface ReadPlan {
  readonly file: string;
  readonly images: readonly { readonly item: JobItem; readonly pinned: Digest }[];
  /** What was found at the targets. */
  readonly present: readonly PresentBlobs[];
}

export interface PresentBlobs {
  readonly repository: string;
  readonly digests: readonly Digest[];
}

/** @throws GantryError INVALID for what is no plan */
export function readPlan(text: string, path: string): ReadPlan {
  const plan = readDocument(text, path, { noun: 'mirror-plan', version: PLAN_VERSION });
  return {
    file: plan.text('file'),
    images: plan.list('images', readImage),
    present: plan.list('blobs', readPresent).flat(),
  };
}

function readPresent(blob: JsonReader): PresentBlobs[] {
  const digest = blob.text('digest');
  if (!isDigest(digest)) throw blob.bad('digest', 'expected a digest');
  return blob.texts('present').map((text) => ({ repository: parseRepository(text).repository, digests: [digest] }));
}

function readImage(image: JsonReader): ReadPlan['images'][number] {
  const pinned = image.text('pinned');
  if (!isDigest(pinned)) throw image.bad('pinned', 'expected a digest');
  return { item: itemAt(image), pinned };
}
