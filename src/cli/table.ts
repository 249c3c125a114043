/** The commands: what help shows without loading them, and where each is. */
import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import type { Cli } from './cli.ts';

export interface CommandEntry {
  readonly name: string;
  readonly args: string;
  readonly summary: string;
  readonly group: 'Images' | 'Content' | 'Service';
  /** Loaded only when it is asked for: loading all of them would cost more than most commands take. */
  readonly load: () => Promise<{ command: (cli: Cli) => CommandUnknownOpts }>;
}

export const COMMANDS: readonly CommandEntry[] = [
  {
    name: 'pull',
    args: 'REF...',
    summary: 'fetch images and name them in the store',
    group: 'Images',
    load: () => import('./commands/pull.ts'),
  },
  {
    name: 'images',
    args: '',
    summary: 'list the images in the store, or remove names',
    group: 'Images',
    load: () => import('./commands/images.ts'),
  },
  {
    name: 'ls',
    args: 'REPO',
    summary: 'list the tags of a repository',
    group: 'Images',
    load: () => import('./commands/ls.ts'),
  },
  {
    name: 'digest',
    args: 'REF',
    summary: 'print what a reference means now',
    group: 'Images',
    load: () => import('./commands/digest.ts'),
  },
  {
    name: 'manifest',
    args: 'REF',
    summary: 'print a manifest, byte for byte',
    group: 'Images',
    load: () => import('./commands/manifest.ts'),
  },
  {
    name: 'inspect',
    args: 'REF',
    summary: 'describe an image: platforms, layers, configuration',
    group: 'Images',
    load: () => import('./commands/inspect.ts'),
  },
  {
    name: 'fetch',
    args: 'REF',
    summary: 'fetch all content of an image, without naming it',
    group: 'Content',
    load: () => import('./commands/fetch.ts'),
  },
  {
    name: 'fetch-object',
    args: 'LOCATOR OBJECT [HINT]',
    summary: 'write one blob or manifest to stdout',
    group: 'Content',
    load: () => import('./commands/fetch-object.ts'),
  },
  {
    name: 'ingest',
    args: 'REF',
    summary: 'store what comes on stdin',
    group: 'Content',
    load: () => import('./commands/ingest.ts'),
  },
  {
    name: 'active',
    args: '',
    summary: 'show ongoing ingests',
    group: 'Content',
    load: () => import('./commands/active.ts'),
  },
  {
    name: 'list',
    args: '',
    summary: 'list the content in the store',
    group: 'Content',
    load: () => import('./commands/list.ts'),
  },
  {
    name: 'path',
    args: 'DIGEST...',
    summary: 'print the file of some content',
    group: 'Content',
    load: () => import('./commands/path.ts'),
  },
  {
    name: 'delete',
    args: 'DIGEST...',
    summary: 'delete content that no image needs',
    group: 'Content',
    load: () => import('./commands/delete.ts'),
  },
  {
    name: 'verify',
    args: '[DIGEST...]',
    summary: 'read all content again and check it',
    group: 'Service',
    load: () => import('./commands/verify.ts'),
  },
  {
    name: 'gc',
    args: '',
    summary: 'delete what no image needs',
    group: 'Service',
    load: () => import('./commands/gc.ts'),
  },
  {
    name: 'login',
    args: 'REGISTRY',
    summary: 'store credentials for a registry',
    group: 'Service',
    load: () => import('./commands/login.ts'),
  },
  {
    name: 'logout',
    args: 'REGISTRY',
    summary: 'remove the credentials of a registry',
    group: 'Service',
    load: () => import('./commands/logout.ts'),
  },
  {
    name: 'completion',
    args: 'bash|zsh|fish',
    summary: 'print a completion script',
    group: 'Service',
    load: () => import('./commands/completion.ts'),
  },
];
