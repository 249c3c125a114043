import { spawn } from 'node:child_process';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { killGroup, own } from './own.ts';
import { freePort } from './port.ts';

const READY_WITHIN_MS = 15_000;

/** A running docker-registry; disposing it ends the process. */
export interface Registry extends AsyncDisposable {
  /** `127.0.0.1:port` */
  readonly host: string;
  readonly pid: number;
}

const config = (storage: string, host: string): string => `version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: ${JSON.stringify(storage)}
    maxthreads: 100
  cache:
    blobdescriptor: inmemory
  maintenance:
    uploadpurging:
      enabled: false
http:
  addr: ${host}
`;

async function answers(host: string): Promise<boolean> {
  try {
    const res = await fetch(`http://${host}/v2/`, { signal: AbortSignal.timeout(1000) });
    await res.arrayBuffer();
    return res.ok;
  } catch {
    return false;
  }
}

/** Starts docker-registry over `storage` on a port of loopback, a free one unless given. Its configuration and log go into `scratch`. */
export async function startRegistry(storage: string, scratch: string, port?: number): Promise<Registry> {
  await mkdir(scratch, { recursive: true });
  const host = `127.0.0.1:${port ?? (await freePort())}`;
  const file = join(scratch, 'registry.yml');
  await writeFile(file, config(storage, host));
  await using log = await open(join(scratch, 'registry.log'), 'w');
  const child = own(spawn('docker-registry', ['serve', file], { stdio: ['ignore', log.fd, log.fd], detached: true }));
  let failure: string | undefined;
  child.once('error', (err) => (failure = err.message));
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  void ended.then(() => (failure ??= `ended with ${child.exitCode}; see ${join(scratch, 'registry.log')}`));

  const stop = async (): Promise<void> => {
    killGroup(child, 'SIGTERM');
    const late = setTimeout(() => killGroup(child, 'SIGKILL'), 5000);
    await ended;
    clearTimeout(late);
  };
  for (const deadline = performance.now() + READY_WITHIN_MS; !(await answers(host)); await sleep(50)) {
    if (failure !== undefined) throw new Error(`docker-registry: ${failure}`);
    if (performance.now() < deadline) continue;
    await stop();
    throw new Error(`docker-registry did not answer on ${host} within ${READY_WITHIN_MS / 1000} s`);
  }
  return { host, pid: child.pid ?? -1, [Symbol.asyncDispose]: stop };
}
