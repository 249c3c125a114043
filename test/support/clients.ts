/** Registry clients for tests: quick to give up, and every error that leaves them is looked over. */
import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import type { ByteStream } from '../../src/call.ts';
import { type ErrorCode, GantryError } from '../../src/errors.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { RegistryClient, type RegistryClientOptions } from '../../src/registry/client.ts';
import { Secret } from '../../src/secret.ts';
import type { ContentKind, Resolved } from '../../src/remote/ports.ts';
import type { Image } from './images.ts';
import type { TestRegistry } from './registry.ts';

/** Stands in every secret of these tests; nothing that can be printed may contain it. */
export const MARKER = 'MARKER-s3cr3t-9b2c';

/** What is never aborted. */
export const never = new AbortController().signal;

/** A client whose waits are milliseconds. Notes what it tried again. */
export class TestClient extends RegistryClient {
  readonly retried: GantryError[];

  constructor(options: Partial<RegistryClientOptions> = {}) {
    const retried: GantryError[] = [];
    super({
      userAgent: 'gantry/test',
      credentials: { files: [], env: {} },
      hosts: { dirs: [], plainHttp: false, insecure: false },
      headersTimeoutMs: 5000,
      ...options,
      retry: { attempts: 3, baseDelayMs: 2, maxDelayMs: 10, maxRetryAfterMs: 2000, ...options.retry },
      stall: { stallMs: 5000, ...options.stall },
      onRetry: (err, delayMs) => {
        lookOver(err);
        retried.push(err);
        options.onRetry?.(err, delayMs);
      },
    });
    this.retried = retried;
  }
}

/** Credentials for one registry, with the marker in the password. */
export const basicCredentials = (registry: string, password = MARKER): RegistryClientOptions['credentials'] => ({
  explicit: new Map([[registry, { username: 'alice', password: new Secret(password) }]]),
  files: [],
  env: {},
});

/** A docker config.json that holds one entry, as DOCKER_AUTH_CONFIG gives it. */
export const inlineCredentials = (
  registry: string,
  entry: Readonly<Record<string, string>>,
): RegistryClientOptions['credentials'] => ({
  inlineConfig: new Secret(JSON.stringify({ auths: { [registry]: entry } })),
  files: [],
  env: {},
});

/** The first layer of an image that has one. */
export function firstLayer({ layers: [layer] }: Image): Descriptor {
  assert.ok(layer);
  return layer;
}

export async function collect(stream: ByteStream): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  await using body = stream;
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

interface FetchOptions {
  readonly kind?: ContentKind;
  readonly repo?: string;
  readonly offset?: number;
  readonly signal?: AbortSignal;
}

/** Reads one descriptor to its end. */
export async function fetchAll(
  client: RegistryClient,
  registry: Pick<TestRegistry, 'host'>,
  desc: Descriptor,
  { kind = 'blob', repo = 'app', offset = 0, signal = never }: FetchOptions = {},
): Promise<Buffer> {
  return collect(await client.fetcher(`${registry.host}/${repo}`).fetch(kind, desc, { signal, offset }));
}

/** The same, checked against the descriptor. */
export async function fetchWhole(
  client: RegistryClient,
  registry: Pick<TestRegistry, 'host'>,
  desc: Descriptor,
  options?: FetchOptions,
): Promise<Buffer> {
  const bytes = await fetchAll(client, registry, desc, options);
  assert.equal(bytes.length, desc.size);
  assert.equal(digestOf(bytes), desc.digest);
  return bytes;
}

export const resolve = (client: RegistryClient, ref: string): Promise<Resolved> =>
  client.resolve(parseReference(ref), { signal: never });

/** Every way in which an error ends up in a log, with all that hangs on it. */
export function printed(value: unknown): string {
  const error = value instanceof Error ? `${value.message} ${value.stack} ${printed(value.cause ?? '')}` : '';
  return `${error} ${inspect(value, { depth: 10, showHidden: true, getters: true })} ${json(value)} ${String(value)}`;
}

function json(value: unknown): string {
  try {
    return JSON.stringify(value) ?? '';
  } catch {
    return ''; // node's errors about certificates go round in a circle
  }
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** The marker as it is, and as the base64 of the pairs that tests make of it. */
export const leaks = (text: string): boolean =>
  text.includes(MARKER) ||
  [MARKER, `alice:${MARKER}`, `proxy:${MARKER}`].some((secret) => text.includes(base64(secret).slice(4, -4)));

/** What holds for every error: one clear line, and nothing of what is secret in it or below it. */
export function lookOver(err: unknown): asserts err is GantryError {
  assert.ok(err instanceof GantryError, inspect(err));
  assert.doesNotMatch(err.message, /[\r\n]/);
  assert.doesNotMatch(err.message, /https?:\/\/[^\s]*[?@]/, 'a query or user in a URL');
  assert.doesNotMatch(err.message, /undefined|\[object/);
  assert.ok(err.message.length < 1000, err.message);
  assert.ok(!leaks(printed(err)), `a secret in ${err.message}`);
  assert.doesNotMatch(printed(err), /test-token-|test-signature-/, 'a token in an error');
}

/** The error that something ends with; fails when it does not, or with another code. */
export async function failureOf(work: Promise<unknown>, ...codes: readonly ErrorCode[]): Promise<GantryError> {
  const outcome: unknown = await work.then(
    () => 'no error',
    (err: unknown) => err,
  );
  if (!(outcome instanceof GantryError)) assert.fail(`${inspect(outcome)} in place of ${codes.join(' or ')}`);
  assert.ok(codes.includes(outcome.code), `${outcome.code} in place of ${codes.join(' or ')}: ${outcome.message}`);
  lookOver(outcome);
  return outcome;
}
