/**
 * A node as it is kept in Redis: 8 characters that name its way to the content, one for its depth below a root, then JSON. Only
 * names and plain data: no credentials, workers have their own.
 */
import { hash } from 'node:crypto';
import { GantryError } from '../errors.ts';
import { wayOf } from '../flow/another-source.ts';
import {
  type Child,
  childNode,
  type ContentNode,
  isRepository,
  type Node,
  nodeKey,
  nodeLabel,
  placeOf,
} from '../flow/handler.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { isDigest } from '../oci/digest.ts';

const KINDS = { i: 'image', m: 'manifest', b: 'blob', u: 'upload' } as const;
const LETTERS = { image: 'i', manifest: 'm', blob: 'b', upload: 'u' } as const satisfies Record<
  Node['kind'],
  keyof typeof KINDS
>;
const DEPTH_AT = 8;
const JSON_AT = 9;
/** 90 bits: with a million nodes, two that share a key are less likely than a broken disk. */
const KEY_LENGTH = 20;

export interface Recorded {
  readonly node: Node;
  readonly depth: number;
}

/** An image in a request: its place, and its record. */
export type Root = readonly [index: number, record: string];

/** Short, since there is one for every node that a run ever knew. */
export const keyOf = (node: Node): string => hash('sha256', nodeKey(node), 'base64url').slice(0, KEY_LENGTH);

export function recordOf(node: Node, depth: number): string {
  const { source, target, selection } = node;
  const head = [source, target, selection, node.kind === 'image' ? node.name : node.desc.digest];
  // The scripts take these from the text of the record, which costs them a tenth of parsing it.
  if (head.some((text) => /["\\]/.test(text)))
    throw new GantryError('INTERNAL', `${nodeLabel(node)}: a quote in a name`);
  const way = hash('sha256', wayOf(node), 'base64url').slice(0, DEPTH_AT);
  return `${way}${String.fromCharCode(48 + depth)}${JSON.stringify([LETTERS[node.kind], ...head, ...restOf(node)])}`;
}

function restOf(node: Node): unknown[] {
  if (node.kind === 'image') {
    const { tag = '', backup } = node;
    return backup === undefined ? (tag === '' ? [] : [tag]) : [tag, backup];
  }
  const { digest: _told, ...rest } = node.desc;
  return [rest];
}

export function readRecord(record: string): Recorded {
  const node = readNode(record.slice(JSON_AT));
  return { node, depth: record.charCodeAt(DEPTH_AT) - 48 };
}

type Parts = [keyof typeof KINDS, string, string, string, string, (string | Omit<Descriptor, 'digest'>)?, string?];

/** The node of a record without its prefix. */
export function readNode(json: string): Node {
  const parts: Parts = JSON.parse(json);
  const [letter, source, target, selection, what, rest = '', backup] = parts;
  const kind = KINDS[letter];
  const scope = { source, target, selection };
  if (kind === 'image' && typeof rest === 'string') {
    const tag = rest === '' ? {} : { tag: rest };
    return { kind, name: what, ...scope, ...tag, ...(backup === undefined ? {} : { backup }) };
  }
  if (kind !== undefined && kind !== 'image' && typeof rest === 'object' && isDigest(what))
    return { kind, desc: { ...rest, digest: what }, ...scope };
  throw new GantryError('INTERNAL', 'a node in the queue is of a form that this version does not know');
}

export const nodeJson = (record: string): string => record.slice(JSON_AT);

/** Key and record of a child, as `add` takes them. */
export function childRecord(parent: Node, child: Child, depth: number): [key: string, record: string] {
  const node = childNode(parent, child);
  return [keyOf(node), recordOf(node, depth)];
}

/** The lane in which a node is visited: the registry that it is read from. */
export const laneOf = ({ source }: Node): string => source.split('/', 1)[0] ?? '';

/** The lane in which a node with children is settled: the registry that it goes to. A store is nobody's lane. */
export const settleLaneOf = (node: Node): string => (isRepository(node.target) ? placeOf(node.target) : laneOf(node));

/** Names the right to write a node's content. What the repositories of a registry share is written once for all of them. */
export const leaseOf = ({ kind, target, desc }: ContentNode): string =>
  `${kind === 'blob' ? placeOf(target) : target} ${desc.digest}`;
