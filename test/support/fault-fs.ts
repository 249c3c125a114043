/** A file system whose n-th call of a kind fails, is cut short, is the last thing its process does, or waits. */
import type { FileHandle, StoreFs } from '../../src/store/fs.ts';
import { localFs } from '../../src/store/node-fs.ts';

export type FsCall =
  | 'open'
  | 'read'
  | 'write'
  | 'writev'
  | 'sync'
  | 'stat'
  | 'utimes'
  | 'close'
  | 'rename'
  | 'link'
  | 'unlink'
  | 'mkdir'
  | 'rmdir'
  | 'readdir'
  | 'lstat'
  | 'readFile'
  | 'rm'
  | 'statfs';

export type Errno = 'ENOSPC' | 'EDQUOT' | 'EIO' | 'EFBIG' | 'EMFILE' | 'EROFS' | 'EACCES' | 'EXDEV';

export interface Fault {
  /** Any call unless given. */
  readonly call?: FsCall | readonly FsCall[];
  /** Only calls on such paths; those of a handle are on the path it was opened with. */
  readonly path?: RegExp;
  /** The first unless given. */
  readonly nth?: number;
  /** Also every later one. */
  readonly forever?: boolean;
  readonly act:
    | { readonly fail: Errno }
    /** Does a part of a write and says so. */
    | { readonly short: number }
    /** SIGKILL instead of the call. */
    | { readonly kill: true }
    /** Waits before the call; tells when it does. */
    | { readonly pause: Promise<void>; readonly reached?: () => void };
}

/** Counts all calls. At most one fault at a time. */
export class FaultFs implements StoreFs {
  /** `call path`, in order. */
  readonly calls: string[] = [];
  #fault: Fault | undefined;
  #seen = 0;
  #hits = 0;
  #open = 0;

  constructor(fault?: Fault) {
    this.#fault = fault;
  }

  /** How often the fault has struck. */
  get hits(): number {
    return this.#hits;
  }

  /** Handles that are not closed. */
  get openHandles(): number {
    return this.#open;
  }

  arm(fault: Fault | undefined): void {
    this.#fault = fault;
    this.#seen = 0;
    this.#hits = 0;
  }

  count(call: FsCall, path = /./): number {
    return this.calls.filter((each) => each.startsWith(`${call} `) && path.test(each)).length;
  }

  async open(path: string, flags: string | number, mode?: number): Promise<FileHandle> {
    await this.#pass('open', path);
    const file = await localFs.open(path, flags, mode);
    this.#open += 1;
    return this.#wrap(file, path);
  }

  rename(from: string, to: string): Promise<void> {
    return this.#pass('rename', to).then(() => localFs.rename(from, to));
  }
  link(existing: string, path: string): Promise<void> {
    return this.#pass('link', path).then(() => localFs.link(existing, path));
  }
  unlink(path: string): Promise<void> {
    return this.#pass('unlink', path).then(() => localFs.unlink(path));
  }
  mkdir(path: string, options: { recursive: true }): Promise<unknown> {
    return this.#pass('mkdir', path).then(() => localFs.mkdir(path, options));
  }
  rmdir(path: string): Promise<void> {
    return this.#pass('rmdir', path).then(() => localFs.rmdir(path));
  }
  readdir(path: string): Promise<string[]> {
    return this.#pass('readdir', path).then(() => localFs.readdir(path));
  }
  lstat(path: string): ReturnType<StoreFs['lstat']> {
    return this.#pass('lstat', path).then(() => localFs.lstat(path));
  }
  readFile(path: string): Promise<Buffer> {
    return this.#pass('readFile', path).then(() => localFs.readFile(path));
  }
  rm(path: string, options: { recursive: boolean; force: boolean }): Promise<void> {
    return this.#pass('rm', path).then(() => localFs.rm(path, options));
  }
  statfs(path: string): ReturnType<StoreFs['statfs']> {
    return this.#pass('statfs', path).then(() => localFs.statfs(path));
  }

  /** Every method of a handle that the store uses counts; close always closes, also when it says that it failed. */
  #wrap(file: FileHandle, path: string): FileHandle {
    let isOpen = true;
    return new Proxy(file, {
      get: (target, name): unknown => {
        const method: unknown = Reflect.get(target, name);
        if (typeof method !== 'function' || typeof name !== 'string') return method;
        return async (...args: unknown[]): Promise<unknown> => {
          const run = (...given: unknown[]): unknown => Reflect.apply(method, target, given);
          if (name === 'close') {
            if (isOpen) this.#open -= 1;
            isOpen = false;
            await run();
            return this.#pass('close', path);
          }
          const short = await this.#pass(name, path);
          if (short === undefined) return run(...args);
          if (name === 'writev') return run([Buffer.concat(chunksOf(args[0])).subarray(0, short)]);
          return name === 'write' ? run(String(args[0]).slice(0, short), ...args.slice(1)) : run(...args);
        };
      },
    });
  }

  /** How many bytes to do, when not all. */
  async #pass(call: string, path: string): Promise<number | undefined> {
    this.calls.push(`${call} ${path}`);
    const fault = this.#fault;
    if (fault === undefined || ![fault.call ?? call].flat().includes(call) || fault.path?.test(path) === false) {
      return undefined;
    }
    this.#seen += 1;
    const nth = fault.nth ?? 1;
    if (this.#seen < nth || (this.#seen > nth && fault.forever !== true)) return undefined;
    this.#hits += 1;
    const { act } = fault;
    if ('fail' in act) throw Object.assign(new Error(`${act.fail}: made to fail, ${call}`), { code: act.fail, path });
    if ('short' in act) return act.short;
    if ('kill' in act) {
      process.kill(process.pid, 'SIGKILL');
      return new Promise(() => {}); // the signal may take a moment
    }
    act.reached?.();
    await act.pause;
    return undefined;
  }
}

const chunksOf = (value: unknown): Uint8Array[] =>
  Array.isArray(value) ? value.filter((each): each is Uint8Array => each instanceof Uint8Array) : [];
