/** What the parts of the client ask of it: requests to a registry, whichever host answers them. */
import type { CallOptions } from '../call.ts';
import type { Refusal } from '../remote/registry-errors.ts';
import type { Capability } from './hosts.ts';
import type { HttpRequest, HttpResponse } from './transport.ts';

/** One request to whichever host serves a registry. */
export interface RegistryRequest {
  readonly method: HttpRequest['method'];
  readonly registry: string;
  /** `library/redis`; empty for the registry as a whole. */
  readonly path: string;
  /** Below the repository: `manifests/latest`, `tags/list?n=100`. */
  readonly object: string;
  /** In the place of registry, path and object: where the registry said that an upload goes on. */
  readonly at?: URL;
  readonly body?: HttpRequest['body'];
  /** A second repository that has to be read for it: a blob is mounted from there. */
  readonly from?: string | undefined;
  /** Only the registry itself is asked, no mirror of it. */
  readonly isOwn?: boolean;
  /** False: a try that fails is for the caller to judge. */
  readonly retry?: boolean;
  /** Its sender holds a place at the registry, and makes one request after the other. */
  readonly hasPlace?: boolean;
  readonly capability: Capability;
  readonly headers: Readonly<Record<string, string>>;
  /** Statuses that are answers; every other is an error. */
  readonly expect: readonly number[];
  /** For messages, as a noun phrase. */
  readonly what: string;
  /** The content that it is about. */
  readonly digest?: string | undefined;
}

export interface RegistryResponse extends HttpResponse {
  /** Reads what the registry says is wrong, for statuses that are answers. What it was sent in confidence is not in it. */
  refusal(): Promise<Refusal>;
}

export interface RegistryRequests {
  /** Answers when the headers are here. The body must be read or disposed; until then it takes one of the registry's places. */
  request(request: RegistryRequest, opts: CallOptions): Promise<RegistryResponse>;
  /** The same with a small body, whose reading is a part of each try. @throws GantryError TOO_LARGE beyond `limit` bytes */
  read(request: RegistryRequest, limit: number, opts: CallOptions): Promise<{ response: HttpResponse; bytes: Buffer }>;
}

export interface PlaceHolder {
  /** Does work whose requests, all for writing and one after the other, share one of the registry's places. */
  holding<T>(registry: string, work: (client: RegistryRequests) => Promise<T>, opts: CallOptions): Promise<T>;
}
