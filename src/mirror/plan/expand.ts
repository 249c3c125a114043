/** From rules to images. What fails for one rule, or for one repository of it, is told there, and the others go on. */
import type { CallOptions } from '../../call.ts';
import { asGantryError, GantryError } from '../../errors.ts';
import { parseReference, parseRepository, type Reference } from '../../oci/reference.ts';
import type { MirrorRule } from '../file/types.ts';
import { isImmutable, repoSelected, selectTags, type Selection } from '../tags/select.ts';
import { Lists } from './tag-lists.ts';
import type { ListPorts, PlannedImage, PlannedRepository, PlannedRule } from './types.ts';

export interface ExpandOptions extends CallOptions {
  /** Told of each rule's images as soon as they are known. */
  readonly onImages?: (images: readonly PlannedImage[]) => void;
}

/** Answers the rules in their order. An abort becomes the error of what was not listed yet. */
export async function expandRules(
  rules: readonly MirrorRule[],
  ports: ListPorts,
  opts: ExpandOptions,
): Promise<PlannedRule[]> {
  const lists = new Lists(ports, opts);
  const told = async (rule: MirrorRule): Promise<PlannedRule> => {
    const planned = await expandRule(rule, lists);
    for (const { images } of planned.repositories) opts.onImages?.(images);
    return planned;
  };
  return withClashes(await Promise.all(rules.map(told)));
}

async function expandRule(rule: MirrorRule, lists: Lists): Promise<PlannedRule> {
  try {
    switch (rule.type) {
      case 'image':
        return { rule, repositories: [oneImage(rule)], left: [], error: undefined };
      case 'repository':
        return { rule, repositories: [await repositoryOf(rule, named(rule), lists)], left: [], error: undefined };
      case 'registry':
        return await registryOf(rule, lists);
    }
  } catch (err) {
    return { rule, repositories: [], left: [], error: asGantryError(err) };
  }
}

/** A repository of a rule, and where it goes. */
interface Way {
  readonly source: string;
  readonly targets: readonly string[];
}

const named = (rule: MirrorRule): Way => ({
  source: parseRepository(rule.source).repository,
  targets: rule.targets.map((target) => parseRepository(target).repository),
});

function oneImage(rule: MirrorRule): PlannedRepository {
  const source = parseReference(rule.source);
  const targets = rule.targets.map((target) => parseReference(target));
  const images = targets.map(({ repository, tag }) => imageOf(rule, source, repository, tag));
  return {
    source: source.repository,
    targets: targets.map(({ repository }) => repository),
    selection: undefined,
    images,
    error: undefined,
  };
}

const imageOf = (
  rule: MirrorRule,
  source: Reference,
  target: string,
  tag: string | undefined,
  there = false,
): PlannedImage => ({ rule, source, target, tag, isImmutable: there, clash: undefined });

async function registryOf(rule: MirrorRule, lists: Lists): Promise<PlannedRule> {
  // A registry alone is no repository; what it is called in full is known from one of its repositories.
  const { registry } = parseRepository(`${rule.source}/x`);
  const all = await lists.catalog(registry);
  const kept = all.filter((path) => repoSelected(path, rule.repos));
  const wanted = new Set(kept);
  const repositories = await Promise.all(
    kept.map((path) => {
      const targets = rule.targets.map((target) => parseRepository(`${target}/${path}`).repository);
      return repositoryOf(rule, { source: `${registry}/${path}`, targets }, lists);
    }),
  );
  return { rule, repositories, left: all.filter((path) => !wanted.has(path)), error: undefined };
}

async function repositoryOf(rule: MirrorRule, way: Way, lists: Lists): Promise<PlannedRepository> {
  let selection: Selection | undefined;
  try {
    selection = selectTags(await lists.tags(way.source), rule.tags);
    if (selection.refused !== undefined) throw tooFew(way.source, selection.refused);
    return { ...way, selection, images: await imagesOf(rule, way, selection, lists), error: undefined };
  } catch (err) {
    return { ...way, selection, images: [], error: asGantryError(err) };
  }
}

const tooFew = (source: string, refused: string): GantryError =>
  new GantryError('REFUSED', `${source}: ${refused}`, {
    origin: 'source',
    hint: 'nothing of it was copied; if so few are right, lower minTags',
  });

async function imagesOf(
  rule: MirrorRule,
  { source, targets }: Way,
  { kept }: Selection,
  lists: Lists,
): Promise<PlannedImage[]> {
  const { immutable } = rule.tags;
  const fixed = new Set(immutable.length === 0 ? [] : kept.filter((tag) => isImmutable(tag, immutable)));
  const images: PlannedImage[] = [];
  for (const target of targets) {
    const there = fixed.size === 0 ? fixed : await lists.tagsThere(target);
    for (const tag of kept) {
      const isThere = fixed.has(tag) && there.has(tag);
      images.push(imageOf(rule, parseReference(`${source}:${tag}`), target, tag, isThere));
    }
  }
  return images;
}

/** Two rules that write different images under one name would undo each other's work in every run: the first one has it. */
function withClashes(rules: readonly PlannedRule[]): PlannedRule[] {
  const first = new Map<string, PlannedImage>();
  const judged = (image: PlannedImage): PlannedImage => {
    if (image.tag === undefined) return image;
    const name = `${image.target}:${image.tag}`;
    const other = first.get(name);
    if (other === undefined) first.set(name, image);
    if (other === undefined || other.source.name === image.source.name) return image;
    const message = `${name} is what ${other.rule.id} makes of ${other.source.name}, and ${image.rule.id} of ${image.source.name}`;
    const hint = `change the target of one of them (${image.rule.place.file}:${image.rule.place.line})`;
    return { ...image, clash: new GantryError('INVALID', message, { origin: 'user', hint }) };
  };
  return rules.map((rule) => ({
    ...rule,
    repositories: rule.repositories.map((repository) => ({ ...repository, images: repository.images.map(judged) })),
  }));
}
