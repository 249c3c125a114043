/** The end of a run: its results on stdout, its failures on stderr, its exit code. */
import { exitCodeOf, type GantryError } from '../errors.ts';
import type { ImageResult, RunResult } from '../flow/dispatcher.ts';
import { isRepository, type Node, nodeLabel } from '../flow/handler.ts';
import type { Cli } from './cli.ts';
import { type Format, write } from './output.ts';
import { errorLine, printCauses } from './print-error.ts';

export const PARTIAL = 3;

/**
 * As a table nothing more is printed: the progress has told it. With -q a line REPOSITORY@DIGEST for each image that is done; as
 * JSON an object for each image, whatever its state.
 */
export async function printResults(
  cli: Cli,
  result: RunResult,
  how: { format: Format; quiet: boolean },
): Promise<void> {
  const { images } = result;
  if (how.format === 'json') await write(cli, `${JSON.stringify(images.map(imageJson), null, 2)}\n`);
  else if (how.format === 'jsonl')
    await write(cli, images.map((image) => `${JSON.stringify(imageJson(image))}\n`).join(''));
  else if (how.quiet) {
    const done = images.filter((image) => image.state === 'done');
    await write(cli, done.map(({ root, desc }) => `${placeName(root)}@${desc?.digest ?? ''}\n`).join(''));
  }
}

/** The shape that docs/json.md describes. */
function imageJson(image: ImageResult): Record<string, unknown> {
  const { root, state, desc, error } = image;
  return {
    name: root.kind === 'image' ? root.name : root.desc.digest,
    ...(isRepository(root.target) ? copyJson(image) : {}),
    state,
    ...(image.skipped === undefined ? {} : { skipped: image.skipped }),
    ...(desc === undefined ? {} : { digest: desc.digest, mediaType: desc.mediaType }),
    ...(error === undefined ? {} : { error: errorJson(error) }),
  };
}

/** What there is to tell of a copy beyond a pull. */
function copyJson({ root, isEqual, bytes, mounted, tookMs }: ImageResult): Record<string, unknown> {
  const tag = root.kind === 'image' ? root.tag : undefined;
  const target = tag === undefined ? root.target : `${root.target}:${tag}`;
  return { target, equal: isEqual, bytes, mounted, seconds: Math.round(tookMs) / 1000 };
}

/** Where the image is to be found: at its source, where a store has only taken it, else where it was copied to. */
const placeName = ({ source, target }: Node): string => (isRepository(target) ? target : source);

/** An error, or what is kept of one with a run. */
type ErrorParts = Pick<GantryError, 'code' | 'origin' | 'message'> &
  Partial<Pick<GantryError, 'host' | 'digest' | 'retryAfterMs'>>;

export const errorJson = (error: ErrorParts): Record<string, unknown> => ({
  code: error.code,
  origin: error.origin,
  message: error.message,
  ...(error.host === undefined ? {} : { host: error.host }),
  ...(error.digest === undefined ? {} : { digest: error.digest }),
  ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
});

/** That of the failure when all failed alike, 3 when some are done. What somebody else has cancelled counts as a failure. */
export function exitCodeOfRun({ images }: RunResult): number {
  const bad = images.filter(({ state }) => state !== 'done');
  if (bad.length === 0) return 0;
  if (bad.length < images.length) return PARTIAL;
  const codes = new Set(bad.map(({ error }) => exitCodeOf(error)));
  const [only = 1] = codes;
  return codes.size === 1 ? only : 1;
}

/** One line for each failure, and the exit code. */
export function endWith(cli: Cli, result: RunResult): void {
  const { images } = result;
  const failed = images.filter((image) => image.state === 'failed');
  const cancelled = images.filter((image) => image.state === 'cancelled');
  for (const { root, error } of failed) {
    cli.stderr.write(`gantry: ${nodeLabel(root)}: ${errorLine(error)}\n`);
    if (cli.verbose) printCauses(error, cli);
  }
  if (cancelled.length > 0 && !cli.signal.aborted) {
    cli.stderr.write(`gantry: ${cancelled.length} of ${images.length} images were cancelled\n`);
  }
  if (failed.length + cancelled.length === 0) return;
  if (images.length > 1 && failed.length > 0)
    cli.stderr.write(`gantry: ${failed.length} of ${images.length} images failed\n`);
  cli.exitCode = exitCodeOfRun(result);
}
