import { GantryError, messageOf } from '../errors.ts';
import { safeUrl } from './redact.ts';

const codeOf = (err: unknown): string =>
  err instanceof Error && 'code' in err && typeof err.code === 'string' ? err.code : '';

/** What openssl and node call a certificate that is not trusted. */
const CERTIFICATE = /^(?:CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|ERR_TLS_CERT|HOSTNAME_MISMATCH|INVALID_CA)/;

/** How the other side says that it does not like ours: the alerts of TLS 1.2 and 1.3 about certificates. */
const OUR_CERTIFICATE =
  /ALERT_(?:CERTIFICATE|BAD_CERTIFICATE|NO_CERTIFICATE|UNSUPPORTED_CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)|ALERT_HANDSHAKE_FAILURE/;

/** Nothing but the end of a connection. */
const BROKEN: ReadonlySet<string> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

/** Whether the connection ended without any reason given. */
export const isBrokenConnection = (err: unknown): boolean => BROKEN.has(codeOf(innermost(err)));

/** Names what failed below HTTP: the class of failure, and the place. The URL is shown without its query. */
export function transportError(err: unknown, url: URL): GantryError {
  const inner = innermost(err);
  if (inner instanceof GantryError) return inner;
  const code = codeOf(inner);
  const { host } = url;
  const details = { origin: 'source', host, cause: err } as const;
  if (CERTIFICATE.test(code)) {
    return new GantryError('TLS', `${host}: its certificate is not trusted (${code})`, {
      ...details,
      hint: 'give its CA with --ca-file or in hosts.toml, or --insecure to go on without any check',
    });
  }
  if (OUR_CERTIFICATE.test(code)) {
    return new GantryError('TLS', `${host} wants a client certificate, or declined ours (${code})`, {
      ...details,
      hint: 'name certificate and key in hosts.toml: client = [["client.crt", "client.key"]]',
    });
  }
  if (code === 'EPROTO' || code.startsWith('ERR_SSL_')) {
    return new GantryError('TLS', `${host} does not speak TLS as expected (${code})`, {
      ...details,
      hint: 'if it is a plain http registry, say --plain-http',
    });
  }
  if (code.includes('TIMEOUT') || code === 'ETIMEDOUT') {
    return new GantryError('TIMEOUT', `${host}: cannot connect in time (${safeUrl(url)})`, details);
  }
  if (code === 'UND_ERR_HEADERS_OVERFLOW') {
    return new GantryError('TOO_LARGE', `${host} sent headers of more than 64 KiB (${safeUrl(url)})`, details);
  }
  // undici 8 leaves its code out.
  if (inner instanceof Error && inner.name === 'HTTPParserError') {
    return new GantryError('MALFORMED', `${host} does not speak HTTP as expected (${safeUrl(url)})`, {
      origin: 'source',
      host, // no cause: it holds the bytes that came, whatever they are
    });
  }
  return new GantryError('NETWORK', `${describe(code, host)} (${safeUrl(url)})`, details);
}

function describe(code: string, host: string): string {
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `${host}: no such host`;
    case 'ECONNREFUSED':
      return `${host} does not accept connections`;
    case 'UND_ERR_SOCKET':
    case 'ECONNRESET':
    case 'EPIPE':
    case 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH':
      return `${host} broke the connection`;
    default:
      return `${host}: ${code === '' ? 'the connection failed' : code}`;
  }
}

/** Happy eyeballs throws one error that holds one for each address; the first tells as much as all. */
function innermost(err: unknown): unknown {
  if (err instanceof AggregateError && err.errors.length > 0) return innermost(err.errors[0]);
  if (err instanceof Error && err.cause instanceof Error && (codeOf(err) === '' || codeOf(err) === 'UND_ERR_SOCKET')) {
    return messageOf(err) === '' || codeOf(err.cause) !== '' || err.cause instanceof GantryError
      ? innermost(err.cause)
      : err;
  }
  return err;
}
