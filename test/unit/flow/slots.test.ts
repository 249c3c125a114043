import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Slots } from '../../../src/flow/slots.ts';
import { never } from './support.ts';

test('as many as there are slots go on, the rest in the order of arrival', async () => {
  const slots = new Slots(2);
  const order: number[] = [];
  const give = await Promise.all([slots.take(never), slots.take(never)]);
  const waiting = [3, 4].map((n) => slots.take(never).then((back) => (order.push(n), back)));
  await setImmediate();
  assert.deepEqual(order, []);
  give[0]();
  await waiting[0];
  await setImmediate();
  assert.deepEqual(order, [3]);
  give[1]();
  await waiting[1];
  assert.deepEqual(order, [3, 4]);
});

test('a slot is given back once', async () => {
  const slots = new Slots(1);
  const give = await slots.take(never);
  give();
  give();
  const again = await slots.take(never);
  let second = false;
  const waiting = slots.take(never).then((back) => ((second = true), back));
  await setImmediate();
  assert.equal(second, false);
  again();
  (await waiting)();
});

test('who gives up waiting neither gets nor costs a slot', async () => {
  const slots = new Slots(1);
  const give = await slots.take(never);
  const stop = new AbortController();
  const gone = slots.take(stop.signal);
  const next = slots.take(never);
  stop.abort(new Error('enough'));
  await assert.rejects(gone, /enough/);
  give();
  (await next)();
  (await slots.take(never))();
  await assert.rejects(slots.take(stop.signal), /enough/);
});

test('an abort after the slot has come changes nothing', async () => {
  const slots = new Slots(1);
  const stop = new AbortController();
  const give = await slots.take(never);
  const next = slots.take(stop.signal);
  give();
  const back = await next;
  assert.equal(getEventListeners(stop.signal, 'abort').length, 0, 'a signal may live long and see many slots');
  stop.abort();
  back();
  (await slots.take(never))();
});
