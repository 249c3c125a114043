import { isErrno, type StoreFs } from './fs.ts';

/**
 * Makes renames durable (fsync of the directory) in groups: everybody who asks while one fsync runs shares the next one,
 * because only an fsync that starts after the rename covers it.
 */
export class DirectorySync {
  readonly #fs: StoreFs;
  readonly #running = new Map<string, Promise<void>>();
  readonly #next = new Map<string, Promise<void>>();

  constructor(fs: StoreFs) {
    this.#fs = fs;
  }

  sync(directory: string): Promise<void> {
    const running = this.#running.get(directory);
    if (running === undefined) return this.#start(directory);
    const next = this.#next.get(directory);
    if (next !== undefined) return next;
    const queued = running
      .catch(() => undefined) // the failure belongs to those who waited for that one
      .then(() => {
        this.#next.delete(directory);
        return this.#start(directory);
      });
    this.#next.set(directory, queued);
    return queued;
  }

  #start(directory: string): Promise<void> {
    const work = this.#fsync(directory).finally(() => {
      if (this.#running.get(directory) === work) this.#running.delete(directory);
    });
    this.#running.set(directory, work);
    return work;
  }

  async #fsync(directory: string): Promise<void> {
    const handle = await this.#fs.open(directory, 'r');
    try {
      await handle.sync();
    } catch (err) {
      // Some network file systems have no fsync of directories: there a rename is as durable as it gets.
      if (!isErrno(err, 'EINVAL', 'ENOTSUP')) throw err;
    } finally {
      await handle.close();
    }
  }
}
