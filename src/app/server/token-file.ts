import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { GantryError, messageOf } from '../../errors.ts';
import { Secret } from '../../secret.ts';

/** How long a token that was read is used: who changes the file need not restart the server. */
const FRESH_MS = 1000;
/** A token that can be guessed protects nothing. */
const MIN_LENGTH = 16;
const MAX_LENGTH = 1024;

/**
 * The token in a file, its first line, read again as it changes.
 * @throws GantryError USAGE at once when it cannot be used; later on the token of before stays in force while that is so
 */
export async function tokenFile(file: string): Promise<() => Promise<Secret>> {
  let token = await readToken(file);
  let readAt = performance.now();
  return async () => {
    if (performance.now() - readAt < FRESH_MS) return token;
    readAt = performance.now();
    token = await readToken(file).catch(() => token);
    return token;
  };
}

/**
 * Makes a token that nobody but this user can read. One that is there already stays: programs may have been given it.
 * @throws GantryError USAGE when it cannot be written
 */
export async function makeTokenFile(file: string): Promise<void> {
  try {
    await writeFile(file, `${randomBytes(32).toString('hex')}\n`, { flag: 'wx', mode: 0o600 });
  } catch (err) {
    if (err instanceof Error && 'code' in err && err.code === 'EEXIST') return;
    throw new GantryError('USAGE', `cannot write a token to ${file}: ${messageOf(err)}`, {
      origin: 'user',
      hint: 'give --token-file FILE',
      cause: err,
    });
  }
}

async function readToken(file: string): Promise<Secret> {
  const usage = (problem: string, cause?: unknown): GantryError =>
    new GantryError('USAGE', `--token-file ${file}: ${problem}`, {
      origin: 'user',
      hint: 'make one with `openssl rand -hex 32`',
      cause,
    });
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (err) {
    throw usage(messageOf(err), err);
  }
  const token = text.split('\n', 1)[0]?.trim() ?? '';
  if (token.length < MIN_LENGTH) throw usage(`a token has at least ${MIN_LENGTH} characters`);
  if (token.length > MAX_LENGTH || !/^[\x21-\x7e]+$/.test(token))
    throw usage('a token is one line of printable ASCII without spaces');
  return new Secret(token);
}
