import { GantryError } from '../errors.ts';
import type { StoreFs } from './fs.ts';

/** Never fill a disk to the last byte: names and indexes must still fit. */
const SPARE_BYTES = 1 << 20;

/** What an open writer still means to write. */
export interface Reservation {
  bytes: number;
}

/** Knows what the open writers of this process still need, so that a disk that is too small is found out at the start. */
export class Space {
  readonly #fs: StoreFs;
  readonly #root: string;
  readonly #reserved = new Set<Reservation>();

  constructor(fs: StoreFs, root: string) {
    this.#fs = fs;
    this.#root = root;
  }

  /** @throws GantryError NO_SPACE */
  async reserve(bytes: number, what: string): Promise<Reservation> {
    const reservation = { bytes };
    if (bytes === 0) return reservation;
    const { bavail, bsize } = await this.#fs.statfs(this.#root);
    const free = bavail * bsize;
    let needed = bytes + SPARE_BYTES;
    for (const other of this.#reserved) needed += other.bytes;
    if (needed > free) {
      const others = needed - bytes - SPARE_BYTES;
      throw new GantryError(
        'NO_SPACE',
        `${what} needs ${bytes} bytes, other writes ${others}; ${this.#root} has ${free} free`,
        {
          origin: 'store',
          hint: 'free some space, or choose another store with --store; what is done stays',
        },
      );
    }
    this.#reserved.add(reservation);
    return reservation;
  }

  free(reservation: Reservation): void {
    this.#reserved.delete(reservation);
  }
}
