/**
 * The file system. Calls that only touch names or a few bytes are made in place: handed to node's thread pool each costs the
 * main thread seven times as much as the call itself (measured: 900 ms of 2,450 ms in a pull of 414 blobs). What moves bytes or
 * waits for the disk, reads, large writes and fsync, goes to the pool. On a network file system a call in place costs its
 * round trip, about eight for a blob.
 */
import * as fs from 'node:fs';
import { promisify } from 'node:util';
import type { FileHandle, FileInfo, StoreFs } from './fs.ts';

const fsync = promisify(fs.fsync);
const read = promisify(fs.read);

class LocalFile implements FileHandle {
  #fd: number | undefined;

  constructor(fd: number) {
    this.#fd = fd;
  }

  get #open(): number {
    // The number of a closed file may belong to another one by now.
    if (this.#fd === undefined) throw Object.assign(new Error('EBADF: the file is closed'), { code: 'EBADF' });
    return this.#fd;
  }

  async read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }> {
    return read(this.#open, buffer, offset, length, position);
  }

  async write(text: string, position?: number): Promise<{ bytesWritten: number }> {
    return { bytesWritten: fs.writeSync(this.#open, text, position ?? null) };
  }

  writev(chunks: readonly Uint8Array[]): Promise<{ bytesWritten: number }> {
    return new Promise((resolve, reject) => {
      fs.writev(this.#open, chunks, (err, bytesWritten) => {
        if (err === null) resolve({ bytesWritten });
        else reject(err);
      });
    });
  }

  async sync(): Promise<void> {
    await fsync(this.#open);
  }

  async stat(): Promise<FileInfo> {
    return fs.fstatSync(this.#open);
  }

  async utimes(atime: Date, mtime: Date): Promise<void> {
    fs.futimesSync(this.#open, atime, mtime);
  }

  async close(): Promise<void> {
    if (this.#fd === undefined) return;
    const fd = this.#fd;
    this.#fd = undefined;
    fs.closeSync(fd);
  }
}

export const localFs: StoreFs = {
  open: async (path, flags, mode) => new LocalFile(fs.openSync(path, flags, mode)),
  rename: async (from, to) => fs.renameSync(from, to),
  link: async (existing, path) => fs.linkSync(existing, path),
  unlink: async (path) => fs.unlinkSync(path),
  mkdir: async (path, options) => fs.mkdirSync(path, options),
  rmdir: async (path) => fs.rmdirSync(path),
  readdir: (path) => fs.promises.readdir(path),
  lstat: async (path) => fs.lstatSync(path),
  readFile: async (path) => fs.readFileSync(path),
  rm: (path, options) => fs.promises.rm(path, options),
  statfs: async (path) => fs.statfsSync(path),
};
