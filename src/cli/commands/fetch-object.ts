import { Command } from '@commander-js/extra-typings';
import { openObject } from '../../app/object.ts';
import { openRegistries } from '../../app/wiring.ts';
import { GantryError } from '../../errors.ts';
import { algorithmOf, Digester } from '../../oci/digest.ts';
import { parseRepository } from '../../oci/reference.ts';
import { type Cli, configOf } from '../cli.ts';
import { registrySettings, verboseOption, withRegistryOptions } from '../options.ts';
import { write } from '../output.ts';

export const command = (cli: Cli) =>
  withRegistryOptions(
    new Command('fetch-object')
      .argument('<locator>', 'a repository, such as docker.io/library/redis')
      .argument('<object>', 'a tag or a digest')
      .argument('[hint]', 'mediatype:TYPE; without it a digest is looked for among blobs, then among manifests'),
  )
    .addOption(verboseOption())
    .addHelpText(
      'after',
      `
The bytes are checked while they pass: exit code 6 says that those on stdout are not to be trusted.

Examples:
  gantry fetch-object docker.io/library/redis latest mediatype:application/vnd.oci.image.manifest.v1+json | jq .
  gantry fetch-object docker.io/library/redis sha256:... | tar tz`,
    )
    .action(async (locator, object, hint, flags) => {
      const request = { repository: parseRepository(locator), object, mediaType: mediaTypeOf(hint) };
      const config = configOf(cli, {});
      await using client = openRegistries(config, registrySettings(flags, config, cli));
      const { desc, body } = await openObject(client, request, cli);
      await using stream = body;
      const digester = new Digester(algorithmOf(desc.digest));
      let size = 0;
      for await (const chunk of stream) {
        digester.update(chunk);
        size += chunk.byteLength;
        await write(cli, chunk);
      }
      const got = digester.digest();
      if (got === desc.digest) return;
      throw new GantryError('DIGEST_MISMATCH', `${locator} ${object}: ${size} bytes came, and they are ${got}`, {
        origin: 'source',
        digest: desc.digest,
        hint: 'do not use what was written to stdout',
      });
    });

/** `-` is what stands behind the digest in the output of shasum, which scripts pass on without looking. */
function mediaTypeOf(hint: string | undefined): string | undefined {
  if (hint === undefined || hint === '-') return undefined;
  const [, mediaType] = /^mediatype:(.+)$/i.exec(hint) ?? [];
  if (mediaType !== undefined) return mediaType;
  throw new GantryError('USAGE', `not a hint: ${JSON.stringify(hint.slice(0, 100))}`, {
    origin: 'user',
    hint: 'write mediatype:TYPE, such as mediatype:application/vnd.oci.image.manifest.v1+json',
  });
}
