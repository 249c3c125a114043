/** What every command gets from its surroundings. */
import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import type { CallOptions } from '../call.ts';
import type { ContentStore } from '../store/content-store.ts';
import { readConfig, type Config, type Env } from '../app/config.ts';

export interface Cli extends CallOptions {
  readonly env: Env;
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  /** Ends the process with this code unless an error says otherwise. */
  exitCode: number;
  /** The exit code that a signal has brought about. */
  readonly stopCode?: number | undefined;
  /** Runs until a signal stops it: that is a good end, not one with 130 or 143. */
  isService?: boolean;
  /** Takes SIGHUP in the place of ending by it. */
  onHangup?: () => void;
  /** -v: errors come with their causes. */
  verbose: boolean;
  /** Prints above the progress, when there is one. */
  log: (line: string) => void;
}

/** The configuration, with what the command's flags say. */
export const configOf = (cli: Cli, flags: { store?: string | undefined }): Config => {
  const config = readConfig(cli.env);
  return flags.store === undefined ? config : { ...config, store: flags.store };
};

/** A command: what help shows of it without loading it, and where it is. */
export interface CommandEntry {
  readonly name: string;
  readonly args: string;
  readonly summary: string;
  readonly group: 'Images' | 'Content' | 'Bulk' | 'Farm' | 'Service';
  /** Loaded only when it is asked for: loading all of them would cost more than most commands take. */
  readonly load: () => Promise<{ command: (cli: Cli, commands: readonly CommandEntry[]) => CommandUnknownOpts }>;
}

/** The store that the command's flags say. @throws GantryError USAGE when the path cannot be one */
export async function storeOf(cli: Cli, flags: { store?: string | undefined }): Promise<ContentStore> {
  const { openStore } = await import('../app/store.ts');
  const store = openStore(configOf(cli, flags));
  await store.exists();
  return store;
}
