import { createServer } from 'node:net';
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { closed, listen } from './listen.ts';
import { type Running, runOk, start } from './process.ts';
import { type Content, readAll } from './registry/content.ts';
import type { Bundle } from './registry/storage.ts';
import { type TempDir, tempDir } from './temp.ts';

export interface DockerRegistryOptions {
  /** A storage directory that exists; a temporary one unless given. */
  readonly storage?: string;
  readonly readOnly?: boolean;
  /** What it checks of manifests; nothing unless given. */
  readonly validation?: { readonly manifests: { readonly urls: { readonly allow: readonly string[] } } };
  /** Name and password that it wants. */
  readonly htpasswd?: { readonly user: string; readonly password: string };
}

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await closed(server);
  return port;
}

const configOf = (port: number, storage: string, options: DockerRegistryOptions, htpasswd: string): string =>
  JSON.stringify({
    version: '0.1',
    log: { level: 'error', accesslog: { disabled: true } },
    storage: {
      filesystem: { rootdirectory: storage },
      delete: { enabled: true },
      ...(options.readOnly === true ? { maintenance: { readonly: { enabled: true } } } : {}),
    },
    http: { addr: `127.0.0.1:${port}`, host: `http://127.0.0.1:${port}`, relativeurls: false },
    validation: options.validation ?? { disabled: true },
    ...(options.htpasswd === undefined ? {} : { auth: { htpasswd: { realm: 'test', path: htpasswd } } }),
  });

/** The registry of the Docker project, as Debian packages it, on a port of its own. */
export class DockerRegistry implements AsyncDisposable {
  readonly host: string;
  readonly url: string;
  readonly storage: string;
  readonly #process: Running;
  readonly #temp: TempDir;
  readonly #headers: Record<string, string>;

  private constructor(port: number, storage: string, temp: TempDir, process: Running, options: DockerRegistryOptions) {
    this.host = `127.0.0.1:${port}`;
    this.url = `http://${this.host}`;
    this.storage = storage;
    this.#temp = temp;
    this.#process = process;
    const { user, password } = options.htpasswd ?? {};
    const basic = Buffer.from(`${user}:${password}`).toString('base64');
    this.#headers = user === undefined ? {} : { authorization: `Basic ${basic}` };
  }

  static async start(options: DockerRegistryOptions = {}): Promise<DockerRegistry> {
    await using stack = new AsyncDisposableStack();
    const temp = stack.use(await tempDir('gantry-docker-registry-'));
    const storage = options.storage ?? temp.join('storage');
    const htpasswd = temp.join('htpasswd');
    if (options.htpasswd) await writeFile(htpasswd, await htpasswdLine(options.htpasswd));
    for (let attempt = 1; ; attempt += 1) {
      const port = await freePort();
      await writeFile(temp.join('config.yml'), configOf(port, storage, options, htpasswd)); // JSON is YAML
      const process = start('docker-registry', ['serve', temp.join('config.yml')]);
      const registry = new DockerRegistry(port, storage, temp, process, options);
      if (await registry.#answers()) {
        stack.move();
        return registry;
      }
      const { stderr } = await process.done;
      // Somebody may have taken the port in between.
      if (attempt === 5 || !stderr.includes('address already in use')) throw new Error(`docker-registry: ${stderr}`);
    }
  }

  /** Waits until it listens; false when it ended instead. */
  async #answers(): Promise<boolean> {
    const deadline = performance.now() + 20_000;
    while (!this.#process.ended && performance.now() < deadline) {
      const response = await fetch(`${this.url}/v2/`, { headers: this.#headers }).catch(() => undefined);
      await response?.arrayBuffer();
      if (response?.status === 200) return true;
      await sleep(20); // there is no event for "listens now"
    }
    this.#process.kill();
    return false;
  }

  /** Uploads everything that an image leads to, and names it. */
  async push(repo: string, tag: string, bundle: Bundle): Promise<void> {
    for (const [digest, content] of bundle.blobs) await this.#pushBlob(repo, digest, content);
    // Children come before what names them: the root is always the first of its bundle's manifests.
    for (const [digest, { content, mediaType }] of [...bundle.manifests].toReversed()) {
      await this.#pushManifest(repo, digest, content, mediaType);
      if (digest === bundle.desc.digest) await this.#pushManifest(repo, tag, content, mediaType);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
    await this.#temp[Symbol.asyncDispose]();
  }

  async #pushBlob(repo: string, digest: string, content: Content): Promise<void> {
    const opened = await this.#ask('POST', `${this.url}/v2/${repo}/blobs/uploads/`, [202]);
    const location = new URL(opened.headers.get('location') ?? '', this.url);
    location.searchParams.set('digest', digest);
    await this.#ask('PUT', location.href, [201], content, 'application/octet-stream');
  }

  async #pushManifest(repo: string, reference: string, content: Content, mediaType: string): Promise<void> {
    await this.#ask('PUT', `${this.url}/v2/${repo}/manifests/${reference}`, [201], content, mediaType);
  }

  async #ask(
    method: string,
    url: string,
    expected: readonly number[],
    content?: Content,
    mediaType?: string,
  ): Promise<Response> {
    const response = await fetch(url, {
      method,
      headers: { ...this.#headers, ...(mediaType === undefined ? {} : { 'content-type': mediaType }) },
      ...(content === undefined ? {} : { body: new Uint8Array(readAll(content)) }),
    });
    const text = await response.text();
    if (!expected.includes(response.status)) throw new Error(`${method} ${url}: ${response.status} ${text}`);
    return response;
  }
}

/** The registry wants bcrypt; perl has it from the C library, and is on every Debian. */
async function htpasswdLine({ user, password }: { user: string; password: string }): Promise<string> {
  const salt = '$2b$04$abcdefghijklmnopqrstuu';
  const { stdout } = await runOk('perl', ['-e', 'print crypt($ARGV[0], $ARGV[1])', password, salt]);
  return `${user}:${stdout}\n`;
}
