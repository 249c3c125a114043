/** From what rules come to, to the roots of a run. */
import { asGantryError } from '../../errors.ts';
import type { ImageNode } from '../../flow/handler.ts';
import { copyNode } from '../../handlers/copy.ts';
import { formatSelection } from '../../handlers/copy-selection.ts';
import { backupName } from '../../mirror/plan/backup.ts';
import { selectionOf } from '../../mirror/plan/selection.ts';
import type { PlannedImage, PlannedRule } from '../../mirror/plan/types.ts';
import { parseReference } from '../../oci/reference.ts';
import { failureOf, type MirrorImage } from './outcome.ts';

/** One image to compare or to copy. */
export interface JobItem {
  /** `sync.0` */
  readonly rule: string;
  readonly root: ImageNode;
}

export interface Job {
  readonly items: readonly JobItem[];
  /** What is known without asking: tags that were dropped, images that never change, images that must be left alone. */
  readonly settled: readonly MirrorImage[];
}

export function jobOf(rules: readonly PlannedRule[]): Job {
  const items: JobItem[] = [];
  const settled: MirrorImage[] = [];
  for (const { rule, repositories } of rules) {
    for (const { source, selection, images } of repositories) {
      for (const { tag, filter, why } of selection?.dropped ?? []) {
        settled.push({ rule: rule.id, source: `${source}:${tag}`, outcome: 'skipped', filter, why });
      }
      if (images.length === 0) continue;
      const text = formatSelection(selectionOf(rule));
      for (const image of images) {
        const known = settledOf(image, text) ?? itemOrFailure(image, text);
        if ('root' in known) items.push(known);
        else settled.push(known);
      }
    }
  }
  return { items, settled };
}

function itemOrFailure(image: PlannedImage, selection: string): JobItem | MirrorImage {
  const { rule, source, target, tag } = image;
  try {
    const backup = tag === undefined ? undefined : backupName(rule, target, tag);
    return { rule: rule.id, root: copyNode({ source, target, tag, selection, backup }) };
  } catch (err) {
    return { ...namesOf(image, selection), outcome: 'failed', error: failureOf(asGantryError(err)) };
  }
}

function settledOf(image: PlannedImage, selection: string): MirrorImage | undefined {
  const { isImmutable, clash } = image;
  if (clash !== undefined) return { ...namesOf(image, selection), outcome: 'failed', error: failureOf(clash) };
  return isImmutable ? { ...namesOf(image, selection), outcome: 'immutable' } : undefined;
}

const namesOf = ({ rule, source, target, tag }: PlannedImage, selection: string) => ({
  rule: rule.id,
  source: source.name,
  target,
  ...(tag === undefined ? {} : { tag }),
  selection,
});

/** An image that is known by its names alone, as a report or a plan has it. @throws GantryError INVALID for a reference */
export function itemOf(image: Omit<MirrorImage, 'outcome'>): JobItem {
  const { rule, source, target = '', tag, selection = '', backup } = image;
  return { rule, root: copyNode({ source: parseReference(source), target, tag, selection, backup }) };
}
