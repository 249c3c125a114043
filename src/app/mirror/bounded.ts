import type { CallOptions } from '../../call.ts';
import { Slots } from '../../flow/slots.ts';

/** More of small requests than a registry is asked for at a time: those of several registries come together. */
const AT_A_TIME = 32;

/** Works on all items, so many at a time; answers in their order. */
export function each<T, R>(items: readonly T[], { signal }: CallOptions, work: (item: T) => Promise<R>): Promise<R[]> {
  const slots = new Slots(AT_A_TIME);
  return Promise.all(
    items.map(async (item) => {
      const leave = await slots.take(signal);
      try {
        return await work(item);
      } finally {
        leave();
      }
    }),
  );
}
