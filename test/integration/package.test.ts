/** What is published: compiled JavaScript with declarations, installed as a user would. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { cleanEnv, run, runOk, type RunResult, start } from '../support/process.ts';
import { type TempDir, tempDir } from '../support/temp.ts';

const ROOT = join(import.meta.dirname, '../..');

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

const npm = (cwd: string, ...args: readonly string[]): Promise<RunResult> =>
  runOk('npm', args, { cwd, env: { ...process.env, npm_config_update_notifier: 'false' }, timeoutMs: 120_000 });

async function pack(into: TempDir): Promise<Packed> {
  const { stdout } = await npm(ROOT, 'pack', '--json', '--pack-destination', into.path);
  // What the build says comes before the document.
  const [packed]: Packed[] = JSON.parse(stdout.slice(stdout.search(/^\[/m)));
  assert.ok(packed);
  return packed;
}

const ESM_USER = `
import * as gantry from 'gantry';
const names = ['parseReference', 'parseDigest', 'parsePlatform', 'matchPlatform', 'parseManifest', 'parseChallenges',
  'chainId', 'walk', 'dispatch', 'sequence', 'LocalDispatcher', 'ContentStore', 'RegistryClient'];
const absent = names.filter((name) => typeof gantry[name] !== 'function');
console.log(gantry.parseReference('redis').name, gantry.formatPlatform(gantry.parsePlatform('linux/aarch64')), absent);
`;

const TS_USER = `
import { ContentStore, parseReference, type Handler, type Visit } from 'gantry';
const leaf: Visit = { kind: 'leaf' };
export const handler: Handler = { visit: () => Promise.resolve(leaf) };
export const name: string = parseReference('a').name;
export const store: ContentStore = new ContentStore({ root: 'x' });
// @ts-expect-error a digest is not any string
export const opened = store.stat('x', { signal: new AbortController().signal });
`;

/** The page finds its own files and those of the packages that it is made of, where npm has put them. */
async function assertServesPage(dir: TempDir, at: { env: NodeJS.ProcessEnv; cwd: string }): Promise<void> {
  const args = [dir.join('node_modules/gantry/bin/gantry.js'), 'server', '--store', dir.join('store'), '--port', '0'];
  await using server = start(process.execPath, args, at);
  await server.waitForOutput(/listens on http/);
  const url = /listens on (http\S+)/.exec(`${server.stdout}${server.stderr}`)?.[1] ?? '';
  const page = await (await fetch(url)).text();
  const files = [...page.matchAll(/(?:href|src)="(\/assets\/[^"]+)"/g)].map(([, path]) => path ?? '');
  for (const name of ['app.js', 'style.css', 'vendor/preact.js', 'vendor/uplot.js']) {
    const path = files.find((file) => file.endsWith(`/${name}`));
    assert.equal((await fetch(`${url}${path}`)).status, 200, name);
  }
}

test('the packed tarball installs into an empty folder, runs, and can be imported', async () => {
  await using dir = await tempDir();
  const { filename, files } = await pack(dir);
  const paths = files.map(({ path }) => path);
  const expected =
    /^(?:bin\/gantry\.js|dist\/.+\.(?:js|d\.ts)|dist\/server\/page\/\w+\.(?:html|css|svg)|docs\/.+\.(?:md|schema\.json)|docs\/openapi\.json|examples\/[\w-]+\.yml|[A-Z]+\.md|LICENSE|package\.json)$/;
  assert.deepEqual(
    paths.filter((path) => !expected.test(path)),
    [],
    'no sources, no tests',
  );
  for (const path of ['dist/index.js', 'dist/index.d.ts', 'bin/gantry.js', 'LICENSE']) assert.ok(paths.includes(path));

  await writeFile(dir.join('package.json'), '{"name":"user","version":"1.0.0","type":"module"}');
  await npm(dir.path, 'install', '--prefer-offline', '--no-audit', '--no-fund', `./${filename}`);
  const path = [dirname(process.execPath), process.env['PATH']].join(':');
  const at = { env: cleanEnv(dir.path, { PATH: path }), cwd: dir.path };
  const { version }: { version: string } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  assert.equal((await runOk('npx', ['gantry', '--version'], at)).stdout, `${version}\n`);
  assert.equal((await runOk('npx', ['gantry', 'images'], at)).stdout, 'REF  TYPE  DIGEST  SIZE\n');

  await assertServesPage(dir, at);

  await writeFile(dir.join('user.js'), ESM_USER);
  assert.equal((await runOk('node', ['user.js'], at)).stdout, 'docker.io/library/redis:latest linux/arm64 []\n');

  await writeFile(dir.join('user.ts'), TS_USER);
  const types = ['--typeRoots', join(ROOT, 'node_modules/@types'), '--types', 'node'];
  const flags = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'esnext', ...types, 'user.ts'];
  const typed = await run(join(ROOT, 'node_modules/.bin/tsc'), flags, { cwd: dir.path });
  assert.deepEqual([typed.code, typed.stdout], [0, '']);
});
