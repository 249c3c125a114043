import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Child, Handler, Visit } from '../../../src/flow/handler.ts';
import { rootNode } from '../../../src/flow/walk.ts';
import { filterPlatforms } from '../../../src/handlers/platform.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { parseMatcher } from '../../../src/oci/platform.ts';
import { context, descriptorOf } from './support.ts';

const entry = (architecture: string, content = architecture): Child => ({
  kind: 'manifest',
  desc: { ...descriptorOf(content, OCI_MANIFEST), platform: { os: 'linux', architecture } },
});
const plain: Child = { kind: 'manifest', desc: descriptorOf('plain', OCI_MANIFEST) };
const index = descriptorOf('index', OCI_INDEX);

async function visit(selection: string, answer: Visit): Promise<Visit> {
  const handler = filterPlatforms((node) => parseMatcher(node.selection))({ visit: async () => answer });
  return handler.visit(rootNode(index, { source: 'a.example/app', selection }), context());
}
const choose = async (selection: string, ...children: Child[]): Promise<readonly Child[]> => {
  const answer = await visit(selection, { kind: 'expand', children });
  return answer.kind === 'expand' ? answer.children : assert.fail(answer.kind);
};

test('the wanted platforms and what names none go through, in their order', async () => {
  const [amd64, arm64, s390x] = [entry('amd64'), entry('arm64'), entry('s390x')];
  assert.deepEqual(await choose('linux/arm64', amd64, plain, arm64, s390x), [plain, arm64]);
  assert.deepEqual(await choose('linux/arm64,linux/amd64', amd64, arm64, s390x), [amd64, arm64]);
  assert.deepEqual(await choose('', amd64, arm64), [amd64, arm64]);
});

test('one manifest for two platforms is found by the second', async () => {
  const [first, second] = [entry('amd64', 'same'), entry('arm64', 'same')];
  assert.deepEqual(await choose('linux/arm64', first, second), [second]);
});

test('blobs and other answers go through', async () => {
  const blob: Child = { kind: 'blob', desc: descriptorOf('layer') };
  assert.deepEqual(await choose('linux/arm64', blob), [blob]);
  assert.deepEqual(await choose('linux/arm64'), []);
  for (const answer of [
    { kind: 'leaf' },
    { kind: 'skip', reason: 'no' },
    { kind: 'later', afterMs: 1, reason: 'busy' },
  ] as const) {
    assert.equal(await visit('linux/arm64', answer), answer);
  }
});

test('an index without the wanted platform says what it has, a dozen at most', async () => {
  await assert.rejects(choose('linux/arm64', entry('amd64'), entry('s390x'), entry('amd64', 'other')), {
    code: 'NOT_FOUND',
    origin: 'user',
    digest: index.digest,
    message: 'a.example/app has no image for linux/arm64; it has linux/amd64, linux/s390x',
  });
  const many = Array.from({ length: 13 }, (_, i) => entry(`cpu${i}`));
  await assert.rejects(choose('linux/arm64', ...many), /linux\/cpu11, \.\.\.$/);
});

test('settle is that of the handler below', async () => {
  let settled = 0;
  const below: Handler = { visit: async () => ({ kind: 'leaf' }), settle: async () => void (settled += 1) };
  await filterPlatforms(() => parseMatcher(''))(below).settle?.(rootNode(index), {
    ...context(),
    children: [],
    carry: '',
    round: 0,
  });
  assert.equal(settled, 1);
});
