/** What hangs on images, copied by several worker processes: the half that puts it knows only what the other half has left. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { copyNode } from '../../src/handlers/copy.ts';
import { formatSelection, type SelectionParts } from '../../src/handlers/copy-selection.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { cosignSignature } from '../support/artifacts.ts';
import { copyAll, referrer, SBOM, SIGNATURE } from '../support/attached.ts';
import { TestFarm } from '../support/farm.ts';
import { multiPlatform } from '../support/images.ts';
import { faults, readAll, TestRegistry } from '../support/registry.ts';

const images = Array.from({ length: 8 }, (_, i) => multiPlatform({ seed: `farm ${i}`, layers: [300 + i] }));
const [first] = images;
assert.ok(first);
const ATTACHED = { referrers: true, digestTags: true, exclude: ['none "of" \\these'] };
const NOTE = 'written for Ägypten, 名';

function fill(registry: TestRegistry): void {
  for (const [i, each] of images.entries()) {
    const sbom = referrer(each.desc, SBOM, 'sbom', NOTE);
    registry.add('app', `v${i}`, each);
    const all = [sbom, referrer(sbom.desc, SIGNATURE), referrer(each.entries[0] ?? each.desc, SIGNATURE)];
    for (const attached of all) registry.add('app', undefined, attached);
    const signed = cosignSignature(each.desc);
    registry.add('app', signed.tag, signed);
  }
}

interface Document {
  readonly manifests?: readonly object[];
}

/** The tag of a list of referrers. */
const isList = (tag: string): boolean => /^sha256-[0-9a-f]+$/.test(tag);

/** Tags with what they mean; of lists of referrers what they list, since nobody minds who has written first. */
function contentOf(registry: TestRegistry): string[] {
  const { tags, manifests } = registry.stored.get('mirror') ?? assert.fail('nothing was copied');
  return [...tags]
    .map(([tag, digest]) => {
      if (!isList(tag)) return `${tag} ${digest}`;
      const { content } = manifests.get(digest) ?? assert.fail(digest);
      const { manifests: listed = [] }: Document = JSON.parse(readAll(content).toString());
      return [tag, ...listed.map((each) => JSON.stringify(each)).toSorted()].join(' ');
    })
    .toSorted();
}

const pairs = (source: TestRegistry, target: TestRegistry): [string, string][] =>
  images.map((_, i) => [source.ref('app', `v${i}`), target.ref('mirror', `v${i}`)]);

const rootsOf = (source: TestRegistry, target: TestRegistry, parts: SelectionParts, backup?: string) =>
  pairs(source, target).map(([from, to]) => {
    const { repository, tag } = parseReference(to);
    return copyNode({
      source: parseReference(from),
      target: repository,
      tag,
      selection: formatSelection(parts),
      backup,
    });
  });

for (const [name, parts] of Object.entries<SelectionParts>({
  whole: { attached: ATTACHED },
  stripped: { attached: ATTACHED, platforms: 'linux/amd64', index: 'strip' },
})) {
  test(`${name} images, and what hangs on them, come as one process would have left them`, async () => {
    await using source = await TestRegistry.start();
    await using target = await TestRegistry.start({ referrersApi: false });
    await using alone = await TestRegistry.start({ referrersApi: false });
    fill(source);
    await using farm = await TestFarm.start({ workers: 2, concurrency: 4 });
    const submit = async (backup?: string) => {
      const run = await farm.client.submit(rootsOf(source, target, parts, backup), { isNew: true });
      await farm.done(
        run,
        pairs(source, target).map(([from, to]) => `${from} -> ${to}`),
      );
      return farm.results(run);
    };
    await submit();
    assert.deepEqual(target.violations, []);
    await copyAll(pairs(source, alone), parts);
    assert.deepEqual(contentOf(target), contentOf(alone));

    target.log.clear();
    source.log.clear();
    const again = await submit();
    assert.ok(again.every(({ isEqual }) => isEqual));
    assert.equal(source.count({ method: 'GET', kind: 'manifest' }), 0);
    assert.equal(target.count({ where: ({ method }) => method !== 'HEAD' && method !== 'GET' }), 0);

    const late = referrer(first.desc, SIGNATURE, 'late');
    source.add('app', undefined, late);
    target.add('mirror', 'v1', images[2] ?? first);
    await submit('v-before');
    // What is said of an index does not hold for one that was made of it.
    assert.equal(target.stored.get('mirror')?.manifests.has(late.desc.digest), name === 'whole');
    assert.equal(target.stored.get('mirror')?.tags.get('v-before'), images[2]?.desc.digest);
  });
}

test('what a tag comes to mean while a farm copies is kept elsewhere, with all that is below', async () => {
  await using source = await TestRegistry.start();
  await using target = await TestRegistry.start();
  fill(source);
  const late = multiPlatform({ seed: 'late', layers: [200] });
  const moved = faults.afterwards(() => target.add('mirror', 'v0', late));
  target.fault({ match: { kind: 'put-manifest', repo: 'mirror', object: first.desc.digest }, times: 1, do: moved });
  await using farm = await TestFarm.start({ workers: 2, concurrency: 4 });
  const roots = rootsOf(source, target, {}, `${target.host}/attic:v0`).slice(0, 1);
  const run = await farm.client.submit(roots, { isNew: true });
  await farm.done(
    run,
    pairs(source, target)
      .slice(0, 1)
      .map(([from, to]) => `${from} -> ${to}`),
  );
  const attic = target.stored.get('attic');
  assert.equal(attic?.tags.get('v0'), late.desc.digest);
  for (const digest of late.blobs.keys()) assert.ok(attic.blobs.has(digest), digest);
  assert.equal(target.stored.get('mirror')?.tags.get('v0'), first.desc.digest);
  assert.deepEqual(target.violations, []);
});
