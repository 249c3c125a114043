import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Child, Node } from '../../../src/flow/handler.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { OCI_LAYER } from '../../../src/oci/media-types.ts';
import { packLeft, unpackLeft } from '../../../src/queue/payload.ts';
import { keyOf, laneOf, leaseOf, readRecord, recordOf, settleLaneOf } from '../../../src/queue/record.ts';
import { ticketId, ticketOf } from '../../../src/queue/tickets.ts';

const scope = { source: 'source.example:5000/a/b', target: 'target.example/c/d', selection: 'platforms=linux%2Farm64' };
const desc = { mediaType: OCI_LAYER, digest: digestOf('x'), size: 7, annotations: { title: 'a "b"\n' } };
const content = (kind: Child['kind'], target = scope.target) => ({ kind, desc, ...scope, target });
const image: Node = { kind: 'image', name: 'source.example:5000/a/b:1', ...scope };

describe('a record', () => {
  for (const node of [
    image,
    { ...image, tag: 'v1' },
    { ...image, tag: 'v1', backup: 'old-v1' },
    { ...image, backup: 'old' },
    { ...image, target: 'a-store', selection: '' },
    content('manifest'),
    content('blob'),
    content('upload'),
  ]) {
    it(`is read as it was written: ${node.kind} ${Object.keys(node).length}`, () => {
      assert.deepEqual(readRecord(recordOf(node, 3)), { node, depth: 3 });
    });
  }

  it('names the lanes of a node', () => {
    assert.deepEqual([laneOf(image), settleLaneOf(image)], ['source.example:5000', 'target.example']);
    assert.equal(settleLaneOf({ ...image, target: 'a-store' }), 'source.example:5000');
  });

  it('is one for what the repositories of a registry share, and so is the lease', () => {
    const other = 'target.example/other';
    for (const [kind, isShared] of [
      ['blob', true],
      ['upload', false],
      ['manifest', false],
    ] as const) {
      const [one, two] = [content(kind), content(kind, other)];
      assert.equal(keyOf(one) === keyOf(two), isShared, kind);
      assert.equal(leaseOf(one) === leaseOf(two), isShared, kind);
    }
    const keys = (['blob', 'upload', 'manifest'] as const).map((kind) => keyOf(content(kind)));
    assert.equal(new Set(keys).size, 3);
  });

  it('of a name with a quote is refused: the scripts read it without parsing', () => {
    assert.throws(() => recordOf({ ...image, source: 'a"b/c' }, 0), { code: 'INTERNAL' });
  });
});

describe('what is left for settle', () => {
  const children: Child[] = [
    { kind: 'manifest', desc },
    { kind: 'upload', desc },
  ];
  for (const [what, carry] of [
    ['nothing', ''],
    ['lines', '{\n  "a": "\\n"\n}\n'],
    ['all bytes', Buffer.from(Array.from({ length: 256 }, (_, i) => i)).toString('latin1')],
    ['4 MiB', '\u00e9\n'.repeat(2 << 20)],
  ] as const) {
    it(`is read as it was written: ${what}`, () => {
      const read = unpackLeft(packLeft({ children, carry }));
      assert.deepEqual(read.children, children);
      assert.ok(read.carry === carry);
    });
  }

  it('is nothing where nothing is', () => {
    assert.deepEqual(unpackLeft(''), { children: [], carry: '' });
  });

  it('is what version 1 has written, too', () => {
    assert.deepEqual(unpackLeft(JSON.stringify(children)), { children, carry: '' });
  });

  it('is bounded when it is inflated', () => {
    const bomb = packLeft({ children: [], carry: 'x'.repeat(80 << 20) });
    assert.throws(() => unpackLeft(bomb), { code: 'ERR_BUFFER_TOO_LARGE' });
  });
});

describe('a ticket', () => {
  it('of each round has an id of its own, and is read as it was written', () => {
    const data = [{}, { p: 1 }, { p: 2 }, { p: 9 }].map((more) => ({ v: 2, r: 'r1', n: '7', ...more }));
    assert.deepEqual(
      data.map((each) => ticketId(ticketOf(each))),
      ['r1.7', 'r1.7.p', 'r1.7.p1', 'r1.7.p8'],
    );
  });
});
