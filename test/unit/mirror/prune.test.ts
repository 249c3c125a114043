import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { GantryError } from '../../../src/errors.ts';
import { goneTags, tooMany } from '../../../src/mirror/prune/gone.ts';
import { prune } from '../../../src/mirror/prune/prune.ts';
import { hasFailed, pruneJson, pruneLine } from '../../../src/mirror/prune/text.ts';
import type { Gone, PruneClaim, PruneMemory, PrunePorts, PruneResult } from '../../../src/mirror/prune/types.ts';
import { type Digest, digestOf } from '../../../src/oci/digest.ts';
import { never } from '../../support/clients.ts';

const DAY = 86_400_000;
const opts = { signal: never };

interface ClaimOptions {
  readonly id?: string;
  readonly listed?: readonly string[] | { readonly unknown: string };
  readonly mode?: 'off' | 'report' | 'delete';
  readonly graceDays?: number;
  readonly allow?: readonly string[];
  readonly semverRange?: readonly string[];
  readonly latest?: number;
  readonly minTags?: number;
  readonly named?: PruneClaim['named'];
}

function claim(options: ClaimOptions = {}): PruneClaim {
  const { id = 'sync.0', listed = ['1', '2'], mode = 'delete', graceDays = 7, named } = options;
  const { allow = [], semverRange = [], latest, minTags } = options;
  return {
    rule: {
      id,
      prune: { mode, graceDays },
      tags: { semverRange, allow, deny: [], latest, sort: 'semver', minTags, immutable: [] },
    },
    source: `source/${id}`,
    listed: 'unknown' in listed ? listed : { tags: listed },
    ...(named === undefined ? {} : { named }),
  };
}

const gone = (target: readonly string[], ...claims: readonly PruneClaim[]): string[] | string => {
  const found = goneTags(target, claims);
  return found.state === 'refused' ? found.why : found.tags.map(({ tag, mayDelete }) => (mayDelete ? tag : `(${tag})`));
};

describe('which tags left their source', () => {
  const signature = `sha256-${'a'.repeat(64)}.sig`;
  const table: readonly [string, readonly string[], readonly PruneClaim[], string[] | string][] = [
    ['those that it does not list any more', ['1', '2', '3'], [claim()], ['3']],
    ['none, when the filters of now would drop them', ['1', '2'], [claim({ allow: ['2'] })], []],
    ['none that the filters never select', ['1', '2', 'mine', '3'], [claim({ allow: ['\\d'] })], ['3']],
    ['none that is no version, for a range', ['1', '2', 'edge', '1.5'], [claim({ semverRange: ['>=1'] })], ['1.5']],
    ['also an old one of the newest', ['1', '2', '0.1', '3'], [claim({ latest: 1 })], ['0.1', '3']],
    [
      'none when the list came back empty',
      ['1'],
      [claim({ listed: [] })],
      'the list of tags of source/sync.0 came back empty',
    ],
    [
      'none when it failed',
      ['1'],
      [claim({ listed: { unknown: '503' } })],
      'the tags of source/sync.0 are not known: 503',
    ],
    [
      'none when fewer are selected than the rule may have',
      ['1', '2', '3'],
      [claim({ minTags: 3 })],
      'of source/sync.0 2 of 2 tags are selected, and tags.minTags is 3',
    ],
    ['no digest tag by itself', ['1', '2', signature], [claim()], []],
    [
      'none that another rule has at its source',
      ['1', '2', '3'],
      [claim(), claim({ id: 'sync.1', listed: ['3'] })],
      [],
    ],
    [
      'none that another rule has at its source and does not select',
      ['1', '2', '3'],
      [claim(), claim({ id: 'sync.1', listed: ['3'], allow: ['x'] })],
      [],
    ],
    [
      'none that a rule owns which does not prune',
      ['3'],
      [claim(), claim({ id: 'sync.1', mode: 'off', listed: ['9'] })],
      [],
    ],
    [
      'those of a rule beside one that does not prune, and owns other tags',
      ['3'],
      [claim(), claim({ id: 'sync.1', mode: 'off', listed: ['9'], allow: ['9'] })],
      ['3'],
    ],
    [
      'none when one of the rules does not know',
      ['3'],
      [claim(), claim({ id: 'sync.1', mode: 'off', listed: { unknown: 'no' } })],
      'the tags of source/sync.1 are not known: no',
    ],
    ['only told where one of the rules reports', ['3'], [claim(), claim({ id: 'sync.1', mode: 'report' })], ['(3)']],
    [
      'the one that an image rule names',
      ['stable', 'other'],
      [claim({ listed: ['2'], named: { sourceTag: '1', tag: 'stable' } })],
      ['stable'],
    ],
    [
      'not the one that an image rule names while its source is there',
      ['stable', 'other'],
      [claim({ listed: ['1'], named: { sourceTag: '1', tag: 'stable' } })],
      [],
    ],
  ];
  for (const [what, target, claims, wanted] of table) {
    test(what, () => assert.deepEqual(gone(target, ...claims), wanted));
  }

  test('the longest grace of the rules that own a tag counts', () => {
    const found = goneTags(['3'], [claim({ graceDays: 2 }), claim({ id: 'sync.1', graceDays: 5 })]);
    assert.deepEqual(found.state === 'known' && found.tags.map(({ graceMs }) => graceMs / DAY), [5]);
  });
});

test('never all tags at once, and never below minTags', () => {
  const signature = `sha256-${'a'.repeat(64)}`;
  assert.equal(tooMany(new Set(), [], [claim()]), undefined);
  assert.equal(tooMany(new Set(['1']), ['1', '2'], [claim()]), undefined);
  assert.match(tooMany(new Set(['1', '2']), ['1', '2', signature], [claim()]) ?? '', /^all 2 tags/);
  const keeping = { ...claim(), isBackup: (tag: string) => tag.endsWith('-old') };
  assert.match(tooMany(new Set(['1']), ['1', '1-old'], [keeping]) ?? '', /^all 1 tags/);
  assert.match(tooMany(new Set(['1']), ['1', '2', '3'], [claim({ minTags: 3 })]) ?? '', /minTags is 3$/);
  assert.equal(tooMany(new Set(['1']), ['1', '2', '3'], [claim({ minTags: 2 })]), undefined);
  assert.match(
    tooMany(new Set(['1']), ['1', '2', 'x'], [claim({ minTags: 2, allow: ['\\d'] })]) ?? '',
    /^1 tags of sync.0 would be left/,
    'what others have there does not count',
  );
});

/** A registry with one repository, and what it was told. */
class Target implements PrunePorts {
  readonly there: Map<string, Digest>;
  readonly below = new Map<string, readonly Digest[]>();
  readonly removed: string[] = [];
  onRemove: ((tag: string) => GantryError | undefined) | undefined;
  offersDeletes = true;
  /** What each source says when it is asked again. */
  sources: () => readonly string[] = () => ['1'];

  constructor(...tags: readonly string[]) {
    this.there = new Map(tags.map((tag) => [tag, digestOf(tag)]));
  }

  async tags() {
    return [...this.there.keys()];
  }

  async sourceTags() {
    return this.sources();
  }

  async lookup(_repository: string, tag: string) {
    return this.there.get(tag);
  }

  async contents(_repository: string, tag: string) {
    const own = this.there.get(tag);
    return [...(own === undefined ? [] : [own]), ...(this.below.get(tag) ?? [])];
  }

  async remove(_repository: string, tag: string) {
    const err = this.onRemove?.(tag);
    if (err !== undefined) throw err;
    if (!this.offersDeletes) return { state: 'unsupported', why: 'it does not' } as const;
    this.removed.push(tag);
    return this.there.delete(tag) ? ({ state: 'deleted' } as const) : ({ state: 'absent' } as const);
  }
}

class Memory implements PruneMemory {
  kept: ReadonlyMap<string, Gone> = new Map();
  writes = 0;

  async read() {
    return this.kept;
  }

  async write(_repository: string, kept: ReadonlyMap<string, Gone>) {
    this.writes += 1;
    this.kept = kept;
  }
}

async function run(
  target: Target,
  memory: Memory | undefined,
  atDays: number,
  more: { claims?: readonly PruneClaim[]; isDryRun?: boolean } = {},
): Promise<PruneResult> {
  const { claims = [claim()], isDryRun = false } = more;
  const parts = { ports: target, memory, isDryRun, now: () => atDays * DAY };
  const [result] = await prune(parts, [{ repository: 'r', claims }], opts);
  assert.ok(result);
  return result;
}

const states = ({ tags }: PruneResult): string[] => tags.map(({ tag, state }) => `${tag} ${state}`);

test('a source is asked again before anything is deleted', async () => {
  const claims = [claim({ graceDays: 0 })];
  const back = new Target('1', '2', '3');
  back.sources = () => ['3'];
  await run(back, undefined, 1, { claims });
  assert.deepEqual(back.removed, [], 'it came back while images were copied');
  let asked = 0;
  const shared = new Target('1', '2', '3');
  shared.sources = () => {
    asked += 1;
    return ['1'];
  };
  const [one] = claims;
  assert.ok(one);
  await run(shared, undefined, 1, { claims: [one, { ...one, rule: { ...one.rule, id: 'sync.1' } }] });
  assert.deepEqual([shared.removed, asked], [['3'], 1], 'two rules of one source ask it once');
  const empty = new Target('1', '2', '3');
  empty.sources = () => [];
  assert.match((await run(empty, undefined, 1, { claims })).refused ?? '', /came back empty$/);
  const failing = new Target('1', '2', '3');
  failing.sources = () => {
    throw new GantryError('UPSTREAM', 'it answered 503');
  };
  assert.match((await run(failing, undefined, 1, { claims })).refused ?? '', /it answered 503$/);
  assert.deepEqual([...empty.removed, ...failing.removed], []);
});

test('a tag is deleted when it was gone for all days of grace, and not before', async () => {
  const [target, memory] = [new Target('1', '2', '3'), new Memory()];
  assert.deepEqual(states(await run(target, memory, 100)), ['3 waiting']);
  assert.deepEqual(states(await run(target, memory, 106.9)), ['3 waiting']);
  assert.equal(memory.writes, 1, 'nothing new is not written');
  const last = await run(target, memory, 107);
  assert.deepEqual([states(last), target.removed], [['3 deleted'], ['3']]);
  assert.equal(memory.kept.size, 0);
  assert.deepEqual(states(await run(target, memory, 108)), []);
});

test('a tag that came back starts anew', async () => {
  const [target, memory] = [new Target('1', '2', '3'), new Memory()];
  await run(target, memory, 100);
  await run(target, memory, 103, { claims: [claim({ listed: ['1', '2', '3'] })] });
  assert.equal(memory.kept.size, 0);
  assert.deepEqual(states(await run(target, memory, 108)), ['3 waiting']);
});

test('a tag that means something else by now starts anew', async () => {
  const [target, memory] = [new Target('1', '2', '3'), new Memory()];
  await run(target, memory, 100);
  target.there.set('3', digestOf('another'));
  assert.deepEqual(states(await run(target, memory, 108)), ['3 waiting']);
});

test('a list that failed forgets nothing', async () => {
  const [target, memory] = [new Target('1', '2', '3'), new Memory()];
  await run(target, memory, 100);
  const failed = await run(target, memory, 108, { claims: [claim({ listed: [] })] });
  assert.deepEqual([states(failed), target.removed], [[], []]);
  assert.deepEqual(states(await run(target, memory, 109)), ['3 deleted']);
});

test('what is written between look and deletion stays', async () => {
  const [target, memory] = [new Target('1', '2', '3', '4'), new Memory()];
  await run(target, memory, 100);
  target.onRemove = () => {
    target.there.set('4', digestOf('pushed meanwhile'));
    return undefined;
  };
  assert.deepEqual(states(await run(target, memory, 108)), ['3 deleted', '4 changed']);
  assert.deepEqual(target.removed, ['3']);
});

test('without a memory nothing with days of grace is deleted', async () => {
  const target = new Target('1', '2', '3');
  assert.deepEqual(states(await run(target, undefined, 100)), ['3 reported']);
  assert.deepEqual(states(await run(target, undefined, 100, { claims: [claim({ graceDays: 0 })] })), ['3 deleted']);
});

test('a rule that reports never deletes', async () => {
  const [target, memory] = [new Target('1', '2', '3'), new Memory()];
  const claims = [claim({ mode: 'report', graceDays: 0 })];
  await run(target, memory, 100, { claims });
  assert.deepEqual(states(await run(target, memory, 200, { claims })), ['3 reported']);
  assert.deepEqual(target.removed, []);
});

test('a look deletes nothing and remembers nothing', async () => {
  const [target, memory] = [new Target('1', '2', '3', '4'), new Memory()];
  memory.kept = new Map([['3', { digest: digestOf('3'), since: 90 * DAY }]]);
  assert.deepEqual(states(await run(target, memory, 100, { isDryRun: true })), ['3 due', '4 waiting']);
  assert.deepEqual([memory.writes, target.removed], [0, []]);
});

test('when all tags would go none does', async () => {
  const [target, memory] = [new Target('3', '4'), new Memory()];
  await run(target, memory, 100);
  const { refused, tags } = await run(target, memory, 108);
  assert.match(refused ?? '', /^all 2 tags/);
  assert.deepEqual([tags.map(({ state }) => state), target.removed], [['reported', 'reported'], []]);
});

const tagOf = (digest: Digest, suffix = '.sig'): string => `${digest.replace(':', '-')}${suffix}`;

test('signatures go with their image, and stay while another tag leads to it', async () => {
  const [three, child] = [digestOf('3'), digestOf('child')];
  const target = new Target('1', '2', '3', '4', tagOf(three), tagOf(three, ''), tagOf(child), tagOf(digestOf('4')));
  target.below.set('3', [child]);
  target.below.set('2', [digestOf('4')]);
  const result = await run(target, undefined, 100, { claims: [claim({ graceDays: 0 })] });
  assert.deepEqual(target.removed, ['3', '4', tagOf(three), tagOf(three, ''), tagOf(child)]);
  assert.equal(result.tags.length, 5);
  assert.ok(target.there.has(tagOf(digestOf('4'))), 'the index of another tag lists what it signs');
});

test('a signature that the source has stays', async () => {
  const target = new Target('1', '2', '3', tagOf(digestOf('3')));
  await run(target, undefined, 1, { claims: [claim({ graceDays: 0, listed: ['1', '2', tagOf(digestOf('3'))] })] });
  assert.deepEqual(target.removed, ['3']);
});

test('one that cannot be deleted stops no other, and is tried again', async () => {
  const [target, memory] = [new Target('1', '2', '3', '4'), new Memory()];
  await run(target, memory, 100);
  target.onRemove = (tag) => (tag === '3' ? new GantryError('DENIED', 'you may not', { origin: 'target' }) : undefined);
  const result = await run(target, memory, 108);
  assert.deepEqual(states(result), ['3 failed', '4 deleted']);
  assert.ok(hasFailed(result));
  target.onRemove = undefined;
  assert.deepEqual(states(await run(target, memory, 108)), ['3 deleted']);
});

test('a registry that does not delete is told of', async () => {
  const target = new Target('1', '2', '3');
  target.offersDeletes = false;
  const result = await run(target, undefined, 100, { claims: [claim({ graceDays: 0 })] });
  assert.deepEqual([states(result), hasFailed(result)], [['3 unsupported'], false]);
});

test('a repository that fails stops no other', async () => {
  class Failing extends Target {
    override async tags(repository?: string) {
      if (repository === 'bad') throw new GantryError('UPSTREAM', 'bad answered 503');
      return super.tags();
    }
  }
  const parts = { memory: undefined, isDryRun: false, ports: new Failing('1', '2', '3') };
  const claims = [claim({ graceDays: 0 })];
  const targets = ['bad', 'good'].map((repository) => ({ repository, claims }));
  const seen: string[] = [];
  const results = await prune(parts, targets, { ...opts, onResult: ({ repository }) => seen.push(repository) });
  assert.deepEqual(
    results.map(({ error, tags: told }) => [error?.code, told.length]),
    [
      ['UPSTREAM', 0],
      [undefined, 1],
    ],
  );
  assert.deepEqual(seen.toSorted(), ['bad', 'good']);
});

test('a line tells what became of each tag, the most telling first', async () => {
  const [target, memory] = [new Target('1', '2', '1.2.3', '1.2.4'), new Memory()];
  memory.kept = new Map([['1.2.4', { digest: digestOf('1.2.4'), since: 92 * DAY }]]);
  const result = await run(target, memory, 100);
  assert.equal(
    pruneLine(result),
    'prune: r: 2 tags left the source: 1.2.4 (gone 8 d, deleted), 1.2.3 (gone less than 1 h, kept for another 7 d)',
  );
  const [first] = pruneJson(result).tags;
  assert.deepEqual(
    { ...first, digest: '' },
    { tag: '1.2.3', digest: '', state: 'waiting', goneSeconds: 0, dueInSeconds: 604_800 },
  );
  assert.equal(pruneLine(await run(new Target('1', '2'), memory, 100)), undefined);
  const many = await run(new Target('1', '2', ...Array.from({ length: 30 }, (_, i) => `x${i}`)), new Memory(), 1);
  assert.match(pruneLine(many) ?? '', /: 30 tags left .*, and 10 more$/);
  const empty = await run(new Target('1'), memory, 100, { claims: [claim({ listed: [] })] });
  assert.equal(pruneLine(empty), 'prune: r: nothing is deleted: the list of tags of source/sync.0 came back empty');
});
