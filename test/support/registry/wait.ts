/** Waiting for something that does not matter any more once the client has left. */

/** Fulfilled when the promise is, or when the client is gone. */
export function unlessGone(until: Promise<unknown>, gone: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    gone.addEventListener('abort', () => resolve(), { once: true });
    if (gone.aborted) resolve();
    until.then(() => resolve(), reject);
  });
}

export function pause(ms: number, gone: AbortSignal): Promise<void> {
  if (gone.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      gone.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    gone.addEventListener('abort', done);
  });
}
