import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { isCode } from '../../../src/errors.ts';
import { readHosts, type HostsConfig, type RegistryHost } from '../../../src/registry/hosts.ts';
import { leaks, MARKER, printed, tempDir } from './temp.ts';

const config = (more: Partial<HostsConfig> = {}): HostsConfig => ({
  dirs: [],
  plainHttp: false,
  insecure: false,
  ...more,
});

/** A configuration directory with one file for one registry. */
async function withToml(t: TestContext, text: string, name = 'h.example'): Promise<{ dir: string; file: string }> {
  const dir = await tempDir(t);
  await mkdir(join(dir, name));
  const file = join(dir, name, 'hosts.toml');
  await writeFile(file, text);
  return { dir, file };
}

const read = async (
  t: TestContext,
  text: string,
  registry = 'h.example',
  more: Partial<HostsConfig> = {},
): Promise<RegistryHost[]> => {
  const { dir } = await withToml(t, text, registry);
  return readHosts(registry, config({ dirs: [dir], ...more }));
};

const urls = (hosts: readonly RegistryHost[]): string[] => hosts.map(({ origin, pathPrefix }) => origin + pathPrefix);

/** A key pair with its self-signed certificate. */
function certificate(dir: string, name: string): { cert: string; key: string } {
  const [cert, key] = [join(dir, `${name}.cert`), join(dir, `${name}.key`)];
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '1',
      '-subj',
      `/CN=${name}`,
      '-keyout',
      key,
      '-out',
      cert,
    ],
    { stdio: 'ignore' },
  );
  return { cert, key };
}

const DEFAULTS: readonly (readonly [registry: string, url: string, more?: Partial<HostsConfig>])[] = [
  ['docker.io', 'https://registry-1.docker.io/v2'],
  ['index.docker.io', 'https://registry-1.docker.io/v2'],
  ['ghcr.io', 'https://ghcr.io/v2'],
  ['h.example:5000', 'https://h.example:5000/v2'],
  ['localhost', 'http://localhost/v2'],
  ['localhost:5000', 'http://localhost:5000/v2'],
  ['localhost:443', 'https://localhost/v2'],
  ['127.0.0.1:5000', 'http://127.0.0.1:5000/v2'],
  ['127.8.9.1', 'http://127.8.9.1/v2'],
  ['[::1]:5000', 'http://[::1]:5000/v2'],
  ['10.0.0.1:5000', 'https://10.0.0.1:5000/v2'],
  ['localhost.example:5000', 'https://localhost.example:5000/v2'],
  ['128.0.0.1:5000', 'https://128.0.0.1:5000/v2'],
  ['h.example:5000', 'http://h.example:5000/v2', { plainHttp: true }],
  ['h.example:5000', 'http://h.example:5000/v2', { plainHttp: new Set(['h.example:5000']) }],
  ['h.example:5000', 'https://h.example:5000/v2', { plainHttp: new Set(['h.example']) }],
  ['localhost:5000', 'https://localhost:5000/v2', { insecure: true }],
];

for (const [registry, url, more] of DEFAULTS) {
  test(`${registry} with ${more === undefined ? 'nothing' : JSON.stringify(more)} is at ${url}`, async () => {
    const [host, ...rest] = await readHosts(registry, config(more));
    assert.equal(host && host.origin + host.pathPrefix, url);
    assert.deepEqual(rest, []);
    assert.equal(host?.isMirror, false);
    assert.deepEqual([...(host?.capabilities ?? [])], ['pull', 'resolve', 'push']);
    assert.equal(host?.skipVerify, more?.insecure ?? false);
  });
}

test('mirrors come in the order of the file, the server after them', async (t) => {
  const hosts = await read(
    t,
    `server = "https://h.example"
[host."https://z.example"]
  capabilities = ["pull"]
[host."http://10.0.0.5:5000"]
  capabilities = ["PULL", "resolve"]
[host."https://a.example:8443/proxy/h"]
  skip_verify = true
[host."https://z.example".header]
  x-a = "1"
[host."m.example"]
[host."https://o.example/v2/proj"]
  override_path = true
[host."https://p.example/v2/"]
[host."https://q.example/"]
  override_path = true
`,
  );
  assert.deepEqual(urls(hosts), [
    'https://z.example/v2',
    'http://10.0.0.5:5000/v2',
    'https://a.example:8443/proxy/h/v2',
    'https://m.example/v2',
    'https://o.example/v2/proj',
    'https://p.example/v2',
    'https://q.example',
    'https://h.example/v2',
  ]);
  assert.deepEqual(
    hosts.map(({ isMirror }) => isMirror),
    [true, true, true, true, true, true, true, false],
  );
  assert.deepEqual(
    hosts.slice(0, 3).map(({ capabilities }) => [...capabilities]),
    [['pull'], ['pull', 'resolve'], ['pull', 'resolve', 'push']],
  );
  assert.deepEqual(hosts.map(({ skipVerify }) => skipVerify).slice(0, 4), [false, false, true, false]);
  assert.ok(hosts.every(({ registry }) => registry === 'h.example'));
});

test('without a server the registry itself is last', async (t) => {
  assert.deepEqual(urls(await read(t, '[host."https://m.example"]')), ['https://m.example/v2', 'https://h.example/v2']);
  assert.deepEqual(urls(await read(t, '[host."https://m.example"]', 'docker.io')), [
    'https://m.example/v2',
    'https://registry-1.docker.io/v2',
  ]);
  assert.deepEqual(urls(await read(t, 'server = ""', 'localhost:5000')), ['http://localhost:5000/v2']);
});

test('a server elsewhere is a mirror; Docker Hub under its names is not', async (t) => {
  const elsewhere = await read(t, 'server = "https://other.example"');
  assert.deepEqual(
    elsewhere.map(({ origin, isMirror }) => [origin, isMirror]),
    [['https://other.example', true]],
  );
  for (const server of ['https://docker.io', 'https://index.docker.io/', 'https://registry-1.docker.io', 'docker.io']) {
    const [hub] = await read(t, `server = "${server}"`, 'docker.io');
    assert.deepEqual([hub?.origin, hub?.pathPrefix, hub?.isMirror], ['https://registry-1.docker.io', '/v2', false]);
  }
  const [port] = await read(t, 'server = "https://h.example:443"');
  assert.equal(port?.isMirror, false);
});

test('settings at the top are for the server only', async (t) => {
  const [mirror, server] = await read(
    t,
    'capabilities = ["pull"]\nskip_verify = true\ndial_timeout = "1m0.5s"\n[header]\nx-a = ["1", "2"]\n[host."https://m.example"]\nproxy = "http://p.example:3128"',
  );
  assert.deepEqual(
    [[...(server?.capabilities ?? [])], server?.skipVerify, server?.dialTimeoutMs],
    [['pull'], true, 60_500],
  );
  assert.deepEqual(
    server?.headers.map(({ name, value }) => [name, value.reveal()]),
    [['x-a', '1, 2']],
  );
  assert.deepEqual(
    [mirror?.capabilities.size, mirror?.skipVerify, mirror?.dialTimeoutMs, mirror?.headers.length],
    [3, false, undefined, 0],
  );
  assert.equal(mirror?.proxy?.reveal(), 'http://p.example:3128/');
  assert.equal(server?.proxy, undefined);
});

test('insecure hosts are those that are named', async (t) => {
  const text = '[host."https://m.example:8443"]\n[host."https://n.example"]';
  const named = await read(t, text, 'h.example', { insecure: new Set(['m.example:8443']) });
  assert.deepEqual(
    named.map(({ skipVerify }) => skipVerify),
    [true, false, false],
  );
  const itself = await read(t, `server = "https://h.example/"\n${text}`, 'h.example', {
    insecure: new Set(['h.example']),
  });
  assert.deepEqual(
    itself.map(({ skipVerify }) => skipVerify),
    [false, false, true],
  );
});

test('the directory of a registry is looked for as containerd does', async (t) => {
  const [one, two] = [await tempDir(t), await tempDir(t)];
  const put = async (dir: string, name: string): Promise<void> => {
    await mkdir(join(dir, name), { recursive: true });
    await writeFile(join(dir, name, 'hosts.toml'), `server = "https://from-${name.replaceAll(/[^a-z]/g, '')}.example"`);
  };
  const first = async (registry: string, dirs = [join(one, 'missing'), one, two]): Promise<string | undefined> =>
    (await readHosts(registry, config({ dirs })))[0]?.origin;
  await put(two, '_default');
  assert.equal(await first('h.example:5000'), 'https://from-default.example');
  await put(one, 'h.example:5000');
  assert.equal(await first('h.example:5000'), 'https://from-hexample.example');
  await put(one, 'h.example_5000_');
  await writeFile(join(one, 'h.example_5000_', 'hosts.toml'), 'server = "https://underscores.example"');
  assert.equal(await first('h.example:5000'), 'https://underscores.example');
  assert.equal(await first('h.example'), 'https://from-default.example');
  await mkdir(join(one, '[::1]_5000_'));
  assert.equal(await first('[::1]:5000'), 'http://[::1]:5000');
});

test('certificates and keys are read, relative to the file', async (t) => {
  const { dir } = await withToml(t, '');
  const own = join(dir, 'h.example');
  const [a, b] = [certificate(own, 'a'), certificate(own, 'b')];
  const both = join(dir, 'both.pem');
  await writeFile(both, (await readFile(a.cert, 'utf8')) + (await readFile(a.key, 'utf8')));
  await writeFile(
    join(own, 'hosts.toml'),
    `ca = "a.cert"
client = "${both}"
[host."https://m.example"]
ca = ["a.cert", "${b.cert}"]
client = [["a.cert", "a.key"], ["../both.pem", ""]]
[host."https://n.example"]
client = ["${both}"]
`,
  );
  const [m, n, server] = await readHosts('h.example', config({ dirs: [dir] }));
  const pem = await readFile(a.cert, 'utf8');
  assert.deepEqual(m?.ca, [pem.trim(), (await readFile(b.cert, 'utf8')).trim()]);
  assert.equal(m?.client.length, 2);
  assert.equal(m?.client[0]?.key.reveal(), await readFile(a.key, 'utf8'));
  assert.equal(n?.client[0]?.key.reveal(), await readFile(both, 'utf8'));
  assert.deepEqual(server?.ca, [pem.trim()]);
  assert.equal(server?.client.length, 1);
  assert.ok(!printed([m, n, server]).includes('PRIVATE KEY'));
});

test('without a hosts.toml certificates are found by their names, as docker does', async (t) => {
  const dir = await tempDir(t);
  const own = join(dir, 'localhost:5000');
  await mkdir(own);
  const { cert } = certificate(own, 'client');
  await writeFile(join(own, 'ca.crt'), await readFile(cert));
  const [host] = await readHosts('localhost:5000', config({ dirs: [dir] }));
  assert.equal(host?.origin, 'https://localhost:5000');
  assert.deepEqual([host?.ca.length, host?.client.length], [1, 1]);
  await writeFile(join(own, 'other.cert'), await readFile(cert));
  await assert.rejects(
    readHosts('localhost:5000', config({ dirs: [dir] })),
    (err) => isCode(err, 'INVALID') && err.message.includes('other.key'),
  );
});

test('a certificate that is none, a key of another and a missing file are errors that name the file', async (t) => {
  const { dir, file } = await withToml(t, '');
  const own = join(dir, 'h.example');
  certificate(own, 'a');
  certificate(own, 'b');
  await writeFile(join(own, 'junk.pem'), MARKER);
  const cases = {
    'ca = "junk.pem"': 'junk.pem',
    'ca = "missing.pem"': 'missing.pem',
    'client = [["a.cert", "b.key"]]': 'b.key',
    'client = "a.cert"': 'a.cert',
    'client = [["a.cert", "junk.pem"]]': 'junk.pem',
    'ca = "../h.example"': 'h.example',
  };
  for (const [text, named] of Object.entries(cases)) {
    await writeFile(file, text);
    await assert.rejects(
      readHosts('h.example', config({ dirs: [dir] })),
      (err) => isCode(err, 'INVALID', 'IO') && err.message.includes(named) && !leaks(printed(err)),
      text,
    );
  }
});

const BROKEN: readonly (readonly [text: string, message: RegExp])[] = [
  ['server = ', /^FILE:1:\d+: /],
  ['server = "a"\nserver = "b"', /^FILE:2:\d+: trying to redefine/],
  [`[header]\nx = "${MARKER}`, /^FILE:2:\d+: /],
  [`[header]\nauthorization = "${MARKER}"\ny = `, /^FILE:3:\d+: /],
  ['# x\n\nserve = "https://a"', /^FILE:3:1: unknown key "serve"; did you mean server\?$/],
  [
    '[host."https://a"]\n  capabilites = ["pull"]',
    /^FILE:2:3: unknown key "capabilites"; did you mean capabilities\?$/,
  ],
  [
    '[host."https://a"]\n[host."https://b"]\n  skip-verify = true',
    /^FILE:3:3: unknown key "skip-verify"; did you mean skip_verify\?$/,
  ],
  ['[host."https://a"]\nx = 1\n[host."https://b"]\n  x = 1', /^FILE:2:1: /],
  ['[hosts."https://a"]', /^FILE:1:1: unknown key "hosts"; did you mean host\?$/],
  ['zzzzzzzz = 1', /^FILE:1:1: unknown key "zzzzzzzz"; known are capabilities, /],
  ['host = { "https://a" = { nope = 1 } }', /^FILE:1:1: unknown key "nope"/],
  ['"__proto__" = 1', /^FILE:1:1: unknown key "__proto__"/],
  ['[__proto__]\nx = 1', /^FILE:1:1: unknown key "__proto__"/],
  ['[host."https://a".host."https://b"]', /^FILE:1:1: unknown key "host"/],
  ['host = 5', /^FILE:1:1: host is a table/],
  ['host = ["a"]', /^FILE:1:1: host is a table/],
  ['[[host]]\na = 1', /^FILE:1:1: host is a table/],
  ['[host]\n"https://a" = 1', /^FILE:2:1: a host is a table/],
  ['server = 5', /^FILE:1:1: server is a string/],
  ['server = "ftp://a"', /^FILE:1:1: a host is an http or https URL/],
  ['server = "https://"', /^FILE:1:1: a host is an http or https URL/],
  [`server = "https://u:${MARKER}@a"`, /^FILE:1:1: a host cannot have a user name/],
  [`[host."https://u:${MARKER}@a"]`, /^FILE:1:1: a host cannot have a user name/],
  ['server = "https://a?x=1"', /^FILE:1:1: a host cannot have a query/],
  ['[host."5000"]', /^FILE:1:1: a host is a URL/],
  ['capabilities = "pull"', /^FILE:1:1: capabilities is an array/],
  ['\n  capabilities = ["pul"]', /^FILE:2:3: unknown capability "pul"; did you mean pull\?$/],
  ['ca = 5', /^FILE:1:1: ca is a path/],
  ['ca = ["a", 5]', /^FILE:1:1: ca is a path/],
  ['client = [["a"]]\nx = 1', /^FILE:2:1: unknown key "x"/],
  ['client = [["a", "b", "c"]]', /^FILE:1:1: client is a path/],
  ['client = [5]', /^FILE:1:1: client is a path/],
  ['skip_verify = "yes"', /^FILE:1:1: skip_verify is true or false/],
  ['dial_timeout = "soon"', /^FILE:1:1: dial_timeout is a time/],
  ['dial_timeout = 5', /^FILE:1:1: dial_timeout is a time/],
  ['dial_timeout = "-1s"', /^FILE:1:1: dial_timeout is a time/],
  ['proxy = "socks5://a"', /^FILE:1:1: proxy is an http or https URL/],
  ['[header]\n  "x y" = "a"', /^FILE:2:3: not a name of a header/],
  ['[header]\nHost = "a"', /^FILE:2:1: the header Host belongs to the connection/],
  [`[header]\nx = "${MARKER}\\r\\ny: z"`, /^FILE:2:1: the value of a header cannot have line breaks/],
  ['[header]\nx = 5', /^FILE:2:1: a header is a string/],
  [`a = ${'['.repeat(2000)}`, /^FILE:1:\d+: /],
];

for (const [text, message] of BROKEN) {
  test(`a broken hosts.toml is pointed at: ${JSON.stringify(text.slice(0, 60))}`, async (t) => {
    const { dir, file } = await withToml(t, text);
    await assert.rejects(readHosts('h.example', config({ dirs: [dir] })), (err) => {
      assert.ok(isCode(err, 'INVALID'), String(err));
      assert.match(err.message.replace(file, 'FILE'), message);
      assert.ok(!leaks(printed(err)));
      return true;
    });
  });
}

test('headers and proxies do not show when a host is printed', async (t) => {
  const hosts = await read(t, `proxy = "http://u:${MARKER}@p.example"\n[header]\nauthorization = "Bearer ${MARKER}"`);
  assert.equal(hosts[0]?.headers[0]?.value.reveal(), `Bearer ${MARKER}`);
  assert.ok(!leaks(printed(hosts)));
});

test('a registry that is none does not become a path', async (t) => {
  const dir = await tempDir(t);
  for (const name of ['..', '../x', '.', '_default', 'a/b', 'a\0b', '']) {
    await assert.rejects(readHosts(name, config({ dirs: [dir] })), (err) => isCode(err, 'INVALID'), name);
  }
});

test('a file that is empty, has a byte order mark or CR LF is read; one in another encoding is an error', async (t) => {
  assert.deepEqual(urls(await read(t, '')), ['https://h.example/v2']);
  assert.deepEqual(urls(await read(t, '\ufeffserver = "https://a.example"\r\n[host."https://b.example"]\r\n')), [
    'https://b.example/v2',
    'https://a.example/v2',
  ]);
  const { dir, file } = await withToml(t, '');
  await writeFile(file, Buffer.from('server = "https://\xe4"', 'latin1'));
  await assert.rejects(
    readHosts('h.example', config({ dirs: [dir] })),
    (err) => isCode(err, 'INVALID') && err.message.startsWith(file),
  );
});
