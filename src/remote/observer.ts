/** What a registry client tells while it works: for metrics, and for nothing that matters. No method may throw. */
import type { ErrorCode } from '../errors.ts';

/** What a request is about; `manifests` with GET is what Docker Hub counts, `lists` are of tags, referrers and repositories. */
export type RequestKind = 'manifests' | 'blobs' | 'lists' | 'other';

export interface RegistryObserver {
  /** A request was answered, or failed: `status` is that of the answer. `registry` is the one asked for, not the mirror. */
  request(registry: string, method: string, status: number | 'error', seconds: number, kind: RequestKind): void;
  /** Bytes of bodies. */
  bytes(registry: string, direction: 'in' | 'out', count: number): void;
  /** Something is tried again because of this. */
  retry(registry: string, reason: ErrorCode): void;
  /** A registry told its limit (`RateLimit-*`). */
  rateLimit(registry: string, limit: number, remaining: number): void;
  /** A body that sent nothing for too long, or too little. */
  stall(registry: string): void;
}
