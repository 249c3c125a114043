/** A state file: what pruning remembers where there is no Redis. */
import { readFile } from 'node:fs/promises';
import type { CallOptions } from '../../call.ts';
import { GantryError, messageOf } from '../../errors.ts';
import { formatState, type PruneState, readState } from '../../mirror/prune/state.ts';
import type { Gone, PruneMemory } from '../../mirror/prune/types.ts';
import { isErrno } from '../../store/fs.ts';
import { writeFileWhole } from './write-file.ts';

/**
 * Each write reads the file again and changes what it says of one repository, so that two processes with one file keep each other's
 * repositories. It is replaced as a whole: a reader sees all of one write or nothing of it.
 */
export class PruneFile implements PruneMemory {
  readonly #path: string;
  /** Written next, all at once. */
  #waiting = new Map<string, ReadonlyMap<string, Gone>>();
  #next: Promise<void> | undefined;
  #last: Promise<void> = Promise.resolve();

  private constructor(path: string) {
    this.#path = path;
  }

  /** A file that is not there is empty. @throws GantryError INVALID, IO: before anything is done that relies on it */
  static async open(path: string): Promise<PruneFile> {
    const file = new PruneFile(path);
    await file.#load();
    return file;
  }

  async read(repository: string, _opts: CallOptions): Promise<ReadonlyMap<string, Gone>> {
    return (await this.#load()).get(repository) ?? new Map<string, Gone>();
  }

  /** What comes while a write goes on is in the next one, with all that came meanwhile. */
  write(repository: string, gone: ReadonlyMap<string, Gone>, _opts: CallOptions): Promise<void> {
    this.#waiting.set(repository, gone);
    this.#next ??= this.#last.then(() => this.#save());
    return this.#next;
  }

  async #save(): Promise<void> {
    const changes = this.#waiting;
    this.#waiting = new Map();
    const saving = this.#replace(changes);
    this.#last = saving.catch(() => undefined);
    this.#next = undefined;
    await saving;
  }

  async #replace(changes: PruneState): Promise<void> {
    await writeFileWhole(this.#path, formatState(new Map([...(await this.#load()), ...changes])));
  }

  async #load(): Promise<PruneState> {
    try {
      return readState(await readFile(this.#path), `state file ${this.#path}`);
    } catch (err) {
      if (isErrno(err, 'ENOENT')) return new Map();
      if (err instanceof GantryError) throw err;
      throw new GantryError('IO', `cannot read the state file ${this.#path}: ${messageOf(err)}`, {
        origin: 'user',
        cause: err,
      });
    }
  }
}
