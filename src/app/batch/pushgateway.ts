/** Hands metrics to a Prometheus Pushgateway: the run is over before anybody could ask it. */
import * as http from 'node:http';
import * as https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { GantryError } from '../../errors.ts';
import type { Exposition } from '../../metrics/exposition.ts';
import { proxyFor } from '../../registry/proxy.ts';
import { Secret } from '../../secret.ts';
import type { Config } from '../config.ts';
import { gantryVersion } from '../version.ts';

export interface Pushgateway {
  /** Without user information. */
  readonly url: URL;
  /** `Basic ...` */
  readonly authorization: Secret | undefined;
}

/**
 * What --pushgateway says, or without a value the environment. A password comes by the environment alone: others see what stands on
 * a command line.
 * @throws GantryError USAGE that shows nothing of what was given
 */
export function pushgatewayOf(given: string | true, config: Pick<Config, 'pushgateway'>): Pushgateway {
  const text = given === true ? config.pushgateway : given;
  const what = given === true ? 'GANTRY_PUSHGATEWAY' : 'what follows --pushgateway';
  if (text === undefined) throw usage('no Pushgateway is named');
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '') {
    throw usage(`${what} is not the URL of a Pushgateway`);
  }
  const { username, password } = url;
  if (username === '' && password === '') return { url, authorization: undefined };
  if (given !== true) {
    throw new GantryError('USAGE', 'the URL behind --pushgateway has a password or a user in it', {
      origin: 'user',
      hint: 'others can see it in the list of processes: set GANTRY_PUSHGATEWAY to that URL and give --pushgateway without one',
    });
  }
  const bare = new URL(url);
  bare.username = '';
  bare.password = '';
  return { url: bare, authorization: basic(username, password) };
}

const usage = (message: string): GantryError =>
  new GantryError('USAGE', message, {
    origin: 'user',
    hint: 'give --pushgateway http://HOST:9091; to use $GANTRY_PUSHGATEWAY write --pushgateway behind all other arguments',
  });

function basic(username: string, password: string): Secret {
  try {
    const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    return new Secret(`Basic ${Buffer.from(login).toString('base64')}`);
  } catch {
    throw usage('user or password in GANTRY_PUSHGATEWAY are not percent-encoded');
  }
}

export interface PushOptions {
  readonly proxies: Config['proxies'];
  /** For all attempts together. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 10_000;
/** Before the second attempt and the third. */
const DELAYS_MS = [250, 1000];

/**
 * Replaces the metrics of these names in the group of the job. By POST, which keeps others (Pushgateway, README, "API"): the time of the
 * last success is not sent by a run that failed.
 * @throws GantryError when it was not taken, at the latest after `timeoutMs`
 */
export async function pushMetrics(
  gateway: Pushgateway,
  job: string,
  metrics: Exposition,
  { proxies, timeoutMs = TIMEOUT_MS }: PushOptions,
): Promise<void> {
  const deadline = AbortSignal.timeout(timeoutMs);
  for (let attempt = 0; ; attempt += 1) {
    const failure = await send(gateway, job, metrics, proxies, deadline);
    if (failure === undefined) return;
    const delay = DELAYS_MS[attempt];
    if (delay === undefined || !failure.mayPass || deadline.aborted) throw failure.error;
    await sleep(delay, undefined, { signal: deadline }).catch(() => undefined);
  }
}

interface PushFailure {
  readonly error: GantryError;
  readonly mayPass: boolean;
}

async function send(
  { url, authorization }: Pushgateway,
  job: string,
  { type, body }: Exposition,
  proxies: Config['proxies'],
  signal: AbortSignal,
): Promise<PushFailure | undefined> {
  const target = new URL(url);
  target.pathname = `${url.pathname.replace(/\/+$/, '')}/metrics/job/${encodeURIComponent(job)}`;
  const headers = {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'user-agent': `gantry/${gantryVersion()}`,
    ...(authorization === undefined ? {} : { authorization: authorization.reveal() }),
  };
  const proxy = proxyFor(target, proxies);
  try {
    const status = await post(target, { headers, signal, agent: agentFor(target, proxy) }, body);
    return status >= 200 && status < 300 ? undefined : declined(status);
  } catch (err) {
    const via = proxy === undefined ? '' : ` through the proxy at ${proxy.host}`;
    if (signal.aborted) return { error: new GantryError('TIMEOUT', `it did not answer in time${via}`), mayPass: false };
    const why = err instanceof Error && 'code' in err ? ` (${String(err.code)})` : '';
    return { error: new GantryError('NETWORK', `it cannot be reached${via}${why}`, { cause: err }), mayPass: true };
  }
}

function declined(status: number): PushFailure {
  const error = (code: 'UNAUTHORIZED' | 'DENIED' | 'UPSTREAM' | 'UNSUPPORTED', hint?: string): GantryError =>
    new GantryError(code, `it answered ${status}`, { status, ...(hint === undefined ? {} : { hint }) });
  if (status === 401) {
    return {
      error: error('UNAUTHORIZED', 'GANTRY_PUSHGATEWAY=https://USER:PASSWORD@HOST has credentials'),
      mayPass: false,
    };
  }
  if (status === 403) return { error: error('DENIED'), mayPass: false };
  if (status >= 500 || status === 429) return { error: error('UPSTREAM'), mayPass: true };
  return { error: error('UNSUPPORTED', 'is it the URL of a Pushgateway? redirects are not followed'), mayPass: false };
}

/** One connection for one request. */
function agentFor({ protocol }: URL, proxy: URL | undefined): http.Agent {
  const proxyEnv = proxy && { [protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY']: proxy.href };
  const options = { keepAlive: false, ...(proxyEnv === undefined ? {} : { proxyEnv }) };
  return protocol === 'https:' ? new https.Agent(options) : new http.Agent(options);
}

/** Answers the status; what else there is of the answer is dropped. */
function post(url: URL, options: http.RequestOptions, body: string): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const { request } = url.protocol === 'https:' ? https : http;
  const sent = request(url, { ...options, method: 'POST' }, (answer) => {
    answer.on('error', () => undefined); // it is cut off on purpose
    resolve(answer.statusCode ?? 0);
    answer.destroy();
  });
  sent.on('error', reject);
  sent.end(body);
  return promise;
}
