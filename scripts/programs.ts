/**
 * The tests run real programs and never skip a test for want of one. This makes sure that they are on PATH: root on
 * Debian gets them installed, everybody else is told what to type.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Program to Debian package. */
const PROGRAMS: Readonly<Record<string, string>> = {
  'redis-server': 'redis-server',
  'docker-registry': 'docker-registry',
  skopeo: 'skopeo',
  umoci: 'umoci',
  jq: 'jq',
  shasum: 'perl',
  openssl: 'openssl',
  promtool: 'prometheus',
  prometheus: 'prometheus',
  'prometheus-pushgateway': 'prometheus-pushgateway',
  'docker-compose': 'docker-compose',
  xargs: 'findutils',
  chromium: 'chromium',
  podman: 'podman',
  runc: 'runc',
  curl: 'curl',
};

function onPath(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((directory) => {
    try {
      const path = join(directory, program);
      accessSync(path, constants.X_OK);
      return statSync(path).isFile();
    } catch {
      return false;
    }
  });
}

const missing = (): string[] => Object.keys(PROGRAMS).filter((program) => !onPath(program));

function apt(...args: string[]): boolean {
  // Some of the packages are daemons, and only their programs are wanted. RUNLEVEL keeps a classic init from starting
  // them; in a container there is none that would.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  // stdout is for the test report; what apt says is progress.
  return spawnSync('apt-get', args, { env, stdio: ['ignore', 2, 2] }).status === 0;
}

function fail(programs: readonly string[], packages: readonly string[]): never {
  console.error(`The tests need programs that are not on PATH: ${programs.join(', ')}`);
  console.error(
    `On Debian or Ubuntu:\n  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${packages.join(' ')}`,
  );
  process.exit(1);
}

const wanted = missing();
if (wanted.length > 0) {
  const packages = [...new Set(wanted.map((program) => PROGRAMS[program] ?? program))];
  const mayInstall = process.getuid?.() === 0 && existsSync('/etc/debian_version');
  if (!mayInstall) fail(wanted, packages);
  console.error(`installing ${packages.join(' ')}`);
  const installed = apt('update', '-qq') && apt('install', '-y', '-qq', '--no-install-recommends', ...packages);
  const still = missing();
  if (!installed || still.length > 0) fail(still.length > 0 ? still : wanted, packages);
}
