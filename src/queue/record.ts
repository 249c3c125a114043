/**
 * A node as it is kept in Redis: 8 characters that name its way to the content, one for its depth below a root, then JSON. Only
 * names and plain data: no credentials, workers have their own.
 */
import { hash } from 'node:crypto';
import { GantryError } from '../errors.ts';
import { wayOf } from '../flow/another-source.ts';
import { type Child, childNode, type Node, nodeKey } from '../flow/handler.ts';

const KINDS = { i: 'image', m: 'manifest', b: 'blob' } as const;
const DEPTH_AT = 8;
const JSON_AT = 9;
/** 90 bits: with a million nodes, two that share a key are less likely than a broken disk. */
const KEY_LENGTH = 20;

export interface Recorded {
  readonly node: Node;
  readonly depth: number;
}

/** Short, since there is one for every node that a run ever knew. */
export const keyOf = (node: Node): string => hash('sha256', nodeKey(node), 'base64url').slice(0, KEY_LENGTH);

export function recordOf(node: Node, depth: number): string {
  const { source, target, selection } = node;
  const rest = node.kind === 'image' ? ['i', source, target, selection, node.name] : contentOf(node);
  const way = hash('sha256', wayOf(node), 'base64url').slice(0, DEPTH_AT);
  return `${way}${String.fromCharCode(48 + depth)}${JSON.stringify(rest)}`;
}

const contentOf = (node: Exclude<Node, { kind: 'image' }>): unknown[] => [
  node.kind === 'blob' ? 'b' : 'm',
  node.source,
  node.target,
  node.selection,
  node.desc,
];

export function readRecord(record: string): Recorded {
  const node = readNode(record.slice(JSON_AT));
  return { node, depth: record.charCodeAt(DEPTH_AT) - 48 };
}

/** The node of a record without its prefix. */
export function readNode(json: string): Node {
  const parts: [keyof typeof KINDS, string, string, string, never] = JSON.parse(json);
  const [letter, source, target, selection, what] = parts;
  const kind = KINDS[letter];
  if (kind === undefined)
    throw new GantryError('INTERNAL', 'a node in the queue is of a kind that this version does not know');
  const scope = { source, target, selection };
  return kind === 'image' ? { kind, name: what, ...scope } : { kind, desc: what, ...scope };
}

export const nodeJson = (record: string): string => record.slice(JSON_AT);

/** Key and record of a child, as `add` takes them. */
export function childRecord(parent: Node, child: Child, depth: number): [key: string, record: string] {
  const node = childNode(parent, child);
  return [keyOf(node), recordOf(node, depth)];
}

/** The lane that a node is handled in: the registry that it is read from. */
export const laneOf = ({ source }: Node): string => source.split('/', 1)[0] ?? '';
