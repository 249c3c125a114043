import type { CallOptions } from '../call.ts';
import type { DispatchEvent, RunResult } from '../flow/dispatcher.ts';
import type { ImageNode } from '../flow/handler.ts';
import { LocalDispatcher } from '../flow/local-dispatcher.ts';
import { copyHandler, copyNode } from '../handlers/copy.ts';
import type { Reference } from '../oci/reference.ts';
import { type BlobPlaces, LocalPlaces } from '../remote/places.ts';
import type { Resolver } from '../remote/ports.ts';
import { dispatchPull } from './pull.ts';

/** One image, and what it is to be called. */
export interface CopyPair {
  readonly source: Reference;
  readonly target: Reference;
}

export interface CopyRequest {
  readonly pairs: readonly CopyPair[];
  /** What formatSelection says. */
  readonly selection: string;
  readonly concurrency: number;
}

export interface CopyImagesOptions extends CallOptions {
  readonly onEvent?: (event: DispatchEvent) => void;
  /** What is believed of the targets; nothing unless given. */
  readonly places?: BlobPlaces;
  /** Called when all images are done: makes what was written to archives appear. */
  readonly commit?: (opts: CallOptions) => Promise<void>;
}

/** For fewer images it is cheaper to ask for each tag that may belong to them. */
const LISTS_FROM = 8;

/** Copies images in this process. Failures are in the result; an abort gives a result, too. */
export async function copyImages(
  resolver: Resolver,
  request: CopyRequest,
  opts: CopyImagesOptions,
): Promise<RunResult> {
  const { places = new LocalPlaces() } = opts;
  const listsTags = request.pairs.length >= LISTS_FROM;
  const handler = copyHandler({ resolver, places, isAlone: true, listsTags });
  const dispatcher = new LocalDispatcher({ handler, concurrency: request.concurrency });
  const result = await dispatchPull(dispatcher, copyRoots(request), opts);
  if (result.images.every(({ state }) => state === 'done')) await opts.commit?.({ signal: opts.signal });
  return result;
}

export const copyRoots = ({ pairs, selection }: Pick<CopyRequest, 'pairs' | 'selection'>): ImageNode[] =>
  pairs.map(({ source, target }) => copyNode({ source, target: target.repository, tag: target.tag, selection }));
