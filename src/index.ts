/** The public surface of gantry as a library, by name. Everything else may change without notice. */
export { type ByteStream, type CallOptions, type OpenOptions, lockBackoffMs } from './call.ts';
export {
  ERROR_POLICY,
  type ErrorCode,
  type ErrorOrigin,
  exitCodeOf,
  GantryError,
  isCode,
  retryClass,
  type RetryClass,
} from './errors.ts';

export { chainId, chainIds } from './oci/chain-id.ts';
export { type ExecutionConfig, type ImageConfig, parseImageConfig } from './oci/config.ts';
export type { Descriptor, Platform } from './oci/descriptor.ts';
export {
  type Algorithm,
  algorithmOf,
  type Digest,
  Digester,
  digestOf,
  hexOf,
  isDigest,
  parseDigest,
} from './oci/digest.ts';
export {
  childrenOf,
  descriptorToJson,
  type ImageIndex,
  type ImageManifest,
  type Manifest,
  type ManifestChild,
  MAX_CHILDREN,
  MAX_MANIFEST_BYTES,
  parseDescriptor,
  parseManifest,
} from './oci/manifest.ts';
export {
  isConfigType,
  isIndexType,
  isLayerType,
  isManifestType,
  isNonDistributable,
  MANIFEST_ACCEPT,
} from './oci/media-types.ts';
export {
  formatPlatform,
  hostPlatform,
  matchAll,
  matchAny,
  matchPlatform,
  matchPlatformStrict,
  normalizePlatform,
  parseMatcher,
  parsePlatform,
  type PlatformMatcher,
  selectManifests,
} from './oci/platform.ts';
export { refKey } from './oci/ref-key.ts';
export { parseLocation } from './oci/location.ts';
export { parseReference, parseRepository, type Reference, type Repository, withObject } from './oci/reference.ts';

export { fill } from './content/fill.ts';
export type {
  Collected,
  Collector,
  CollectOptions,
  ContentInfo,
  ContentManager,
  ContentWriter,
  ImageNames,
  ImageRecord,
  InfoProvider,
  Ingest,
  Ingester,
  IngestManager,
  IngestRequest,
  IngestStatus,
  Mark,
  Provider,
} from './content/ports.ts';
export { readContent } from './content/read.ts';

export { type Challenge, parseChallenges } from './remote/challenge.ts';
export { type BlobPlaces, LocalPlaces, type Place } from './remote/places.ts';
export type {
  ContentKind,
  ContentSource,
  Fetcher,
  Pusher,
  PushOptions,
  RepositoryLists,
  Resolved,
  Resolver,
} from './remote/ports.ts';
export { parseRetryAfter } from './remote/registry-errors.ts';
export { type ResolverEntry, ResolverTable } from './remote/resolvers.ts';

export type {
  Dispatcher,
  DispatchEvent,
  DispatchOptions,
  ImageResult,
  ImageState,
  Run,
  RunResult,
} from './flow/dispatcher.ts';
export {
  type Child,
  childNode,
  type ContentNode,
  type Handler,
  type HandlerContext,
  type ImageNode,
  type Middleware,
  type Node,
  nodeKey,
  type NodeEvent,
  type NodeScope,
  type Settled,
  type SettleContext,
  type Visit,
} from './flow/handler.ts';
export { LocalDispatcher, type LocalDispatcherOptions } from './flow/local-dispatcher.ts';
export { sequence } from './flow/sequence.ts';
export { DEFAULT_LIMITS, type GraphLimits } from './flow/step.ts';
export { dispatch, rootNode, walk } from './flow/walk.ts';

export { childrenHandler } from './handlers/children.ts';
export { copyHandler, copyNode, type CopyParts } from './handlers/copy.ts';
export { type CopySelection, formatSelection, parseSelection } from './handlers/copy-selection.ts';
export { fetchHandler, type FetchParts } from './handlers/fetch.ts';
export { contentBelow, neededContent } from './handlers/needed.ts';
export { filterPlatforms } from './handlers/platform.ts';
export { imageNode, pullHandler, type PullParts } from './handlers/pull.ts';

export { RegistryClient, type RegistryClientOptions } from './registry/client.ts';
export { Secret } from './secret.ts';
export { ContentStore, type ContentStoreOptions } from './store/content-store.ts';

export { type Archives, openArchives } from './archive/archives.ts';

export { copyImages, type CopyPair, type CopyRequest } from './app/copy.ts';
export { pull, type PullPorts, type PullRequest } from './app/pull.ts';
