import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { asGantryError, GantryError } from '../errors.ts';
import type { Cli } from './cli.ts';

export const askText = (cli: Cli, question: string): Promise<string> => ask(cli, question, true);

/** Asks without showing what is typed. */
export const askSecret = (cli: Cli, question: string): Promise<string> => ask(cli, question, false);

async function ask(cli: Cli, question: string, echo: boolean): Promise<string> {
  if (!cli.stdin.isTTY) {
    throw new GantryError('USAGE', 'there is no terminal to ask on', {
      origin: 'user',
      hint: 'say -u NAME --password-stdin',
    });
  }
  cli.stderr.write(question);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: cli.stdin, output: echo ? cli.stderr : silent, terminal: true });
  try {
    return await lines.question('', { signal: cli.signal });
  } catch (err) {
    throw asGantryError(err); // Ctrl-C: the terminal gives it to us as a key
  } finally {
    lines.close();
    if (!echo) cli.stderr.write('\n');
  }
}
