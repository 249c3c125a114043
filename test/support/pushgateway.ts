import { type Running, start } from './process.ts';

/** A real Pushgateway on a loopback port; what it is given it keeps in memory. */
export class TestPushgateway implements AsyncDisposable {
  readonly host: string;
  readonly #process: Running;

  private constructor(host: string, process: Running) {
    this.host = host;
    this.#process = process;
  }

  static async start(): Promise<TestPushgateway> {
    const process = start('prometheus-pushgateway', ['--web.listen-address=127.0.0.1:0', '--persistence.file=']);
    try {
      const [, host = ''] = await process.waitForOutput(/Listening on" address=(127\.0\.0\.1:\d+)/);
      return new TestPushgateway(host, process);
    } catch (err) {
      await process[Symbol.asyncDispose]();
      throw err;
    }
  }

  get url(): string {
    return `http://${this.host}`;
  }

  /** What Prometheus would scrape, but for what it tells of itself. */
  async metrics(): Promise<string> {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    return text
      .split('\n')
      .filter((line) => /^(?:# \w+ )?gantry_/.test(line))
      .map((line) => `${line}\n`)
      .join('');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}
