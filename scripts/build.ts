/** Makes dist/ of src/, as the package holds it: all of it as JavaScript, the status page, and declarations of the library's surface. */
import { spawnSync } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';

const root = new URL('..', import.meta.url);
rmSync(new URL('dist', root), { recursive: true, force: true });
for (const project of ['tsconfig.build.json', 'tsconfig.types.json']) {
  const { status } = spawnSync('tsc', ['-p', project], { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
// The page is for browsers, which take it as it stands.
const page = 'server/page/';
cpSync(new URL(`src/${page}`, root), new URL(`dist/${page}`, root), {
  recursive: true,
  filter: (path) => !path.endsWith('.json'),
});
