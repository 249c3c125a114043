/**
 * A node as it is kept in Redis: 8 characters that name its way to the content, one for its depth below a root, then JSON. Only
 * names and plain data: no credentials, workers have their own.
 */
import { hash } from 'node:crypto';
import { GantryError } from '../errors.ts';
import { wayOf } from '../flow/another-source.ts';
import { type Child, childNode, type Node, nodeKey, nodeLabel } from '../flow/handler.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { isDigest } from '../oci/digest.ts';

const KINDS = { i: 'image', m: 'manifest', b: 'blob' } as const;
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
  return `${way}${String.fromCharCode(48 + depth)}${JSON.stringify([letterOf(node), ...head, ...restOf(node)])}`;
}

const letterOf = ({ kind }: Node): keyof typeof KINDS => (kind === 'image' ? 'i' : kind === 'blob' ? 'b' : 'm');

function restOf(node: Node): unknown[] {
  if (node.kind === 'image') return [];
  const { digest: _told, ...rest } = node.desc;
  return [rest];
}

export function readRecord(record: string): Recorded {
  const node = readNode(record.slice(JSON_AT));
  return { node, depth: record.charCodeAt(DEPTH_AT) - 48 };
}

/** The node of a record without its prefix. */
export function readNode(json: string): Node {
  const parts: [keyof typeof KINDS, string, string, string, string, Omit<Descriptor, 'digest'>?] = JSON.parse(json);
  const [letter, source, target, selection, what, rest] = parts;
  const kind = KINDS[letter];
  const scope = { source, target, selection };
  if (kind === 'image') return { kind, name: what, ...scope };
  if (kind !== undefined && rest !== undefined && isDigest(what))
    return { kind, desc: { ...rest, digest: what }, ...scope };
  throw new GantryError('INTERNAL', 'a node in the queue is of a form that this version does not know');
}

export const nodeJson = (record: string): string => record.slice(JSON_AT);

/** Key and record of a child, as `add` takes them. */
export function childRecord(parent: Node, child: Child, depth: number): [key: string, record: string] {
  const node = childNode(parent, child);
  return [keyOf(node), recordOf(node, depth)];
}

/** The lane that a node is handled in: the registry that it is read from. */
export const laneOf = ({ source }: Node): string => source.split('/', 1)[0] ?? '';
