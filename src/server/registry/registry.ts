/**
 * The part of the distribution spec that reads: manifests, blobs, lists. What is there is sent as it is, whatever types a client says that it
 * accepts: a digest names bytes, and no other bytes would have it.
 */
import type { OutgoingHttpHeaders } from 'node:http';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { messageOf } from '../../errors.ts';
import type { Digest } from '../../oci/digest.ts';
import type { App, RequestContext } from '../http.ts';
import { Blocks } from './blocks.ts';
import { statusHeaders } from './cache-status.ts';
import { etagOf, isKnown, spanOf } from './conditional.ts';
import { Exchange } from './exchange.ts';
import { type Listed, listReferrers, listRepositories, listTags } from './lists.ts';
import { failure, type Refusal, refusal, refusalText } from './refusal.ts';
import { type Asked, type BlobAsked, type ManifestAsked, readRequest } from './request.ts';
import type { CacheStatus, ImageSource, ServedBlob } from './source.ts';

export interface RegistryOptions {
  readonly source: ImageSource;
  /** Reading needs a token, so that caches between here and the client must not keep what they carry. */
  readonly isPrivate: boolean;
  /** A line for each fault that is not the client's. */
  readonly log: (line: string) => void;
}

const READS = new Set(['GET', 'HEAD']);
const COMMON = { 'docker-distribution-api-version': 'registry/2.0', 'x-content-type-options': 'nosniff' };
const YEAR_S = 31_536_000;

/** Adds `/v2/`. */
export function addRegistry(app: App, options: RegistryOptions): App {
  const registry = new Registry(options);
  const serve = async (c: RequestContext): Promise<Response> => {
    await registry.serve(new Exchange(c.env.incoming, c.env.outgoing));
    return RESPONSE_ALREADY_SENT;
  };
  return app.all('/v2', serve).all('/v2/*', serve);
}

class Registry {
  readonly #source: ImageSource;
  readonly #visibility: 'public' | 'private';
  readonly #log: (line: string) => void;
  readonly #blocks = new Blocks();

  constructor({ source, isPrivate, log }: RegistryOptions) {
    this.#source = source;
    this.#visibility = isPrivate ? 'private' : 'public';
    this.#log = log;
  }

  async serve(exchange: Exchange): Promise<void> {
    try {
      await exchange.inTurn(() => this.#answer(exchange));
    } catch (err) {
      // Nobody to tell: the client is gone.
      if (exchange.request.socket.destroyed) return;
      // Without the query, where somebody may have put what nobody should see.
      const path = exchange.request.url?.split('?', 1)[0]?.slice(0, 300);
      this.#log(`registry: ${exchange.request.method} ${path}: ${messageOf(err).replaceAll(/\s+/g, ' ')}`);
      if (exchange.isBegun) exchange.cut();
      else refuse(exchange, failure(err));
    }
  }

  async #answer(exchange: Exchange): Promise<void> {
    const { method = '', url = '' } = exchange.request;
    if (!READS.has(method)) {
      const allow = { allow: 'GET, HEAD' };
      refuse(exchange, refusal('UNSUPPORTED', 'this registry is only for reading', { headers: allow }));
      return;
    }
    const asked = readRequest(url);
    if (asked.kind === 'manifest') await this.#manifest(exchange, asked);
    else if (asked.kind === 'blob') await this.#blob(exchange, asked);
    else answerText(exchange, await this.#text(exchange, asked));
  }

  async #text(exchange: Exchange, asked: Exclude<Asked, ManifestAsked | BlobAsked>): Promise<Listed | Refusal> {
    switch (asked.kind) {
      case 'base':
        return { kind: 'listed', type: 'application/json', headers: {}, body: '{}' };
      case 'catalog':
        return listRepositories(this.#source, asked, exchange.call);
      case 'tags':
        return listTags(this.#source, asked, exchange.call);
      case 'referrers':
        return listReferrers(this.#source, asked, exchange.call);
      case 'refused':
        return asked;
    }
  }

  async #manifest(exchange: Exchange, { repository, reference }: ManifestAsked): Promise<void> {
    const unknown = refusal('MANIFEST_UNKNOWN', 'this manifest is not here');
    const tagged =
      'tag' in reference ? await this.#source.resolve(repository, reference.tag, exchange.call) : undefined;
    const digest = 'tag' in reference ? tagged?.desc.digest : reference.digest;
    if (digest === undefined) return refuse(exchange, unknown);
    const found = await this.#source.manifest(repository, digest, exchange.call);
    if (found === undefined) return refuse(exchange, unknown);
    // That its tag is as fresh as can be says nothing about where the manifest came from.
    const status = tagged === undefined || tagged.status.kind === 'hit' ? found.status : tagged.status;
    const headers = {
      ...this.#contentHeaders(digest, status),
      ...('tag' in reference ? { 'cache-control': 'no-cache' } : {}),
    };
    if (isKnown(exchange.request.headers, digest)) return exchange.reply(304, headers);
    exchange.reply(200, { ...headers, 'content-type': found.desc.mediaType }, found.bytes);
  }

  async #blob(exchange: Exchange, { repository, digest }: BlobAsked): Promise<void> {
    const opts = { ...exchange.call, headOnly: exchange.isHead };
    const blob = await this.#source.blob(repository, digest, opts);
    if (blob === undefined) return refuse(exchange, refusal('BLOB_UNKNOWN', 'this blob is not here'));
    try {
      await this.#sendBlob(exchange, digest, blob);
    } finally {
      if (blob.kind === 'file') await blob.file.close();
    }
  }

  async #sendBlob(exchange: Exchange, digest: Digest, blob: ServedBlob): Promise<void> {
    const size = blob.kind === 'file' ? blob.file.size : blob.size;
    const request = exchange.request.headers;
    const common = { ...this.#contentHeaders(digest, blob.status), 'accept-ranges': 'bytes' };
    if (isKnown(request, digest)) return exchange.reply(304, common);
    const headers = { ...common, 'content-type': 'application/octet-stream' };
    if (exchange.isHead) return exchange.replyHead(200, headers, size);

    const span = spanOf(request, digest, size);
    if (span === undefined) return exchange.reply(416, { ...COMMON, 'content-range': `bytes */${size}` });
    const { start, end, part } = span;
    const status = part ? 206 : 200;
    const sent = part ? { ...headers, 'content-range': `bytes ${start}-${end - 1}/${size}` } : headers;
    if (blob.kind === 'file') return exchange.sendFile(status, sent, blob.file, span, this.#blocks);
    const isRest = end === size;
    await using body = await blob.open({ ...exchange.call, offset: start, isRest });
    await exchange.sendStream(status, sent, body, { length: end - start, isRest });
  }

  /** Of content that its digest names, and which therefore never changes. */
  #contentHeaders(digest: Digest, status: CacheStatus): OutgoingHttpHeaders {
    return {
      ...COMMON,
      ...statusHeaders(status),
      'docker-content-digest': digest,
      etag: etagOf(digest),
      'cache-control': `${this.#visibility}, max-age=${YEAR_S}, immutable`,
    };
  }
}

const refuse = (exchange: Exchange, refused: Refusal): void => answerText(exchange, refused);

function answerText(exchange: Exchange, answer: Listed | Refusal): void {
  const headers = { ...COMMON, 'cache-control': 'no-cache', ...answer.headers };
  if (answer.kind === 'listed') exchange.reply(200, { ...headers, 'content-type': answer.type }, answer.body);
  else exchange.reply(answer.status, { ...headers, 'content-type': 'application/json' }, refusalText(answer));
}
