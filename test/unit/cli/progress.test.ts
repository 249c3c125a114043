import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Cli } from '../../../src/cli/cli.ts';
import { heartbeatLine, rowLine } from '../../../src/cli/progress/lines.ts';
import { ProgressModel, type RowState } from '../../../src/cli/progress/model.ts';
import { openProgress, type ProgressMode } from '../../../src/cli/progress/progress.ts';
import { Screen } from '../../../src/cli/progress/screen.ts';
import { GantryError } from '../../../src/errors.ts';
import type { DispatchEvent, ImageState } from '../../../src/flow/dispatcher.ts';
import { type ContentNode, type ImageNode, type NodeEvent } from '../../../src/flow/handler.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { OCI_LAYER_GZIP } from '../../../src/oci/media-types.ts';

const MIB = 1 << 20;
const ESC = '\u001b';
const scope = { source: 'a.example/app', target: 'store', selection: '' };
const root = (name: string): ImageNode => ({ ...scope, kind: 'image', name });
const layer = (name: string, size = MIB): ContentNode => ({
  ...scope,
  kind: 'blob',
  desc: { mediaType: OCI_LAYER_GZIP, digest: digestOf(name), size },
});
const said = (node: ContentNode, event: NodeEvent): DispatchEvent => ({ kind: 'node', node, event });
const added = (node: ContentNode): DispatchEvent => ({ kind: 'added', node });
const ended = (name: string, state: ImageState, error?: GantryError): DispatchEvent => ({
  kind: 'image',
  result: {
    root: root(name),
    state,
    desc: state === 'done' ? layer(name).desc : undefined,
    error,
    isEqual: false,
    bytes: 0,
    mounted: 0,
    tookMs: 0,
  },
});

/** A terminal that keeps each write as a frame. */
class Terminal {
  rows = 24;
  columns = 80;
  isTTY = true;
  readonly frames: string[] = [];
  write(text: string): boolean {
    this.frames.push(text);
    return true;
  }
  /** The lines of a frame, without what moves the cursor. */
  lines(frame = this.frames.at(-1) ?? ''): string[] {
    return frame
      .replaceAll(new RegExp(`${ESC}\\[\\d*[A-Z]|\\r`, 'g'), '')
      .split('\n')
      .slice(0, -1);
  }
  /** How far up the last frame started. */
  get up(): number {
    return Number(new RegExp(`^${ESC}\\[(\\d+)A`).exec(this.frames.at(-1) ?? '')?.[1] ?? 0);
  }
}

test('a row shows ref key, state, bar and bytes', () => {
  const ref = `layer-${digestOf('x')}`;
  const short = ref.slice(0, 'layer-sha256:'.length + 12).padEnd(28);
  const line = (state: RowState, offset: number, total = 4 * MIB): string => rowLine({ ref, state, offset, total });
  assert.equal(line('waiting', 0), `${short} waiting     |----------------------------|`);
  assert.equal(line('downloading', MIB), `${short} downloading |+++++++---------------------| 1.0 / 4.0 MiB`);
  assert.equal(line('downloading', 1000), `${short} downloading |----------------------------| 1000 B / 4.0 MiB`);
  assert.equal(line('done', 4 * MIB), `${short} done        |++++++++++++++++++++++++++++|    4.0 MiB`);
  assert.equal(line('exists', 0, 0), `${short} exists      |++++++++++++++++++++++++++++|        0 B`);
});

test('bytes that an earlier attempt has left are here, but not transferred', () => {
  const model = new ProgressModel(1);
  const node = layer('resumed', 100);
  model.apply(added(node));
  model.apply(said(node, { kind: 'progress', offset: 40 }));
  assert.deepEqual([model.here, model.transferred, model.known], [40, 0, 100]);
  model.apply(said(node, { kind: 'progress', offset: 100 }));
  model.apply(said(node, { kind: 'fetched', bytes: 60 }));
  assert.deepEqual([model.here, model.transferred, model.known], [100, 60, 100]);
});

test('what a transfer on a farm has not reported counts when it has ended', () => {
  const model = new ProgressModel(1);
  const [fresh, resumed] = [layer('fresh', 100), layer('resumed', 100)];
  model.apply(said(fresh, { kind: 'progress', offset: 0 }));
  model.apply(said(fresh, { kind: 'fetched', bytes: 100 }));
  model.apply(said(resumed, { kind: 'fetched', bytes: 60 }));
  assert.deepEqual([model.here, model.transferred, model.known], [200, 160, 200]);
});

test('content of several images is one row and counts once', () => {
  const model = new ProgressModel(2);
  for (const source of ['a.example/app', 'b.example/app']) {
    const node = { ...layer('shared', 100), source };
    model.apply(added(node));
    model.apply(said(node, { kind: 'present' }));
  }
  assert.deepEqual([model.rows.size, model.here, model.known], [1, 100, 100]);
});

test('a transfer that starts anew from zero takes back what it had', () => {
  const model = new ProgressModel(1);
  const node = layer('again', 100);
  for (const offset of [0, 80, 0, 100]) model.apply(said(node, { kind: 'progress', offset }));
  assert.deepEqual([model.here, model.known], [100, 100]);
});

test('sixty blobs in a terminal of twenty lines: those that move are shown, in the order in which they came', () => {
  const out = new Terminal();
  out.rows = 20;
  const model = new ProgressModel(1);
  const screen = new Screen(out, model);
  const nodes = Array.from({ length: 60 }, (_, i) => layer(`blob ${i}`));
  for (const node of nodes) model.apply(added(node));
  for (const node of nodes.slice(0, 30)) model.apply(said(node, { kind: 'present' }));
  for (const node of nodes.slice(40, 45)) model.apply(said(node, { kind: 'progress', offset: 1000 }));
  screen.end(['the end']);
  const lines = out.lines();
  assert.equal(lines.length, 19);
  assert.equal(lines.at(-1), 'the end');
  const shown = lines
    .slice(0, -1)
    .map((line) => nodes.findIndex((node) => line.includes(node.desc.digest.slice(7, 19))));
  assert.deepEqual(
    shown.toSorted((a, b) => a - b),
    shown,
    'in order',
  );
  assert.deepEqual(
    shown.filter((i) => i >= 40 && i < 45),
    [40, 41, 42, 43, 44],
  );
  assert.ok(!shown.some((i) => i < 30), 'what has ended makes room');
});

function ticking(t: TestContext): () => void {
  t.mock.timers.enable({ apis: ['setInterval'] });
  return () => t.mock.timers.tick(100);
}

test('a frame is drawn over the one before, and lines that are printed stay above it', (t) => {
  const tick = ticking(t);
  const out = new Terminal();
  const model = new ProgressModel(1);
  const screen = new Screen(out, model);
  model.apply(added(layer('a')));
  model.apply(added(layer('b')));
  tick();
  assert.deepEqual([out.up, out.lines().length], [0, 3]);
  screen.print('news');
  tick();
  assert.deepEqual([out.up, out.lines().length, out.lines()[0]], [3, 4, 'news']);
  tick();
  assert.deepEqual([out.up, out.lines().length], [3, 3], 'the news is not printed again');
  screen.end([]);
  assert.equal(out.frames.length, 4);
  tick();
  assert.equal(out.frames.length, 4, 'nothing comes after the end');
});

test('a terminal that gets narrower has wrapped the last frame: the next one starts as much higher', (t) => {
  const tick = ticking(t);
  const out = new Terminal();
  const model = new ProgressModel(1);
  const screen = new Screen(out, model);
  model.apply(added(layer('a')));
  model.apply(said(layer('a'), { kind: 'progress', offset: 1000 }));
  tick();
  const before = out.lines();
  out.columns = 40;
  tick();
  assert.equal(
    out.up,
    before.reduce((sum, line) => sum + Math.ceil(line.length / 40), 0),
  );
  assert.ok(out.up > before.length);
  assert.ok(
    out.lines().every((line) => line.length < 40),
    'no line wraps',
  );
  screen.end([]);
});

interface Shown {
  readonly cli: Cli;
  readonly out: Terminal;
  readonly log: string[];
}

function fakeCli(env: Record<string, string> = {}, isTTY = true): Shown {
  const out = new Terminal();
  out.isTTY = isTTY;
  const log: string[] = [];
  const { stdin, stdout } = process;
  // Of a terminal only what is written above is asked.
  const stderr: NodeJS.WriteStream = Object.create(out);
  const cli = { signal: new AbortController().signal, env, stdin, stdout, exitCode: 0, verbose: false };
  return { cli: { ...cli, stderr, log: (line) => void log.push(line) }, out, log };
}

test('rows are drawn on a terminal that can, and for people who watch', () => {
  const cases: readonly (readonly [env: Record<string, string>, isTTY: boolean, rows: boolean])[] = [
    [{ TERM: 'xterm' }, true, true],
    [{ TERM: 'xterm' }, false, false],
    [{ TERM: 'dumb' }, true, false],
    [{ TERM: 'xterm', CI: 'true' }, true, false],
    [{ TERM: 'xterm', CI: '1' }, true, false],
    [{ TERM: 'xterm', CI: 'false' }, true, true],
    [{ TERM: 'xterm', CI: '' }, true, true],
    [{ TERM: 'xterm', NO_COLOR: '1' }, true, true],
  ];
  for (const [env, isTTY, rows] of cases) {
    const { cli, out } = fakeCli(env, isTTY);
    const progress = openProgress(cli, 'auto', 1);
    progress.onEvent(added(layer('a')));
    progress[Symbol.dispose]();
    assert.equal(out.frames.length > 0, rows, JSON.stringify([env, isTTY]));
  }
});

test('no frame has a colour', () => {
  const { cli, out } = fakeCli();
  const progress = openProgress(cli, 'tty', 1);
  progress.onEvent(said(layer('a'), { kind: 'progress', offset: 10 }));
  progress[Symbol.dispose]();
  assert.doesNotMatch(out.frames.join(''), new RegExp(`${ESC}\\[[\\d;]*m`));
});

function logOf(mode: ProgressMode, images: number, events: readonly DispatchEvent[]): string[] {
  const { cli, log } = fakeCli();
  const progress = openProgress(cli, mode, images);
  for (const event of events) progress.onEvent(event);
  progress[Symbol.dispose]();
  return log;
}

const gone = new GantryError('NOT_FOUND', 'it is gone', { hint: 'look elsewhere' });

test('without a terminal there is a line for each image that ends, and one at the end', () => {
  const lines = logOf('plain', 3, [ended('a', 'done'), ended('b', 'failed', gone), ended('c', 'cancelled')]);
  assert.match(lines[0] ?? '', /^a: done sha256:[0-9a-f]{64} \(1\/3, 0 B, 0\.0 s\)$/);
  assert.match(lines[1] ?? '', /^b: failed: it is gone \(look elsewhere\) \(2\/3, 0 B, 0\.0 s\)$/);
  assert.match(lines[2] ?? '', /^elapsed: 0\.0 s {2}total: 0 B \(0 B\/s\)$/);
  assert.equal(lines.length, 3);
});

test('of one image that failed progress says nothing: its error comes at the end', () => {
  assert.deepEqual(logOf('plain', 1, [ended('a', 'failed', gone)]), []);
  assert.deepEqual(logOf('plain', 1, [ended('a', 'cancelled')]), []);
  assert.deepEqual(logOf('quiet', 1, [ended('a', 'failed', gone)]), []);
});

test('without a terminal a heartbeat tells totals every ten seconds', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const { cli, log } = fakeCli();
  using progress = openProgress(cli, 'plain', 2);
  progress.onEvent(added(layer('a', 3 * MIB)));
  progress.onEvent(said(layer('a', 3 * MIB), { kind: 'progress', offset: 0 }));
  progress.onEvent(said(layer('a', 3 * MIB), { kind: 'progress', offset: MIB }));
  t.mock.timers.tick(9_999);
  assert.deepEqual(log, []);
  t.mock.timers.tick(10_001);
  assert.equal(log.length, 2);
  assert.match(
    log[0] ?? '',
    /^0\/2 images, 1\.0 MiB of 3\.0 MiB, \S+ \w+\/s, 0\.0 s, about \S+ s left of what is known$/,
  );
});

test('nothing is left when all that is known is here', () => {
  const model = new ProgressModel(1);
  const node = layer('a', MIB);
  model.apply(said(node, { kind: 'progress', offset: 0 }));
  model.apply(said(node, { kind: 'progress', offset: MIB }));
  assert.doesNotMatch(heartbeatLine(model), /left/);
});
