import { readFileSync } from 'node:fs';

/** The version of the package; `dist/app` and `src/app` are equally deep. */
export function gantryVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const { version }: { version: string } = JSON.parse(text);
  return version;
}
