import { targetError } from '../remote/registry-errors.ts';

/** Asks a target by a port that knows no sides and takes all that it reads for sources. */
export async function atTarget<T>(digest: string | undefined, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (err) {
    throw targetError(err, digest);
  }
}
