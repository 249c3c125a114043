/** What a file of pull-through rules says. */
import type { MirrorCreds, Place } from '../file/types.ts';
import type { PathPattern } from './match.ts';

export interface PullThroughRule {
  readonly place: Place;
  /** As written: `docker.io/library/*` */
  readonly match: string;
  /** Its host, which is never a pattern. */
  readonly registry: string;
  /** Of the path of a repository in that registry. */
  readonly path: PathPattern;
  /** How long the answer to what a tag means holds, in milliseconds. */
  readonly freshMs: number;
  /** What is asked in the place of the registry, `host[:port][/prefix]`. */
  readonly upstream: string | undefined;
}

export interface PullThroughFile {
  readonly file: string;
  /** The first that matches counts. */
  readonly rules: readonly PullThroughRule[];
  readonly creds: readonly MirrorCreds[];
}
