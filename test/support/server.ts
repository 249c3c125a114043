/** `gantry server` within the test's process, over a farm and a store. */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { readConfig } from '../../src/app/config.ts';
import { startGantryServer } from '../../src/app/server/server.ts';
import type { ServerSettings } from '../../src/app/server/part.ts';
import { ask, type Asking, type Got } from './ask.ts';
import { never } from './clients.ts';
import { tempDir } from './temp.ts';

export interface TestServerOptions extends Partial<Omit<ServerSettings, 'tokenFile'>> {
  /** The directory of the store that it serves; none unless given. */
  readonly store?: string;
  /** False: nothing can be changed through it. */
  readonly hasToken?: boolean;
}

export interface TestServer extends AsyncDisposable {
  readonly url: string;
  readonly token: string;
  readonly tokenFile: string;
  /** What it has logged. */
  readonly log: readonly string[];
  /** Asks below /api/v1; with the token, unless headers are given. */
  api(method: string, path: string, body?: unknown, headers?: Asking['headers']): Promise<Got>;
}

export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const { store, hasToken = true, ...settings } = options;
  await using stack = new AsyncDisposableStack();
  const dir = stack.use(await tempDir('gantry-server-'));
  const token = randomBytes(20).toString('hex');
  const tokenFile = dir.join('token');
  await writeFile(tokenFile, `${token}\n`);
  const log: string[] = [];
  const server = stack.use(
    await startGantryServer(
      readConfig({ HOME: dir.path, GANTRY_STORE: store ?? dir.join('store') }),
      {
        redis: undefined,
        hasStore: store !== undefined,
        pullThrough: undefined,
        listen: { port: 0, host: '127.0.0.1' },
        protectReads: false,
        registries: {},
        log: (line) => void log.push(line),
        ...settings,
        tokenFile: hasToken ? tokenFile : undefined,
      },
      { signal: never },
    ),
  );
  const api: TestServer['api'] = (method, path, body, headers) =>
    ask(`${server.url}/api/v1${path}`, {
      method,
      headers: headers ?? {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
  const owned = stack.move();
  return { url: server.url, token, tokenFile, log, api, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
