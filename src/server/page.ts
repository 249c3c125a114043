/**
 * The status page: files of our own and of three packages, read once, served from memory. The browser needs nothing from anywhere
 * else, and may not ask for it.
 */
import { hash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { GantryError } from '../errors.ts';
import { type App, onlyMethods } from './http.ts';

const OWN = new URL('./page/', import.meta.url);
const TYPES: Readonly<Record<string, string>> = {
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

interface VendorFile {
  /** How node finds it. */
  readonly specifier: string;
  readonly file: string;
  /** What it imports, and nothing else: an update of the package that changes this must be looked at. */
  readonly imports: readonly string[];
}

const VENDOR: Readonly<Record<string, VendorFile>> = {
  preact: { specifier: 'preact', file: 'vendor/preact.js', imports: [] },
  'preact/hooks': { specifier: 'preact/hooks', file: 'vendor/hooks.js', imports: ['preact'] },
  htm: { specifier: 'htm', file: 'vendor/htm.js', imports: [] },
  uplot: { specifier: 'uplot/dist/uPlot.esm.js', file: 'vendor/uplot.js', imports: [] },
  'uplot.css': { specifier: 'uplot/dist/uPlot.min.css', file: 'vendor/uplot.css', imports: [] },
};

/** No inline script, no inline style, no frame around it; text can become script by no API of the DOM either. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ');

const HEADERS = {
  'content-security-policy': POLICY,
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
};
/** The name of the folder changes with any byte in it, so a browser never mixes files of two versions. */
const FOREVER = 'public, max-age=31536000, immutable';

/**
 * Adds the page and its files.
 * @throws GantryError INTERNAL when a package is not as it is expected to be
 */
export function addPage(app: App): App {
  const assets = readAssets();
  const build = hash('sha256', JSON.stringify([...assets]), 'hex').slice(0, 16);
  const page = document(assets, `/assets/${build}/`);
  app.get('/', (c) => c.html(page, 200, { ...HEADERS, 'cache-control': 'no-cache' }));
  onlyMethods(app, '/', 'GET, HEAD');
  for (const [path, body] of assets) {
    const headers = { ...HEADERS, 'content-type': TYPES[posix.extname(path)] ?? '', 'cache-control': FOREVER };
    app.get(`/assets/${build}/${path}`, (c) => c.body(body, 200, headers));
  }
  onlyMethods(app, `/assets/${build}/*`, 'GET, HEAD');
  return app;
}

/** Path below the assets' folder -> text. */
function readAssets(): ReadonlyMap<string, string> {
  const assets = new Map<string, string>();
  for (const { specifier, file, imports } of Object.values(VENDOR)) {
    const text = readFileSync(new URL(import.meta.resolve(specifier)), 'utf8');
    const found = importsOf(text);
    if (found.join() !== imports.join()) {
      throw new GantryError(
        'INTERNAL',
        `${specifier} imports [${found.join(', ')}] instead of [${imports.join(', ')}]`,
      );
    }
    assets.set(file, withPaths(file, text));
  }
  for (const name of readdirSync(OWN)) {
    if (TYPES[posix.extname(name)] !== undefined)
      assets.set(name, withPaths(name, readFileSync(new URL(name, OWN), 'utf8')));
  }
  for (const [path, text] of assets) {
    const lost = importsOf(text).find((to) => !assets.has(posix.join(posix.dirname(path), to)));
    if (lost !== undefined)
      throw new GantryError('INTERNAL', `the page's ${path} imports ${lost}, which is not served`);
  }
  return assets;
}

/** Static imports, as `tsc` and the packages' minifiers write them; not the types in a comment. */
const IMPORT = /(?<![@\w'"`])(import|export)(\b[\w*{},\s$]*?\bfrom\s*)(['"])(.+?)\3/g;
const importsOf = (text: string): string[] => [...text.matchAll(IMPORT)].map(([, , , , to = '']) => to);

/** A browser knows packages by an import map only, which would have to be inline. */
const withPaths = (file: string, text: string): string =>
  file.endsWith('.js')
    ? text.replaceAll(IMPORT, (_, keyword: string, names: string, quote: string, to: string) => {
        const vendor = VENDOR[to];
        return `${keyword}${names}${quote}${vendor === undefined ? to : relative(file, vendor.file)}${quote}`;
      })
    : text;

function relative(from: string, to: string): string {
  const path = posix.relative(posix.dirname(from), to);
  return path.startsWith('.') ? path : `./${path}`;
}

/** The page with the names of its files, all modules named at once: otherwise a browser finds one only in the text of another. */
function document(assets: ReadonlyMap<string, string>, folder: string): string {
  const modules = [...assets.keys()].filter((path) => path.endsWith('.js'));
  const links = modules.map((path) => `<link rel="modulepreload" href="${folder}${path}" />`);
  const text = readFileSync(new URL('index.html', OWN), 'utf8');
  return text.replaceAll('/assets/', folder).replace('</head>', `  ${links.join('\n    ')}\n  </head>`);
}
