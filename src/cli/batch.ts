/** The end of a run as others are told of it: metrics, a line of JSON. None of it changes how the run ended. */
import { type Summary, summaryOf, type Tally, tallyOfError } from '../app/batch/summary.ts';
import type { Pushgateway } from '../app/batch/pushgateway.ts';
import { RequestCounter } from '../app/mirror/request-count.ts';
import { assertPlace } from '../app/mirror/write-file.ts';
import { asGantryError, exitCodeOf, GantryError, messageOf } from '../errors.ts';
import type { Exposition } from '../metrics/exposition.ts';
import type { BatchFlags } from './batch-options.ts';
import { type Cli, configOf } from './cli.ts';

export interface Ended extends Tally {
  /** Unless a signal has stopped it. */
  readonly exitCode: number;
  /** Its id on a farm. */
  readonly run?: string | undefined;
  /** The requests of this process tell what it has cost. */
  readonly isCounted?: boolean;
  /** When it began, where that is not when the command did; and when it ended. */
  readonly times?: { readonly startedAt: Date; readonly endedAt: Date };
  /** Further metrics for the textfile, given what it says so far. */
  readonly metrics?: (before: string) => string | Promise<string>;
  readonly error?: Summary['error'];
}

/** What a malformed call and an unreadable file end with: there was no run. */
const NO_RUN = 2;

/** One run of a command. */
export class Batch {
  /** To be made an observer of the registries. */
  readonly requests = new RequestCounter();
  readonly #cli: Cli;
  readonly #command: string;
  readonly #flags: BatchFlags;
  readonly #gateway: Pushgateway | undefined;
  readonly #startedAt = new Date();
  #job: string;
  #summary: { readonly of: Summary; readonly tally: Tally } | undefined;

  constructor(cli: Cli, command: string, flags: BatchFlags, gateway?: Pushgateway) {
    this.#cli = cli;
    this.#command = command;
    this.#job = command;
    this.#flags = flags;
    this.#gateway = gateway;
  }

  /** What it is called unless --job says; the command where nobody does. */
  called(job: string): void {
    this.#job = job;
  }

  /** Writes the files, at once: what else there is to print may find its reader gone. Does not throw. */
  async ended({ isCounted = false, times, metrics, ...ended }: Ended): Promise<void> {
    const { metricsTextfile, summary: file, job = this.#job } = this.#flags;
    const summary = summaryOf({
      startedAt: times?.startedAt ?? this.#startedAt,
      endedAt: times?.endedAt ?? new Date(),
      ...ended,
      command: this.#command,
      job,
      run: ended.run,
      exitCode: this.#cli.stopCode ?? ended.exitCode,
      requests: isCounted ? this.requests.counts : undefined,
      error: ended.error,
    });
    this.#summary = { of: summary, tally: ended };
    if (metricsTextfile !== undefined) {
      await this.#try('the metrics were not written', async () => {
        const { writeTextfile } = await import('../app/batch/textfile.ts');
        await writeTextfile(metricsTextfile, async (before) => {
          const { body } = await this.#metrics(summary, ended, before);
          return `${body}${(await metrics?.(before)) ?? ''}`;
        });
      });
    }
    if (file !== undefined) {
      await this.#try('the summary was not written', async () => {
        const { appendLine } = await import('../app/batch/append-line.ts');
        await appendLine(file, JSON.stringify(summary));
      });
    }
  }

  /** An error in the place of results. */
  async broke(err: unknown): Promise<void> {
    if (this.#flags.dryRun === true || this.#flags.detach === true) return;
    const { code, origin, message } = asGantryError(err);
    const exitCode = exitCodeOf(err);
    if (this.#summary !== undefined || (exitCode === NO_RUN && this.#cli.stopCode === undefined)) return;
    const { keptMirrorMetrics } = await import('../metrics/mirror-metrics.ts');
    const error = { code, origin, message };
    await this.ended({ ...tallyOfError(code), exitCode, error, metrics: keptMirrorMetrics });
  }

  /** The rest of what is told, when all else was. Does not throw. */
  async close(): Promise<void> {
    if (this.#summary === undefined) return;
    const { of: summary, tally } = this.#summary;
    const gateway = this.#gateway;
    if (gateway !== undefined) {
      await this.#try(`the metrics were not pushed to ${gateway.url.origin}`, async () => {
        const { pushMetrics } = await import('../app/batch/pushgateway.ts');
        const { proxies } = configOf(this.#cli, {});
        await pushMetrics(gateway, summary.job, await this.#metrics(summary, tally, ''), { proxies });
      });
    }
    const { progress, quiet = false } = this.#flags;
    if (progress === 'json' && !quiet) this.#cli.log(JSON.stringify(summary));
  }

  async #metrics(summary: Summary, { images, failures }: Tally, before: string): Promise<Exposition> {
    const { batchMetrics } = await import('../metrics/batch-metrics.ts');
    const { job: batch, command, bytes, durationMs, exitCode, time } = summary;
    const numbers = { bytes, durationMs, exitCode, endedAt: new Date(time) };
    return batchMetrics({ batch, command, images, failures, ...numbers }, before);
  }

  async #try(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (err) {
      const hint = err instanceof GantryError && err.hint !== undefined ? ` (${err.hint})` : '';
      this.#cli.log(`gantry: warning: ${what}: ${messageOf(err)}${hint}`);
    }
  }
}

/**
 * Runs a command, and tells how it went, whatever it throws; not of a command that was not understood.
 * @throws GantryError USAGE when what is to be told could go nowhere, before anything else is done
 */
export async function asBatch(
  cli: Cli,
  command: string,
  flags: BatchFlags,
  work: (batch: Batch) => Promise<void>,
): Promise<void> {
  const { metricsTextfile, summary, pushgateway } = flags;
  if (summary === '-') {
    throw new GantryError('USAGE', '--summary wants a file', {
      origin: 'user',
      hint: '--progress json writes the same line to stderr',
    });
  }
  if (metricsTextfile !== undefined) await assertPlace(metricsTextfile);
  if (summary !== undefined) await assertPlace(summary, 'append');
  const batch = new Batch(cli, command, flags, await gatewayOf(cli, pushgateway));
  try {
    await work(batch);
  } catch (err) {
    await batch.broke(err);
    throw err;
  } finally {
    await batch.close();
  }
}

async function gatewayOf(cli: Cli, given: string | true | undefined): Promise<Pushgateway | undefined> {
  if (given === undefined) return undefined;
  const { pushgatewayOf } = await import('../app/batch/pushgateway.ts');
  return pushgatewayOf(given, configOf(cli, {}));
}
