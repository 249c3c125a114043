import { randomUUID } from 'node:crypto';
import type { CallOptions } from '../call.ts';
import type { ImageNames } from '../content/ports.ts';
import { isCode } from '../errors.ts';
import type { DispatchEvent, ImageResult, RunResult } from '../flow/dispatcher.ts';
import type { Node } from '../flow/handler.ts';
import { LocalDispatcher } from '../flow/local-dispatcher.ts';
import { imageNode, pullHandler } from '../handlers/pull.ts';
import type { PlatformMatcher } from '../oci/platform.ts';
import type { Reference } from '../oci/reference.ts';
import type { Resolver } from '../remote/ports.ts';
import type { ContentStore } from '../store/content-store.ts';

export interface PullRequest {
  readonly refs: readonly Reference[];
  readonly platforms: PlatformMatcher;
  readonly concurrency: number;
  /** Record names; without, the content is fetched and nothing keeps it from garbage collection. */
  readonly named: boolean;
}

export interface PullPorts {
  readonly store: ContentStore;
  readonly resolver: Resolver;
}

/** How often index.json is brought up to date during a long pull, so that a kill leaves other tools little behind. */
const PUBLISH_EVERY_MS = 5_000;

/** Pulls images in this process. Failures are in the result; an abort gives a result, too. */
export async function pull(
  { store, resolver }: PullPorts,
  request: PullRequest,
  opts: CallOptions & { onEvent?: (event: DispatchEvent) => void },
): Promise<RunResult> {
  await using _protection = await store.protect(opts);
  const known = new Set((await store.names.list(opts)).map(({ name }) => name));
  const names = request.named ? store.names : noNames;
  const handler = pullHandler({ store, names, resolver, isKnown: (name) => known.has(name) });
  const dispatcher = new LocalDispatcher({ handler, concurrency: request.concurrency });
  const target = await store.id();
  const roots = request.refs.map((ref) => imageNode(ref, target, request.platforms.text));
  const publish = (): Promise<void> => store.names.publish({ signal: new AbortController().signal });
  const timer = setInterval(() => void publish().catch(() => undefined), PUBLISH_EVERY_MS);
  try {
    const first = await dispatcher.dispatch({ id: randomUUID(), roots }, opts);
    return await retryMoved(dispatcher, first, opts);
  } finally {
    clearInterval(timer);
    if (request.named) await publish();
  }
}

/** A tag may move between its HEAD and the GET of its manifest, and the registry forget the old one: resolve once more. */
async function retryMoved(dispatcher: LocalDispatcher, result: RunResult, opts: CallOptions): Promise<RunResult> {
  const moved = result.images.filter(hasMoved);
  if (moved.length === 0 || opts.signal.aborted) return result;
  const roots: Node[] = moved.map((image) => image.root);
  const again = await dispatcher.dispatch({ id: randomUUID(), roots }, opts);
  const better = new Map(moved.map((image, i) => [image, again.images[i] ?? image]));
  return { images: result.images.map((image) => better.get(image) ?? image) };
}

const hasMoved = ({ desc, error }: ImageResult): boolean =>
  isCode(error, 'NOT_FOUND') && error.origin === 'source' && desc !== undefined && error.digest === desc.digest;

const noNames: ImageNames = {
  record: () => Promise.resolve(),
  lookup: () => Promise.resolve(undefined),
  list: () => Promise.resolve([]),
  remove: () => Promise.resolve(),
};
