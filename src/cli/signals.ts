import { GantryError } from '../errors.ts';

/** 128 + the signal's number, as a shell reports it. */
const EXIT = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** The first signal stops the work and lets it tidy up; the second one ends the process at once. SIGHUP may mean something else. */
export function installSignals(
  abort: AbortController,
  { onHangup }: { readonly onHangup: () => (() => void) | undefined },
): Disposable & { readonly stoppedBy: keyof typeof EXIT | undefined; readonly exitCode: number | undefined } {
  let stoppedBy: keyof typeof EXIT | undefined;
  const on = (signal: keyof typeof EXIT) => (): void => {
    const instead = signal === 'SIGHUP' ? onHangup() : undefined;
    if (instead !== undefined) return instead();
    if (stoppedBy !== undefined) process.exit(EXIT[stoppedBy]);
    stoppedBy = signal;
    abort.abort(new GantryError('CANCELLED', `stopped by ${signal}`, { origin: 'user' }));
  };
  const handlers = (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((signal) => ({ signal, handler: on(signal) }));
  for (const { signal, handler } of handlers) process.on(signal, handler);
  return {
    get stoppedBy() {
      return stoppedBy;
    },
    get exitCode() {
      return stoppedBy && EXIT[stoppedBy];
    },
    [Symbol.dispose]: () => {
      for (const { signal, handler } of handlers) process.off(signal, handler);
    },
  };
}
