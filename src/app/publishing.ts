/** Keeps index.json up to date with the names, so that other tools see images soon. */
import type { ContentStore } from '../store/content-store.ts';

const PUBLISH_EVERY_MS = 5_000;

/** Now and then, when it is told to, and at the end. Cheap when nothing has changed. */
export function publishing(store: ContentStore, onError: (err: unknown) => void): AsyncDisposable & { now(): void } {
  const publish = (): Promise<void> =>
    store.names.publish({ signal: AbortSignal.timeout(PUBLISH_EVERY_MS) }).catch(onError);
  const timer = setInterval(() => void publish(), PUBLISH_EVERY_MS);
  return {
    now: () => void publish(),
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      await publish();
    },
  };
}
