import * as http from 'node:http';
import * as https from 'node:https';

export interface Asking {
  readonly method?: string;
  readonly headers?: http.OutgoingHttpHeaders;
  readonly body?: string | Uint8Array;
  readonly agent?: http.Agent;
  readonly ca?: Buffer;
  readonly signal?: AbortSignal;
  /** Called with the bytes that came so far; may end the request. */
  readonly onBytes?: (total: number, request: http.ClientRequest) => void;
}

export interface Got {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
  /** The code of the error that ended the body, when one did. */
  readonly broken: string | undefined;
}

const codeOf = (err: unknown): string => (err instanceof Error && 'code' in err ? String(err.code) : String(err));

/** A client that is honest about how a body ended. Rejects when there is no answer at all. */
export function ask(url: string, options: Asking = {}): Promise<Got> {
  const { promise, resolve, reject } = Promise.withResolvers<Got>();
  const { method = 'GET', headers = {}, agent = false, ca, signal } = options;
  const secure = url.startsWith('https:');
  const all = { method, headers, agent, ...(signal ? { signal } : {}), ...(ca ? { ca } : {}), maxHeaderSize: 1 << 24 };
  let ending: ((broken: string) => void) | undefined;
  const request = (secure ? https : http).request(url, all, (response) => {
    const parts: Buffer[] = [];
    let total = 0;
    const finish = (broken: string | undefined): void =>
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts), broken });
    ending = finish;
    response.on('data', (part: Buffer) => {
      parts.push(part);
      total += part.length;
      options.onBytes?.(total, request);
    });
    response.once('end', () => finish(undefined));
    response.on('error', (err) => finish(codeOf(err)));
  });
  // Once there is an answer, an error is about its body.
  request.on('error', (err) => (ending ? ending(codeOf(err)) : reject(err)));
  request.end(options.body);
  return promise;
}

/** The code of the error that an answer did not come with. */
export const failure = (url: string, options: Asking = {}): Promise<string> =>
  ask(url, options).then(() => 'none', codeOf);
