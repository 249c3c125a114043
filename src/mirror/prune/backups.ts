import { isCode } from '../../errors.ts';
import type { MirrorRule } from '../file/types.ts';
import { backupName } from '../plan/backup.ts';

/** Stands for every tag; a valid one that nobody has. */
const ANY = 'gantry-any-tag-0b6d';

/**
 * Tells the tags under which a rule keeps what it overwrites, also those of tags that are gone: no source has them, and they are what is left
 * of an image. Undefined: it keeps nothing.
 */
export function backupsOf(rule: MirrorRule, repository: string): ((tag: string) => boolean) | undefined {
  try {
    const name = backupName(rule, repository, ANY);
    if (name === undefined || name.includes('/')) return undefined;
    // Of what may stand in a tag only the dot means something in a pattern.
    const parts = name.split(ANY).map((part) => part.replaceAll('.', '\\.'));
    const pattern = new RegExp(`^${parts.join('.+')}$`);
    return (tag) => pattern.test(tag);
  } catch (err) {
    if (isCode(err, 'INVALID', 'UNSUPPORTED')) return undefined; // each of its images is told so, and nothing is kept
    throw err;
  }
}
