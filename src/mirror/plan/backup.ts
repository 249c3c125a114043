/** Where a rule keeps what it is about to overwrite. */
import { GantryError, isCode } from '../../errors.ts';
import { parseReference } from '../../oci/reference.ts';
import type { MirrorRule } from '../file/types.ts';

/**
 * What `tag` means so far gets this name when that changes: a tag in the same repository, or a reference to another one.
 * Undefined: it is not kept.
 * @throws GantryError INVALID, UNSUPPORTED for what would be overwritten itself
 */
export function backupName({ backup }: MirrorRule, repository: string, tag: string): string | undefined {
  if (backup === undefined) return undefined;
  const { registry, path } = parseReference(`${repository}:${tag}`);
  const text = backup({ Scheme: 'reg', Registry: registry, Repository: path, Tag: tag, Digest: '' });
  const kept = parsed(/[:/]/.test(text) ? text : `${repository}:${text}`, text);
  const isHere = kept.repository === repository;
  if (kept.tag !== undefined && !(isHere && kept.tag === tag)) return isHere ? kept.tag : kept.name;
  const why = isHere ? 'that is what is about to be overwritten' : 'that is no tag';
  throw new GantryError('UNSUPPORTED', `the backup of ${repository}:${tag} would go to ${kept.name}: ${why}`, {
    origin: 'user',
    hint: 'let the template of `backup` give another tag, such as "backup-{{ .Ref.Tag }}"',
  });
}

function parsed(name: string, text: string): ReturnType<typeof parseReference> {
  try {
    return parseReference(name);
  } catch (err) {
    if (!isCode(err, 'INVALID')) throw err;
    throw new GantryError('INVALID', `the template of \`backup\` gave ${JSON.stringify(text)}: ${err.message}`, {
      origin: 'user',
      cause: err,
    });
  }
}
