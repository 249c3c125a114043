/** What docs/operations.md tells somebody to type at night exists, options included. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { COMMANDS } from '../../src/cli/table.ts';
import { newUser } from '../support/cli.ts';

const ROOT = new URL('../../', import.meta.url);

test('every command of docs/operations.md and of the alerts exists, with the options that it is shown with', async () => {
  const texts = await Promise.all(
    ['docs/operations.md', 'prometheus/rules.yml'].map((path) => readFile(new URL(path, ROOT), 'utf8')),
  );
  const found = texts.flatMap((text) => [...text.matchAll(/(?<=`|^)gantry (?<line>[a-z][^`#|\n]*)/gm)]);
  const shown = new Set(found.map(({ groups }) => groups?.['line']?.trim() ?? ''));
  assert.ok(shown.size > 20, `${shown.size} commands`);
  await using user = await newUser();
  const helps = new Map<string, string>();
  const helpOf = async (...words: readonly string[]): Promise<string> => {
    const known = helps.get(words.join(' '));
    const { code, stdout } = known === undefined ? await user.gantry([...words, '--help']) : { code: 0, stdout: known };
    assert.equal(code, 0, words.join(' '));
    helps.set(words.join(' '), stdout);
    return stdout;
  };
  const names: readonly string[] = COMMANDS.map(({ name }) => name);
  for (const line of shown) {
    const [name = '', second = '', ...rest] = line.split(/ +/);
    assert.ok(names.includes(name), `gantry ${line}`);
    const own = await helpOf(name);
    const hasParts = /^Commands:$/m.test(own);
    if (hasParts && second !== '')
      assert.match(own, new RegExp(`^ +(?:\\w+\\|)?${second}(?![\\w-])`, 'm'), `gantry ${line}`);
    const help = hasParts && second !== '' ? await helpOf(name, second) : own;
    for (const flag of [second, ...rest].filter((word) => word.startsWith('-'))) {
      assert.match(help, new RegExp(`^ +(?:-\\w, )?${flag}(?![\\w-])`, 'm'), `gantry ${line}: ${flag}`);
    }
  }
});
