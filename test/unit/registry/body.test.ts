import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Dispatcher } from 'undici';
import { Body } from '../../../src/registry/body.ts';

/** What undici hands out, as far as a body uses it. */
class Controller implements Dispatcher.DispatchController {
  readonly paused = false;
  readonly aborted = false;
  readonly reason = null;
  readonly calls: string[] = [];

  pause(): void {
    this.calls.push('pause');
  }

  resume(): void {
    this.calls.push('resume');
  }

  abort(): void {
    this.calls.push('abort');
  }
}

const limits = { stallMs: 1000, minRate: 1, rateWindowMs: 60_000 };
const url = new URL('https://registry.example/v2/app/blobs/x?secret=1');
const bodyOf = (controller: Controller): Body => new Body(controller, limits, url);

describe('the body of a response', () => {
  it('pauses the connection above its bound, and goes on when the consumer has caught up', async () => {
    const control = new Controller();
    const body = bodyOf(control);
    const chunk = Buffer.alloc(64 << 10);
    for (let i = 0; i < 8; i += 1) body.push(chunk);
    assert.deepEqual(control.calls, ['pause']);
    const chunks = body[Symbol.asyncIterator]();
    for (let i = 0; i < 5; i += 1) await chunks.next();
    assert.deepEqual(control.calls, ['pause']);
    await chunks.next();
    assert.deepEqual(control.calls, ['pause', 'resume']);
    await chunks.return();
    assert.deepEqual(control.calls, ['pause', 'resume', 'abort']);
  });

  it('gives what came before a failure, then the failure', async () => {
    const body = bodyOf(new Controller());
    body.push(Buffer.from('ab'));
    body.fail(new Error('broken'));
    body.push(Buffer.from('late'));
    const got: string[] = [];
    await assert.rejects(async () => {
      for await (const chunk of body) got.push(String(chunk));
    }, /broken/);
    assert.deepEqual(got, ['ab']);
  });

  it('tells every listener once that it is over, also those that come late', () => {
    const body = bodyOf(new Controller());
    const told: string[] = [];
    body.onClose(() => void told.push('one'));
    body.onClose(() => void told.push('two'));
    body.end();
    body.fail(new Error('after the end'));
    body.onClose(() => void told.push('late'));
    assert.deepEqual(told, ['one', 'two', 'late']);
  });

  it('counts what comes, also what nobody reads', () => {
    const body = bodyOf(new Controller());
    body.push(Buffer.alloc(10));
    body.push(Buffer.alloc(5));
    body.end();
    body.push(Buffer.alloc(100));
    assert.equal(body.received, 15);
    assert.equal(body.hasStalled, false);
  });

  it('an unwanted one is read when it is short, and given up when it is not', async () => {
    const short = new Controller();
    const small = bodyOf(short);
    small.push(Buffer.alloc(100));
    setImmediate(() => small.end());
    await small.discard();
    assert.deepEqual(short.calls, []);
    const long = new Controller();
    const large = bodyOf(long);
    large.push(Buffer.alloc(100_000));
    await large.discard();
    assert.deepEqual(long.calls, ['abort']);
  });
});
