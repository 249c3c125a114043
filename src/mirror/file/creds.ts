/** From an entry of `creds` to credentials; passwords are hidden from here on. */
import type { EntryReader } from './entry.ts';
import { Secret } from '../../secret.ts';
import type { CredsInput } from './schema.ts';
import type { MirrorCreds } from './types.ts';

const hidden = (text: string | undefined): Secret | undefined =>
  text === undefined || text === '' ? undefined : new Secret(text);

const filled = (text: string | undefined): string | undefined => (text === '' ? undefined : text);
/** regsync writes 0 for no limit. */
const positive = (value: number | undefined): number | undefined => (value === 0 ? undefined : value);

/** Undefined, and problems, for an entry that cannot be used. */
export function credsOf(reader: EntryReader, input: CredsInput, index: number): MirrorCreds | undefined {
  const path = ['creds', index];
  const expanded = (key: 'registry' | 'user' | 'pass' | 'token' | 'regcert' | 'clientcert' | 'clientkey') => {
    const text = input[key];
    return text === undefined ? undefined : reader.expand(text, [...path, key]);
  };
  const name = expanded('registry');
  const registry = name === undefined ? undefined : reader.registry(name, [...path, 'registry'], false);
  const creds = {
    place: reader.document.place(path),
    hostname: filled(input.hostname),
    user: filled(expanded('user')),
    pass: hidden(expanded('pass')),
    token: hidden(expanded('token')),
    credHelper: filled(input.credHelper),
    tls: input.tls,
    regcert: filled(expanded('regcert')),
    clientCert: filled(expanded('clientcert')),
    clientKey: hidden(expanded('clientkey')),
    pathPrefix: filled(input.pathPrefix?.replaceAll(/^\/+|\/+$/g, '')),
    mirrors: input.mirrors ?? [],
    priority: input.priority ?? 0,
    reqPerSec: positive(input.reqPerSec),
    reqConcurrent: positive(input.reqConcurrent),
  };
  return registry === undefined ? undefined : { registry, ...creds };
}
