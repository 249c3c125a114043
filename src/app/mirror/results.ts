/** From what a dispatcher tells to what became of each image. */
import type { DispatchEvent, DispatchOptions, ImageResult, RunResult } from '../../flow/dispatcher.ts';
import { type ImageNode, type Node, type NodeEvent, nodeKey } from '../../flow/handler.ts';
import type { JobItem } from './job.ts';
import { failureOf, type MirrorImage, type Outcome } from './outcome.ts';

type Resolved = Extract<NodeEvent, { kind: 'resolved' }>;

/** What was heard of images while they were looked at. On a farm not all of it comes here. */
export class Heard {
  readonly #resolved = new Map<string, Resolved>();

  /** Listens, and passes all on. */
  listen(onEvent: DispatchOptions['onEvent']): (event: DispatchEvent) => void {
    return (event) => {
      if (event.kind === 'node' && event.event.kind === 'resolved')
        this.#resolved.set(nodeKey(event.node), event.event);
      onEvent?.(event);
    };
  }

  about(root: Node): Resolved | undefined {
    return this.#resolved.get(nodeKey(root));
  }
}

/** The images of a run, in the order of its items. */
export function imagesOf(
  items: readonly JobItem[],
  { images }: RunResult,
  heard: Heard,
  outcomeOf: (result: ImageResult) => Outcome,
): MirrorImage[] {
  const counted = new Set<string>();
  return items.flatMap((item, i) => {
    const result = images[i];
    if (result === undefined) return [];
    const key = nodeKey(item.root);
    // Two rules may want the same: it was copied once.
    const moved = counted.has(key) ? { bytes: 0, mounted: 0 } : {};
    counted.add(key);
    return [{ ...imageOf(item, result, heard, outcomeOf), ...moved }];
  });
}

function imageOf(
  { rule, root }: JobItem,
  result: ImageResult,
  heard: Heard,
  outcomeOf: (result: ImageResult) => Outcome,
): MirrorImage {
  const { state, desc, error, skipped, bytes, mounted, tookMs } = result;
  const was = heard.about(root)?.was;
  return {
    ...namesOf(rule, root),
    outcome: state !== 'done' ? state : skipped === undefined ? outcomeOf(result) : 'skipped',
    ...(skipped === undefined ? {} : { why: skipped }),
    ...(desc === undefined ? {} : { digest: desc.digest }),
    ...(was === undefined ? {} : { was }),
    ...(error === undefined ? {} : { error: failureOf(error) }),
    bytes,
    mounted,
    seconds: Math.round(tookMs) / 1000,
  };
}

export const namesOf = (rule: string, { name, target, tag, selection, backup }: ImageNode) => ({
  rule,
  source: name,
  target,
  ...(tag === undefined ? {} : { tag }),
  selection,
  ...(backup === undefined ? {} : { backup }),
});
