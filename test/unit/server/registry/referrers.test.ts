/** Lists of referrers that are larger than what a client takes, and manifests that say much. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_MANIFEST_BYTES } from '../../../../src/oci/manifest.ts';
import { type Digest, digestOf } from '../../../../src/oci/digest.ts';
import { OCI_MANIFEST } from '../../../../src/oci/media-types.ts';
import type { FileProvider, OpenFile } from '../../../../src/content/ports.ts';
import { ManifestFiles } from '../../../../src/server/registry/manifest-files.ts';
import { SubjectFacts } from '../../../../src/server/registry/subject-facts.ts';
import { ask } from '../../../support/ask.ts';
import { documentOf, index } from '../../../support/images.ts';
import { inMemory } from '../../../support/registry/content.ts';
import type { Bundle } from '../../../support/registry/storage.ts';
import { putBlob, type Serving, serveStore } from '../../../support/serving.ts';

const SUBJECT = digestOf('subject');
const { signal } = new AbortController();

function about(i: number, annotation: number): Bundle & { readonly bytes: Buffer } {
  const mediaType = 'application/vnd.oci.empty.v1+json';
  const { bytes, desc } = documentOf(
    {
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      artifactType: i % 2 === 0 ? 'application/even' : 'application/odd',
      config: { mediaType, digest: digestOf('{}'), size: 2 },
      layers: [],
      subject: { mediaType: OCI_MANIFEST, digest: SUBJECT, size: 7 },
      annotations: { text: String(i).padEnd(annotation, '.') },
    },
    OCI_MANIFEST,
  );
  return {
    desc,
    manifests: new Map([[desc.digest, { content: inMemory(bytes), mediaType: OCI_MANIFEST }]]),
    blobs: new Map(),
    bytes,
  };
}

interface Page {
  readonly manifests: { readonly digest: string; readonly annotations?: object }[];
}

async function pagesOf(serving: Serving, path: string): Promise<Page['manifests'][]> {
  const pages: Page['manifests'][] = [];
  for (let next: string | undefined = path; next !== undefined;) {
    const { status, headers, body } = await ask(`${serving.url}${next}`);
    assert.equal(status, 200);
    assert.ok(body.length <= MAX_MANIFEST_BYTES, `${body.length} bytes`);
    const page: Page = JSON.parse(body.toString());
    pages.push(page.manifests);
    next = /^<(.*)>; rel="next"$/.exec(String(headers['link']))?.[1];
  }
  return pages;
}

test('a list that is larger than a manifest may be comes in pages, with what was asked for', async () => {
  const all = Array.from({ length: 600 }, (_, i) => about(i, 15_000));
  await using serving = await serveStore({});
  for (const { desc, bytes } of all) await putBlob(serving.store, desc.digest, bytes);
  const tag = index(all.map((of) => ({ of })));
  await putBlob(serving.store, tag.desc.digest, tag.manifest);
  await serving.store.names.record('ghcr.io/acme/app:all', tag.desc, { signal });

  const sorted = all.map(({ desc }) => desc.digest).toSorted();
  const pages = await pagesOf(serving, `/v2/ghcr.io/acme/app/referrers/${SUBJECT}`);
  assert.deepEqual([pages.length, pages.flat().map(({ digest }) => digest)], [3, sorted]);
  assert.ok(pages.flat().every(({ annotations }) => annotations !== undefined));

  const even = all.filter((_, i) => i % 2 === 0).map(({ desc }) => desc.digest);
  const path = `/v2/acme/app/referrers/${SUBJECT}?ns=ghcr.io&artifactType=application/even`;
  const found = await pagesOf(serving, path);
  assert.deepEqual([found.length, found.flat().map(({ digest }) => digest)], [2, even.toSorted()]);
  const last = sorted.at(-1);
  assert.deepEqual(await pagesOf(serving, `/v2/ghcr.io/acme/app/referrers/${SUBJECT}?last=${last}`), [[]]);
});

test('annotations beyond what is kept of a manifest are left out of the list, not of the manifest', async () => {
  const [small, large] = [about(1, 16_000), about(2, 3_900_000)];
  await using serving = await serveStore({ 'ghcr.io/acme/app:1': small, 'ghcr.io/acme/app:2': large });
  const [page] = await pagesOf(serving, `/v2/ghcr.io/acme/app/referrers/${SUBJECT}`);
  const kept = new Map(page?.map(({ digest, annotations }) => [digest, annotations !== undefined]));
  assert.deepEqual([kept.get(small.desc.digest), kept.get(large.desc.digest)], [true, false]);
  const { body } = await ask(`${serving.url}/v2/ghcr.io/acme/app/manifests/2`);
  assert.ok(body.equals(large.bytes));
});

test('the annotations of all manifests together have a bound, and room comes back', async () => {
  const made = new Map<Digest, Buffer>();
  const files: FileProvider = {
    openFile: async (digest) => {
      const bytes = made.get(digest);
      if (bytes === undefined) return undefined;
      const read: OpenFile['read'] = (buffer, offset, length, position) =>
        Promise.resolve({ bytesRead: bytes.copy(buffer, offset, position, position + length) });
      return { size: bytes.length, read, close: () => Promise.resolve() };
    },
  };
  const facts = new SubjectFacts(new ManifestFiles(files), 10_000);
  const bytesOf = async (i: number): Promise<number> => {
    const { desc, bytes } = about(i, 16_300);
    made.set(desc.digest, bytes);
    const { referrer } = await facts.of(desc.digest, { signal });
    assert.ok(referrer !== undefined);
    return referrer.annotations === undefined ? 0 : JSON.stringify(referrer.annotations).length;
  };
  let sum = 0;
  for (let i = 0; i < 4200; i += 1) sum += await bytesOf(i);
  assert.ok(sum > 60 << 20 && sum <= 64 << 20, `${sum} bytes`);
  assert.equal(await bytesOf(5000), 0);
  facts.keepOnly(new Set());
  assert.ok((await bytesOf(6000)) > 0);
});
