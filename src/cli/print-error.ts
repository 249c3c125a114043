import { GantryError, isCode, messageOf } from '../errors.ts';
import { showText } from '../oci/show.ts';
import type { Cli } from './cli.ts';

const MAX_CAUSES = 8;

/** `gantry: what, where (what to do)`; with -v the causes below it. */
export function printError(err: unknown, cli: Pick<Cli, 'stderr' | 'verbose'>): void {
  if (isCode(err, 'CANCELLED') && !cli.verbose) return; // whoever pressed Ctrl-C knows
  cli.stderr.write(`gantry: ${errorLine(err)}\n`);
  if (!cli.verbose) return;
  printCauses(err, cli);
  if (!(err instanceof GantryError) && err instanceof Error) cli.stderr.write(`${err.stack ?? ''}\n`);
}

export function errorLine(err: unknown): string {
  const hint = err instanceof GantryError && err.hint !== undefined ? ` (${err.hint})` : '';
  const [first = '', ...rest] = messageOf(err).split('\n');
  // A reference that cannot be read comes with the place below it.
  return [`${first}${hint}`, ...rest].join('\n');
}

export function printCauses(err: unknown, cli: Pick<Cli, 'stderr'>): void {
  let cause = err instanceof Error ? err.cause : undefined;
  for (let i = 0; i < MAX_CAUSES && cause !== undefined; i += 1) {
    const code = cause instanceof Error && 'code' in cause ? ` [${String(cause.code)}]` : '';
    cli.stderr.write(`  because: ${showText(messageOf(cause))}${code}\n`);
    cause = cause instanceof Error ? cause.cause : undefined;
  }
}
