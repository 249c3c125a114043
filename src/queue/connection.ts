/** The connection to Redis: opened, checked once, kept through outages; and what an error of it means. */
import { readFile } from 'node:fs/promises';
import { getCACertificates } from 'node:tls';
import { Redis, type RedisOptions } from 'ioredis';
import type { CallOptions } from '../call.ts';
import { asGantryError, type ErrorCode, type ErrorDetails, GantryError, messageOf } from '../errors.ts';

export interface RedisSettings {
  /** `redis://[user:password@]host[:port][/db]`, or `rediss://` for TLS; never shown. */
  readonly url: string;
  /** Certificates to trust beside those of the system; PEM. */
  readonly caFile?: string;
  /** Until connected and checked, and for each answer in 'command' use; 5000 unless given. */
  readonly connectTimeoutMs?: number;
  /**
   * A 'worker' connection that owes an answer for so long is dead: closed and opened again; 30,000 unless given. Above every
   * BLOCK that is asked for, which is 10 s in BullMQ.
   */
  readonly silenceMs?: number;
}

/** 'command' fails fast for producers and short commands; 'worker' waits through outages of minutes. */
export type ConnectionUse = 'command' | 'worker';

/** Replies keep their default shape: flat lists. */
type Options = Omit<RedisOptions, 'replyMapping'>;

const USER = { origin: 'user' } as const;
const URL_FORM =
  'redis://[user:password@]host[:port][/db], rediss:// with TLS; write /, # and % in a password as %2F, %23, %25';
const REACH = 'check host and port, and that the scheme fits: redis:// without TLS, rediss:// with';

/**
 * Connects, authenticates and checks that this Redis can carry the queue, all within connectTimeoutMs. Everything that keeps it
 * from that is an error at once: waiting for a server that will never do is worth less than its reason.
 */
export async function openRedis(settings: RedisSettings, use: ConnectionUse, opts: CallOptions): Promise<Redis> {
  const place = placeOf(settings.url);
  const tls = await tlsOptions(place, settings.caFile);
  opts.signal.throwIfAborted();
  const timeoutMs = settings.connectTimeoutMs ?? 5000;
  let open = false;
  const options: Options = {
    ...place.options,
    ...tls,
    ...behaviour(use, timeoutMs, settings.silenceMs ?? 30_000),
    retryStrategy: (attempt) => (open ? Math.min(2000, 50 * 2 ** (attempt - 1)) : null),
  };
  const redis = new Redis(options);
  const { promise: broken, reject } = Promise.withResolvers<never>();
  redis.on('error', reject); // stays, to no effect: ioredis prints every error that nobody listens to
  opts.signal.addEventListener('abort', reject, { once: true });
  const timer = setTimeout(() => reject(silent(place.host, timeoutMs)), timeoutMs);
  try {
    await Promise.race([connect(redis, place.host), broken]);
    open = true;
    return redis;
  } catch (err) {
    redis.disconnect();
    opts.signal.throwIfAborted();
    throw redisError(err, place.host);
  } finally {
    clearTimeout(timer);
    opts.signal.removeEventListener('abort', reject);
  }
}

async function connect(redis: Redis, host: string): Promise<void> {
  await redis.connect(); // includes the wait while it loads its data
  const [info] = await Promise.all([redis.info(), redis.ping()]);
  checkServer(info, host);
}

/**
 * No auto pipelining: a MULTI, which BullMQ sends by itself, would overtake a PUBLISH or script of the same tick, and it brings no
 * speed. Without it commands reach the server in the order in which they are issued.
 */
function behaviour(use: ConnectionUse, timeoutMs: number, silenceMs: number): Options {
  const common = {
    lazyConnect: true,
    connectTimeout: timeoutMs,
    disconnectTimeout: 200, // a stopped server never answers our FIN, and the process would wait
    maxLoadingRetryTime: 100,
    keepAlive: 10_000, // a subscriber owes and is owed nothing: only this notices that its peer's machine is gone
    enableAutoPipelining: false,
  };
  // Without a bound on retries a command waits in the queue of ioredis, and is sent again when its connection broke.
  if (use === 'worker') return { ...common, maxRetriesPerRequest: null, socketTimeout: silenceMs };
  // 0: a command fails with its connection. It is never sent twice, nor minutes after its caller was told that it failed.
  return { ...common, maxRetriesPerRequest: 0, commandTimeout: timeoutMs, socketTimeout: timeoutMs };
}

interface Place {
  /** `host:port`: all that messages show of the URL. */
  readonly host: string;
  readonly secure: boolean;
  readonly options: Options;
}

function placeOf(text: string): Place {
  const url = URL.parse(text);
  const db = /^(?:\/(?<db>\d{1,5})?)?$/.exec(url?.pathname ?? '');
  const scheme = /^rediss?:$/.test(url?.protocol ?? '');
  // Part of a password that should have been escaped may look like any part of the URL, so none is shown.
  if (url === null || !scheme || url.hostname === '' || db === null || url.search !== '' || url.hash !== '') {
    throw new GantryError('USAGE', 'the URL of Redis cannot be read', { ...USER, hint: URL_FORM });
  }
  const port = url.port === '' ? 6379 : Number(url.port);
  return {
    host: `${url.hostname}:${port}`,
    secure: url.protocol === 'rediss:',
    options: {
      host: url.hostname.replace(/^\[|\]$/g, ''), // of an IPv6 address
      port,
      db: Number(db.groups?.['db'] ?? 0),
      ...(url.username === '' ? {} : { username: unescaped(url.username) }),
      ...(url.password === '' ? {} : { password: unescaped(url.password) }),
    },
  };
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new GantryError('USAGE', 'the URL of Redis has a % that escapes nothing', { ...USER, hint: URL_FORM });
  }
}

async function tlsOptions({ host, secure }: Place, caFile: string | undefined): Promise<Options> {
  if (caFile === undefined) return secure ? { tls: {} } : {};
  if (!secure) {
    const hint = 'write rediss://, or leave the CA file out';
    throw new GantryError('USAGE', `redis at ${host} has a CA file, but a URL without TLS`, { ...USER, hint });
  }
  return { tls: { ca: [...getCACertificates('default'), await readCa(caFile)] } };
}

async function readCa(file: string): Promise<string> {
  const hint = 'name a file with the certificate of the CA in PEM form';
  const text = await readFile(file, 'utf8').catch((err: unknown) => {
    throw new GantryError('USAGE', `cannot read the CA file ${file}`, { ...USER, hint, cause: err });
  });
  if (text.includes('-----BEGIN CERTIFICATE-----')) return text;
  throw new GantryError('USAGE', `${file} holds no certificate in PEM form`, { ...USER, hint });
}

/** From INFO, not from CONFIG, which managed services forbid. What the server does not tell is refused as well. */
function checkServer(info: string, host: string): void {
  const field = (name: string): string =>
    new RegExp(`^${name}:([\\w.-]{1,40})\\s*$`, 'm').exec(info)?.[1] ?? 'not told';
  const refuse = (what: string, hint: string): void => {
    throw new GantryError('USAGE', `redis at ${host} ${what}`, { ...USER, host, hint });
  };
  const version = field('redis_version'); // Valkey tells the version of Redis that it is compatible with
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const newEnough = major > 6 || (major === 6 && minor >= 2);
  if (!newEnough) refuse(`is too old (version: ${version})`, 'use Redis 6.2 or later, or Valkey');
  const role = field('role');
  if (role !== 'master') refuse(`is not a master (role: ${role})`, 'give the address of the master');
  const policy = field('maxmemory_policy');
  // Any other policy deletes keys of the queue when memory gets short, and runs hang or lose images.
  if (policy !== 'noeviction')
    refuse(`may evict keys (maxmemory-policy: ${policy})`, 'set maxmemory-policy noeviction');
}

interface Meaning extends ErrorDetails {
  readonly code: ErrorCode;
  /** After `redis at host:port`. */
  readonly says: string;
}

const password: Meaning = {
  ...USER,
  code: 'USAGE',
  says: 'does not accept the password',
  hint: 'put the right user and password into the URL',
};
const busy = { code: 'UPSTREAM', origin: 'gantry' } as const;

/** By the first word of an error reply. */
const REPLIES: ReadonlyMap<string, Meaning> = new Map<string, Meaning>([
  ['WRONGPASS', password],
  ['NOAUTH', { ...password, says: 'wants a password' }],
  [
    'NOPERM',
    { ...password, says: 'denies this user a command', hint: 'allow the user all commands, keys and channels' },
  ],
  ['READONLY', { ...USER, code: 'USAGE', says: 'is a replica', hint: 'give the address of the master' }],
  ['MOVED', { ...USER, code: 'USAGE', says: 'is part of a cluster', hint: 'use a Redis that is none' }],
  ['OOM', { code: 'NO_SPACE', origin: 'gantry', says: 'is out of memory', hint: 'raise its maxmemory' }],
  ['LOADING', { ...busy, says: 'is loading its data' }],
  ['BUSY', { ...busy, says: 'is busy with a script' }],
  ['MISCONF', { ...busy, says: 'cannot write to its disk', hint: 'see its log; its disk may be full' }],
]);

const CERTIFICATE = /^(?:CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|ERR_TLS_CERT|HOSTNAME_MISMATCH|INVALID_CA)/;

/** What ioredis says, without any code, when there is no connection or no answer. */
const NO_ANSWER = /^(?:Command timed out|Socket timeout|Connection is closed|Stream isn't writeable|Protocol error)/;

/**
 * Names what a call of ioredis threw; `host` is `host:port`. Never with the error as cause: that of a reply holds the command with
 * its arguments, the password among them. Not by asGantryError: ioredis says AbortError where nobody cancelled.
 */
export function redisError(err: unknown, host: string): GantryError {
  if (err instanceof GantryError || err instanceof DOMException) return asGantryError(err);
  const name = err instanceof Error ? err.name : '';
  if (name === 'ReplyError') return replyError(messageOf(err), host);
  const { code } = innermost(err);
  if (code !== undefined) return transportError(code, host);
  if (name === 'MaxRetriesPerRequestError' || name === 'AbortError') return networkError('the connection broke', host);
  if (NO_ANSWER.test(messageOf(err))) return networkError('no answer', host);
  return new GantryError('INTERNAL', `redis at ${host}: ${messageOf(err)}`, { host, cause: err });
}

function replyError(message: string, host: string): GantryError {
  // Redis 6 puts the error of a command below the line of the script that made it.
  const word = /^(?:ERR Error running script .*?: -)?([A-Z]+)/.exec(message)?.[1] ?? '';
  const meaning = REPLIES.get(word);
  if (meaning === undefined) return otherReply(message, host);
  const { code, says, ...details } = meaning;
  return new GantryError(code, `redis at ${host} ${says}`, { ...details, host });
}

function otherReply(message: string, host: string): GantryError {
  if (message.startsWith('ERR DB index')) {
    return new GantryError('USAGE', `redis at ${host} has no database of this number`, {
      ...USER,
      host,
      hint: URL_FORM,
    });
  }
  const shown = message.replace(/[^\x20-\x7e]/gu, '?').slice(0, 200);
  return new GantryError('INTERNAL', `redis at ${host} answered ${shown}`, { host });
}

function transportError(code: string, host: string): GantryError {
  if (CERTIFICATE.test(code)) {
    const hint = 'give the file of the CA that signed it';
    return new GantryError('TLS', `redis at ${host}: its certificate is not trusted (${code})`, {
      ...USER,
      host,
      hint,
    });
  }
  if (code === 'EPROTO' || code.startsWith('ERR_SSL_')) {
    return new GantryError('TLS', `redis at ${host}: TLS failed (${code})`, { ...USER, host, hint: REACH });
  }
  return networkError(code === 'ENOTFOUND' || code === 'EAI_AGAIN' ? 'no such host' : code, host);
}

const networkError = (what: string, host: string): GantryError =>
  new GantryError('NETWORK', `cannot reach redis at ${host}: ${what}`, { ...USER, host, hint: REACH });

const silent = (host: string, timeoutMs: number): GantryError =>
  networkError(`no answer within ${timeoutMs} ms, or it is still loading its data`, host);

/** A name with several addresses fails with one error for each; the first tells as much as all. */
function innermost(err: unknown): { readonly code: string | undefined } {
  if (err instanceof AggregateError && err.errors.length > 0) return innermost(err.errors[0]);
  return { code: err instanceof Error && 'code' in err && typeof err.code === 'string' ? err.code : undefined };
}
