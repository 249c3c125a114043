/** What a `mirror run` has to do: all of a file, what is left of an earlier run, or a plan. */
import { existsSync } from 'node:fs';
import { type Job, type JobItem, jobOf } from '../app/mirror/job.ts';
import { pinnedJob } from '../app/mirror/pinned.ts';
import { type PresentBlobs, readPlan } from '../app/mirror/plan-file.ts';
import { type ReportRule, ruleReports } from '../app/mirror/report.ts';
import { readRetry } from '../app/mirror/retry.ts';
import { resolversOf } from '../app/wiring.ts';
import { GantryError } from '../errors.ts';
import type { MirrorFile } from '../mirror/file/types.ts';
import { type ExpandOptions, expandRules } from '../mirror/plan/expand.ts';
import type { PlannedRule } from '../mirror/plan/types.ts';
import type { RegistryClient } from '../registry/client.ts';
import type { Cli } from './cli.ts';
import { loadFile } from './mirror-options.ts';
import { counted } from './mirror-view.ts';

export interface WorkFlags {
  readonly file?: string | undefined;
  readonly plan?: string | undefined;
  readonly replan?: true | undefined;
  readonly retryFailed?: string | undefined;
}

export interface Work {
  /** The mirror file's name. */
  readonly name: string;
  /** Undefined: there is none at hand; its credentials are missing then. */
  readonly file: MirrorFile | undefined;
  /** Asks registries what there is to do. */
  readonly expand: (client: RegistryClient, onImages?: ExpandOptions['onImages']) => Promise<ToDo>;
}

export interface ToDo {
  readonly job: Job;
  readonly rules: readonly ReportRule[];
  /** Blobs that a plan has found at the targets. */
  readonly present?: readonly PresentBlobs[];
  /** All rules of the file; undefined where only a part of it is to be done. */
  readonly planned: readonly PlannedRule[] | undefined;
}

/** @throws GantryError USAGE when the flags do not fit together, INVALID */
export async function workOf(cli: Cli, flags: WorkFlags): Promise<Work> {
  const { plan, retryFailed, replan } = flags;
  if (plan !== undefined && retryFailed !== undefined) throw usage('say --plan or --retry-failed, not both');
  if (replan === true && plan === undefined) throw usage('--replan goes with --plan only');
  const { readTextFile } = await import('../app/mirror-file.ts');
  if (plan !== undefined) return workOfPlan(cli, flags, readTextFile(plan), plan);
  if (retryFailed !== undefined) return workOfReport(cli, flags, readTextFile(retryFailed), retryFailed);
  const file = await loadFile(cli, flags.file);
  return {
    name: file.file,
    file,
    expand: async (client, onImages) => {
      const { signal } = cli;
      const planned = await expandRules(file.rules, client, {
        signal,
        ...(onImages === undefined ? {} : { onImages }),
      });
      return { job: jobOf(planned), rules: ruleReports(planned), planned };
    },
  };
}

const usage = (message: string): GantryError => new GantryError('USAGE', message, { origin: 'user' });

async function workOfPlan(cli: Cli, flags: WorkFlags, text: string, path: string): Promise<Work> {
  const plan = readPlan(text, path);
  const file = await fileBehind(cli, flags.file, plan.file);
  return {
    name: plan.file,
    file,
    expand: async (client) => {
      const { signal } = cli;
      const job = await pinnedJob(resolversOf(client), plan, { signal, replan: flags.replan === true });
      const rules = rulesOf(
        plan.images.map(({ item }) => item),
        file,
      );
      return { job, rules, planned: undefined, present: plan.present };
    },
  };
}

async function workOfReport(cli: Cli, flags: WorkFlags, text: string, path: string): Promise<Work> {
  const { items, left, rules: failed, file: name } = readRetry(text, path);
  if (left > 0)
    cli.log(`gantry: ${counted(left, 'image')} failed for what the mirror file says; run that again as a whole`);
  const file = await fileBehind(cli, flags.file, name);
  if (file === undefined && failed.length > 0) {
    cli.log(
      `gantry: ${failed.join(', ')} could not be listed then; give the mirror file with -f to try that again, too`,
    );
  }
  const again = (file?.rules ?? []).filter(({ id }) => failed.includes(id));
  return {
    name,
    file,
    expand: async (client) => {
      const planned = await expandRules(again, client, cli);
      const { items: listed, settled } = jobOf(planned);
      const known = new Set(failed);
      const kept = items.filter(({ rule }) => !known.has(rule) || file === undefined);
      const rules = [...ruleReports(planned), ...rulesOf(kept, file)];
      return { job: { items: [...listed, ...kept], settled }, rules, planned: undefined };
    },
  };
}

/** The mirror file of a plan or report has the credentials. One that is gone is done without. */
async function fileBehind(cli: Cli, given: string | undefined, name: string): Promise<MirrorFile | undefined> {
  if (given !== undefined) return loadFile(cli, given);
  return name !== 'stdin' && existsSync(name) ? loadFile(cli, name) : undefined;
}

/** Rules as far as they are known from their images. */
function rulesOf(items: readonly JobItem[], file: MirrorFile | undefined): ReportRule[] {
  return [...Map.groupBy(items, ({ rule }) => rule)].map(([rule, own]) => {
    const said = file?.rules.find(({ id }) => id === rule);
    const sources = [...new Set(own.map(({ root }) => root.source))];
    const targets = [...new Set(own.map(({ root }) => root.target))];
    return {
      rule,
      source: said?.source ?? sources.join(', '),
      targets: said?.targets ?? targets,
      repositories: sources.map((source) => ({ source, targets })),
      left: 0,
    };
  });
}
