import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';

/** What a script answers. */
export type Reply = string | number | null | readonly Reply[];

/** Lua: sets `now`, milliseconds since 1970 by the one clock that all workers share. */
export const NOW = `local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)`;

/** A Lua script over one key, from which it derives the others; they all share a hash tag. Atomic, and all are idempotent. */
export class Script {
  readonly #name: string;
  readonly #lua: string;

  constructor(lua: string) {
    this.#lua = lua;
    this.#name = `gantry${createHash('sha1').update(lua).digest('hex')}`;
  }

  run(redis: Redis, key: string, args: readonly (string | number)[]): Promise<Reply> {
    if (!(this.#name in redis)) redis.defineCommand(this.#name, { numberOfKeys: 1, lua: this.#lua });
    const command: (key: string, ...args: (string | number)[]) => Promise<Reply> = Reflect.get(redis, this.#name);
    return command.call(redis, key, ...args);
  }
}

export const text = (reply: Reply | undefined): string =>
  typeof reply === 'string' ? reply : typeof reply === 'number' ? String(reply) : '';

export const count = (reply: Reply | undefined): number => Number(text(reply));

export const items = (reply: Reply | undefined): readonly Reply[] => (Array.isArray(reply) ? reply : []);

export const texts = (reply: Reply | undefined): string[] => items(reply).map(text);
