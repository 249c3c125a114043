import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runOk } from './process.ts';

export interface KeyPair {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: Buffer;
  readonly key: Buffer;
}

export interface Certificates {
  /** The directory of all the files. */
  readonly dir: string;
  readonly caFile: string;
  readonly ca: Buffer;
  /** For localhost and 127.0.0.1. */
  readonly server: KeyPair;
  /** For somebody.example only. */
  readonly wrongName: KeyPair;
  readonly expired: KeyPair;
  /** Signed by itself. */
  readonly selfSigned: KeyPair;
  readonly client: KeyPair;
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
const LOCAL = 'subjectAltName=DNS:localhost,IP:127.0.0.1';

let made: Promise<Certificates> | undefined;

/** Certificates made for this process; they go with it. */
export function certificates(): Promise<Certificates> {
  made ??= make();
  return made;
}

async function pair(dir: string, name: string): Promise<KeyPair> {
  const certFile = join(dir, `${name}.crt`);
  const keyFile = join(dir, `${name}.key`);
  return { certFile, keyFile, cert: await readFile(certFile), key: await readFile(keyFile) };
}

async function selfSign(dir: string, name: string, subject: string, extension: string): Promise<void> {
  const files = ['-keyout', join(dir, `${name}.key`), '-out', join(dir, `${name}.crt`)];
  await runOk('openssl', ['req', '-x509', ...NEW_KEY, ...files, '-days', '2', '-subj', subject, '-addext', extension]);
}

async function sign(dir: string, name: string, options: { days: string; extension: string }): Promise<KeyPair> {
  const request = join(dir, `${name}.csr`);
  const extensions = join(dir, `${name}.ext`);
  writeFileSync(extensions, `${options.extension}\n`);
  const key = join(dir, `${name}.key`);
  await runOk('openssl', ['req', ...NEW_KEY, '-keyout', key, '-out', request, '-subj', `/CN=${name}`]);
  const ca = [
    '-CA',
    join(dir, 'ca.crt'),
    '-CAkey',
    join(dir, 'ca.key'),
    '-CAcreateserial',
    '-CAserial',
    `${request}.n`,
  ];
  const what = ['-days', options.days, '-extfile', extensions, '-out', join(dir, `${name}.crt`)];
  await runOk('openssl', ['x509', '-req', '-in', request, ...ca, ...what]);
  return pair(dir, name);
}

async function make(): Promise<Certificates> {
  const dir = mkdtempSync(join(tmpdir(), 'gantry-tls-'));
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
  await selfSign(dir, 'ca', '/CN=gantry test CA', 'keyUsage=critical,keyCertSign');
  const [server, wrongName, expired, client] = await Promise.all([
    sign(dir, 'server', { days: '2', extension: LOCAL }),
    sign(dir, 'wrong-name', { days: '2', extension: 'subjectAltName=DNS:somebody.example' }),
    sign(dir, 'expired', { days: '-1', extension: LOCAL }),
    sign(dir, 'client', { days: '2', extension: 'extendedKeyUsage=clientAuth' }),
    selfSign(dir, 'self-signed', '/CN=localhost', LOCAL),
  ]);
  const caFile = join(dir, 'ca.crt');
  const selfSigned = await pair(dir, 'self-signed');
  return { dir, caFile, ca: await readFile(caFile), server, wrongName, expired, selfSigned, client };
}
