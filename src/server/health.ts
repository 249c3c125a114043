import { type CallOptions, sleep } from '../call.ts';
import { messageOf } from '../errors.ts';
import { type App, callOptions, onlyMethods } from './http.ts';

/** What the process needs for its work: name to `ok`, or why not. */
export type Checks = Readonly<Record<string, string>>;

export interface HealthOptions {
  readonly metrics: (opts: CallOptions) => Promise<{ readonly type: string; readonly body: string }>;
  readonly ready: (opts: CallOptions) => Promise<Checks>;
}

export interface Readiness {
  readonly ready: boolean;
  readonly checks: Checks;
}

/** Orchestrators give a probe one to a few seconds; a late answer tells them less than this one. */
const READY_DEADLINE_MS = 2000;

/**
 * `/healthz` says that the process lives and no more: an orchestrator that restarts workers because Redis is away makes
 * it worse. Whether it can work is `/readyz`.
 */
export function addHealth(app: App, { metrics, ready }: HealthOptions): App {
  app.get('/metrics', async (c) => {
    const { type, body } = await metrics(callOptions(c));
    return c.body(body, 200, { 'content-type': type });
  });
  app.get('/healthz', (c) => c.text('ok\n'));
  app.get('/readyz', async (c) => {
    const told = await readiness(ready, callOptions(c));
    return c.body(`${JSON.stringify(told)}\n`, told.ready ? 200 : 503, { 'content-type': 'application/json' });
  });
  for (const path of ['/metrics', '/healthz', '/readyz']) onlyMethods(app, path, 'GET, HEAD');
  return app;
}

/** Checks that fail or hang are themselves a reason not to be ready. */
export async function readiness(ready: HealthOptions['ready'], opts: CallOptions): Promise<Readiness> {
  const stop = new AbortController();
  const signal = AbortSignal.any([opts.signal, stop.signal]);
  const late = async (): Promise<Checks> => {
    await sleep(READY_DEADLINE_MS, signal);
    return { checks: `no answer in ${READY_DEADLINE_MS / 1000} s` };
  };
  try {
    return told(await Promise.race([ready({ signal }), late()]));
  } catch (err) {
    return told({ checks: messageOf(err) });
  } finally {
    stop.abort();
  }
}

const told = (checks: Checks): Readiness => ({
  ready: Object.values(checks).every((state) => state === 'ok'),
  checks,
});
