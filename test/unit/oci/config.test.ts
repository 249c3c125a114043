import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chainId, chainIds } from '../../../src/oci/chain-id.ts';
import { MAX_CONFIG_BYTES, parseImageConfig, type ImageConfig } from '../../../src/oci/config.ts';
import { digestOf, parseDigest } from '../../../src/oci/digest.ts';

const parse = (doc: unknown): ImageConfig =>
  parseImageConfig(Buffer.from(typeof doc === 'string' ? doc : JSON.stringify(doc)), 'config sha256:12ab');

test('the config of an image is read', () => {
  const diffIds = [digestOf('a'), digestOf('b')];
  const parsed = parse({
    created: '2024-01-02T03:04:05Z',
    author: 'me',
    architecture: 'arm',
    variant: 'v7',
    os: 'linux',
    config: {
      User: '1000:1000',
      Env: ['A=b', 'PATH=/bin'],
      Entrypoint: ['/init'],
      Cmd: ['-x'],
      WorkingDir: '/w',
      StopSignal: 'SIGTERM',
      Labels: { a: 'b', A: 'B' },
      ExposedPorts: { '80/tcp': {} },
      Volumes: { '/data': {}, '/Data': {} },
    },
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: [],
  });
  assert.deepEqual(parsed, {
    platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
    diffIds,
    created: '2024-01-02T03:04:05Z',
    author: 'me',
    config: {
      User: '1000:1000',
      Env: ['A=b', 'PATH=/bin'],
      Entrypoint: ['/init'],
      Cmd: ['-x'],
      WorkingDir: '/w',
      StopSignal: 'SIGTERM',
      Labels: { a: 'b', A: 'B' },
      ExposedPorts: ['80/tcp'],
      Volumes: ['/data', '/Data'],
    },
  });
});

test('what is missing, null or of a wrong type is absent', () => {
  const nothing = { platform: undefined, diffIds: [], created: undefined, author: undefined, config: {} };
  assert.deepEqual(parse({}), nothing);
  assert.deepEqual(parse({ os: 5, created: {}, config: 'x', rootfs: null }), nothing);
  const odd = { User: 1, Env: [1], Cmd: 'x', Entrypoint: null, Labels: { a: 1 }, Volumes: [], ExposedPorts: null };
  assert.deepEqual(parse({ config: odd, rootfs: { diff_ids: null } }), nothing);
  assert.deepEqual(parse({ os: 'linux' }).platform, { os: 'linux', architecture: '' });
});

test('layers that are not digests are refused with their place', () => {
  const bad = { rootfs: { diff_ids: [digestOf('a'), 'sha256:xyz'] } };
  const message = /^config sha256:12ab: rootfs\.diff_ids\.1: must be a digest, got "sha256:xyz"/;
  assert.throws(() => parse(bad), { code: 'MALFORMED', message });
  assert.throws(() => parse({ rootfs: [] }), { code: 'MALFORMED', message: /rootfs: must be an object/ });
  assert.throws(() => parse({ rootfs: { diff_ids: {} } }), { code: 'MALFORMED', message: /must be a list/ });
});

test('a config that is not JSON, too large or ambiguous is refused', () => {
  assert.throws(() => parse('[]'), { code: 'MALFORMED' });
  assert.throws(() => parse('{"os":"linux","OS":"windows"}'), { code: 'MALFORMED' });
  assert.throws(() => parseImageConfig(Buffer.alloc(MAX_CONFIG_BYTES + 1)), { code: 'TOO_LARGE' });
});

test('__proto__ among labels is a label', () => {
  const { config } = parse('{"config":{"Labels":{"__proto__":"x"},"__proto__":{"User":"root"}}}');
  assert.deepEqual(Object.entries(config.Labels ?? {}), [['__proto__', 'x']]);
  assert.equal(config.User, undefined);
});

test('a chain id covers a layer and all below it', () => {
  const [a, b, c] = [digestOf('a'), digestOf('b'), digestOf('c')];
  const ab = digestOf(`${a} ${b}`);
  const abc = digestOf(`${ab} ${c}`);
  assert.deepEqual(chainIds([a, b, c]), [a, ab, abc]);
  assert.equal(chainId([a]), a);
  assert.equal(chainId([a, b, c]), abc);
  assert.notEqual(chainId([b, a, c]), abc);
});

test('a chain id is the one that identity.ChainID of image-spec computes', () => {
  const layers = [
    'sha256:bad4c2b21ac784690edb9fab9336c06f429523122db8258386b0816ea9ccff13',
    'sha256:541172e54f7a947125460b76b5788026aa93b9cfb6a9ee132159bd792fc5a213',
    'sha256:a0daea3da3a891e0907836e15387b107376b938918839afd555a93f56a04a437',
    'sha256:c21bfa4fc8f93fcf8cee7f410285c9b0830c39e581d122668f1bfac657d01539',
    'sha256:2f02d7c1705eec01163defce0c73bad60ef4696b9fd2e009bf64f15425e3cb9b',
    'sha256:56b9282b4ec2b115a530fb08958abc2dee400cebc1befbdc3d2a70ee8a7afc97',
  ].map(parseDigest);
  assert.equal(chainId(layers), 'sha256:b2defa2545685fad9251740b472ecc07e0334f652a973ec0f37bf55ba9917b70');
});

test('no layers have no chain id', () => {
  assert.deepEqual(chainIds([]), []);
  assert.throws(() => chainId([]), { code: 'INVALID' });
});
