import { GantryError } from '../errors.ts';

const AGAIN_AFTER_MS = 60_000;

/** Tells what nobody waits for the answer to; the same thing once a minute at most. */
export class Problems {
  readonly #told = new Set<string>();
  readonly #tell: (problem: GantryError) => void;

  constructor(tell: (problem: GantryError) => void) {
    this.#tell = tell;
  }

  /** Whatever was thrown: an error without a code is one of the client of Redis. */
  thrown(err: unknown): void {
    const message = err instanceof Error ? err.message : String(err);
    this.once(
      message,
      err instanceof GantryError ? err : new GantryError('UPSTREAM', `redis: ${message}`, { cause: err }),
    );
  }

  once(key: string, problem: GantryError): void {
    if (this.#told.has(key)) return;
    this.#told.add(key);
    setTimeout(() => this.#told.delete(key), AGAIN_AFTER_MS).unref();
    this.#tell(problem);
  }
}
