import type { CallOptions } from '../../call.ts';
import { isCode } from '../../errors.ts';
import { Slots } from '../../flow/slots.ts';
import type { ListPorts } from './types.ts';

/** Repositories that are listed at a time. */
const AT_A_TIME = 8;

/** The lists that rules need, each fetched once however many rules use it. */
export class Lists {
  readonly #ports: ListPorts;
  readonly #opts: CallOptions;
  readonly #slots = new Slots(AT_A_TIME);
  readonly #known = new Map<string, Promise<readonly string[]>>();

  constructor(ports: ListPorts, opts: CallOptions) {
    this.#ports = ports;
    this.#opts = opts;
  }

  tags(repository: string): Promise<readonly string[]> {
    return this.#once(`tags ${repository}`, () => this.#ports.tags(repository, this.#opts));
  }

  catalog(registry: string): Promise<readonly string[]> {
    return this.#once(`catalog ${registry}`, () => this.#ports.catalog(registry, this.#opts));
  }

  /** The tags that a target is known to have; none where it does not tell: then each of them is asked for. */
  async tagsThere(repository: string): Promise<ReadonlySet<string>> {
    try {
      return new Set(await this.tags(repository));
    } catch (err) {
      if (isCode(err, 'CANCELLED')) throw err;
      return new Set();
    }
  }

  #once(key: string, open: () => AsyncIterable<readonly string[]>): Promise<readonly string[]> {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const list = this.#read(open);
    this.#known.set(key, list);
    return list;
  }

  async #read(open: () => AsyncIterable<readonly string[]>): Promise<readonly string[]> {
    const leave = await this.#slots.take(this.#opts.signal);
    try {
      const all: string[] = [];
      for await (const page of open()) for (const entry of page) all.push(entry);
      return all;
    } finally {
      leave();
    }
  }
}
