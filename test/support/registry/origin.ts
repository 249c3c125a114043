import { randomUUID } from 'node:crypto';
import { type Answer, answer, type Asked } from './answer.ts';
import { type Content, inMemory } from './content.ts';
import type { Effect } from './faults.ts';
import { redirect } from './effects.ts';
import { serveContent } from './routes.ts';
import { type ListenOptions, type Named, TestServer } from './server.ts';

export interface OriginOptions extends ListenOptions {
  /** Where the bytes of a digest are: usually `registry.blobs`. */
  readonly blobs?: (digest: string) => Content | undefined;
  /** Answers 401 with a Basic challenge to whoever brings no credentials. */
  readonly wantsAuth?: boolean;
}

interface Signed {
  readonly digest: string;
  usesLeft: number;
}

/** Another origin: a CDN that redirects lead to, or a host that must never see a credential. */
export class TestOrigin extends TestServer {
  readonly #options: OriginOptions;
  readonly #signed = new Map<string, Signed>();

  private constructor(options: OriginOptions) {
    super('origin', options);
    this.#options = options;
  }

  static async start(options: OriginOptions = {}): Promise<TestOrigin> {
    const origin = new TestOrigin(options);
    await origin.listen();
    return origin;
  }

  /** A signed URL of a blob; 403 after `uses` requests. */
  sign(digest: string, options: { uses?: number } = {}): string {
    const signature = `test-signature-${randomUUID()}`;
    this.#signed.set(signature, { digest, usesLeft: options.uses ?? Infinity });
    return `${this.url}/cdn/${digest.replace(':', '/')}?X-Amz-Signature=${signature}`;
  }

  /** No URL that was signed so far is good any more. */
  expireSigned(): void {
    this.#signed.clear();
  }

  /** For the registry's faults: sends each blob request to a newly signed URL here. */
  redirectHere(options: { uses?: number; status?: number } = {}): Effect {
    return (a, asked) => redirect(this.sign(asked.entry.object ?? '', options), options.status ?? 307)(a, asked);
  }

  /** The requests that came with a secret of another host. */
  leaks(): readonly string[] {
    const carried = this.log.select({ where: (e) => e.authorization !== undefined || e.cookie !== undefined });
    return carried.map((e) => `${e.method} ${e.path}`);
  }

  protected override describe(url: URL): Named {
    const [, algorithm, hex] = /^\/cdn\/([a-z0-9]+)\/([0-9a-f]+)$/.exec(url.pathname) ?? [];
    if (algorithm === undefined) return { kind: 'other', repo: undefined, object: undefined };
    return { kind: 'signed', repo: undefined, object: `${algorithm}:${hex}` };
  }

  protected override authorize({ entry }: Asked): Answer | undefined {
    if (this.#options.wantsAuth !== true || entry.authorization !== undefined) return undefined;
    return answer(401, { 'www-authenticate': 'Basic realm="another host"' }, 'who are you?');
  }

  protected override route(asked: Asked): Answer {
    const { object } = asked.entry;
    if (object === undefined) return answer(200, { 'content-type': 'application/octet-stream' }, inMemory('origin'));
    const signed = this.#signed.get(asked.url.searchParams.get('X-Amz-Signature') ?? '');
    if (signed === undefined || signed.digest !== object || signed.usesLeft <= 0) {
      const text =
        '<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>';
      return answer(403, { 'content-type': 'application/xml' }, text);
    }
    signed.usesLeft -= 1;
    const content = this.#options.blobs?.(object);
    return content === undefined ? answer(404, {}, 'NoSuchKey') : serveContent(asked, content, `cdn-${object}`);
  }
}
