/** What the visit of a manifest leaves for its settle about what is attached to it, in front of what the copy itself has left. */
import type { Digest } from '../oci/digest.ts';
import type { Found } from './attached-found.ts';

export interface OwnCarry {
  /** What it is attached to. */
  readonly subject: Digest;
  readonly found: Found;
}

/** One character tells whether a line of our own comes first; all of it is latin1, as manifests are carried. */
export function joinCarry(own: OwnCarry | undefined, inner: string | undefined): string | undefined {
  if (own === undefined) return inner === undefined ? undefined : `0${inner}`;
  return `1${Buffer.from(JSON.stringify(own)).toString('latin1')}\n${inner ?? ''}`;
}

export function splitCarry(carry: string): { readonly own: OwnCarry | undefined; readonly inner: string } {
  if (!carry.startsWith('1')) return { own: undefined, inner: carry.slice(1) };
  const end = carry.indexOf('\n');
  const own: OwnCarry = JSON.parse(Buffer.from(carry.slice(1, end), 'latin1').toString());
  return { own, inner: carry.slice(end + 1) };
}
