import type { Redis } from 'ioredis';
import type { QueueMemory } from '../flow/farm-status.ts';

/** From INFO, which managed services allow; what they leave out is 0. */
export async function redisMemory(redis: Redis): Promise<QueueMemory> {
  const info = await redis.info('memory');
  const field = (name: string): number => Number(new RegExp(`^${name}:(\\d+)\\s*$`, 'm').exec(info)?.[1] ?? 0);
  return { used: field('used_memory'), limit: field('maxmemory'), machine: field('total_system_memory') };
}
