import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Descriptor, Platform } from '../../../src/oci/descriptor.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import {
  formatPlatform,
  hostPlatform,
  matchAll,
  matchAny,
  matchPlatform,
  matchPlatformStrict,
  normalizePlatform,
  parseMatcher,
  parsePlatform,
  selectManifests,
} from '../../../src/oci/platform.ts';

const HOST: Platform = { os: 'linux', architecture: 'arm64' };
const parse = (text: string): Platform => parsePlatform(text, HOST);

function entry(platform: string | undefined, name = platform ?? 'none'): Descriptor {
  const base = { mediaType: OCI_MANIFEST, digest: digestOf(name), size: 1 };
  if (platform === undefined) return base;
  const [os = '', architecture = '', variant] = platform.split('/');
  const version = /^(\w+)\((.*)\)$/.exec(os);
  return {
    ...base,
    platform: {
      os: version?.[1] ?? os,
      architecture,
      ...(variant === undefined ? {} : { variant }),
      ...(version?.[2] === undefined ? {} : { osVersion: version[2] }),
    },
  };
}

test('a platform is read and written in one spelling', () => {
  const cases: readonly (readonly [text: string, canonical: string])[] = [
    ['linux/amd64', 'linux/amd64'],
    ['linux/amd64/v1', 'linux/amd64'],
    ['linux/amd64/v3', 'linux/amd64/v3'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/arm64/8', 'linux/arm64'],
    ['linux/arm64/v9', 'linux/arm64/v9'],
    ['Linux/AARCH64', 'linux/arm64'],
    ['linux/x86_64', 'linux/amd64'],
    ['linux/x86-64/v2', 'linux/amd64/v2'],
    ['linux/i386', 'linux/386'],
    ['linux/armhf', 'linux/arm/v7'],
    ['linux/armel', 'linux/arm/v6'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/arm/6', 'linux/arm/v6'],
    ['macos/arm64', 'darwin/arm64'],
    ['plan10/quantum/v3', 'plan10/quantum/v3'],
    ['windows(10.0.17763)/amd64', 'windows(10.0.17763)/amd64'],
    ['windows(10.0.17763+win32k)/amd64', 'windows(10.0.17763+win32k)/amd64'],
    ['windows(+b+a+b)/amd64', 'windows(+a+b)/amd64'],
    // One word: the rest is the host's.
    ['linux', 'linux/arm64'],
    ['darwin', 'darwin/arm64'],
    ['windows(10.0.20348)', 'windows(10.0.20348)/arm64'],
    ['arm64', 'linux/arm64'],
    ['amd64', 'linux/amd64'],
    ['x86_64', 'linux/amd64'],
    ['armhf', 'linux/arm/v7'],
    ['arm', 'linux/arm/v7'],
    ['s390x', 'linux/s390x'],
  ];
  for (const [text, canonical] of cases) {
    assert.equal(formatPlatform(parse(text)), canonical, text);
    assert.deepEqual(parse(canonical), parse(text), text);
  }
});

test('a platform has the fields of its parts and no others', () => {
  assert.deepEqual(parse('windows(10.0.17763)/amd64'), {
    os: 'windows',
    architecture: 'amd64',
    osVersion: '10.0.17763',
  });
  assert.deepEqual(parse('linux/arm/v6'), { os: 'linux', architecture: 'arm', variant: 'v6' });
});

test('a bad platform is refused', () => {
  const bad = [
    '',
    '/',
    'linux/',
    '/amd64',
    'linux//v7',
    'linux/amd64/v1/x',
    'beos',
    'linux/*',
    '*',
    'linux/a b',
    'linux amd64',
  ];
  bad.push(
    'linux/amd64\n',
    'linux/\0',
    'linux(',
    'linux()x/a',
    'linux(1)(2)/a',
    'amd64(1)',
    '__proto__',
    'constructor',
  );
  bad.push('a'.repeat(1e6), 'linux/'.repeat(1e5), `windows(${'+a'.repeat(1e5)})/x`, `linux/${'a'.repeat(65)}`);
  for (const text of bad) {
    assert.throws(
      () => parse(text),
      { code: 'INVALID', message: /^invalid platform "[\x20-\x7e]{0,330}$/ },
      text.slice(0, 50),
    );
  }
});

test('the platform of the host comes from the names that Node gives', () => {
  const cases: readonly (readonly [os: string, arch: string, canonical: string])[] = [
    ['linux', 'x64', 'linux/amd64'],
    ['linux', 'arm', 'linux/arm/v7'],
    ['linux', 'ppc64', 'linux/ppc64le'],
    ['aix', 'ppc64', 'aix/ppc64'],
    ['darwin', 'arm64', 'linux/arm64'],
    ['win32', 'ia32', 'windows/386'],
    ['freebsd', 'riscv64', 'freebsd/riscv64'],
  ];
  for (const [os, arch, canonical] of cases) assert.equal(formatPlatform(hostPlatform(os, arch)), canonical);
  assert.equal(formatPlatform(hostPlatform('win32', 'x64', '10.0.20348')), 'windows(10.0.20348)/amd64');
  assert.equal(formatPlatform(hostPlatform('linux', 'x64', '6.1.0')), 'linux/amd64');
});

test('a machine runs what it can, and ranks it', () => {
  const cases: readonly (readonly [wanted: string, inOrder: string, never: string])[] = [
    ['linux/arm/v7', 'linux/arm/v7 linux/arm/v6 linux/arm/v5', 'linux/arm/v8 linux/arm64 linux/amd64'],
    ['linux/arm/v5', 'linux/arm/v5', 'linux/arm/v6 linux/arm'],
    [
      'linux/arm64',
      'linux/arm64 linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5',
      'linux/arm64/v9 linux/arm64/v8.1',
    ],
    ['linux/arm64/v8.2', 'linux/arm64/v8.2 linux/arm64/v8.1 linux/arm64/v8 linux/arm/v8', 'linux/arm64/v8.3'],
    [
      'linux/arm64/v9.1',
      'linux/arm64/v9.1 linux/arm64/v9 linux/arm64/v8.6 linux/arm64/v8.1 linux/arm64',
      'linux/arm64/v8.7',
    ],
    ['linux/amd64', 'linux/amd64 linux/386', 'linux/amd64/v2 windows/amd64'],
    ['linux/amd64/v3', 'linux/amd64/v3 linux/amd64/v2 linux/amd64/v1 linux/386', 'linux/amd64/v4'],
    ['linux/386', 'linux/386', 'linux/amd64'],
    ['linux/ppc64le/power10', 'linux/ppc64le/power10 linux/ppc64le', 'linux/ppc64le/power9'],
    ['linux/riscv64', 'linux/riscv64', 'linux/riscv64/rva23u64'],
  ];
  for (const [wanted, inOrder, never] of cases) {
    const matcher = matchPlatform(parse(wanted));
    const ranks = inOrder.split(' ').map((text) => matcher.rank(parse(text)));
    assert.deepEqual(
      ranks,
      ranks.toSorted((a, b) => a - b),
      wanted,
    );
    assert.equal(ranks[0], 0, wanted);
    assert.equal(new Set(ranks).size, ranks.length, wanted);
    assert(
      inOrder.split(' ').every((text) => matcher.match(parse(text))),
      wanted,
    );
    for (const text of never.split(' ')) assert.equal(matcher.match(parse(text)), false, `${wanted} and ${text}`);
  }
});

test('an absurd variant costs nothing', () => {
  for (const text of ['linux/arm64/v8.999999999', 'linux/amd64/v999999999', 'linux/arm/v999999999']) {
    assert.equal(matchPlatform(parse(text)).rank(parse(text)), 0);
  }
});

test('a platform of an index is compared however it is spelled', () => {
  const matcher = matchPlatform(parse('linux/arm64'));
  assert.equal(matcher.rank({ os: 'Linux', architecture: 'aarch64', variant: 'v8' }), 0);
  assert.deepEqual(normalizePlatform({ os: 'linux', architecture: 'arm' }), parse('linux/arm/v7'));
});

test('a strict matcher takes the platform itself only', () => {
  const matcher = matchPlatformStrict(parse('linux/arm/v7'));
  assert(matcher.match({ os: 'linux', architecture: 'arm' }));
  assert.equal(matcher.match(parse('linux/arm/v6')), false);
  assert.equal(matchPlatformStrict(parse('linux/amd64')).match(parse('linux/386')), false);
});

test('Windows is compared by its build', () => {
  const cases: readonly (readonly [wanted: string, offered: string, runs: boolean, strictly: boolean])[] = [
    ['windows(10.0.17763)/amd64', 'windows(10.0.17763.5329)/amd64', true, true],
    ['windows(10.0.17763)/amd64', 'windows(10.0.14393)/amd64', false, false],
    ['windows(10.0.17763)/amd64', 'windows(10.0.20348)/amd64', false, false],
    ['windows(10.0.26100)/amd64', 'windows(10.0.20348.1)/amd64', true, false],
    ['windows(10.0.26100)/amd64', 'windows(10.0.17763)/amd64', false, false],
    ['windows(10.0.20348)/amd64', 'windows(10.0.26100)/amd64', false, false],
    ['windows(10.0)/amd64', 'windows(10.0.17763)/amd64', true, true],
    ['windows/amd64', 'windows(10.0.17763)/amd64', true, true],
    ['windows(10.0.17763)/amd64', 'windows/amd64', true, true],
    ['windows(10.0.17763)/amd64', 'windows(x.y.z)/amd64', false, false],
    ['linux(5.1)/amd64', 'linux(6.0)/amd64', true, true],
  ];
  for (const [wanted, offered, runs, strictly] of cases) {
    assert.equal(matchPlatform(parse(wanted)).match(parse(offered)), runs, `${wanted} ${offered}`);
    assert.equal(matchPlatformStrict(parse(wanted)).match(parse(offered)), strictly, `=${wanted} ${offered}`);
  }
});

test('an image that needs a feature of the system is taken only where the feature is asked for', () => {
  const offered: Platform = { os: 'windows', architecture: 'amd64', osFeatures: ['win32k'] };
  assert.equal(matchPlatform(parse('windows/amd64')).match(offered), false);
  assert.equal(matchPlatform(parse('windows(+win32k)/amd64')).match(offered), true);
  assert.equal(matchPlatform(parse('windows(+win32k)/amd64')).match(parse('windows/amd64')), true);
});

test('the text of a matcher makes an equal matcher, on any host', () => {
  for (const text of ['', 'linux/amd64', '=linux/amd64', '=linux/arm/v6,linux/amd64,windows(10.0.17763)/amd64']) {
    assert.equal(parseMatcher(text, HOST).text, text);
  }
  assert.equal(parseMatcher('all', HOST), matchAll);
  assert.equal(parseMatcher('arm64,linux/x86_64,linux/arm64/v8', HOST).text, 'linux/amd64,linux/arm64');
  assert.notEqual(parseMatcher('=amd64', HOST).text, parseMatcher('amd64', HOST).text);
  for (const bad of [',', 'linux/amd64,', '=', '==linux', 'linux,,arm64']) {
    assert.throws(() => parseMatcher(bad, HOST), { code: 'INVALID' }, bad);
  }
});

test('several wanted platforms match what any of them matches', () => {
  const matcher = matchAny([matchPlatform(parse('linux/amd64')), matchPlatform(parse('linux/arm/v7'))]);
  assert.equal(matcher.rank(parse('linux/arm/v7')), 0);
  assert.equal(matcher.rank(parse('linux/386')), 1);
  assert.equal(matcher.match(parse('linux/s390x')), false);
  assert.equal(matchAny([matcher, matchAll]), matchAll);
  assert.throws(() => matchAny([]), { code: 'INVALID' });
});

test('of an index the best entry for each wanted platform is selected, in the order of the index', () => {
  const index = ['linux/386', 'linux/arm/v5', 'linux/arm/v6', 'linux/amd64', 'linux/arm64/v8', 'windows/amd64'];
  const entries = index.map((text) => entry(text));
  const cases: readonly (readonly [wanted: string, selected: readonly string[]])[] = [
    ['linux/amd64', ['linux/amd64']],
    ['linux/arm/v7', ['linux/arm/v6']],
    ['linux/arm/v6', ['linux/arm/v6']],
    ['linux/arm64,linux/386', ['linux/386', 'linux/arm64/v8']],
    ['linux/amd64,linux/386', ['linux/386', 'linux/amd64']],
    ['=linux/arm/v7', []],
    ['linux/s390x', []],
    ['', index],
  ];
  for (const [wanted, selected] of cases) {
    const found = selectManifests(entries, parseMatcher(wanted, HOST));
    assert.deepEqual(
      found.map((desc) => desc.digest),
      selected.map((text) => digestOf(text)),
      wanted,
    );
  }
});

test('entries without a platform come along and attestations only with everything', () => {
  const entries = [entry('unknown/unknown'), entry(undefined), entry('linux/amd64'), entry('linux/s390x')];
  const found = selectManifests(entries, parseMatcher('linux/amd64', HOST));
  assert.deepEqual(found, [entries[1], entries[2]]);
  assert.equal(selectManifests(entries, matchAll).length, 4);
});

test('of two equally good entries the first wins, of two Windows builds the newer', () => {
  const twice = [entry('linux/amd64', 'first'), entry('linux/amd64', 'second')];
  assert.deepEqual(selectManifests(twice, parseMatcher('linux/amd64', HOST)), [twice[0]]);
  const builds = ['10.0.17763.99', '10.0.20348.9', '10.0.20348.10', '10.0.9999.1'].map((v) =>
    entry(`windows(${v})/amd64`),
  );
  assert.deepEqual(selectManifests(builds, parseMatcher('windows/amd64', HOST)), [builds[2]]);
  assert.deepEqual(selectManifests(builds, parseMatcher('windows(10.0.17763)/amd64', HOST)), [builds[0]]);
});
