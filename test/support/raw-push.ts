/** The requests of a push, one at a time: for tests of what a registry answers. */
import { digestOf } from '../../src/oci/digest.ts';
import { ask, type Asking, type Got } from './ask.ts';

export interface Sent {
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array;
}

/** Sends to `to`, which may be relative, with a Content-Length unless the body is to be sent in chunks. */
export function send(base: string, method: string, to: string, { headers = {}, body }: Sent = {}): Promise<Got> {
  const isChunked = headers['transfer-encoding'] !== undefined;
  const hasLength = method !== 'GET' && method !== 'HEAD' && !isChunked;
  const length = hasLength ? { 'content-length': String(Buffer.byteLength(body ?? '')) } : {};
  const asking: Asking = { method, headers: { ...length, ...headers }, ...(body === undefined ? {} : { body }) };
  return ask(new URL(to, base).href, asking);
}

export interface Errors {
  errors: { code: string; detail?: unknown }[];
}

export function errorsOf({ body }: Got): Errors['errors'] {
  const parsed: Errors = JSON.parse(body.toString());
  return parsed.errors;
}

/** Talks to one repository. */
export class RawPush {
  readonly #base: string;
  readonly #repo: string;
  readonly #headers: Record<string, string>;

  constructor(base: string, repo: string, headers: Record<string, string> = {}) {
    this.#base = base;
    this.#repo = repo;
    this.#headers = headers;
  }

  send(method: string, to: string, { headers = {}, body }: Sent = {}): Promise<Got> {
    const all = { ...this.#headers, ...headers };
    return send(this.#base, method, to, { headers: all, ...(body === undefined ? {} : { body }) });
  }

  start(query = ''): Promise<Got> {
    return this.send('POST', `/v2/${this.#repo}/blobs/uploads/${query}`);
  }

  /** Starts an upload and gives its Location. */
  async location(): Promise<string> {
    return (await this.start()).headers.location ?? '';
  }

  mount(digest: string, from?: string): Promise<Got> {
    return this.start(`?mount=${digest}${from === undefined ? '' : `&from=${from}`}`);
  }

  /** Without `first`, no Content-Range. */
  chunk(location: string, body: string | Uint8Array, first?: number): Promise<Got> {
    const last = (first ?? 0) + body.length - 1;
    const headers: Record<string, string> = first === undefined ? {} : { 'content-range': `${first}-${last}` };
    return this.send('PATCH', location, { headers, body });
  }

  end(location: string, digest: string, sent: Sent = {}): Promise<Got> {
    return this.send('PUT', `${location}&digest=${digest}`, sent);
  }

  async blob(body: string | Uint8Array): Promise<Got> {
    return this.end(await this.location(), digestOf(body), { body });
  }

  manifest(object: string, { manifest, desc }: { manifest: Uint8Array; desc: { mediaType: string } }): Promise<Got> {
    const headers = { 'content-type': desc.mediaType };
    return this.send('PUT', `/v2/${this.#repo}/manifests/${object}`, { headers, body: manifest });
  }
}
