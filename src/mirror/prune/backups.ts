import { isCode } from '../../errors.ts';
import { parseReference } from '../../oci/reference.ts';
import type { MirrorRule } from '../file/types.ts';
import { backupName } from '../plan/backup.ts';

/** Stands for every tag; a valid one that nobody has, and that may stand in a path as well. */
const ANY = 'gantry-any-tag-0b6d';

/** Where a rule keeps what it overwrites. */
export interface Backups {
  /** Undefined: in any repository, since its name is made of the tag. */
  readonly repository: string | undefined;
  /** Whether a tag there is one. */
  is(tag: string): boolean;
}

/**
 * Tells the tags under which a rule keeps what it overwrites, also those of tags that are gone: no source has them, and they are what is left
 * of an image. Undefined: it keeps nothing.
 */
export function backupsOf(rule: MirrorRule, repository: string): Backups | undefined {
  let name: string | undefined;
  try {
    name = backupName(rule, repository, ANY);
  } catch (err) {
    if (isCode(err, 'INVALID', 'UNSUPPORTED')) return undefined; // each of its images is told so, and nothing is kept
    throw err;
  }
  if (name === undefined) return undefined;
  const kept = name.includes('/') ? parseReference(name) : { repository, tag: name };
  const place = kept.repository.includes(ANY) ? undefined : kept.repository;
  // What a clock, the environment or a file has said in other runs is not known: any tag may be one of theirs.
  if (CHANGING.test(rule.backupTemplate ?? '') || place === undefined) return { repository: place, is: () => true };
  // Of what may stand in a tag only the dot means something in a pattern.
  const parts = (kept.tag ?? '').split(ANY).map((part) => part.replaceAll('.', '\\.'));
  const pattern = new RegExp(`^${parts.join('.+')}$`);
  return { repository: place, is: (tag) => pattern.test(tag) };
}

const CHANGING = /\btime\b|\benv\b|\bfile\b|\$/;
