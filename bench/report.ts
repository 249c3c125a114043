import { spawnSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { arch, availableParallelism, cpus, release, totalmem } from 'node:os';
import { dirname } from 'node:path';

/** The middle of some numbers; the mean of the two in the middle for an even count. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? high) + high) / 2;
}

/** Columns aligned: the first and the last to the left (names and remarks), numbers to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...all.map((row) => (row[i] ?? '').length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) =>
        i === 0 || i === head.length - 1 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0),
      )
      .join('  ')
      .trimEnd();
  return all.map(line).join('\n');
}

/** What a program says about its version; null if it is not on PATH. */
function versionOf(file: string, args: readonly string[]): string | null {
  const { error, stdout } = spawnSync(file, args, { encoding: 'utf8', timeout: 10_000 });
  if (error) return null;
  const first = stdout.trim().split('\n')[0] ?? '';
  return /\d+\.\d+(?:\.\d+)?/.exec(first)?.[0] ?? 'unknown version';
}

const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  crane: ['version'],
  oras: ['version'],
  skopeo: ['--version'],
  curl: ['--version'],
  'docker-registry': ['--version'],
};

export interface Machine {
  readonly cores: number;
  readonly cpu: string;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly arch: string;
  readonly node: string;
  /** Versions by name; null for what is not on PATH. */
  readonly programs: Readonly<Record<string, string | null>>;
}

/** What the numbers depend on. */
export function machineFacts(): Machine {
  const programs = Object.entries(PROGRAMS).map(([name, args]) => [name, versionOf(name, args)] as const);
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model ?? 'unknown',
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    arch: arch(),
    node: process.version,
    programs: Object.fromEntries(programs),
  };
}

export function describeMachine(machine: Machine): string {
  const programs = Object.entries(machine.programs).map(([name, version]) => `${name} ${version ?? 'missing'}`);
  return [
    `machine: ${machine.cores} cores (${machine.cpu}), ${machine.memoryGiB} GiB, Linux ${machine.kernel} ${machine.arch}, node ${machine.node}`,
    `programs: ${programs.join(', ')}`,
  ].join('\n');
}

/** The peers without which a comparison says little. */
export const missingPeers = (machine: Machine): string[] =>
  ['crane', 'oras'].filter((name) => machine.programs[name] === null);

export async function writeJson(file: string, result: unknown): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify(result, null, 2)}\n`);
}

export const seconds = (ms: number): string => (ms / 1000).toFixed(2);
export const mebibytes = (kib: number): string => (kib / 1024).toFixed(0);
