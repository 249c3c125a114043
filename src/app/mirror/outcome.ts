/** What became of the images of a mirror file, or would. */
import { type ErrorCode, type ErrorOrigin, type GantryError, retryClass } from '../../errors.ts';

/** In the order in which people are told. */
export const OUTCOMES = [
  'missing',
  'changed',
  'copied',
  'equal',
  'immutable',
  'skipped',
  'moved',
  'failed',
  'cancelled',
] as const;

export type Outcome =
  /** It would be copied: the target does not have it, or has something else under its name. */
  | 'missing'
  | 'changed'
  | 'copied'
  | 'equal'
  /** It never changes, and the target has it: nothing was asked. */
  | 'immutable'
  /** A filter dropped its tag, or it is of a type that is not wanted. */
  | 'skipped'
  /** Its tag means something else than when the plan was made. */
  | 'moved'
  | 'failed'
  | 'cancelled';

export interface Failure {
  readonly code: ErrorCode;
  readonly origin: ErrorOrigin;
  readonly message: string;
  readonly hint?: string | undefined;
  /** It may go well the next time. */
  readonly transient: boolean;
}

/** One image in one place. docs/json.md describes it. */
export interface MirrorImage {
  /** `sync.0` */
  readonly rule: string;
  /** The normalised reference. */
  readonly source: string;
  /** A repository; absent for a tag that was dropped. */
  readonly target?: string;
  /** The one that it gets there. */
  readonly tag?: string;
  /** What of it is wanted, as formatSelection says it. */
  readonly selection?: string;
  /** The tag at the target that keeps what is overwritten. */
  readonly backup?: string;
  readonly outcome: Outcome;
  readonly digest?: string;
  /** What its name means, or meant, at the target. */
  readonly was?: string;
  readonly filter?: string;
  readonly why?: string;
  readonly error?: Failure;
  /** What came over the wire for it. What several images share is counted for one of them. */
  readonly bytes?: number;
  readonly mounted?: number;
  readonly seconds?: number;
}

export function failureOf(err: GantryError): Failure {
  const { code, origin, message, hint } = err;
  const again = retryClass(err);
  return {
    code,
    origin,
    message,
    transient: again === 'backoff' || again === 'restart',
    ...(hint === undefined ? {} : { hint }),
  };
}

/** What it is called at the target. */
export const targetName = ({ target = '', tag }: Pick<MirrorImage, 'target' | 'tag'>): string =>
  tag === undefined ? target : `${target}:${tag}`;
