/** Which repositories are fetched when they are asked for, and where from. */
import { matchesPath } from '../../mirror/pull-through/match.ts';
import type { PullThroughFile, PullThroughRule } from '../../mirror/pull-through/types.ts';
import { parseRepository } from '../../oci/reference.ts';
import type { Env } from '../config.ts';
import { readTextFile } from '../mirror-file.ts';

/** Where a repository is fetched from. */
export interface Origin {
  /** `host[:port]/path` */
  readonly repository: string;
  readonly registry: string;
  /** What clients call its registry: `docker.io`, also where something else is asked in its place. */
  readonly name: string;
  readonly freshMs: number;
}

/** @throws GantryError NOT_FOUND, TOO_LARGE, IO; INVALID with all that is wrong in it */
export async function loadPullThroughFile(path: string, env: Env): Promise<PullThroughFile> {
  const text = readTextFile(path);
  const { readPullThroughFile } = await import('../../mirror/pull-through/read.ts');
  return readPullThroughFile(text, path, { env, readFile: readTextFile });
}

/** Undefined where no rule matches: such a repository is never asked for anywhere, whoever names it. */
export function originOf(rules: readonly PullThroughRule[], repository: string): Origin | undefined {
  const { registry, path } = parseRepository(repository);
  const rule = rules.find((each) => each.registry === registry && matchesPath(each.path, path));
  if (rule === undefined) return undefined;
  const from = parseRepository(rule.upstream === undefined ? repository : `${rule.upstream}/${path}`);
  return { repository: from.repository, registry: from.registry, name: registry, freshMs: rule.freshMs };
}
