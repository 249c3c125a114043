/** Images with what is attached to them, and copies of them in this process. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { ImageResult } from '../../src/flow/dispatcher.ts';
import { LocalDispatcher } from '../../src/flow/local-dispatcher.ts';
import { copyHandler, copyNode } from '../../src/handlers/copy.ts';
import { formatSelection, type SelectionParts } from '../../src/handlers/copy-selection.ts';
import { fallbackTag } from '../../src/oci/attached.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { OCI_EMPTY, OCI_INDEX } from '../../src/oci/media-types.ts';
import { LocalPlaces } from '../../src/remote/places.ts';
import { never, TestClient } from './clients.ts';
import { type Image, image } from './images.ts';
import { readAll, type TestRegistry } from './registry.ts';

export const SIGNATURE = 'application/vnd.example.signature';
export const SBOM = 'application/vnd.example.sbom+json';

/** An artifact that says what it is about. */
export const referrer = (subject: Descriptor, artifactType: string, seed = '', note = 'by a test'): Image =>
  image({
    artifactType,
    subject,
    annotations: { 'org.example.note': note },
    config: { bytes: '{}', mediaType: OCI_EMPTY },
    layers: [{ raw: Buffer.from(`${artifactType} ${subject.digest} ${seed}`), mediaType: 'application/octet-stream' }],
  });

export interface Listed {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Record<string, string>;
}

/** How a list of referrers names one. */
export const listedAs = ({ desc }: Image, artifactType: string, note = 'by a test'): Listed => ({
  ...desc,
  annotations: { 'org.example.note': note },
  artifactType,
});

/** Puts an index of referrers under the fallback tag, as clients of registries without a list do. */
export function putFallback(
  registry: TestRegistry,
  repo: string,
  subject: Descriptor,
  listed: readonly Listed[],
): void {
  const index = JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: listed });
  registry.stored.putManifest(repo, index, { mediaType: OCI_INDEX, tag: fallbackTag(subject.digest) });
}

/** What the fallback tag of a repository lists; undefined where there is no such tag. */
export function fallbackOf(registry: TestRegistry, repo: string, subject: Descriptor): Listed[] | undefined {
  const stored = registry.stored.get(repo);
  const digest = stored?.tags.get(fallbackTag(subject.digest));
  const found = digest === undefined ? undefined : stored?.manifests.get(digest);
  if (found === undefined) return undefined;
  const document: { manifests: Listed[] } = JSON.parse(readAll(found.content).toString());
  return document.manifests;
}

export const has = (registry: TestRegistry, repo: string, { desc, blobs }: Image): boolean => {
  const stored = registry.stored.get(repo);
  return stored?.manifests.has(desc.digest) === true && [...blobs.keys()].every((digest) => stored.blobs.has(digest));
};

export interface CopyOptions extends SelectionParts {
  /** Used as it stands; one of its own for each copy unless given. */
  readonly client?: TestClient;
  readonly backup?: string;
}

/** Copies images as `gantry copy` does, each time as a process that knows nothing yet. */
export async function copyAll(
  pairs: readonly (readonly [from: string, to: string])[],
  { client, backup, ...parts }: CopyOptions,
): Promise<readonly ImageResult[]> {
  await using stack = new AsyncDisposableStack();
  const resolver = client ?? stack.use(new TestClient());
  const selection = formatSelection(parts);
  const roots = pairs.map(([from, to]) => {
    const { repository: target, tag } = parseReference(to);
    return copyNode({ source: parseReference(from), target, tag, selection, backup });
  });
  const listsTags = pairs.length > 1;
  const handler = copyHandler({ resolver, places: new LocalPlaces(), isAlone: true, listsTags });
  const dispatcher = new LocalDispatcher({ handler, concurrency: 8 });
  return (await dispatcher.dispatch({ id: randomUUID(), roots }, { signal: never })).images;
}

export async function copyOne(from: string, to: string, options: CopyOptions): Promise<ImageResult> {
  const [result] = await copyAll([[from, to]], options);
  assert.ok(result);
  return result;
}

/** The same, which must end well. */
export async function copied(from: string, to: string, options: CopyOptions): Promise<ImageResult> {
  const result = await copyOne(from, to, options);
  assert.equal(result.state, 'done', result.error?.message);
  return result;
}
