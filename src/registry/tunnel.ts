/** CONNECT: a connection to a registry through an HTTP proxy that sees only the name. */
import type * as http from 'node:http';
import type * as https from 'node:https';
import type { Socket } from 'node:net';
import buildConnector from 'undici/lib/core/connect.js';
import { GantryError } from '../errors.ts';
import type { Secret } from '../secret.ts';

export interface TunnelOptions {
  readonly proxy: URL;
  readonly authorization: Secret | undefined;
  readonly timeoutMs: number;
  /** For the TLS connection to the proxy itself. */
  readonly proxyTls: Record<string, unknown>;
  /** For the TLS connection to the registry, inside the tunnel. */
  readonly tls: Record<string, unknown>;
}

/**
 * undici's ProxyAgent does this too, but tells a declined tunnel only by the text of an error, waits five minutes for a
 * proxy that says nothing, and drops the pool's options for plain http.
 */
export function tunnelConnector(options: TunnelOptions): buildConnector.connector {
  const secure = buildConnector({ ...options.tls, timeout: options.timeoutMs, allowH2: false });
  return (target, callback) => {
    const authority = `${target.hostname}:${target.port === '' ? '443' : target.port}`;
    openTunnel(options, authority, (err, httpSocket) => {
      if (httpSocket === undefined) callback(err ?? new Error('no tunnel'), null);
      else secure({ ...target, httpSocket }, callback);
    });
  };
}

/** Not imported: node:http brings Node's own fetch and web sockets along, 25 ms before the first request of every pull. */
const requester = ({ protocol }: URL): typeof http | typeof https =>
  protocol === 'https:' ? process.getBuiltinModule('node:https') : process.getBuiltinModule('node:http');

function openTunnel(
  options: TunnelOptions,
  authority: string,
  done: (err: Error | undefined, socket?: Socket) => void,
): void {
  const { proxy, authorization, timeoutMs, proxyTls } = options;
  const headers = { host: authority, ...(authorization && { 'proxy-authorization': authorization.reveal() }) };
  const client = requester(proxy);
  const place = { hostname: proxy.hostname.replace(/^\[|\]$/g, ''), port: proxy.port, path: authority };
  const request = client.request({ ...proxyTls, ...place, method: 'CONNECT', headers, agent: false });
  let isDone = false;
  const finish = (err: Error | undefined, socket?: Socket): void => {
    if (isDone) return;
    isDone = true;
    clearTimeout(timer);
    if (err !== undefined) request.destroy();
    done(err, socket);
  };
  const timer = setTimeout(() => finish(proxyError('TIMEOUT', proxy, 'did not answer in time')), timeoutMs);
  request.on('connect', (response, socket: Socket, head) => {
    if (response.statusCode !== 200) {
      socket.destroy();
      finish(proxyRefusal(response.statusCode ?? 0, proxy));
      return;
    }
    if (head.length > 0) socket.unshift(head);
    finish(undefined, socket);
  });
  // Stays for as long as the request: an error without a listener would end the process.
  request.on('error', (err: NodeJS.ErrnoException) => {
    finish(proxyError('NETWORK', proxy, `cannot be reached (${err.code ?? 'no reason given'})`));
  });
  request.end();
}

const proxyError = (
  code: 'TIMEOUT' | 'NETWORK' | 'UNAUTHORIZED' | 'UPSTREAM',
  { host }: URL,
  what: string,
): GantryError => new GantryError(code, `the proxy ${host} ${what}`, { origin: 'user', host });

/** What a proxy's own answer means, to CONNECT and to a forwarded request alike. */
export const proxyRefusal = (status: number, proxy: URL): GantryError =>
  status === 407
    ? proxyError('UNAUTHORIZED', proxy, 'wants credentials, or declined those of its URL (407)')
    : proxyError('UPSTREAM', proxy, `did not open a tunnel (${status})`);
