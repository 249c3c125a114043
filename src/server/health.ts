import { type CallOptions, sleep } from '../call.ts';
import { messageOf } from '../errors.ts';
import { type Answer, line, type Route, type Routes } from './http.ts';

/** What the process needs for its work: name to `ok`, or why not. */
export type Checks = Readonly<Record<string, string>>;

export interface HealthOptions {
  readonly metrics: (opts: CallOptions) => Promise<{ readonly type: string; readonly body: string }>;
  readonly ready: (opts: CallOptions) => Promise<Checks>;
}

/** Orchestrators give a probe one to a few seconds; a late answer tells them less than this one. */
const READY_DEADLINE_MS = 2000;

/**
 * `/healthz` says that the process lives and no more: an orchestrator that restarts workers because Redis is away makes
 * it worse. Whether it can work is `/readyz`.
 */
export const healthRoutes = ({ metrics, ready }: HealthOptions): Routes =>
  new Map<string, Route>([
    ['/metrics', async (opts) => ({ status: 200, ...(await metrics(opts)) })],
    ['/healthz', () => line(200, 'ok')],
    ['/readyz', async (opts) => readiness(await inTime(ready, opts))],
  ]);

function readiness(checks: Checks): Answer {
  const ok = Object.values(checks).every((state) => state === 'ok');
  return { status: ok ? 200 : 503, type: 'application/json', body: `${JSON.stringify({ ready: ok, checks })}\n` };
}

/** Checks that fail or hang are themselves a reason not to be ready. */
async function inTime(ready: HealthOptions['ready'], opts: CallOptions): Promise<Checks> {
  const stop = new AbortController();
  const signal = AbortSignal.any([opts.signal, stop.signal]);
  const late = async (): Promise<Checks> => {
    await sleep(READY_DEADLINE_MS, signal);
    return { checks: `no answer in ${READY_DEADLINE_MS / 1000} s` };
  };
  try {
    return await Promise.race([ready({ signal }), late()]);
  } catch (err) {
    return { checks: messageOf(err) };
  } finally {
    stop.abort();
  }
}
