/** What a copy would do. */
import { compareImages } from '../app/mirror/compare.ts';
import { type CopyPair, copyRoots } from '../app/copy.ts';
import { type MirrorImage, targetName } from '../app/mirror/outcome.ts';
import { ERROR_POLICY } from '../errors.ts';
import type { Resolver } from '../remote/ports.ts';
import type { Cli } from './cli.ts';
import { type CopyFlags, selectionOf } from './copying.ts';
import { printItems, type View } from './output.ts';
import { PARTIAL } from './run-result.ts';

/** What becomes of an image, in a word. */
const DOES: Partial<Record<MirrorImage['outcome'], string>> = {
  missing: 'copy',
  changed: 'replace',
  equal: 'equal',
  skipped: 'skip',
};

/** An image that is equal may lack what hangs on it. */
const wordOf = ({ outcome, was, digest }: MirrorImage): string =>
  outcome === 'changed' && was === digest ? 'attach' : (DOES[outcome] ?? outcome);

const VIEW: View<MirrorImage> = {
  header: ['WOULD', 'SOURCE', 'TARGET', 'DIGEST'],
  row: (image) => [wordOf(image), image.source, targetName(image), image.digest ?? ''],
  json: ({ outcome, source, digest, was, error, ...image }) => ({
    name: source,
    target: targetName(image),
    outcome,
    ...(digest === undefined ? {} : { digest }),
    ...(was === undefined ? {} : { was }),
    ...(error === undefined ? {} : { error }),
  }),
  quiet: (image) => `${targetName(image)}@${image.digest ?? ''}`,
};

/**
 * Compares the names at both ends, by HEAD, and prints the outcome for each image. Only of an index of which some platforms are wanted
 * the manifest is read. What is printed with -q would be copied.
 */
export async function showCopies(
  cli: Cli,
  resolver: Resolver,
  pairs: readonly CopyPair[],
  flags: CopyFlags,
): Promise<void> {
  const roots = copyRoots({ pairs, selection: selectionOf(flags) });
  const images = await compareImages(
    resolver,
    roots.map((root) => ({ rule: '', root })),
    { signal: cli.signal },
  );
  const quiet = flags.quiet ?? false;
  const wanted = images.filter(({ outcome }) => !quiet || outcome === 'missing' || outcome === 'changed');
  await printItems(cli, wanted, VIEW, { format: flags.format, quiet });
  const failures = images.flatMap(({ source, error }) => (error === undefined ? [] : { source, error }));
  for (const { source, error } of failures) {
    cli.stderr.write(`gantry: ${source}: ${error.message}${error.hint === undefined ? '' : ` (${error.hint})`}\n`);
  }
  const [first] = failures;
  if (first === undefined) return;
  cli.exitCode = failures.length < images.length ? PARTIAL : ERROR_POLICY[first.error.code].exit;
}
