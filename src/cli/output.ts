/** Results on stdout: a table for people, JSON of a documented shape (docs/json.md) for programs. */
import { once } from 'node:events';
import { GantryError, messageOf } from '../errors.ts';
import type { Cli } from './cli.ts';
import { tableText } from './units.ts';

export type Format = 'table' | 'json' | 'jsonl';

/** One kind of result: the same rows as a table and as JSON objects. */
export interface View<T> {
  readonly header: readonly string[];
  row(item: T): readonly string[];
  json(item: T): Readonly<Record<string, unknown>>;
  /** What -q prints for an item. */
  quiet?(item: T): string;
}

export async function printItems<T>(
  cli: Cli,
  items: readonly T[],
  view: View<T>,
  how: { format: Format; quiet?: boolean | undefined },
): Promise<void> {
  if (how.format === 'json')
    await write(
      cli,
      `${JSON.stringify(
        items.map((item) => view.json(item)),
        null,
        2,
      )}\n`,
    );
  else if (how.format === 'jsonl')
    await write(cli, items.map((item) => `${JSON.stringify(view.json(item))}\n`).join(''));
  else if (how.quiet === true)
    await write(cli, items.map((item) => `${view.quiet?.(item) ?? view.row(item)[0] ?? ''}\n`).join(''));
  else await write(cli, tableText([view.header, ...items.map((item) => view.row(item))]));
}

/** Writes all of it before it goes on: a pipe takes what its reader has room for. */
export async function write(cli: Pick<Cli, 'stdout'>, text: string | Uint8Array): Promise<void> {
  if (cli.stdout.write(text)) return;
  try {
    await once(cli.stdout, 'drain');
  } catch (err) {
    throw stdoutError(err);
  }
}

/** The disk behind stdout is full, ...: all that comes there is lost. */
export const stdoutError = (err: unknown): GantryError =>
  new GantryError('IO', `cannot write to stdout: ${messageOf(err)}`, { origin: 'user', cause: err });
