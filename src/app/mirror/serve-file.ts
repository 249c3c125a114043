/** The mirror file of a long-lived process: read again when it changes. What cannot be read leaves the old one in force. */
import { hash } from 'node:crypto';
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { MirrorFile, MirrorRule } from '../../mirror/file/types.ts';
import type { Schedule, When } from '../../queue/schedules.ts';
import type { RegistryClient } from '../../registry/client.ts';

/** A file in force, and what is open for it. */
export interface Served {
  readonly file: MirrorFile;
  readonly client: RegistryClient;
  /** The rules that have a schedule, by its id. */
  readonly rules: ReadonlyMap<string, MirrorRule>;
}

export interface ServedFileParts {
  readonly path: string;
  readonly load: () => MirrorFile;
  readonly open: (file: MirrorFile) => RegistryClient;
}

export class ServedFile implements AsyncDisposable {
  readonly #parts: ServedFileParts;
  #served: Served;
  #stamp: string;
  readonly #users = new Map<Served, Set<Promise<unknown>>>();
  /** Closed once nobody uses them any more. */
  readonly #closing = new Set<Promise<void>>();

  /** @throws GantryError INVALID, NOT_FOUND, ... for the first file: there is none to fall back on */
  constructor(parts: ServedFileParts) {
    this.#parts = parts;
    this.#stamp = stampOf(parts.path);
    this.#served = this.#read();
  }

  get current(): Served {
    return this.#served;
  }

  /** Whether it was written since it was last read. */
  get isStale(): boolean {
    return stampOf(this.#parts.path) !== this.#stamp;
  }

  /** Reads it again. @throws GantryError when it cannot be used; the old one stays in force */
  reload(): void {
    this.#stamp = stampOf(this.#parts.path);
    const before = this.#served;
    this.#served = this.#read();
    this.#retire(before);
  }

  /** Keeps what is open for the file that is in force now until the work is done. */
  async use<T>(work: (served: Served) => Promise<T>): Promise<T> {
    const served = this.#served;
    const users = this.#users.get(served) ?? new Set();
    this.#users.set(served, users);
    const working = work(served);
    users.add(working);
    try {
      return await working;
    } finally {
      users.delete(working);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#retire(this.#served);
    await Promise.all(this.#closing);
  }

  #read(): Served {
    const file = this.#parts.load();
    return { file, client: this.#parts.open(file), rules: scheduled(file.rules) };
  }

  #retire(served: Served): void {
    const closing = (async () => {
      const users = this.#users.get(served);
      if (users !== undefined) await Promise.allSettled(users);
      this.#users.delete(served);
      await served.client[Symbol.asyncDispose]();
    })();
    this.#closing.add(closing);
    void closing.finally(() => this.#closing.delete(closing));
  }
}

/** Changes when the file is written; empty when there is none. */
function stampOf(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? '' : `${found.ino} ${found.size} ${found.mtimeMs}`;
}

/** Tells the schedules of a file from those of others: by where it is, unless it is given a name. */
export const fileId = (path: string, name: string | undefined): string =>
  name ?? hash('sha256', resolve(path)).slice(0, 16);

function scheduled(rules: readonly MirrorRule[]): ReadonlyMap<string, MirrorRule> {
  const found = new Map<string, MirrorRule>();
  for (const rule of rules) {
    if (whenOf(rule) === undefined) continue;
    // Not its place in the file: a rule that is put before it would take over its schedule and its open run.
    const what = hash('sha256', JSON.stringify([rule.type, rule.source, rule.targets])).slice(0, 16);
    let id = what;
    for (let n = 2; found.has(id); n += 1) id = `${what}-${n}`;
    found.set(id, rule);
  }
  return found;
}

function whenOf({ schedule, intervalMs }: MirrorRule): When | undefined {
  if (schedule !== undefined) return { cron: schedule };
  return intervalMs === undefined ? undefined : { everyMs: intervalMs };
}

export const schedulesOf = ({ rules }: Served): Schedule[] =>
  [...rules].flatMap(([id, rule]) => {
    const when = whenOf(rule);
    return when === undefined ? [] : [{ id, when }];
  });
