import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { COMMANDS } from '../../src/cli/table.ts';
import { ERROR_POLICY } from '../../src/errors.ts';

const read = (path: string): Promise<string> => readFile(new URL(`../../${path}`, import.meta.url), 'utf8');

test('docs/errors.md lists exactly the codes that exist, with their meaning and exit code', async () => {
  const rows = [...(await read('docs/errors.md')).matchAll(/^\| ([A-Z_]+) +\| (.+?) +\| .+? +\| (\d+) +\|$/gm)];
  const documented = rows.map(([, code, meaning, exit]) => ({ code, meaning, exit: Number(exit) }));
  const real = Object.entries(ERROR_POLICY).map(([code, { meaning, exit }]) => ({ code, meaning, exit }));
  assert.deepEqual(documented, real);
});

test('the README lists every command once, in the order of help', async () => {
  const documented = [...(await read('README.md')).matchAll(/^\| `gantry ([a-z-]+)/gm)].map(([, name]) => name);
  assert.deepEqual(
    documented,
    COMMANDS.map(({ name }) => name),
  );
});

test('every folder of src is in the table of ARCHITECTURE.md', async () => {
  const text = await read('ARCHITECTURE.md');
  for (const folder of ['oci', 'content', 'remote', 'flow', 'handlers', 'store', 'registry', 'app', 'cli']) {
    assert.match(text, new RegExp(`^\\| \`src/${folder}/\``, 'm'));
  }
});
