import { addAbortSignal } from 'node:stream';
import { Command } from '@commander-js/extra-typings';
import type { ContentWriter, IngestRequest } from '../../content/ports.ts';
import { parseDigest } from '../../oci/digest.ts';
import type { ContentStore } from '../../store/content-store.ts';
import { type Cli, storeOf } from '../cli.ts';
import { parseCount, storeOption, verboseOption } from '../options.ts';

export const command = (cli: Cli) =>
  new Command('ingest')
    .argument('<ref>', 'names the ingest, as `gantry active` shows it; it makes no image name')
    .option('--expected-digest <digest>', 'store the content only if it has this digest')
    .option('--expected-size <bytes>', 'store the content only if it has this many bytes', parseCount(0))
    .addOption(storeOption())
    .addOption(verboseOption())
    .addHelpText(
      'after',
      `
Content that is there already is not read from stdin again.

Example:
  gantry ingest --expected-digest sha256:... --expected-size 1234 my-layer < layer.tar.gz`,
    )
    .action(async (ref, flags) => {
      const request: IngestRequest = {
        ref,
        ...(flags.expectedDigest === undefined ? {} : { digest: parseDigest(flags.expectedDigest) }),
        ...(flags.expectedSize === undefined ? {} : { size: flags.expectedSize }),
      };
      const store = await storeOf(cli, flags);
      const writer = await openWriter(store, request, cli);
      if (writer === undefined) return;
      await using open = writer;
      let skip = open.offset; // stdin starts at the beginning, also when an earlier attempt has left its part
      // A signal ends the wait for whoever writes to us.
      for await (const chunk of addAbortSignal(cli.signal, cli.stdin) as AsyncIterable<Buffer>) {
        const rest = chunk.subarray(Math.min(skip, chunk.byteLength));
        skip -= chunk.byteLength - rest.byteLength;
        if (rest.byteLength > 0) await open.write(rest);
      }
      await open.commit(cli);
    });

/** Undefined when the content is here. Waits for another process that writes under the same name. */
async function openWriter(store: ContentStore, request: IngestRequest, cli: Cli): Promise<ContentWriter | undefined> {
  for (;;) {
    const ingest = await store.ingestWaiting(request, cli);
    if (ingest.state === 'present') return undefined;
    // Without a digest nothing would tell that an earlier part belongs to something else.
    if (request.digest !== undefined || ingest.writer.offset === 0) return ingest.writer;
    await ingest.writer.discard();
  }
}
