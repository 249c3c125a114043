import { createHash, randomUUID } from 'node:crypto';
import { type Content, inMemory } from './content.ts';

const hashedOnly = (size: number): Content => ({
  size,
  bytes: () => {
    throw new Error(`a blob of ${size} bytes was hashed and thrown away; see keepBytes`);
  },
});

/** The bytes of one upload so far: hashed, and kept in memory as long as they are few. */
export class Upload {
  readonly id = randomUUID();
  readonly repo: string;
  /** A chunk came that only the last one may be: smaller than OCI-Chunk-Min-Length. */
  isShort = false;
  readonly #keepBytes: number;
  #sha256 = createHash('sha256');
  #parts: Uint8Array[] = [];
  #size = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(repo: string, keepBytes: number) {
    this.repo = repo;
    this.#keepBytes = keepBytes;
  }

  get size(): number {
    return this.#size;
  }

  append(bytes: Uint8Array): void {
    this.#sha256.update(bytes);
    this.#size += bytes.length;
    if (this.#isKept) this.#parts.push(Buffer.from(bytes));
    else this.#parts = [];
  }

  get #isKept(): boolean {
    return this.#size <= this.#keepBytes;
  }

  /** Gives a function that undoes what is appended from now on. */
  mark(): () => void {
    const before = { sha256: this.#sha256.copy(), parts: [...this.#parts], size: this.#size };
    return () => {
      this.#sha256 = before.sha256;
      this.#parts = before.parts;
      this.#size = before.size;
    };
  }

  /** Whether the digest names these bytes. */
  fits(digest: string): boolean {
    if (digest.startsWith('sha256:')) return digest === `sha256:${this.#sha256.copy().digest('hex')}`;
    if (!this.#isKept) throw new Error(`only sha256 is known of ${this.#size} bytes; see keepBytes`);
    const sha512 = createHash('sha512');
    for (const part of this.#parts) sha512.update(part);
    return digest === `sha512:${sha512.digest('hex')}`;
  }

  content(): Content {
    return this.#isKept ? inMemory(Buffer.concat(this.#parts)) : hashedOnly(this.#size);
  }

  /**
   * One request at a time, because the client may be back before it is known that it left. Who is slow (`until`) is not waited
   * for any longer.
   */
  async alone<T>(work: () => Promise<T>, until: Promise<void>): Promise<T> {
    const before = this.#turn;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#turn = promise;
    await before;
    void until.then(resolve);
    try {
      return await work();
    } finally {
      resolve();
    }
  }
}

/** The uploads that were started and not finished. */
export class Uploads {
  readonly #open = new Map<string, Upload>();
  readonly #keepBytes: number;

  constructor(keepBytes: number) {
    this.#keepBytes = keepBytes;
  }

  /** How many are open. */
  get size(): number {
    return this.#open.size;
  }

  start(repo: string): Upload {
    const upload = new Upload(repo, this.#keepBytes);
    this.#open.set(upload.id, upload);
    return upload;
  }

  get(repo: string, id: string): Upload | undefined {
    const found = this.#open.get(id);
    return found?.repo === repo ? found : undefined;
  }

  end(upload: Upload): void {
    this.#open.delete(upload.id);
  }

  /** Loses all of them, as a restarted registry does. */
  forget(): void {
    this.#open.clear();
  }
}
