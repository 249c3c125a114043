/**
 * What runs the farm in containers, as far as it can be checked without an engine: files that their programs accept, rules
 * that fire when they should, and names of metrics, paths and services that exist on both sides.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { glob, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { closed, listen } from '../support/listen.ts';
import { cleanEnv, run, runOk } from '../support/process.ts';
import { tempDir } from '../support/temp.ts';

const ROOT = join(import.meta.dirname, '../..');
const DOCS = 'docs/farm-containers.md';

const read = (path: string): Promise<string> => readFile(join(ROOT, path), 'utf8');

async function files(...patterns: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for await (const path of glob([...patterns], { cwd: ROOT })) found.push(path);
  return found.toSorted();
}

/** All matches of the first group. */
const all = (pattern: RegExp, text: string): string[] => [...text.matchAll(pattern)].map(([, found = '']) => found);

/** What Compose makes of its files: defaults set, anchors and variables gone, two spaces a level. */
async function config(paths: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  await using home = await tempDir();
  const flags = paths.flatMap((path) => ['-f', path]);
  // Set to nothing, or Compose would take them from an .env file that is there for real use.
  const unset = { GANTRY_REDIS: '', DOCKER_AUTH_CONFIG: '' };
  const at = { cwd: ROOT, env: cleanEnv(home.path, { ...unset, ...env }) };
  return (await runOk('docker-compose', ['--project-directory', ROOT, ...flags, 'config'], at)).stdout;
}

/** The block of a service, without its name. */
const service = (text: string, name: string): string =>
  new RegExp(`^  ${name}:\n((?:    .*\n|\n)+)`, 'm').exec(text.replace(/^[^]*^services:\n/m, ''))?.[1] ?? '';

test('docker-compose.yml is accepted, and as many workers fit on a host as --scale asks for', async () => {
  const text = await config(['docker-compose.yml']);
  const names = ['grafana', 'prometheus', 'redis', 'registry', 'server', 'worker'];
  for (const name of names) assert.notEqual(service(text, name), '', name);
  assert.doesNotMatch(service(text, 'worker'), /container_name|ports:/);
  assert.match(service(text, 'worker'), /depends_on:\s+redis:\s+condition: service_healthy/);
  assert.match(service(text, 'worker'), /GANTRY_REDIS: redis:\/\/redis:6379$/m);
  assert.match(service(text, 'server'), /store[^]*\/var\/lib\/gantry/, 'it serves what the workers bring');
  assert.doesNotMatch(service(text, 'server'), /token/, 'and changes nothing');
  // Nothing asks for a password, so nothing may listen on an address that others reach.
  const published = all(/^ *- (\S+:\d+(?:\/tcp)?)$/gm, await read('docker-compose.yml'));
  assert.equal(published.length, 4);
  for (const port of published) assert.match(port, /^127\.0\.0\.1:/);
});

test('credentials and the address of Redis come from the environment, and are not missed', async () => {
  const auths = '{"auths": {"a.example": {"auth": "dTpw"}}}';
  const without = service(await config(['docker-compose.yml']), 'worker');
  assert.match(without, /DOCKER_AUTH_CONFIG: (?:''|"")$/m);
  const env = { DOCKER_AUTH_CONFIG: auths, GANTRY_REDIS: 'rediss://r.example:6380' };
  const text = await config(['docker-compose.yml'], env);
  assert.ok(service(text, 'worker').includes(auths));
  for (const name of ['worker', 'server'])
    assert.match(service(text, name), /GANTRY_REDIS: rediss:\/\/r\.example:6380$/m);
  assert.ok(!service(text, 'server').includes(auths));
});

test('every override that the documentation shows is accepted beside docker-compose.yml', async () => {
  await using dir = await tempDir();
  const overrides = all(/^```yaml\n([^]*?)^```/gm, await read(DOCS));
  assert.ok(overrides.length > 3);
  const paths = overrides.map((_, i) => dir.join(`${i}.yml`));
  await Promise.all(paths.map((path, i) => writeFile(path, overrides[i] ?? '')));
  await config(['docker-compose.yml', ...paths]);
});

test('what Grafana and Prometheus mount is there, and its YAML can be read', async () => {
  const mounts = all(/^ *- \.\/(\S+?):/gm, await read('docker-compose.yml'));
  assert.deepEqual(mounts, ['prometheus', 'grafana/provisioning', 'grafana/dashboards']);
  for (const path of mounts) assert.ok(existsSync(join(ROOT, path)), path);
  await using dir = await tempDir();
  const provisioned = await files('grafana/**/*.yml');
  assert.equal(provisioned.length, 2);
  // No program at hand reads these; Compose lets everything pass that is YAML and below an x-.
  const inside = await Promise.all(provisioned.map(async (path) => (await read(path)).replace(/^/gm, '  ')));
  const wrapped = inside.map((text, i) => `x-${i}:\n${text}\n`);
  await writeFile(dir.join('all.yml'), ['services: { any: { image: any } }\n', ...wrapped].join(''));
  await config([dir.join('all.yml')]);
  const [, path] = /path: (\S+)/.exec(await read('grafana/provisioning/dashboards/gantry.yml')) ?? [];
  assert.ok((await read('docker-compose.yml')).includes(`./grafana/dashboards:${path}:ro`));
});

/** `COPY [--flags] source... target` of the build context, not of another stage. */
const copied = (dockerfile: string): string[] =>
  all(/^COPY +(.+)$/gm, dockerfile)
    .filter((line) => !line.includes('--from='))
    .flatMap((line) => {
      const words = line.split(/ +/).filter((word) => !word.startsWith('--'));
      return words.slice(0, -1);
    });

test('the Dockerfile copies what is there, and its context holds that and nothing else', async () => {
  const sources = copied(await read('Dockerfile'));
  assert.deepEqual(
    sources.filter((path) => !existsSync(join(ROOT, path))),
    [],
  );
  const lines = (await read('.dockerignore')).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  assert.equal(lines[0], '*', 'what is not named stays out');
  assert.deepEqual(
    lines.slice(1),
    [...new Set(sources)].toSorted().map((path) => `!${path}`),
  );
});

test('the image is built from what package.json builds from', async () => {
  const sources = copied(await read('Dockerfile'));
  for (const path of ['package-lock.json', '.npmrc', 'src', ...(await files('tsconfig*.json'))]) {
    assert.ok(sources.includes(path), path);
  }
});

test('the health checks tell a process that answers from one that does not', async (t) => {
  const compose = service(await config(['docker-compose.yml']), 'server')
    .replace(/\n +/g, ' ')
    .replaceAll("''", "'");
  const scripts = [await read('Dockerfile'), compose].map((text) => /fetch\('.+?exit\(1\)\)/.exec(text)?.[0] ?? '');
  assert.deepEqual(
    scripts.map((script) => /127\.0\.0\.1:(\d+)\/healthz/.exec(script)?.[1]),
    ['9464', '9465'],
  );
  let status = 200;
  const server = createServer((_, response) => response.writeHead(status).end());
  t.after(() => server.close()); // or a failure would keep this process
  const port = await listen(server);
  const check = async (script: string, at: number): Promise<number | null> =>
    (await run(process.execPath, ['-e', script.replace(/:\d{4}/, `:${at}`)])).code;
  for (const script of scripts) {
    status = 200;
    assert.equal(await check(script, port), 0);
    status = 503;
    assert.equal(await check(script, port), 1);
  }
  await closed(server);
  for (const script of scripts) assert.equal(await check(script, port), 1);
});
