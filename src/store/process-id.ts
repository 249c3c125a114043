/** Which process holds a lock, so that a process on the same machine can tell at once that it is dead. */
import { readFileSync, readlinkSync } from 'node:fs';

/**
 * A pid alone says nothing: containers share pids, and pids are used again. Boot id, pid namespace and start time make it
 * one process. Undefined where there is no /proc; then only the heartbeat counts.
 */
export interface ProcessId {
  readonly boot: string;
  readonly namespace: string;
  readonly pid: number;
  readonly startTime: string;
}

let own: ProcessId | undefined;

export function ownProcess(): ProcessId | undefined {
  try {
    own ??= {
      boot: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
      namespace: readlinkSync('/proc/self/ns/pid'),
      pid: process.pid,
      startTime: startTimeOf(process.pid),
    };
    return own;
  } catch {
    return undefined;
  }
}

/** What is known of a process; one of another machine or pid namespace is always unknown. */
export function livenessOf(other: ProcessId | undefined): 'alive' | 'dead' | 'unknown' {
  const self = ownProcess();
  if (self === undefined || other === undefined) return 'unknown';
  if (other.boot !== self.boot || other.namespace !== self.namespace) return 'unknown';
  if (!Number.isSafeInteger(other.pid) || other.pid <= 0 || !exists(other.pid)) return 'dead';
  try {
    return startTimeOf(other.pid) === other.startTime ? 'alive' : 'dead';
  } catch {
    return 'unknown'; // /proc may hide what belongs to other users, and files may have run out
  }
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (err) {
    return !(err instanceof Error && 'code' in err && err.code === 'ESRCH'); // EPERM: of another user
  }
}

/** Field 22 of /proc/PID/stat, in clock ticks since boot. The second field may hold spaces and parentheses: count from its end. */
function startTimeOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state] = fields;
  return state === 'Z' || state === 'X' ? 'ended' : (fields[19] ?? '');
}
