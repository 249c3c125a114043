/** What the long-running processes of a farm share: complaints that do not flood a log, and what a probe is told. */
import { access, constants, statfs } from 'node:fs/promises';
import { messageOf } from '../errors.ts';
import type { openRedis } from '../queue/connection.ts';

export type Log = (line: string) => void;
export type Redis = Awaited<ReturnType<typeof openRedis>>;

const QUIET_MS = 60_000;
const MAX_LINES = 1_000;

/** The same line at most once a minute: an outage makes hundreds of them a second. */
export function oncePerMinute(log: Log): Log {
  const told = new Map<string, number>();
  return (line) => {
    const now = performance.now();
    // The oldest come first.
    for (const [each, at] of told) {
      if (now - at < QUIET_MS) break;
      told.delete(each);
    }
    if (told.has(line)) return;
    const [oldest] = told.keys();
    // Others may choose what is logged.
    if (told.size >= MAX_LINES && oldest !== undefined) told.delete(oldest);
    told.set(line, now);
    log(line);
  };
}

/** `host:port` of a URL that openRedis has accepted; nothing else of it may be shown. */
export function redisHost(url: string): string {
  const { hostname, port } = new URL(url);
  return `${hostname}:${port === '' ? 6379 : port}`;
}

/** Follows a connection, and logs when it is lost and back. The answer tells `ok`, or since when there is none. */
export function watchRedis(redis: Redis, host: string, log: Log): () => Promise<string> {
  let lostAt: Date | undefined;
  redis.on('close', () => {
    if (lostAt === undefined) log(`lost the connection to redis at ${host}: waiting for it`);
    lostAt ??= new Date();
  });
  redis.on('ready', () => {
    if (lostAt !== undefined) log(`redis at ${host} is back`);
    lostAt = undefined;
  });
  return async () => {
    if (lostAt !== undefined) return `no connection since ${lostAt.toISOString()}`;
    await redis.ping(); // a connection may stand while nobody answers
    return 'ok';
  };
}

/** `ok`, or why nothing can be written there: without the path, which is nobody's business who may ask a probe. */
export async function storeState(root: string): Promise<string> {
  try {
    await access(root, constants.W_OK);
    return (await statfs(root)).bavail > 0 ? 'ok' : 'the disk is full';
  } catch (err) {
    return err instanceof Error && 'code' in err ? String(err.code) : messageOf(err);
  }
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
