#!/usr/bin/env node
// Plain JavaScript that every Node since 12.20 can read: it has to be able to say that the Node is too old.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const WANTED = 24;
const source = new URL('../src/cli/main.ts', import.meta.url);
const isCheckout = existsSync(source);
const own = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url));

if (Number(process.versions.node.split('.')[0]) >= WANTED) {
  process.exitCode = 1; // stands when Node runs out of work before main has ended
  void start();
} else if (isCheckout && existsSync(own)) {
  startWith(own);
} else {
  console.error(
    `gantry needs Node ${WANTED} or newer, this is ${process.versions.node}: install it and run gantry again`,
  );
  process.exitCode = 2;
}

async function start() {
  // Many small writes and fsyncs at once; the default of four threads would queue them behind each other.
  process.env.UV_THREADPOOL_SIZE = process.env.UV_THREADPOOL_SIZE || '16';
  const { enableCompileCache } = await import('node:module');
  enableCompileCache();
  const { main } = await import(isCheckout ? source.href : new URL('../dist/cli/main.js', import.meta.url).href);
  await main(process.argv.slice(2));
}

/** In a checkout `npm ci` has brought a Node that is new enough. It gets the signals, and we end as it does. */
function startWith(node) {
  const child = spawn(node, process.argv.slice(1), { stdio: 'inherit' });
  // What is typed at a terminal the child gets anyway, and a second signal would end it without tidying up.
  process.on('SIGINT', () => process.stdin.isTTY || child.kill('SIGINT'));
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => {
    if (signal) process.removeAllListeners(signal);
    if (signal) process.kill(process.pid, signal);
    process.exitCode = code;
  });
}
