import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isCode } from '../../../src/errors.ts';
import { Gate } from '../../../src/registry/gate.ts';
import { never } from './temp.ts';

const opts = { signal: never };

describe('the gate of a registry', () => {
  it('lets so many in, and the next one when a place is given back, once', async () => {
    const gate = new Gate(2);
    const [one] = await Promise.all([gate.enter('read', opts), gate.enter('read', opts)]);
    let third = false;
    const waiting = gate.enter('read', opts).then((leave) => {
      third = true;
      return leave;
    });
    await new Promise((done) => setImmediate(done));
    assert.equal(third, false);
    one();
    one();
    const leave = await waiting;
    const stop = new AbortController();
    const full = gate.enter('read', { signal: stop.signal });
    stop.abort(new Error('full'));
    await assert.rejects(full, /full/);
    leave();
  });

  it('waits until the registry may be asked again; two answers never shorten the wait', async () => {
    const gate = new Gate(1);
    gate.closeFor(60, { message: 'first', host: 'r.example' }, 1000);
    gate.closeFor(5, { message: 'second', host: 'r.example' }, 1000);
    const began = performance.now();
    (await gate.enter('read', opts))();
    assert.ok(performance.now() - began >= 58);
  });

  it('does not wait longer than it may', async () => {
    const gate = new Gate(1);
    gate.closeFor(5000, { message: 'r.example answered 429', host: 'r.example' }, 1000);
    const err: unknown = await gate.enter('read', opts).catch((reason: unknown) => reason);
    assert.ok(isCode(err, 'RATE_LIMITED'));
    assert.equal(err.message, 'r.example answered 429');
    assert.equal(err.host, 'r.example');
    assert.ok((err.retryAfterMs ?? 0) > 4900);
  });

  it('of two answers the lesser patience holds, until it is open again', async () => {
    const gate = new Gate(1);
    gate.closeFor(20, { message: 'a limit', host: 'r.example' }, 0);
    gate.closeFor(40, { message: 'an outage', host: 'r.example' }, 1000);
    await assert.rejects(gate.enter('read', opts), /an outage/);
    const other = new Gate(1);
    other.closeFor(40, { message: 'an outage', host: 'r.example' }, 1000);
    other.closeFor(20, { message: 'a limit', host: 'r.example' }, 0);
    await assert.rejects(other.enter('read', opts), /an outage/);
    const end = performance.now() + 40;
    while (performance.now() < end) await new Promise((done) => setImmediate(done));
    gate.closeFor(20, { message: 'an outage', host: 'r.example' }, 1000);
    (await gate.enter('read', opts))();
  });

  it('who holds a place passes without another, and waits for the time like everybody', async () => {
    const gate = new Gate(1);
    const leave = await gate.hold('write', opts);
    await gate.pass(opts);
    (await gate.enter('read', opts))();
    const stop = new AbortController();
    const waiting = gate.enter('write', { signal: stop.signal });
    stop.abort(new Error('held'));
    await assert.rejects(waiting, /held/);
    gate.closeFor(5000, { message: 'a limit', host: 'r.example' }, 1000);
    await assert.rejects(gate.pass(opts), /a limit/);
    leave();
  });

  it('who waits for the time holds no place, and can give up', async () => {
    const gate = new Gate(1);
    gate.closeFor(500, { message: 'later', host: 'r.example' }, 1000);
    const stop = new AbortController();
    const waiting = gate.enter('read', { signal: stop.signal });
    stop.abort(new Error('enough'));
    await assert.rejects(waiting, /enough/);
  });
});
