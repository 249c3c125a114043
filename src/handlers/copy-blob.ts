/** How a blob comes to a repository: it is there, the registry has it elsewhere, or it is sent. */
import type { CallOptions } from '../call.ts';
import { isCode } from '../errors.ts';
import type { ContentNode, HandlerContext, Visit } from '../flow/handler.ts';
import { placeOf } from '../flow/handler.ts';
import { inParallel } from '../flow/slots.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { BlobPlaces, Place } from '../remote/places.ts';
import type { ContentSource, Resolver } from '../remote/ports.ts';

export interface BlobCopyParts {
  readonly resolver: Resolver;
  readonly places: BlobPlaces;
}

/** How much has to go before it is worth telling. */
const REPORT_BYTES = 256 << 10;
/** Mounts of one manifest at a time. */
const MOUNTS = 8;

/** Somebody sees to a blob, until its signal aborts. */
interface Sharing {
  readonly isHere: Promise<boolean>;
  readonly signal: AbortSignal;
}

export class BlobCopy {
  readonly #parts: BlobCopyParts;
  /** Blobs that are being shared, by repository and digest. */
  readonly #sharing = new Map<string, Sharing>();

  constructor(parts: BlobCopyParts) {
    this.#parts = parts;
  }

  /** Makes sure that the node's repository has its blob. */
  async bring(node: ContentNode, ctx: HandlerContext): Promise<Visit> {
    const { desc, target } = node;
    const { resolver, places } = this.#parts;
    const pusher = resolver.pusher(target);
    const [place] = await places.find(target, [desc.digest], ctx);
    // Of an upload it is known that it is missing, or that the registry says so against its own HEAD.
    const mayExist = node.kind === 'blob';
    if (place?.isHere === true || (mayExist && (await pusher.has('blob', desc, ctx)))) {
      ctx.report({ kind: 'present' });
    } else if (mayExist && (await this.#mount(desc, target, mountFrom(node, place), ctx))) {
      ctx.report({ kind: 'mounted' });
    } else {
      ctx.report({ kind: 'progress', offset: 0 });
      await pusher.push(desc, this.#source(node), { signal: ctx.signal, onProgress: reporter(ctx) });
      ctx.report({ kind: 'fetched', bytes: desc.size });
    }
    await places.add(target, [desc.digest], ctx);
    return { kind: 'leaf' };
  }

  /** Makes blobs that the registry has appear in a repository, too. Answers those that have to be sent to it. */
  async share(target: string, blobs: readonly Descriptor[], ctx: HandlerContext): Promise<Descriptor[]> {
    const places = await this.#parts.places.find(
      target,
      blobs.map(({ digest }) => digest),
      ctx,
    );
    const absent = blobs.filter((_desc, i) => places[i]?.isHere !== true);
    if (absent.length === 0) return [];
    const here = await inParallel(absent, MOUNTS, ctx, (desc) =>
      this.#once(`${target} ${desc.digest}`, ctx, () => this.#shareOne(desc, target, ctx)),
    );
    return absent.filter((_desc, i) => here[i] !== true);
  }

  async #shareOne(desc: Descriptor, target: string, ctx: HandlerContext): Promise<boolean> {
    const { places, resolver } = this.#parts;
    const [place] = await places.find(target, [desc.digest], ctx); // again: another manifest may have seen to it
    if (place?.isHere === true) return true;
    if (await this.#mount(desc, target, place?.elsewhere, ctx)) ctx.report({ kind: 'mounted' });
    else if (!(await resolver.pusher(target).has('blob', desc, ctx))) return false;
    await places.add(target, [desc.digest], ctx);
    return true;
  }

  /**
   * Tags of one repository have most blobs in common: one of them sees to a blob, and the others take what came of that. Only when it
   * was stopped, since its image is given up, the next one begins, and the others wait again.
   */
  async #once(key: string, { signal }: CallOptions, work: () => Promise<boolean>): Promise<boolean> {
    for (let running = this.#sharing.get(key); running !== undefined; running = this.#sharing.get(key)) {
      try {
        return await running.isHere;
      } catch (err) {
        if (!running.signal.aborted) throw err;
        signal.throwIfAborted();
      }
    }
    const mine = { isHere: work(), signal };
    this.#sharing.set(key, mine);
    try {
      return await mine.isHere;
    } finally {
      if (this.#sharing.get(key) === mine) this.#sharing.delete(key);
    }
  }

  /** The registry says that something is missing: forgets what is believed of these blobs, and asks. Answers those that are not there. */
  async recheck(target: string, blobs: readonly Descriptor[], opts: CallOptions): Promise<Descriptor[]> {
    const { places, resolver } = this.#parts;
    const here = await inParallel(blobs, MOUNTS, opts, (desc) => resolver.pusher(target).has('blob', desc, opts));
    await places.forget(
      target,
      blobs.map(({ digest }) => digest),
      opts,
    );
    return blobs.filter((_desc, i) => here[i] !== true);
  }

  async #mount(desc: Descriptor, target: string, from: string | undefined, opts: CallOptions): Promise<boolean> {
    const { places, resolver } = this.#parts;
    if (from === undefined || (await places.refusesMounts(target, opts))) return false;
    if (await resolver.pusher(target).mount(desc, from, opts)) return true;
    // It may have been deleted there. Only of what is there it can be said that the registry does not share it.
    if (await this.#mayBeAt(from, desc, opts)) await places.setRefusesMounts(target, opts);
    else await places.forget(from, [desc.digest], opts);
    return false;
  }

  /** What may not be read is not told apart from what is there. */
  async #mayBeAt(repository: string, desc: Descriptor, opts: CallOptions): Promise<boolean> {
    try {
      return await this.#parts.resolver.pusher(repository).has('blob', desc, opts);
    } catch (err) {
      if (isCode(err, 'DENIED', 'UNAUTHORIZED')) return true;
      throw err;
    }
  }

  #source({ source, desc }: ContentNode): ContentSource {
    const fetcher = this.#parts.resolver.fetcher(source);
    return { open: (opts) => fetcher.fetch('blob', desc, opts) };
  }
}

/** A copy within one registry starts with the best place to mount from. */
const mountFrom = ({ source, target }: ContentNode, place: Place | undefined): string | undefined =>
  place?.elsewhere ?? (placeOf(source) === placeOf(target) && source !== target ? source : undefined);

function reporter(ctx: HandlerContext): (offset: number) => void {
  let reported = 0;
  return (offset) => {
    if (offset - reported < REPORT_BYTES && offset >= reported) return;
    reported = offset;
    ctx.report({ kind: 'progress', offset });
  };
}
