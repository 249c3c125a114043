/** The channel on which workers are told what cannot wait. A hint: what matters is read again from the keys, every second or so. */
import type { Redis } from 'ioredis';
import type { Keys } from './keys.ts';

export type ControlKind = 'lane' | 'feed' | 'cancel' | 'unwanted' | 'ended';

export interface ControlMessage {
  readonly k: ControlKind;
  /** The run; not for `lane`. */
  readonly r?: string;
}

/** Listens on a connection of its own. */
export class Control implements AsyncDisposable {
  readonly #redis: Redis;

  private constructor(redis: Redis) {
    this.#redis = redis;
  }

  static async open(redis: Redis, keys: Keys, onMessage: (message: ControlMessage) => void): Promise<Control> {
    const own = redis.duplicate();
    own.on('error', () => undefined); // it reconnects and subscribes again by itself
    own.on('message', (_channel: string, text: string) => {
      const message: ControlMessage = JSON.parse(text);
      onMessage(message);
    });
    await own.subscribe(keys.control);
    return new Control(own);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#redis.disconnect();
  }
}
