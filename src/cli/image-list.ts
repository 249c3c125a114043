/** The images that a command is given: as arguments, and in a file or on stdin, one a line. */
import { readFile } from 'node:fs/promises';
import { addAbortSignal } from 'node:stream';
import { text } from 'node:stream/consumers';
import { GantryError, isCode, messageOf } from '../errors.ts';
import { parseReference, type Reference } from '../oci/reference.ts';
import type { Cli } from './cli.ts';

/** Of a name that comes twice the first one stays. @throws GantryError INVALID, USAGE when there are none */
export async function imagesFrom(cli: Cli, texts: readonly string[], file: string | undefined): Promise<Reference[]> {
  const listed = file === undefined ? [] : parseImageList(await read(cli, file), file === '-' ? 'stdin' : file);
  const refs = distinct([...texts.map(parseReference), ...listed]);
  if (refs.length > 0) return refs;
  if (file !== undefined) throw new GantryError('USAGE', `the list ${file} names no image`, { origin: 'user' });
  throw new GantryError('USAGE', "missing required argument 'ref'", {
    origin: 'user',
    hint: 'give references, or a file of them with -f FILE',
  });
}

export const distinct = (refs: readonly Reference[]): Reference[] => [
  ...new Map(refs.map((ref) => [ref.name, ref])).values(),
];

/** A `#` starts a comment: no reference has one. @throws GantryError INVALID that names the line as `where:line` */
export function parseImageList(content: string, where: string): Reference[] {
  return content
    .replace(/^\ufeff/, '')
    .split('\n')
    .flatMap((line, i) => {
      const name = line.replace(/#.*/, '').trim();
      return name === '' ? [] : [referenceAt(name, `${where}:${i + 1}`)];
    });
}

function referenceAt(name: string, place: string): Reference {
  try {
    return parseReference(name);
  } catch (err) {
    if (!isCode(err, 'INVALID')) throw err;
    throw new GantryError('INVALID', `${place}: ${err.message}`, { origin: 'user', cause: err.cause });
  }
}

async function read(cli: Cli, file: string): Promise<string> {
  // A signal ends the wait for whoever writes to us.
  if (file === '-') return text(addAbortSignal(cli.signal, cli.stdin));
  return readFile(file, { encoding: 'utf8', signal: cli.signal }).catch((err: unknown) => {
    cli.signal.throwIfAborted();
    throw new GantryError('USAGE', `cannot read the list ${file}: ${messageOf(err)}`, { origin: 'user', cause: err });
  });
}
