import { constants, open } from 'node:fs/promises';
import { GantryError, messageOf } from '../../errors.ts';

/** Does not wait for the reader of a pipe. */
const FLAGS = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;

/**
 * Adds a line at the end of a file by one write, so that lines of several processes do not mix (POSIX write(2), O_APPEND).
 * @throws GantryError IO
 */
export async function appendLine(path: string, line: string): Promise<void> {
  const bytes = Buffer.from(`${line}\n`);
  try {
    await using file = await open(path, FLAGS, 0o644);
    const { bytesWritten } = await file.write(bytes);
    if (bytesWritten < bytes.length) throw new Error(`only ${bytesWritten} of ${bytes.length} bytes were written`);
  } catch (err) {
    throw new GantryError('IO', `cannot write ${path}: ${messageOf(err)}`, { origin: 'user', cause: err });
  }
}
