/** How often a registry may be asked, where that is counted over many processes. */
import type { CallOptions } from '../call.ts';

/** What a registry says about its own limit: `RateLimit-Limit` and `RateLimit-Remaining`. */
export interface RateLimitHeaders {
  readonly limit: number;
  readonly remaining: number;
  /** The window of the limit in milliseconds, where it is told. */
  readonly periodMs: number | undefined;
}

/** Identity is a user name, or `anonymous`; never a secret. */
export interface RequestBudget {
  /**
   * Asks for leave to send one request that registries count: the GET of a manifest.
   * @throws GantryError RATE_LIMITED with `retryAfterMs` when there is none left
   */
  charge(registry: string, identity: string, opts: CallOptions): Promise<void>;
  /** Corrects the account by what the registry says. Must not throw. */
  correct(registry: string, identity: string, headers: RateLimitHeaders): void;
}
