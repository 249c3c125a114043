import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Answer, Cut, HeaderValue } from './answer.ts';
import { lengthOf } from './effects.ts';
import type { LogEntry } from './log.ts';
import { pause, unlessGone } from './wait.ts';

/** The way out for one answer. */
export interface Wire {
  readonly response: ServerResponse;
  /** The TCP socket; under TLS not the one of the response. */
  readonly socket: Socket;
  /** Aborts when the connection of the response is gone. */
  readonly gone: AbortSignal;
  readonly entry: LogEntry;
  /** Called just before the last byte is handed over. */
  readonly ending: () => void;
}

const nextTurn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });

export async function cutNow(socket: Socket, by: Cut, response?: ServerResponse): Promise<void> {
  if (by === 'FIN') {
    (response?.socket ?? socket).end();
    return;
  }
  await nextTurn(); // what was written leaves first
  socket.resetAndDestroy();
}

/** Resolves when the system took the bytes, or when there is nobody left to take them. */
function write({ response, gone }: Wire, bytes: Uint8Array): Promise<void> {
  if (gone.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      gone.removeEventListener('abort', done);
      resolve();
    };
    gone.addEventListener('abort', done);
    response.write(bytes, done);
  });
}

function finalHeaders(answer: Answer, length: number): Record<string, HeaderValue> {
  const all = new Map<string, HeaderValue | undefined>(answer.headers);
  if (answer.framing === 'length') all.set('content-length', String(length));
  if (answer.range) {
    const { start, end } = answer.range;
    all.set('content-range', `bytes ${start}-${end - 1}/${answer.content.size}`);
  }
  for (const [name, value] of answer.overrides) all.set(name, value);
  const kept: Record<string, HeaderValue> = {};
  for (const [name, value] of all) if (value !== undefined) kept[name] = value;
  return kept;
}

function flipped(chunk: Uint8Array, at: number, flips: readonly number[]): Uint8Array {
  const hits = flips.filter((offset) => offset >= at && offset < at + chunk.length);
  if (hits.length === 0) return chunk;
  const copy = Buffer.from(chunk);
  for (const offset of hits) copy[offset - at] = (copy[offset - at] ?? 0) ^ 0xff;
  return copy;
}

/** The bytes of the body, broken where something is to happen. */
function* pieces(answer: Answer): Generator<Uint8Array> {
  const { start, end } = answer.range ?? { start: 0, end: answer.content.size };
  const marks = [...answer.gates.map((gate) => gate.at), answer.stop?.after ?? Infinity].toSorted((a, b) => a - b);
  const most = answer.pace?.bytes ?? Math.max(1, Math.ceil((answer.bytesPerSecond ?? Infinity) / 50));
  let sent = 0;
  function* broken(whole: Uint8Array): Generator<Uint8Array> {
    for (let at = 0; at < whole.length;) {
      const mark = marks.find((place) => place > sent) ?? Infinity;
      const piece = whole.subarray(at, at + Math.min(whole.length - at, mark - sent, most));
      at += piece.length;
      sent += piece.length;
      yield piece;
    }
  }
  let at = start;
  for (const chunk of answer.content.bytes(start, end)) {
    yield* broken(flipped(chunk, at, answer.flips));
    at += chunk.length;
  }
  if (answer.extra > 0) yield* broken(Buffer.alloc(answer.extra, 'x'));
}

/** Sends the body; false when a fault ended the connection or the client left. */
async function sendBody(answer: Answer, wire: Wire, total: number): Promise<boolean> {
  const { entry, gone } = wire;
  const began = performance.now();
  const arrived = async (): Promise<boolean> => {
    for (const gate of answer.gates) if (gate.at === entry.bytesSent) await unlessGone(gate.until, gone);
    if (answer.stop?.after !== entry.bytesSent) return !gone.aborted;
    if (answer.stop.how === 'stall')
      return new Promise((resolve) => gone.addEventListener('abort', () => resolve(false)));
    await cutNow(wire.socket, answer.stop.how, wire.response);
    return false;
  };
  if (!(await arrived())) return false;
  for (const piece of pieces(answer)) {
    const last = entry.bytesSent + piece.length === total;
    if (last && answer.stop === undefined) wire.ending();
    entry.bytesSent += piece.length;
    await write(wire, piece);
    if (last && answer.stop === undefined) break;
    if (answer.pace) await pause(answer.pace.everyMs, gone);
    if (answer.bytesPerSecond !== undefined) {
      const due = began + (entry.bytesSent / answer.bytesPerSecond) * 1000;
      if (due > performance.now() + 1) await pause(due - performance.now(), gone);
    }
    if (!(await arrived())) return false;
  }
  return !gone.aborted;
}

async function before(answer: Answer, wire: Wire): Promise<boolean> {
  for (const held of answer.holds) await unlessGone(held, wire.gone);
  if (answer.delayMs > 0) await pause(answer.delayMs, wire.gone);
  if (wire.gone.aborted) return false;
  if (answer.drop) {
    await cutNow(wire.socket, answer.drop, wire.response);
    return false;
  }
  if (answer.raw) {
    wire.response.socket?.end(answer.raw);
    return false;
  }
  if (!answer.silent) return true;
  return new Promise((resolve) => wire.gone.addEventListener('abort', () => resolve(false)));
}

/** Puts an answer on the wire as it says. True when all of it went out and the connection is still good. */
export async function send(answer: Answer, wire: Wire): Promise<boolean> {
  if (!(await before(answer, wire))) return false;
  const { response, entry } = wire;
  const length = lengthOf(answer) + answer.extra;
  if (answer.framing === 'close') {
    response.shouldKeepAlive = false;
    response.useChunkedEncodingByDefault = false;
  }
  const finals = finalHeaders(answer, length);
  entry.status = answer.status;
  response.writeHead(answer.status, Object.fromEntries(Object.entries(finals).map(([k, v]) => [k, [v].flat()])));
  if (entry.method === 'HEAD' || answer.status === 204 || answer.status === 304) {
    wire.ending();
    response.end();
    return true;
  }
  response.flushHeaders();
  if (length === 0) wire.ending();
  if (!(await sendBody(answer, wire, length))) return false;
  wire.ending();
  const said = finals['content-length'];
  if (answer.framing === 'length' && said !== undefined && Number(said) !== length) {
    // Nobody can tell where the next answer would start.
    await cutNow(wire.socket, 'FIN', response);
    return true;
  }
  response.end();
  return true;
}
