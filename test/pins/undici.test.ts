/** What undici does that gantry has a guard for. When one of these fails after an upgrade, the guard it names may go. */
import assert from 'node:assert/strict';
import * as http2 from 'node:http2';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { getDefaultHighWaterMark, type Readable } from 'node:stream';
import { after, afterEach, describe, it } from 'node:test';
import { Agent, type Dispatcher, errors } from 'undici';
import { closed, listen } from '../support/listen.ts';
import { certificates } from '../support/tls.ts';

const servers: Server[] = [];
const sockets = new Set<Socket>();
const agents: Agent[] = [];

/** A server that answers with these bytes whatever it is asked, and then does as told. */
async function answering(reply: string, then: (socket: Socket) => void = () => undefined): Promise<string> {
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', () => {
      socket.write(reply, 'latin1');
      then(socket);
    });
  });
  servers.push(server);
  return `http://127.0.0.1:${await listen(server)}`;
}

interface Seen {
  status: number;
  bytes: number;
  end: 'ended' | Error;
}

const agentOf = (options: Agent.Options = {}): Agent => {
  const agent = new Agent(options);
  agents.push(agent);
  return agent;
};

const ask = (
  origin: string,
  {
    agent = agentOf(),
    method = 'GET',
    path = '/',
    onStart,
    headers = {},
    body,
  }: {
    agent?: Agent;
    method?: 'GET' | 'HEAD' | 'PUT';
    path?: string;
    headers?: Record<string, string>;
    body?: unknown;
    onStart?: (controller: Dispatcher.DispatchController) => void;
  } = {},
): Promise<Seen> =>
  new Promise((resolve) => {
    const seen: Seen = { status: 0, bytes: 0, end: 'ended' };
    agent.dispatch(
      // oxlint-disable-next-line no-unsafe-type-assertion -- undici takes any iterable; its types do not say so
      { origin, path, method, headers, body: (body ?? null) as Readable | null },
      {
        onRequestStart: () => undefined,
        onResponseStart(controller, status) {
          seen.status = status;
          onStart?.(controller);
        },
        onResponseData: (_controller, chunk) => void (seen.bytes += chunk.length),
        onResponseEnd: () => resolve(seen),
        onResponseError: (_controller, err) => resolve({ ...seen, end: err }),
      },
    );
  });

afterEach(async () => {
  await Promise.all(agents.splice(0).map((agent) => agent.destroy()));
});
after(async () => {
  for (const socket of sockets) socket.destroy();
  await Promise.all(servers.map((server) => closed(server)));
});

describe('pin: undici', () => {
  it('speaks HTTP/2 unless told not to', async () => {
    // Guard: `allowH2: false` in agents.ts. Over h2 large bodies come at a fiftieth of the speed as soon as there is latency.
    const { server: pair, ca } = await certificates();
    const versions: (string | false | null | undefined)[] = [];
    const server = http2.createSecureServer({ ...pair, allowHTTP1: true }, (req, res) => {
      versions.push(req.httpVersion);
      res.end();
    });
    const port = await listen(server);
    const origin = `https://localhost:${port}`;
    await ask(origin, { agent: agentOf({ connect: { ca, host: '127.0.0.1' } }) });
    await ask(origin, { agent: agentOf({ connect: { ca, host: '127.0.0.1' }, allowH2: false }) });
    await Promise.all(agents.splice(0).map((agent) => agent.destroy()));
    server.close();
    assert.deepEqual(versions, ['2.0', '1.1']);
  });

  it('takes a body without Content-Length that is cut for one that ended', async () => {
    // Guard: BlobFetch compares the offset with the descriptor's size; digests tell the rest.
    const origin = await answering('HTTP/1.1 200 OK\r\n\r\nhalf', (socket) => socket.end());
    assert.deepEqual(await ask(origin), { status: 200, bytes: 4, end: 'ended' });
  });

  it('says nothing about a body that is longer than its Content-Length', async () => {
    // Guard: BlobFetch checks Content-Length against the descriptor before it reads.
    const origin = await answering('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour and more');
    assert.deepEqual(await ask(origin), { status: 200, bytes: 4, end: 'ended' });
  });

  it('asks for more of a body only when the socket has handed on a chunk that fills it', async () => {
    // Relied on: `#watched` in transport.ts frees the memory of chunks that were sent.
    let server: Socket | undefined;
    let client: Socket | undefined;
    let wasPending = false;
    const origin = await answering('', (socket) => {
      server ??= socket;
      if (!wasPending) socket.pause();
    });
    const agent = agentOf({
      connect: ({ port, hostname }, done) => {
        client = connect(Number(port), hostname, () => done(null, client ?? assert.fail()));
      },
    });
    const [chunks, bytes] = [256, getDefaultHighWaterMark(false)];
    const left: (number | undefined)[] = [];
    const look = (): void => {
      if ((client?.writableLength ?? 0) === 0) return;
      wasPending = true; // the kernel takes no more: now it may go on
      server?.resume();
    };
    async function* body(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < chunks; i += 1) {
        setImmediate(look);
        yield Buffer.alloc(bytes);
        left.push(client?.writableLength);
      }
      server?.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    }
    const headers = { 'content-length': String(chunks * bytes) };
    const seen = await ask(origin, { agent, method: 'PUT', headers, body: body() });
    assert.equal(seen.status, 200);
    assert.equal(wasPending, true);
    assert.deepEqual(new Set(left), new Set([0]));
  });

  it('gives no bodyTimeout while it is paused', async () => {
    // Guard: Body has a watchdog of its own, which knows who is the slow side.
    const origin = await answering(`HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345`);
    const agent = agentOf({ bodyTimeout: 100 });
    const stopped = await Promise.race([
      ask(origin, { agent, onStart: (controller) => controller.pause() }),
      new Promise((done) => setTimeout(done, 2500, 'nothing')), // its timers are good to a second
    ]);
    assert.equal(stopped, 'nothing');
  });

  it('gives no bodyTimeout on a trickle', async () => {
    // Guard: the minimum rate of Body.
    let timer: NodeJS.Timeout | undefined;
    const origin = await answering('HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n', (socket) => {
      timer = setInterval(() => socket.write('x'), 50);
    });
    const outcome = await Promise.race([
      ask(origin, { agent: agentOf({ bodyTimeout: 100 }) }),
      new Promise((done) => setTimeout(done, 1500, 'nothing')),
    ]);
    clearInterval(timer);
    assert.equal(outcome, 'nothing');
  });

  it('closes the connection after a HEAD, unless told not to', async () => {
    // Guard: `reset: false` in transport.ts. A mirror run is fifty thousand HEADs.
    let requests = '';
    const origin = await answering('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n');
    const server = servers.at(-1);
    server?.on('connection', (socket: Socket) => socket.on('data', (data) => void (requests += data.toString())));
    await ask(origin, { method: 'HEAD' });
    assert.match(requests, /connection: close/i);
  });

  it('hands an idle connection out again only a turn after the end of its response', async () => {
    // Guard: the turn before each request in transport.ts; without it every second request opens a connection.
    const accepted = new Set<Socket>();
    const origin = await answering('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    servers.at(-1)?.on('connection', (socket: Socket) => void accepted.add(socket));
    const agent = agentOf();
    await ask(origin, { agent });
    await ask(origin, { agent });
    assert.equal(accepted.size, 2);
  });

  it('gives what is wrong with the arguments to the handler, and does not throw', async () => {
    // Relied upon in transport.ts: dispatch is called without a try.
    const seen = await ask('http://127.0.0.1:1', { path: '/\u0100' });
    assert.ok(seen.end instanceof errors.InvalidArgumentError);
  });

  it('sends a path with Latin-1 characters as it is', async () => {
    // Guard: paths come from URL, which escapes them.
    let head = '';
    const origin = await answering('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    servers
      .at(-1)
      ?.on('connection', (socket: Socket) => socket.on('data', (data) => void (head += data.toString('latin1'))));
    await ask(origin, { path: '/\u00fc' });
    assert.match(head, /^GET \/\u00fc HTTP/);
  });

  it('has no code on errors of its parser, only a name', async () => {
    // Guard: transport-error.ts looks at the name.
    const { end } = await ask(await answering('SSH-2.0-OpenSSH\r\n\r\n'));
    assert.ok(end instanceof Error);
    assert.equal(end.name, 'HTTPParserError');
    assert.equal('code' in end ? end.code : undefined, undefined);
  });

  it('starts a request in the turn in which it reports the connection', async () => {
    // Relied upon by Way.isFresh in agents.ts, which tells a dead idle connection from a registry that fails.
    const origin = await answering('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    const agent = agentOf();
    const order: string[] = [];
    agent.on('connect', () => {
      order.push('connect');
      queueMicrotask(() => order.push('turn over'));
    });
    const finished = Promise.withResolvers<void>();
    agent.dispatch(
      { origin, path: '/', method: 'GET' },
      {
        onRequestStart: () => void order.push('start'),
        onResponseStart: () => undefined,
        onResponseData: () => undefined,
        onResponseEnd: () => finished.resolve(),
        onResponseError: (_controller, err) => finished.reject(err),
      },
    );
    await finished.promise;
    assert.deepEqual(order, ['connect', 'start', 'turn over']);
  });

  it('does not follow redirects', async () => {
    // Relied upon in host-requests.ts, which decides who gets credentials.
    const origin = await answering('HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n');
    assert.equal((await ask(origin)).status, 302);
  });
});
