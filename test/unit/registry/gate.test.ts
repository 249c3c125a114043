import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isCode } from '../../../src/errors.ts';
import { Gate } from '../../../src/registry/gate.ts';
import { never } from './temp.ts';

const opts = { signal: never };

describe('the gate of a registry', () => {
  it('lets so many in, and the next one when a place is given back, once', async () => {
    const gate = new Gate(2, 1000);
    const [one] = await Promise.all([gate.enter(opts), gate.enter(opts)]);
    let third = false;
    const waiting = gate.enter(opts).then((leave) => {
      third = true;
      return leave;
    });
    await new Promise((done) => setImmediate(done));
    assert.equal(third, false);
    one();
    one();
    const leave = await waiting;
    const stop = new AbortController();
    const full = gate.enter({ signal: stop.signal });
    stop.abort(new Error('full'));
    await assert.rejects(full, /full/);
    leave();
  });

  it('waits until the registry may be asked again; two answers never shorten the wait', async () => {
    const gate = new Gate(1, 1000);
    gate.closeFor(60, 'first');
    gate.closeFor(5, 'second');
    const began = performance.now();
    (await gate.enter(opts))();
    assert.ok(performance.now() - began >= 58);
  });

  it('does not wait longer than it may', async () => {
    const gate = new Gate(1, 1000);
    gate.closeFor(5000, 'r.example answered 429');
    const err: unknown = await gate.enter(opts).catch((reason: unknown) => reason);
    assert.ok(isCode(err, 'RATE_LIMITED'));
    assert.equal(err.message, 'r.example answered 429');
    assert.ok((err.retryAfterMs ?? 0) > 4900);
  });

  it('who waits for the time holds no place, and can give up', async () => {
    const gate = new Gate(1, 1000);
    gate.closeFor(500, 'later');
    const stop = new AbortController();
    const waiting = gate.enter({ signal: stop.signal });
    stop.abort(new Error('enough'));
    await assert.rejects(waiting, /enough/);
  });
});
