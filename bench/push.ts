import { Agent, request, type IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { digestOf, type Digest } from '../src/oci/digest.ts';
import { OCI_MANIFEST } from '../src/oci/media-types.ts';

/** The little of the distribution API that filling a registry needs. gantry's own client is what is measured, so not that. */
export class PushClient implements Disposable {
  readonly #base: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 16 });

  /** @param host `127.0.0.1:port` */
  constructor(host: string) {
    this.#base = `http://${host}`;
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  async #send(
    method: string,
    url: URL,
    want: readonly number[],
    body: Buffer | AsyncIterable<Buffer> = Buffer.alloc(0),
    type = 'application/octet-stream',
  ): Promise<IncomingMessage> {
    const length = Buffer.isBuffer(body) ? { 'content-length': String(body.length) } : {};
    const sent = method === 'HEAD' ? {} : { 'content-type': type, ...length };
    const req = request(url, { method, agent: this.#agent, headers: { accept: OCI_MANIFEST, ...sent } });
    const answered = new Promise<IncomingMessage>((resolve, reject) =>
      req.once('response', resolve).once('error', reject),
    );
    const [res] = await Promise.all([
      answered,
      Buffer.isBuffer(body) ? void req.end(body) : pipeline(Readable.from(body), req),
    ]);
    const chunks: Buffer[] = [];
    for await (const chunk of res as AsyncIterable<Buffer>) chunks.push(chunk);
    if (want.includes(res.statusCode ?? 0)) return res;
    throw new Error(`${method} ${url.pathname}: ${res.statusCode} ${Buffer.concat(chunks).toString().slice(0, 300)}`);
  }

  #url(path: string): URL {
    return new URL(`/v2/${path}`, this.#base);
  }

  #location(res: IncomingMessage): URL {
    if (res.headers.location === undefined) throw new Error('the registry opened an upload without a Location');
    return new URL(res.headers.location, this.#base);
  }

  /** The size of a blob or manifest, or undefined if the registry lacks it. */
  async sizeOf(repository: string, kind: 'blobs' | 'manifests', digest: Digest): Promise<number | undefined> {
    const res = await this.#send('HEAD', this.#url(`${repository}/${kind}/${digest}`), [200, 404]);
    return res.statusCode === 200 ? Number(res.headers['content-length']) : undefined;
  }

  /** What a tag means, or undefined if there is none. */
  async digestOfTag(repository: string, tag: string): Promise<string | undefined> {
    const res = await this.#send('HEAD', this.#url(`${repository}/manifests/${tag}`), [200, 404]);
    const digest = res.headers['docker-content-digest'];
    return res.statusCode === 200 && typeof digest === 'string' ? digest : undefined;
  }

  /** Uploads a stream whose digest is known only when it has ended. */
  async stream(repository: string, body: AsyncIterable<Buffer>, digest: () => Digest): Promise<void> {
    const opened = await this.#send('POST', this.#url(`${repository}/blobs/uploads/`), [202]);
    const sent = await this.#send('PATCH', this.#location(opened), [202], body);
    const end = this.#location(sent);
    end.searchParams.set('digest', digest());
    await this.#send('PUT', end, [201]);
  }

  async blob(repository: string, body: Buffer): Promise<Digest> {
    const digest = digestOf(body);
    const opened = await this.#send('POST', this.#url(`${repository}/blobs/uploads/`), [202]);
    const end = this.#location(opened);
    end.searchParams.set('digest', digest);
    await this.#send('PUT', end, [201], body);
    return digest;
  }

  async mount(repository: string, digest: Digest, from: string): Promise<void> {
    const url = this.#url(`${repository}/blobs/uploads/`);
    url.searchParams.set('mount', digest);
    url.searchParams.set('from', from);
    await this.#send('POST', url, [201]);
  }

  async manifest(repository: string, tag: string, body: Buffer): Promise<Digest> {
    await this.#send('PUT', this.#url(`${repository}/manifests/${tag}`), [201], body, OCI_MANIFEST);
    return digestOf(body);
  }
}
