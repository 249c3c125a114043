/**
 * A registry that is far away: each answer comes after a while, and each connection has a bandwidth of its own. Serves
 * generated images. Argument: RegistryPlan as JSON; tells `host:port`.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { OCI_MANIFEST } from '../src/oci/media-types.ts';
import { farmImages, type FarmPlan } from './farm-images.ts';
import { beService } from './service.ts';

export interface RegistryPlan extends FarmPlan {
  /** From a request to its answer. */
  readonly latencyMs: number;
  /** Of each connection. */
  readonly bytesPerSecond: number;
}

const PIECE_BYTES = 64 * 1024;

const plan: RegistryPlan = JSON.parse(process.argv[2] ?? '');
const { images, contentOf } = farmImages(plan);
const tags = new Map<string, string>(images.map(({ repository, tag, digest }) => [`${repository}:${tag}`, digest]));
const contents = new Map<string, () => Buffer>(contentOf);
/** When a connection has sent all that was given to it, in ms. */
const busyUntil = new WeakMap<Socket, number>();

async function* slowly(bytes: Buffer, socket: Socket): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    const piece = bytes.subarray(at, at + PIECE_BYTES);
    const now = performance.now();
    // From where the piece before ended, not from now: timers are late, and that would add up.
    const until = Math.max(busyUntil.get(socket) ?? 0, now - 20) + (piece.length * 1000) / plan.bytesPerSecond;
    busyUntil.set(socket, until);
    if (until > now) await sleep(until - now);
    yield piece;
  }
}

/** A path of the distribution API -> the digest that it leads to. */
function digestAt(url: string): { digest: string; isManifest: boolean } {
  const [, repository = '', kind = '', reference = ''] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(url) ?? [];
  return { digest: tags.get(`${repository}:${reference}`) ?? reference, isManifest: kind === 'manifests' };
}

async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
  await sleep(plan.latencyMs);
  const { digest, isManifest } = digestAt(req.url ?? '');
  const content = contents.get(digest)?.();
  if (content === undefined) {
    res.writeHead(req.url === '/v2/' ? 200 : 404).end();
    return;
  }
  res.writeHead(200, {
    'content-type': isManifest ? OCI_MANIFEST : 'application/octet-stream',
    'content-length': content.length,
    'docker-content-digest': digest,
  });
  if (req.method === 'HEAD') res.end();
  else await pipeline(Readable.from(slowly(content, req.socket)), res);
}

const server = createServer((req, res) => void answer(req, res).catch(() => res.destroy()));
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const address = server.address();
const port = typeof address === 'object' ? address?.port : undefined;
const close = async (): Promise<void> => {
  server.close();
  server.closeAllConnections();
  await once(server, 'close');
};
beService({ says: `127.0.0.1:${port}`, close });
