/** Pruning as a part of `mirror check` and `mirror run`. */
import { Option } from '@commander-js/extra-typings';
import { type FarmFlags, openFarm } from '../app/farm.ts';
import { memoryMissing, pruneAfterRun } from '../app/mirror/prune.ts';
import { PruneFile } from '../app/mirror/prune-file.ts';
import type { MirrorImage } from '../app/mirror/outcome.ts';
import { type ReportRule, unfinished } from '../app/mirror/report.ts';
import type { CallOptions } from '../call.ts';
import type { PlannedRule } from '../mirror/plan/types.ts';
import type { Gone, PruneMemory, PruneResult } from '../mirror/prune/types.ts';
import type { Farm } from '../queue/farm.ts';
import type { RegistryClient } from '../registry/client.ts';
import { type Cli, configOf } from './cli.ts';
import { farmFlags } from './farm-options.ts';

export const stateOption = (): Option<'--state <file>'> =>
  new Option('--state <file>', 'where pruning remembers since when a tag is gone (with --redis: there, unless given)');

export interface Pruning {
  readonly client: RegistryClient;
  /** All rules of the file; undefined: only a part of it was run, and nothing is pruned. */
  readonly planned: readonly PlannedRule[] | undefined;
  readonly rules: readonly ReportRule[];
  readonly images: readonly MirrorImage[];
  readonly memory: PruneMemory | undefined;
  /** Only tells what would be deleted. */
  readonly isDryRun: boolean;
}

/** What fails is told in the results. */
export async function pruneNow(cli: Cli, pruning: Pruning): Promise<readonly PruneResult[]> {
  const { client, planned, rules, images, memory, isDryRun } = pruning;
  if (planned === undefined || cli.signal.aborted) return [];
  const missing = memoryMissing(planned, memory);
  if (missing !== undefined) cli.log(`gantry: ${missing}`);
  return pruneAfterRun({ client, planned, unfinished: unfinished(rules, images), memory, isDryRun }, cli);
}

/** What is remembered, while a command runs. */
export interface OpenMemory extends AsyncDisposable {
  /** Undefined: nothing is. */
  readonly memory: PruneMemory | undefined;
}

export interface MemoryFlags {
  readonly state?: string | undefined;
  readonly redis?: string | true | undefined;
  readonly redisCa?: string | undefined;
}

/** In the file that is named, else in the Redis that is. @throws GantryError INVALID, IO, USAGE: before anything is copied */
export async function memoryOf(cli: Cli, flags: MemoryFlags): Promise<OpenMemory> {
  const none = { [Symbol.asyncDispose]: () => Promise.resolve() };
  const reached = farmFlags(flags);
  if (flags.state !== undefined) return { memory: await PruneFile.open(flags.state), ...none };
  return reached === undefined ? { memory: undefined, ...none } : new FarmMemory(cli, reached);
}

/** Connects when something is asked of it: most files prune nothing. */
class FarmMemory implements OpenMemory, PruneMemory {
  readonly #open: () => Promise<Farm>;
  #farm: Promise<Farm> | undefined;

  constructor(cli: Cli, reached: FarmFlags) {
    this.#open = () => openFarm(configOf(cli, {}), reached, cli);
  }

  get memory(): PruneMemory {
    return this;
  }

  async read(repository: string, opts: CallOptions): Promise<ReadonlyMap<string, Gone>> {
    return this.#ask((farm) => farm.goneTags.read(repository, opts));
  }

  async write(repository: string, gone: ReadonlyMap<string, Gone>, opts: CallOptions): Promise<void> {
    return this.#ask((farm) => farm.goneTags.write(repository, gone, opts));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const farm = await this.#farm?.catch(() => undefined);
    await farm?.[Symbol.asyncDispose]();
  }

  async #ask<T>(work: (farm: Farm) => Promise<T>): Promise<T> {
    this.#farm ??= this.#open();
    const farm = await this.#farm;
    return work(farm).catch((err: unknown) => {
      throw farm.named(err);
    });
  }
}
