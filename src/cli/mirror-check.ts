/** `mirror check`: what a run would change, and why. */
import { randomUUID } from 'node:crypto';
import { Command } from '@commander-js/extra-typings';
import { compareImages } from '../app/mirror/compare.ts';
import { jobOf } from '../app/mirror/job.ts';
import { inOrder, reportOf, ruleReports } from '../app/mirror/report.ts';
import { RequestCounter } from '../app/mirror/request-count.ts';
import { resolversOf } from '../app/wiring.ts';
import { expandRules } from '../mirror/plan/expand.ts';
import type { Cli } from './cli.ts';
import { maybeFarmOption } from './farm-options.ts';
import { assertPlaces, endMirror } from './mirror-end.ts';
import { allOption, loadFile, mirrorFileOption, openMirrored } from './mirror-options.ts';
import { memoryOf, pruneNow, stateOption } from './mirror-prune.ts';
import { formatOption, quietOption, redisCaOption, withRegistryOptions } from './options.ts';

export const checkCommand = (cli: Cli) =>
  withRegistryOptions(
    new Command('check')
      .description('tell what a run would change and why, with two HEADs for an image')
      .addOption(mirrorFileOption())
      .option('--report <file>', 'also write what was found to this file, as JSON')
      .addOption(stateOption())
      .addOption(maybeFarmOption('what pruning remembers is in this Redis'))
      .addOption(redisCaOption())
      .addOption(formatOption())
      .addOption(quietOption('print nothing; the exit code tells'))
      .addOption(allOption()),
  )
    .addHelpText(
      'after',
      `
Exits with 0 when all is as it should be, 8 when something would change, 3 when some of it could not be told.
-v lists every image, and every tag that a filter dropped.`,
    )
    .action(async (flags) => {
      await assertPlaces(flags);
      const file = await loadFile(cli, flags.file);
      await using kept = await memoryOf(cli, flags);
      const started = new Date();
      const counter = new RequestCounter();
      await using client = openMirrored(cli, flags, file, counter);
      const planned = await expandRules(file.rules, client, cli);
      const job = jobOf(planned);
      const rules = ruleReports(planned);
      const images = inOrder(rules, job, await compareImages(resolversOf(client), job.items, cli));
      const pruned = await pruneNow(cli, { client, planned, rules, images, memory: kept.memory, isDryRun: true });
      const parts = { kind: 'check', run: randomUUID(), started, file: file.file, rules, images, pruned } as const;
      await endMirror(cli, reportOf({ ...parts, requests: counter.counts }), pruned, flags);
    });
