import type { Child, ContentNode, Handler, HandlerContext, Node, Visit } from '../../../src/flow/handler.ts';
import type { Descriptor } from '../../../src/oci/descriptor.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { OCI_LAYER, OCI_MANIFEST } from '../../../src/oci/media-types.ts';

export const never: AbortSignal = new AbortController().signal;

export const context = (over: Partial<HandlerContext> = {}): HandlerContext => ({
  signal: never,
  attempt: 0,
  report: () => undefined,
  ...over,
});

export const descOf = (name: string, mediaType: string = OCI_LAYER): Descriptor => ({
  mediaType,
  digest: digestOf(name),
  size: name.length,
});

export const blob = (name: string): Child => ({ kind: 'blob', desc: descOf(name) });
export const manifest = (name: string): Child => ({ kind: 'manifest', desc: descOf(name, OCI_MANIFEST) });

export const root = (name: string, source = 'a.example/app'): ContentNode => ({
  ...manifest(name),
  source,
  target: 'store',
  selection: '',
});

/** A handler that answers what a table says, by the digest of the node; what is not in it is a leaf. */
export function tableHandler(table: Readonly<Record<string, Visit | Error>>, log: string[] = []): Handler {
  const names = new Map(Object.keys(table).map((name) => [String(digestOf(name)), name]));
  const nameOf = (node: Node): string => (node.kind === 'image' ? node.name : (names.get(node.desc.digest) ?? '?'));
  return {
    async visit(node) {
      const name = nameOf(node);
      log.push(`visit ${name}`);
      const answer = table[name] ?? { kind: 'leaf' };
      if (answer instanceof Error) throw answer;
      return answer;
    },
    async settle(node) {
      log.push(`settle ${nameOf(node)}`);
    },
  };
}
