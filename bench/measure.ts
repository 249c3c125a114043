import { spawn } from 'node:child_process';
import { open, readFile } from 'node:fs/promises';
import { readdirSync, readFileSync } from 'node:fs';
import { killGroup, own } from './own.ts';

const SAMPLE_MS = 20;
const LIMIT_MS = 15 * 60_000;
/** Linux reports CPU times to programs in ticks of 10 ms on every architecture. */
const TICK_MS = 10;

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
}

export interface Measured {
  readonly wallMs: number;
  /** User and system time of the command and of all its descendants. */
  readonly cpuMs: number;
  /** The highest peak of one process (the kernel's own high-water mark, VmHWM), in KiB. 0 where time was measured. */
  readonly processKiB: number;
  /** The highest sum over all processes that ran at the same time, as sampled, in KiB. Shared pages count in each. */
  readonly treeKiB: number;
  /** Why the command failed, with the most telling line of what it printed. */
  readonly failure?: string;
}

/** CPU time of this process' descendants that have ended and been waited for, in ms. */
function childrenCpuMs(): number {
  const fields = statFields('self');
  return (Number(fields[13]) + Number(fields[14])) * TICK_MS; // cutime and cstime, see proc_pid_stat(5)
}

/** The fields of /proc/PID/stat from the third (the state) on; the second may contain blanks and parentheses. */
function statFields(pid: string): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

/** Watches the memory of every process in one session. */
class MemoryWatch {
  readonly #session: string;
  /** Whether a process is in the session: asked once for each, so that a sample costs next to nothing. */
  readonly #member = new Map<string, boolean>();
  #processKiB = 0;
  #treeKiB = 0;

  constructor(session: number) {
    this.#session = String(session);
  }

  get peaks(): { processKiB: number; treeKiB: number } {
    return { processKiB: this.#processKiB, treeKiB: this.#treeKiB };
  }

  sample(): void {
    let sum = 0;
    for (const pid of readdirSync('/proc')) {
      const first = pid.charCodeAt(0);
      if (first < 0x30 || first > 0x39 || this.#member.get(pid) === false) continue;
      sum += this.#sampleOne(pid);
    }
    this.#treeKiB = Math.max(this.#treeKiB, sum);
  }

  #sampleOne(pid: string): number {
    try {
      if (!this.#member.has(pid)) this.#member.set(pid, statFields(pid)[3] === this.#session);
      if (this.#member.get(pid) !== true) return 0;
      const status = readFileSync(`/proc/${pid}/status`, 'latin1');
      const kib = (field: string): number => Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
      this.#processKiB = Math.max(this.#processKiB, kib('VmHWM'));
      return kib('VmRSS');
    } catch {
      return 0; // it ended meanwhile
    }
  }
}

interface End {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly error?: string;
}

const failureOf = (end: End, printed: string): string | undefined => {
  if (end.error !== undefined) return end.error;
  if (end.code === 0) return undefined;
  const how = end.signal === null ? `exit ${end.code}` : `ended by ${end.signal}`;
  const lines = printed.trim().split('\n');
  const telling = lines.find((line) => /error|failed|fatal/i.test(line)) ?? lines.at(-1) ?? '';
  return `${how}: ${telling.trim().slice(0, 200)}`;
};

/**
 * Runs a command to its end and measures its time, or its memory: to look at all processes fifty times a second takes a part of the
 * cores away, and most from whoever uses them best. What it prints goes to the file `log`.
 */
export async function measure(command: Command, log: string, what: 'time' | 'memory'): Promise<Measured> {
  const out = await open(log, 'w');
  const cpuBefore = childrenCpuMs();
  const started = performance.now();
  const child = own(spawn(command.file, command.args, { stdio: ['ignore', out.fd, out.fd], detached: true }));
  const watch = new MemoryWatch(child.pid ?? -1);
  const sampler = what === 'memory' ? setInterval(() => watch.sample(), SAMPLE_MS) : undefined;
  const limit = setTimeout(() => killGroup(child, 'SIGKILL'), LIMIT_MS);
  const end = await new Promise<End>((resolve) => {
    child.once('error', (err) => resolve({ code: null, signal: null, error: err.message }));
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  const wallMs = performance.now() - started;
  clearInterval(sampler);
  clearTimeout(limit);
  await out.close();
  const failure = failureOf(end, await readFile(log, 'utf8'));
  return { wallMs, cpuMs: childrenCpuMs() - cpuBefore, ...watch.peaks, ...(failure === undefined ? {} : { failure }) };
}
