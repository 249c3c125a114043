import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Corpus, CorpusImage } from './corpus.ts';
import type { Command } from './measure.ts';

/** One pull of all images into one layout. */
export interface PullTask {
  /** `127.0.0.1:port` of the registry. */
  readonly host: string;
  readonly images: readonly CorpusImage[];
  readonly blobs: Corpus['blobs'];
  /** The layout; it does not exist yet when a fresh pull starts. */
  readonly target: string;
  /** An existing directory for lists that the command reads. */
  readonly scratch: string;
  /** `127.0.0.1:port` of the registry that a mirror goes to. */
  readonly to?: string;
}

export type ContenderName = 'gantry' | 'crane' | 'oras' | 'skopeo' | 'curl';

export interface Contender {
  readonly name: ContenderName;
  /** How it is invoked, where there is more than one sensible way. Only the fastest complete one is reported. */
  readonly variant: string;
  readonly kind: 'gantry' | 'peer' | 'floor';
  /** Writes what the command needs and says how to start it. */
  prepare(task: PullTask): Promise<Command>;
}

const LANES = 8;
const CRANE_CALLS = 4;

export const referenceOf = (host: string, image: CorpusImage): string => `${host}/${image.repository}:${image.tag}`;

/** The name of an image within the layout: one layout holds all repositories, so the repository is part of it. */
const layoutTag = (image: CorpusImage): string => `${image.repository.replaceAll('/', '-')}-${image.tag}`;

const gantry = (bin: string): Contender => ({
  name: 'gantry',
  variant: 'one call',
  kind: 'gantry',
  prepare: async ({ host, images, target }) => ({
    file: process.execPath,
    args: [bin, 'pull', '--store', target, '-q', ...images.map((i) => referenceOf(host, i))],
  }),
});

const CRANE = ['pull', '--insecure', '--format=oci', '--annotate-ref'] as const;

const crane: Contender = {
  name: 'crane',
  variant: 'one call',
  kind: 'peer',
  prepare: async ({ host, images, target }) => ({
    file: 'crane',
    args: [...CRANE, ...images.map((i) => referenceOf(host, i)), target],
  }),
};

/** As parallelThenRepair below, with many images a call. */
const craneInParallel: Contender = {
  name: 'crane',
  variant: `${CRANE_CALLS} calls at once, then what was lost`,
  kind: 'peer',
  prepare: async ({ host, images, target, scratch }) => {
    const list = join(scratch, 'crane.list');
    await writeFile(list, images.map((i) => `${referenceOf(host, i)}\n`).join(''));
    const copy = `crane ${CRANE.join(' ')}`;
    const each = Math.ceil(images.length / CRANE_CALLS);
    const script = `xargs -a "$1" -P ${CRANE_CALLS} -n ${each} sh -c '${copy} "$@" "$0"' "$2"
while read -r from; do
  grep -qF "\\"$from\\"" "$2/index.json" || ${copy} "$from" "$2" || exit 1
done <"$1"`;
    return { file: 'sh', args: ['-c', script, 'sh', list, target] };
  },
};

/** How a peer that takes one image a call is told to copy `$ref` to `$target`. */
interface OneByOne {
  readonly name: 'oras' | 'skopeo';
  readonly command: readonly string[];
  source(reference: string): string;
  destination(layout: string, tag: string): string;
}

const ORAS: OneByOne = {
  name: 'oras',
  command: ['oras', 'copy', '--no-tty', '--concurrency', '8', '--from-plain-http', '--to-oci-layout'],
  source: (reference) => reference,
  destination: (layout, tag) => `${layout}:${tag}`,
};

const SKOPEO: OneByOne = {
  name: 'skopeo',
  command: ['skopeo', '--insecure-policy', 'copy', '-q', '--src-tls-verify=false', '--preserve-digests'],
  source: (reference) => `docker://${reference}`,
  destination: (layout, tag) => `oci:${layout}:${tag}`,
};

async function writeList(peer: OneByOne, { host, images, target, scratch }: PullTask): Promise<string> {
  const list = join(scratch, `${peer.name}.list`);
  const lines = images.map((i) => `${peer.source(referenceOf(host, i))} ${peer.destination(target, layoutTag(i))}\n`);
  await writeFile(list, lines.join(''));
  return list;
}

const sequential = (peer: OneByOne): Contender => ({
  name: peer.name,
  variant: 'one after another',
  kind: 'peer',
  prepare: async (task) => {
    const script = `while read -r from to; do ${peer.command.join(' ')} "$from" "$to" || exit 1; done <"$1"`;
    return { file: 'sh', args: ['-c', script, 'sh', await writeList(peer, task)] };
  },
});

/**
 * Several processes write one layout at once, which loses entries of index.json; then whatever is missing there is copied
 * again, one after another. Blobs are not transferred twice.
 */
const parallelThenRepair = (peer: OneByOne): Contender => ({
  name: peer.name,
  variant: `${LANES} at once, then what was lost`,
  kind: 'peer',
  prepare: async (task) => {
    const copy = peer.command.join(' ');
    const script = `xargs -a "$1" -P ${LANES} -n 2 ${copy}
while read -r from to; do
  grep -qF "\\"\${to##*:}\\"" "$2/index.json" || ${copy} "$from" "$to" || exit 1
done <"$1"`;
    return { file: 'sh', args: ['-c', script, 'sh', await writeList(peer, task), task.target] };
  },
});

/** Every distinct blob once over eight connections, verified by nobody: nothing that does the job can be much faster. */
const floor: Contender = {
  name: 'curl',
  variant: `${LANES} at once, unverified`,
  kind: 'floor',
  prepare: async ({ host, blobs, target, scratch }) => {
    await mkdir(target, { recursive: true });
    const lanes = Array.from({ length: LANES }, (): string[] => []);
    const largestFirst = blobs.toSorted((a, b) => b.size - a.size);
    for (const [i, { digest, repository }] of largestFirst.entries()) {
      const file = join(target, digest.slice('sha256:'.length));
      lanes[i % LANES]?.push(`url = "http://${host}/v2/${repository}/blobs/${digest}"\noutput = "${file}"\n`);
    }
    const files: string[] = [];
    for (const [i, lines] of lanes.entries()) {
      if (lines.length === 0) continue;
      const file = join(scratch, `curl.${i}`);
      await writeFile(file, lines.join(''));
      files.push(file);
    }
    const script = `printf '%s\\n' "$@" | xargs -P ${LANES} -n 1 curl -sfK`;
    return { file: 'sh', args: ['-c', script, 'sh', ...files] };
  },
};

/** Everybody who can pull, each in every way that makes sense for so many images. `bin` is gantry's entry point. */
export const contenders = (bin: string, images: number): readonly Contender[] => [
  gantry(bin),
  crane,
  sequential(ORAS),
  sequential(SKOPEO),
  ...(images > 1 ? [craneInParallel, parallelThenRepair(ORAS), parallelThenRepair(SKOPEO)] : []),
  floor,
];
