import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { inspect } from 'node:util';

/** Stands in every secret of these tests; nothing that can be printed may contain it. */
export const MARKER = 'MARKER-s3cr3t-7f1e';

/** A directory that goes when the test ends. */
export async function tempDir(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'gantry-registry-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** A credential helper: a shell script with the action in $1. */
export async function helper(dir: string, name: string, body: string): Promise<void> {
  const file = join(dir, `docker-credential-${name}`);
  await writeFile(file, `#!/bin/sh\n${body}\n`);
  await chmod(file, 0o755);
}

/** The environment of helpers in `dir`, with the programs of the system. */
export const envFor = (dir: string): Record<string, string> => ({ PATH: `${dir}:/usr/bin:/bin`, DIR: dir });

export const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** Every way in which a value ends up in a log, with all that hangs on it. */
export function printed(value: unknown): string {
  const error = value instanceof Error ? `${value.message} ${value.stack} ${printed(value.cause ?? '')}` : '';
  const shown = inspect(value, { depth: 20, showHidden: true, getters: true });
  return `${error} ${shown} ${JSON.stringify(value)} ${String(value)}`;
}

/** The marker as it is, and as the base64 of the pairs that tests make of it. */
export const leaks = (text: string): boolean =>
  text.includes(MARKER) ||
  text.includes(base64(MARKER).slice(4, 16)) ||
  text.includes(base64(`user:${MARKER}`).slice(8, 24));

export const never = new AbortController().signal;
