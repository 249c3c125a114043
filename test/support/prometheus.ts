/** A real Prometheus that scrapes what it is told to, with rules. */
import { createServer } from 'node:net';
import { writeFile } from 'node:fs/promises';
import { ask } from './ask.ts';
import { closed, listen } from './listen.ts';
import { type Running, start } from './process.ts';
import { type TempDir, tempDir } from './temp.ts';

export interface ScrapeJob {
  readonly job: string;
  /** `host:port` */
  readonly targets: readonly string[];
}

export interface PrometheusOptions {
  readonly jobs: readonly ScrapeJob[];
  /** Files of rules, by their full path. */
  readonly rules: readonly string[];
}

/** One time series of an answer. */
export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  /** Times in seconds, and values as Prometheus writes them. */
  readonly values: readonly (readonly [number, string])[];
}

export interface Rule {
  readonly name: string;
  readonly type: 'alerting' | 'recording';
  readonly query: string;
  readonly health: 'ok' | 'err' | 'unknown';
  readonly lastError?: string;
}

export interface Target {
  readonly scrapePool: string;
  readonly health: 'up' | 'down' | 'unknown';
  readonly lastError: string;
}

interface Answer<T> {
  readonly status: 'success' | 'error';
  readonly error?: string;
  readonly data: T;
}

/** How often it scrapes, and looks at its rules. */
const EVERY = '500ms';

export class Prometheus implements AsyncDisposable {
  readonly #url: string;
  readonly #temp: TempDir;
  readonly #process: Running;

  private constructor(url: string, temp: TempDir, process: Running) {
    this.#url = url;
    this.#temp = temp;
    this.#process = process;
  }

  static async start({ jobs, rules }: PrometheusOptions): Promise<Prometheus> {
    const temp = await tempDir('gantry-prometheus-');
    const config = {
      global: { scrape_interval: EVERY, scrape_timeout: EVERY, evaluation_interval: EVERY },
      rule_files: rules,
      scrape_configs: jobs.map(({ job, targets }) => ({ job_name: job, static_configs: [{ targets }] })),
    };
    await writeFile(temp.join('prometheus.yml'), JSON.stringify(config)); // JSON is YAML
    const port = await freePort();
    const running = start('prometheus', [
      `--config.file=${temp.join('prometheus.yml')}`,
      `--storage.tsdb.path=${temp.join('data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ]);
    await running.waitForOutput(/Server is ready to receive web requests/);
    return new Prometheus(`http://127.0.0.1:${port}`, temp, running);
  }

  /** The last `seconds`, in steps of one. @throws Error with what Prometheus says when it is no query */
  async range(query: string, seconds: number): Promise<readonly Series[]> {
    const end = Date.now() / 1000;
    const asked = { query, start: String(end - seconds), end: String(end), step: '1' };
    const { result } = await this.#get<{ readonly result: readonly Series[] }>('query_range', asked);
    return result;
  }

  /** How many series a query has now. */
  async count(query: string): Promise<number> {
    return (await this.#get<{ readonly result: readonly unknown[] }>('query', { query })).result.length;
  }

  labelValues(label: string, metric: string): Promise<readonly string[]> {
    return this.#get(`label/${label}/values`, { 'match[]': metric });
  }

  async rules(): Promise<readonly Rule[]> {
    const { groups } = await this.#get<{ readonly groups: readonly { readonly rules: readonly Rule[] }[] }>('rules');
    return groups.flatMap(({ rules }) => rules);
  }

  async targets(): Promise<readonly Target[]> {
    return (await this.#get<{ readonly activeTargets: readonly Target[] }>('targets')).activeTargets;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
    await this.#temp[Symbol.asyncDispose]();
  }

  async #get<T>(path: string, query: Readonly<Record<string, string>> = {}): Promise<T> {
    const { body } = await ask(`${this.#url}/api/v1/${path}?${String(new URLSearchParams(query))}`);
    const answer: Answer<T> = JSON.parse(body.toString());
    if (answer.status === 'success') return answer.data;
    throw new Error(`${answer.error}: ${query['query'] ?? path}`);
  }
}

/** It takes no port 0. */
async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await closed(server);
  return port;
}
