import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ErrorCode, GantryError } from '../../../src/errors.ts';
import { Graph, type Vertex } from '../../../src/flow/graph.ts';
import { blob, manifest, root } from './support.ts';

const fault = (code: ErrorCode): GantryError => new GantryError(code, 'ordered', { origin: 'source' });

/** A further image that lists `a`. True when that makes `a` start again. */
function joins(graph: Graph, name: string, source?: string): boolean {
  const parent = graph.addRoot(root(name, source)) ?? assert.fail();
  return graph.expand(parent, [blob('a')]).toVisit.length === 1;
}

const failing = (graph: Graph, code: ErrorCode): Vertex => {
  const parent = graph.addRoot(root('first')) ?? assert.fail();
  const [vertex = assert.fail()] = graph.expand(parent, [blob('a')]).toVisit;
  graph.fail(vertex, fault(code));
  return vertex;
};

test('what failed for a passing reason starts again a few times at once, and then after a rest', () => {
  let now = 1_000;
  const graph = new Graph(() => now);
  const vertex = failing(graph, 'NETWORK');
  for (let image = 0; image < 3; image += 1) {
    assert.equal(joins(graph, `early-${image}`), true);
    graph.fail(vertex, fault('NETWORK'));
  }
  assert.equal(joins(graph, 'too-many'), false);
  now += 30_000;
  assert.equal(joins(graph, 'rested'), true);
  graph.fail(vertex, fault('NETWORK'));
  assert.equal(joins(graph, 'again-too-soon'), false);
});

test('what failed for good starts again only where another repository may help', () => {
  const graph = new Graph();
  failing(graph, 'NOT_FOUND');
  assert.equal(joins(graph, 'same'), false);
  assert.equal(joins(graph, 'other', 'a.example/other'), true);
});

test('a certificate that is not trusted is so for all repositories of its registry', () => {
  const graph = new Graph();
  failing(graph, 'TLS');
  assert.equal(joins(graph, 'neighbour', 'a.example/other'), false);
  assert.equal(joins(graph, 'elsewhere', 'b.example/other'), true);
});

test('a descriptor that lies does not hurt an image whose descriptor is right', () => {
  const graph = new Graph();
  const liar = graph.addRoot(root('liar')) ?? assert.fail();
  const honest = graph.addRoot(root('honest')) ?? assert.fail();
  const { desc } = blob('a');
  const [vertex = assert.fail()] = graph.expand(liar, [{ kind: 'blob', desc: { ...desc, size: 7_000 } }]).toVisit;
  assert.deepEqual(graph.expand(honest, [blob('a')]).toVisit, []);
  vertex.attempt = 5;
  assert.equal(graph.tryAnotherWay(vertex, fault('SIZE_MISMATCH')), true);
  assert.equal(vertex.attempt, 0);
  assert.deepEqual(vertex.node.kind === 'blob' && vertex.node.desc, desc);
  assert.equal(graph.tryAnotherWay(vertex, fault('SIZE_MISMATCH')), false);
});

test('a node that hangs too deep in one image is within bounds where it hangs higher', () => {
  const graph = new Graph();
  const deep = graph.addRoot(root('deep')) ?? assert.fail();
  const [mid = assert.fail()] = graph.expand(deep, [manifest('mid')]).toVisit;
  const [low = assert.fail()] = graph.expand(mid, [manifest('low')]).toVisit;
  const [shared = assert.fail()] = graph.expand(low, [manifest('shared')]).toVisit;
  const [leaf = assert.fail()] = graph.expand(shared, [blob('leaf')]).toVisit;
  assert.deepEqual([shared.depth, leaf.depth], [3, 4]);
  const flat = graph.addRoot(root('flat')) ?? assert.fail();
  graph.expand(flat, [manifest('shared')]);
  assert.deepEqual([shared.depth, leaf.depth], [1, 2]);

  graph.fail(leaf, fault('TOO_LARGE'));
  const higher = graph.addRoot(root('higher')) ?? assert.fail();
  assert.deepEqual(graph.expand(higher, [blob('leaf')]).toVisit, [leaf]);
  assert.equal(leaf.depth, 1);
});

test('a failure on a path of any length', () => {
  const graph = new Graph();
  let below: string | undefined;
  let lowest: Vertex | undefined;
  for (let i = 0; i < 50_000; i += 1) {
    const vertex = graph.addRoot(root(`m${i}`)) ?? assert.fail();
    graph.expand(vertex, below === undefined ? [blob('a')] : [manifest(below)]);
    lowest ??= vertex;
    below = `m${i}`;
  }
  const { results, unwanted } = graph.fail(lowest ?? assert.fail(), fault('DENIED'));
  assert.equal(results.length, 50_000);
  assert.equal(unwanted.length, 50_001);
  assert.equal(new Set(unwanted).size, 50_001);
});

test('a failed image leaves behind only what hangs below it alone', () => {
  const graph = new Graph();
  const one = graph.addRoot(root('one')) ?? assert.fail();
  const two = graph.addRoot(root('two')) ?? assert.fail();
  const [shared = assert.fail(), own = assert.fail(), bad = assert.fail()] = graph.expand(one, [
    manifest('shared'),
    manifest('own'),
    blob('bad'),
  ]).toVisit;
  const [below = assert.fail()] = graph.expand(shared, [blob('below')]).toVisit;
  graph.expand(own, [blob('below'), blob('alone')]);
  graph.expand(two, [manifest('shared')]);
  const { results, unwanted } = graph.fail(bad, fault('DENIED'));
  assert.deepEqual(
    results.map(({ root: { source } }) => source),
    ['a.example/app'],
  );
  assert.deepEqual(
    unwanted.map(({ status }) => status),
    ['dropped', 'dropped', 'failed', 'dropped'],
  );
  assert.deepEqual([shared.status, below.status, two.status], ['idle', 'idle', 'idle']);
  assert.deepEqual(graph.finish(below).ready, [shared]);
  assert.deepEqual(graph.finish(shared).ready, [two]);
  assert.equal(graph.finish(two).completed.length, 1);
});

test('of images that have ended nothing is kept that only their handling needed', () => {
  const graph = new Graph();
  const [good, shared, sick] = ['good', 'shared', 'sick'].map((name) => graph.addRoot(root(name)) ?? assert.fail());
  assert.ok(good && shared && sick);
  const [below = assert.fail()] = graph.expand(good, [manifest('shared'), blob('a')]).toVisit;
  const [bad = assert.fail()] = graph.expand(sick, [blob('bad')]).toVisit;
  graph.expand(shared, []);
  for (const vertex of [good, shared, sick]) vertex.carry = 'what was read';
  graph.fail(bad, fault('DENIED'));
  assert.deepEqual([sick.carry, sick.children], ['', []]);
  graph.finish(shared);
  assert.deepEqual([shared.carry, shared.children], ['', []]);
  assert.equal(good.carry, 'what was read');
  graph.finish(below);
  graph.finish(good);
  assert.deepEqual([good.carry, good.children], ['', []]);
});
