/** Asks whether a repository may be written, before anything is transferred to it. */
import { GantryError, isCode } from '../errors.ts';
import type { Middleware } from '../flow/handler.ts';

/**
 * Checks the repository of the first image that turns out to have something to do there, once for all its images. A run that finds all
 * as it should be asks nothing.
 * @param check rejects when the repository may not be written
 */
export function writeChecked(check: (repository: string) => Promise<void>): Middleware {
  const asked = new Map<string, Promise<void>>();
  const once = (repository: string): Promise<void> => {
    const known = asked.get(repository);
    if (known !== undefined) return known;
    const asking = check(repository).catch((err: unknown) => {
      if (isRefusal(err)) throw noAccess(repository, err);
      asked.delete(repository); // that may pass, and the next image finds out
      throw err;
    });
    asked.set(repository, asking);
    return asking;
  };
  return (next) => ({
    visit: async (node, ctx) => {
      const visit = await next.visit(node, ctx);
      if (node.kind === 'image' && visit.kind === 'expand') await once(node.target);
      return visit;
    },
    settle: async (node, ctx) => next.settle?.(node, ctx),
  });
}

const isRefusal = (err: unknown): err is GantryError => isCode(err, 'DENIED', 'UNAUTHORIZED', 'UNSUPPORTED');

const noAccess = (repository: string, cause: GantryError): GantryError =>
  new GantryError(cause.code, `${repository} cannot be written: ${cause.message}`, {
    origin: 'target',
    cause,
    hint: 'nothing was sent there; the credentials need the right to push',
    ...(cause.host === undefined ? {} : { host: cause.host }),
  });
