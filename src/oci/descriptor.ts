import type { Digest } from './digest.ts';

/** What an index says about the machine that an entry is for (image-spec, image-index.md). */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  readonly osVersion?: string;
  readonly osFeatures?: readonly string[];
}

/**
 * The one noun that moves through gantry: what some content is, and how much of it (image-spec, descriptor.md).
 * `size` is in bytes.
 */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly platform?: Platform;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly artifactType?: string;
  /** Other places that serve the content. Never followed with credentials. */
  readonly urls?: readonly string[];
}
