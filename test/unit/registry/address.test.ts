import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { connect } from 'node:net';
import { test } from 'node:test';
import { isCode } from '../../../src/errors.ts';
import { guardedLookup, isPublicAddress, mayBePublicHost } from '../../../src/registry/address.ts';

const PUBLIC = [
  '1.1.1.1',
  '8.8.8.8',
  '9.255.255.255',
  '11.0.0.0',
  '100.63.255.255',
  '100.128.0.0',
  '126.255.255.255',
  '128.0.0.0',
  '169.253.255.255',
  '169.255.0.0',
  '172.15.255.255',
  '172.32.0.0',
  '192.167.255.255',
  '192.169.0.0',
  '198.17.255.255',
  '198.20.0.0',
  '223.255.255.255',
  '168.63.129.17',
  '2606:4700::1111',
  '2a00:1450:4001::200e',
  '::ffff:8.8.8.8',
  '::ffff:808:808',
  '64:ff9b::8.8.8.8',
  '2002:0808:0808::1',
  '2001:4860:4860::8888',
  '::8.8.8.8',
];

const NOT_PUBLIC = [
  '0.0.0.0',
  '0.1.2.3',
  '10.0.0.1',
  '10.255.255.255',
  '100.64.0.1',
  '100.100.100.200',
  '100.127.255.255',
  '127.0.0.1',
  '127.255.255.255',
  '169.254.169.254',
  '168.63.129.16',
  '172.16.0.1',
  '172.31.255.255',
  '192.0.0.192',
  '192.0.2.1',
  '192.168.1.1',
  '198.18.0.1',
  '198.19.255.255',
  '198.51.100.1',
  '203.0.113.1',
  '224.0.0.1',
  '239.1.1.1',
  '240.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  'fe80::1',
  'fe80::1%eth0',
  'febf::1',
  'fec0::1',
  'fc00::1',
  'fd00:ec2::254',
  'ff02::1',
  '::ffff:127.0.0.1',
  '::ffff:7f00:1',
  '::ffff:a9fe:a9fe',
  '0:0:0:0:0:ffff:10.0.0.1',
  '::ffff:0:10.0.0.1',
  '::127.0.0.1',
  '::10.0.0.1',
  '64:ff9b::10.0.0.1',
  '64:ff9b::a9fe:a9fe',
  '64:ff9b:1::1',
  '2002:7f00:1::1',
  '2002:a9fe:a9fe::',
  '2002:c0a8:101::',
  '2001::1',
  '2001:0:4136:e378:8000:63bf:3fff:fdd2',
  '2001:db8::1',
  '3fff::1',
  '100::1',
  '4000::1',
  '2606:4700::1111%lo',
];

for (const ip of PUBLIC) test(`${ip} is public`, () => assert.equal(isPublicAddress(ip), true));
for (const ip of NOT_PUBLIC) test(`${ip} is not public`, () => assert.equal(isPublicAddress(ip), false));

test('what is no address is not public', () => {
  for (const text of [
    '',
    'example.org',
    '1.2.3',
    '1.2.3.4.5',
    '0x7f.1',
    '017700000001',
    '2130706433',
    '[::1]',
    '1::2::3',
    ' 8.8.8.8',
    '8.8.8.8\0',
  ]) {
    assert.equal(isPublicAddress(text), false, text);
  }
});

test('spellings of an address that a URL makes plain are seen through', () => {
  const hosts = [
    '0x7f.1',
    '2130706433',
    '017700000001',
    '127.1',
    '0',
    '0x7f000001',
    '127.0.0.1.',
    '[::ffff:127.0.0.1]',
    '[::1]',
    '%31%32%37.0.0.1',
    '\uff11\uff12\uff17.0.0.1',
    '169.254.43518',
    '[0:0:0:0:0:0:0:1]',
    'LOCALHOST',
    'localhost.',
    'a.localhost',
  ];
  for (const host of hosts) {
    assert.equal(mayBePublicHost(new URL(`http://${host}:8080/`).hostname), false, host);
  }
});

test('a name and a public literal may be public', () => {
  for (const host of ['example.org', 'localhost.example.org', '8.8.8.8', '[2606:4700::1111]', 'notlocalhost']) {
    assert.equal(mayBePublicHost(new URL(`https://${host}/`).hostname), true, host);
  }
});

const answering =
  (addresses: readonly string[]): Parameters<typeof guardedLookup>[0] =>
  (_hostname, options, callback) => {
    assert.equal(options.all, true);
    callback(
      null,
      addresses.map((address): LookupAddress => ({ address, family: address.includes(':') ? 6 : 4 })),
    );
  };

const ask = (addresses: readonly string[], all: boolean): Promise<unknown> =>
  new Promise((resolve, reject) => {
    guardedLookup(answering(addresses))('registry.example', { all }, (err, address, family) => {
      if (err === null) resolve(all ? address : [address, family]);
      else reject(err);
    });
  });

test('the guarded lookup drops addresses that are not public', async () => {
  assert.deepEqual(await ask(['10.0.0.1', '8.8.8.8', '::1', '2606:4700::1111'], true), [
    { address: '8.8.8.8', family: 4 },
    { address: '2606:4700::1111', family: 6 },
  ]);
  assert.deepEqual(await ask(['127.0.0.1', '2606:4700::1111'], false), ['2606:4700::1111', 6]);
});

test('the guarded lookup refuses a name that has no public address', async () => {
  for (const all of [true, false]) {
    await assert.rejects(ask(['169.254.169.254', '::ffff:127.0.0.1'], all), (err) => isCode(err, 'REFUSED'));
    await assert.rejects(ask([], all), (err) => isCode(err, 'REFUSED'));
  }
});

test('the guarded lookup passes on what DNS says', async () => {
  const failing = guardedLookup((_hostname, _options, callback) => {
    callback(Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' }), []);
  });
  await assert.rejects(
    new Promise((resolve, reject) => {
      failing('a.example', {}, (err) => (err === null ? resolve(undefined) : reject(err)));
    }),
    { code: 'ENOTFOUND' },
  );
});

test('a socket with the guarded lookup fails with REFUSED before it connects', async () => {
  for (const autoSelectFamily of [true, false]) {
    const socket = connect({ host: 'localhost', port: 9, lookup: guardedLookup(), autoSelectFamily });
    const err = await new Promise((resolve) => {
      socket.once('error', resolve);
      socket.once('connect', resolve);
    });
    socket.destroy();
    assert.ok(isCode(err, 'REFUSED'), String(err));
  }
});
