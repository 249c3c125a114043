/** What the subcommands of `mirror` share: the file, the registries it names, warnings. */
import { text } from 'node:stream/consumers';
import { addAbortSignal } from 'node:stream';
import { Option } from '@commander-js/extra-typings';
import { mirrorConfig, mirrorSettings } from '../app/mirror/settings.ts';
import { openRegistries } from '../app/wiring.ts';
import type { MirrorFile } from '../mirror/file/types.ts';
import type { RegistryClient } from '../registry/client.ts';
import type { RegistryObserver } from '../remote/observer.ts';
import { type Cli, configOf } from './cli.ts';
import { type RegistryFlags, registrySettings } from './options.ts';

export const DEFAULT_FILE = 'mirror.yml';

export const mirrorFileOption = (): Option<'-f, --file <file>'> =>
  new Option('-f, --file <file>', `the mirror file; - for stdin (default: ${DEFAULT_FILE})`);

export const allOption = (): Option<'-v, --verbose'> =>
  new Option('-v, --verbose', 'tell more: every image, every tag that was dropped, retries, causes of errors');

/** Reads the mirror file, and tells its warnings. YAML and its schema take longer to load than most commands take. */
export async function loadFile(cli: Cli, given: string | undefined): Promise<MirrorFile> {
  const [{ loadMirrorFile, readMirrorText }, { formatProblem }] = await Promise.all([
    import('../app/mirror-file.ts'),
    import('../mirror/file/build.ts'),
  ]);
  const file =
    given === '-'
      ? await readMirrorText(await text(addAbortSignal(cli.signal, cli.stdin)), 'stdin', cli.env)
      : await loadMirrorFile(given ?? DEFAULT_FILE, cli.env);
  for (const warning of file.warnings) cli.log(`gantry: warning: ${formatProblem(warning)}`);
  return file;
}

/** The registries, with what the file says about them. */
export function openMirrored(
  cli: Cli,
  flags: RegistryFlags,
  file: MirrorFile | undefined,
  observer: RegistryObserver,
): RegistryClient {
  const config = mirrorConfig(file, configOf(cli, {}));
  return openRegistries(config, { ...mirrorSettings(file, registrySettings(flags, config, cli)), observer });
}
