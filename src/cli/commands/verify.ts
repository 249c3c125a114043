import { Command } from '@commander-js/extra-typings';
import { verifyStore } from '../../app/verify.ts';
import { ERROR_POLICY } from '../../errors.ts';
import { parseDigest } from '../../oci/digest.ts';
import { type Cli, storeOf } from '../cli.ts';
import { formatOption, storeOption, verboseOption } from '../options.ts';
import { write } from '../output.ts';
import { bytesText } from '../units.ts';

export const command = (cli: Cli) =>
  new Command('verify')
    .argument('[digest...]', 'content of the store (default: all, and that each image is complete)')
    .addOption(storeOption())
    .addOption(formatOption())
    .addOption(verboseOption())
    .addHelpText(
      'after',
      `
A damaged file is moved aside to gantry/damaged in the store; the next pull of its image fetches it again.
Exit code 6: something is damaged; 4: something is missing.`,
    )
    .action(async (texts, flags) => {
      const store = await storeOf(cli, flags);
      const report = await verifyStore(store, texts.map(parseDigest), cli);
      for (const { kind, digest, image, detail } of report.problems) {
        cli.stderr.write(`gantry: ${image === undefined ? '' : `${image}: `}${kind} ${digest}: ${detail}\n`);
      }
      const { blobs, bytes, images, problems } = report;
      const text = `${blobs} blobs (${bytesText(bytes)}) and ${images} images checked, ${problems.length} problems\n`;
      await write(
        cli,
        flags.format === 'table' ? text : `${JSON.stringify(report, null, flags.format === 'json' ? 2 : 0)}\n`,
      );
      if (problems.some(({ kind }) => kind !== 'missing')) cli.exitCode = ERROR_POLICY.DIGEST_MISMATCH.exit;
      else if (problems.length > 0) cli.exitCode = ERROR_POLICY.NOT_FOUND.exit;
    });
