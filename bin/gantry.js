#!/usr/bin/env node
// Plain JavaScript that every Node since version 12 can read: it has to be able to say that the Node is too old.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const WANTED = 24;
const source = new URL('../src/cli/main.ts', import.meta.url);
const isCheckout = existsSync(source);

if (Number(process.versions.node.split('.')[0]) >= WANTED) {
  // Many small writes and fsyncs at once; the default of four threads would queue them behind each other.
  process.env.UV_THREADPOOL_SIZE = process.env.UV_THREADPOOL_SIZE || '16';
  const { enableCompileCache } = await import('node:module');
  enableCompileCache();
  const { main } = await import(isCheckout ? source.href : new URL('../dist/cli/main.js', import.meta.url).href);
  await main(process.argv.slice(2));
} else {
  const own = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url));
  if (isCheckout && existsSync(own)) {
    const { status, signal } = spawnSync(own, process.argv.slice(1), { stdio: 'inherit' });
    if (signal) process.kill(process.pid, signal);
    process.exitCode = status;
  } else {
    console.error(
      `gantry needs Node ${WANTED} or newer, this is ${process.versions.node}: install it and run gantry again`,
    );
    process.exitCode = 2;
  }
}
