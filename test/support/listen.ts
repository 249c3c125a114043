import type { Server } from 'node:net';

/** Listens on a free port (or the one given) of the loopback interface; gives the port. */
export function listen(server: Server, port = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      if (address === null || typeof address === 'string') reject(new Error('not a TCP port'));
      else resolve(address.port);
    });
  });
}

/** Resolves when nothing is open any more; ending the connections is up to the caller. */
export function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
