import { type CallOptions, lockBackoffMs } from '../call.ts';
import { fill } from '../content/fill.ts';
import type { ContentWriter, Ingester } from '../content/ports.ts';
import { GantryError, retryClass } from '../errors.ts';
import { contentKindOf, type ContentNode, type Handler, type HandlerContext, type Visit } from '../flow/handler.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { assertManifestType, MAX_MANIFEST_BYTES } from '../oci/manifest.ts';
import { refKey } from '../oci/ref-key.ts';
import type { Fetcher } from '../remote/ports.ts';

export interface FetchParts {
  readonly store: Ingester;
  fetcherOf(repository: string): Fetcher;
}

/** Brings the content of a node into the store: present is done, busy is for later, else it is fetched. Answers no children. */
export function fetchHandler(parts: FetchParts): Handler {
  return {
    async visit(node, ctx): Promise<Visit> {
      if (node.kind === 'image') return { kind: 'leaf' };
      if (node.kind === 'manifest') refuseUnreadable(node.desc);
      try {
        return await fetchOnce(parts, node, ctx);
      } catch (err) {
        // Wrong bytes may be the fault of what was kept, of a join after a cut, of a mirror: once more, from zero.
        if (retryClass(err) !== 'restart') throw err;
        return fetchOnce(parts, node, ctx);
      }
    },
  };
}

async function fetchOnce(parts: FetchParts, node: ContentNode, ctx: HandlerContext): Promise<Visit> {
  const { desc } = node;
  const ingest = await parts.store.ingest({ ref: refKey(desc), digest: desc.digest, size: desc.size }, ctx);
  if (ingest.state === 'busy') {
    return { kind: 'later', afterMs: lockBackoffMs(ctx.attempt), reason: 'another process is fetching it' };
  }
  if (ingest.state === 'present') {
    ctx.report({ kind: 'present' });
    return { kind: 'leaf' };
  }
  await using writer = ingest.writer;
  try {
    await receive(parts, node, writer, ctx);
  } catch (err) {
    if (retryClass(err) === 'restart') await writer.discard();
    throw err;
  }
  return { kind: 'leaf' };
}

/** Before it is fetched: what stands in the place of a manifest will be read into memory. */
function refuseUnreadable(desc: Descriptor): void {
  assertManifestType(desc);
  if (desc.size <= MAX_MANIFEST_BYTES) return;
  throw new GantryError(
    'TOO_LARGE',
    `manifest ${desc.digest} has ${desc.size} bytes, at most ${MAX_MANIFEST_BYTES} are read`,
    {
      origin: 'source',
      digest: desc.digest,
    },
  );
}

async function receive(
  parts: FetchParts,
  node: ContentNode,
  writer: ContentWriter,
  ctx: HandlerContext,
): Promise<void> {
  const { desc } = node;
  const start = writer.offset;
  ctx.report({ kind: 'progress', offset: start });
  const opts: CallOptions & { offset: number } = { signal: ctx.signal, offset: start };
  await using body = await parts.fetcherOf(node.source).fetch(contentKindOf(node), desc, opts);
  await fill(writer, body, (offset) => ctx.report({ kind: 'progress', offset }));
  await writer.commit(ctx);
  ctx.report({ kind: 'fetched', bytes: desc.size - start });
}
