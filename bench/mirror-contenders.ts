/** Who can copy all images from one registry to another, and how each is told to. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Contender, type PullTask, referenceOf } from './contenders.ts';

const LANES = 8;

const targetOf = ({ to = '' }: PullTask): string => to;

const repositoriesOf = ({ images }: PullTask): string[] => [...new Set(images.map(({ repository }) => repository))];

const gantry = (bin: string): Contender => ({
  name: 'gantry',
  variant: 'mirror run, one file',
  kind: 'gantry',
  prepare: async (task) => {
    const file = join(task.scratch, 'mirror.yml');
    const rules = repositoriesOf(task).map(
      (repository) =>
        `  - {source: ${task.host}/${repository}, target: ${targetOf(task)}/${repository}, type: repository}\n`,
    );
    await writeFile(file, `version: 1\nsync:\n${rules.join('')}`);
    return { file: process.execPath, args: [bin, 'mirror', 'run', '-f', file, '-q'] };
  },
});

/** Runs a command for each line of a list, so many at a time; the first that fails fails all. */
async function eachLine(
  task: PullTask,
  name: string,
  lines: readonly string[],
  command: string,
  lanes: number,
): Promise<{ file: string; args: string[] }> {
  const list = join(task.scratch, `${name}.list`);
  await writeFile(list, lines.map((line) => `${line}\n`).join(''));
  return { file: 'sh', args: ['-c', `xargs -a "$1" -P ${lanes} -n 2 ${command}`, 'sh', list] };
}

/** It takes all tags of a repository in one call. */
const crane = (lanes: number, jobs: number): Contender => ({
  name: 'crane',
  variant: `copy -a -j ${jobs}, ${lanes} repositories at once`,
  kind: 'peer',
  prepare: (task) => {
    const lines = repositoriesOf(task).map((each) => `${task.host}/${each} ${targetOf(task)}/${each}`);
    return eachLine(task, 'crane', lines, `crane copy --insecure -a -j ${jobs}`, lanes);
  },
});

const oras = (lanes: number): Contender => ({
  name: 'oras',
  variant: `${lanes} images at once`,
  kind: 'peer',
  prepare: (task) => {
    const lines = task.images.map((i) => `${referenceOf(task.host, i)} ${referenceOf(targetOf(task), i)}`);
    const command = 'oras copy --no-tty --concurrency 8 --from-plain-http --to-plain-http';
    return eachLine(task, 'oras', lines, command, lanes);
  },
});

const SKOPEO_TLS = '--src-tls-verify=false --dest-tls-verify=false';

const skopeo = (lanes: number): Contender => ({
  name: 'skopeo',
  variant: `copy, ${lanes} images at once`,
  kind: 'peer',
  prepare: (task) => {
    const lines = task.images.map(
      (i) => `docker://${referenceOf(task.host, i)} docker://${referenceOf(targetOf(task), i)}`,
    );
    return eachLine(task, 'skopeo', lines, `skopeo --insecure-policy copy -q ${SKOPEO_TLS} --preserve-digests`, lanes);
  },
});

const skopeoSync: Contender = {
  name: 'skopeo',
  variant: 'sync, one file',
  kind: 'peer',
  prepare: async (task) => {
    const file = join(task.scratch, 'skopeo.yml');
    const lines = repositoriesOf(task).map((repository) => {
      const tags = task.images.filter((i) => i.repository === repository).map(({ tag }) => `      - ${tag}\n`);
      return `    ${repository}:\n${tags.join('')}`;
    });
    await writeFile(file, `${task.host}:\n  tls-verify: false\n  images:\n${lines.join('')}`);
    // Without --scoped it puts all repositories below the target by the last part of their names.
    const to = `${targetOf(task)}/team`;
    const args = ['--insecure-policy', 'sync', '--src', 'yaml', '--dest', 'docker', '--dest-tls-verify=false'];
    return { file: 'skopeo', args: [...args, '--preserve-digests', file, to] };
  },
};

export const mirrorContenders = (bin: string): readonly Contender[] => [
  gantry(bin),
  crane(1, 8),
  crane(4, 2),
  crane(8, 4),
  oras(4),
  oras(LANES),
  skopeoSync,
  skopeo(4),
  skopeo(LANES),
];
