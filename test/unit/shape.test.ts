/** The shape of the source: who may import whom, which folder owns which package, who may read the environment. */
import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** An import goes to a strictly lower floor, or stays within the folder. */
const FLOORS: Readonly<Record<string, number>> = {
  'errors.ts': 0,
  'call.ts': 0,
  'secret.ts': 0,
  oci: 1,
  content: 2,
  remote: 2,
  flow: 2,
  handlers: 3,
  store: 3,
  registry: 3,
  queue: 3,
  archive: 3,
  mirror: 3,
  metrics: 3,
  server: 3,
  app: 4,
  cli: 5,
  'index.ts': 6,
};

/** Each package has one folder that imports it, so that it can be replaced there; a schema language has two users. */
const OWNERS: Readonly<Record<string, string | readonly string[]>> = {
  undici: 'registry',
  'smol-toml': 'registry',
  commander: 'cli',
  '@commander-js/extra-typings': 'cli',
  bullmq: 'queue',
  ioredis: 'queue',
  'tar-stream': 'archive',
  'prom-client': 'metrics',
  yaml: 'mirror',
  zod: ['mirror', 'server'],
  hono: 'server',
  '@hono/node-server': 'server',
  'cron-parser': 'mirror',
};

/** Path in the repository -> text. */
type Sources = ReadonlyMap<string, string>;

/** Without lines that are comments; no line of code starts like one, but for generator methods, which import nothing. */
const codeOf = (text: string): string => text.replace(/^[ \t]*(?:\/\/|\/?\*).*$/gm, '');

const FORMS = [
  // import a, { type b } from 'x'; export * from 'x'; over any number of lines, for values and for types
  /^[ \t]*(?:import|export)\b[\w$*{},\s]*?\bfrom\s*(?<quote>['"])(?<to>.*?)\k<quote>/gm,
  /^[ \t]*import\s*(?<quote>['"])(?<to>.*?)\k<quote>/gm,
  // import('x') as a value and as a type, require('x')
  /\b(?:import|require)\s*\(\s*(?<quote>['"`])(?<to>.*?)\k<quote>/g,
];
/** What could import anything. */
const UNREADABLE = /\bimport\s*\((?!\s*['"`][^$'"`]*['"`])|\bcreateRequire\b/;

function importsOf(text: string): string[] {
  const code = codeOf(text);
  return FORMS.flatMap((form) => [...code.matchAll(form)].map((match) => match.groups?.['to'] ?? ''));
}

const resolve = (file: string, to: string): string => posix.join(posix.dirname(file), to);
const isRelative = (to: string): boolean => to.startsWith('.');
/** `src/oci/digest.ts` -> `oci`, `src/errors.ts` -> `errors.ts` */
const homeOf = (file: string): string => file.split('/')[1] ?? '';
const packageOf = (to: string): string => to.split('/', to.startsWith('@') ? 2 : 1).join('/');

function wrongFloors(sources: Sources): string[] {
  const wrong: string[] = [];
  for (const [file, text] of sources) {
    const home = homeOf(file);
    const floor = FLOORS[home];
    if (floor === undefined) wrong.push(`${file} is on no floor`);
    for (const target of importsOf(text)
      .filter(isRelative)
      .map((to) => resolve(file, to))) {
      const below = FLOORS[homeOf(target)] ?? Infinity;
      if (!sources.has(target)) wrong.push(`${file} -> ${target}, which is not there`);
      else if (homeOf(target) !== home && below >= (floor ?? 0)) wrong.push(`${file} -> ${target}`);
    }
  }
  return wrong;
}

function wrongPackages(sources: Sources): string[] {
  return [...sources].flatMap(([file, text]) =>
    importsOf(text)
      .filter((to) => !isRelative(to) && !to.startsWith('node:'))
      .filter((to) => ![OWNERS[packageOf(to)]].flat().includes(homeOf(file)))
      .map((to) => `${file} -> ${to}`),
  );
}

const mayReadEnvironment = (file: string): boolean => homeOf(file) === 'app' || file === 'src/cli/main.ts';

/** `process.env`, `process['env']`, `{ env } = process`, and `env` of node:process. */
const ENVIRONMENT =
  /\bprocess\s*\??\.?\s*(?:\.\s*env\b|\[\s*['"`]env)|\benv\b[^{}]*\}\s*(?:=\s*process\b|from\s*['"](?:node:)?process)/;

const environmentReaders = (sources: Sources): string[] =>
  [...sources]
    .filter(([file, text]) => !mayReadEnvironment(file) && ENVIRONMENT.test(codeOf(text)))
    .map(([file]) => file);

/** One path for each cycle that a search from every file finds. */
function cycles(sources: Sources): string[] {
  const found: string[] = [];
  const finished = new Set<string>();
  const search = (file: string, path: readonly string[]): void => {
    const start = path.indexOf(file);
    if (start >= 0) found.push([...path.slice(start), file].join(' -> '));
    if (start >= 0 || finished.has(file)) return;
    const targets = importsOf(sources.get(file) ?? '').filter(isRelative);
    for (const to of targets) search(resolve(file, to), [...path, file]);
    finished.add(file);
  };
  for (const file of sources.keys()) search(file, []);
  return found;
}

async function readSources(): Promise<Sources> {
  const sources = new Map<string, string>();
  for await (const file of glob('src/**/*.ts', { cwd: ROOT })) {
    sources.set(file.replaceAll('\\', '/'), await readFile(`${ROOT}${file}`, 'utf8'));
  }
  assert.ok(sources.size > 20);
  return sources;
}

test('an import goes to a lower floor or stays at home', async () => {
  assert.deepEqual(wrongFloors(await readSources()), []);
});

test('each package is imported by the folder that owns it', async () => {
  assert.deepEqual(wrongPackages(await readSources()), []);
});

test('the environment is read in app/ and nowhere below', async () => {
  assert.deepEqual(environmentReaders(await readSources()), []);
});

test('no import cycles', async () => {
  assert.deepEqual(cycles(await readSources()), []);
});

test('no import that this cannot read', async () => {
  const sources = await readSources();
  assert.deepEqual(
    [...sources].filter(([, text]) => UNREADABLE.test(codeOf(text))).map(([file]) => file),
    [],
  );
});

test('every way to write an import is seen', () => {
  const text = `
    import a from './a.ts';
    import type { B } from "./b.ts";
    import {
      type C,
      d as e,
    } from './c.ts';
    import * as f from './f.ts'
    import './g.ts';
    export * from './h.ts';
    export * as i from './i.ts';
    export type { J } from './j.ts';
    export const text = 'import k from "./not-k.ts"';
    const l = await import('./l.ts');
    type M = import('./m.ts').M;
    const n = await import(
      './n.ts'
    );
    const o = require('./o.ts');
    import p, { q } from '@scope/p/q.js';
    // import r from './not-r.ts';
    /** import('./not-s.ts') */
    export const t = 1, from = './not-t.ts';
  `;
  assert.deepEqual(importsOf(text).toSorted(), [
    ...['a', 'b', 'c', 'f', 'g', 'h', 'i', 'j', 'l', 'm', 'n', 'o'].map((name) => `./${name}.ts`),
    '@scope/p/q.js',
  ]);
  assert.ok(
    ['import(name)', 'import(`./${name}.ts`)', 'createRequire(import.meta.url)'].every((code) => UNREADABLE.test(code)),
  );
  assert.ok(!UNREADABLE.test(`await import('./a.ts'); import(\n 'b')`));
});

test('every break of a rule is found', () => {
  const of = (files: Record<string, string>): Sources => new Map(Object.entries(files));
  const broken = of({
    'src/errors.ts': `import './call.ts';`,
    'src/call.ts': '',
    'src/flow/a.ts': `import type { B } from '../content/b.ts'; \nimport './gone.ts'; \nimport '../oci/c.ts';`,
    'src/content/b.ts': `const c = await import('../cli/d.ts');`,
    'src/oci/c.ts': `import '../errors.ts';`,
    'src/cli/d.ts': `import '../errors.ts'; \nimport '../index.ts';`,
    'src/index.ts': `export * from './cli/d.ts';`,
    'src/util/x.ts': '',
  });
  assert.deepEqual(wrongFloors(broken), [
    'src/errors.ts -> src/call.ts',
    'src/flow/a.ts -> src/content/b.ts',
    'src/flow/a.ts -> src/flow/gone.ts, which is not there',
    'src/content/b.ts -> src/cli/d.ts',
    'src/cli/d.ts -> src/index.ts',
    'src/util/x.ts is on no floor',
  ]);
  assert.deepEqual(cycles(broken), ['src/cli/d.ts -> src/index.ts -> src/cli/d.ts']);

  const packages = of({
    'src/registry/a.ts': `import { request } from 'undici'; \nimport 'node:fs';`,
    'src/store/b.ts': `import type { Dispatcher } from 'undici'; \nimport 'fs'; \nawait import('@commander-js/extra-typings');`,
    'src/cli/c.ts': `import {} from '@commander-js/extra-typings'; \nimport 'left-pad/deep.js';`,
  });
  assert.deepEqual(wrongPackages(packages), [
    'src/store/b.ts -> undici',
    'src/store/b.ts -> fs',
    'src/store/b.ts -> @commander-js/extra-typings',
    'src/cli/c.ts -> left-pad/deep.js',
  ]);

  const readers = of({
    'src/app/config.ts': 'process.env.HOME',
    'src/cli/main.ts': 'process.env',
    'src/cli/a.ts': `process.env['HOME']`,
    'src/oci/b.ts': 'const { env } = process;',
    'src/oci/c.ts': `import { env } from 'node:process';`,
    'src/oci/d.ts': `process['env']`,
    'src/oci/e.ts': '// process.env is not read here\nconst { env } = options;\nprocess.stdout;',
  });
  assert.deepEqual(environmentReaders(readers), ['src/cli/a.ts', 'src/oci/b.ts', 'src/oci/c.ts', 'src/oci/d.ts']);
});
