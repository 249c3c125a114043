import { randomUUID } from 'node:crypto';
import type { CallOptions } from '../call.ts';
import type { ImageNames } from '../content/ports.ts';
import { isCode } from '../errors.ts';
import type { Dispatcher, DispatchEvent, DispatchOptions, ImageResult, RunResult } from '../flow/dispatcher.ts';
import type { ImageNode, Node } from '../flow/handler.ts';
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
  const roots = pullRoots(request, await store.id());
  const publish = (): Promise<void> => store.names.publish({ signal: new AbortController().signal });
  const timer = setInterval(() => void publish().catch(() => undefined), PUBLISH_EVERY_MS);
  try {
    return await dispatchPull(dispatcher, roots, opts);
  } finally {
    clearInterval(timer);
    if (request.named) await publish();
  }
}

export const pullRoots = ({ refs, platforms }: Pick<PullRequest, 'refs' | 'platforms'>, target: string): ImageNode[] =>
  refs.map((ref) => imageNode(ref, target, platforms.text));

/**
 * For pulls and copies. A tag may move between its HEAD and the GET of its manifest, and the registry forget the old one: such are
 * resolved once more.
 */
export async function dispatchPull(
  dispatcher: Dispatcher,
  roots: readonly Node[],
  opts: DispatchOptions,
): Promise<RunResult> {
  const first = await dispatcher.dispatch({ id: randomUUID(), roots }, opts);
  const moved = first.images.filter(hasMoved);
  if (moved.length === 0 || opts.signal.aborted) return first;
  const again = await dispatcher.dispatch({ id: randomUUID(), roots: moved.map(({ root }) => root) }, opts);
  const better = new Map(moved.map((image, i) => [image, again.images[i] ?? image]));
  return { images: first.images.map((image) => better.get(image) ?? image) };
}

function hasMoved({ root, desc, error }: ImageResult): boolean {
  if (!isCode(error, 'NOT_FOUND') || error.origin !== 'source' || error.digest === undefined) return false;
  if (desc !== undefined) return error.digest === desc.digest;
  // An index of which a part is copied is read before it is known what the image will be.
  return root.kind === 'image' && !root.name.includes('@');
}

const noNames: ImageNames = {
  record: () => Promise.resolve(),
  lookup: () => Promise.resolve(undefined),
  list: () => Promise.resolve([]),
  remove: () => Promise.resolve(),
};
