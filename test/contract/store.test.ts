import assert from 'node:assert/strict';
import { ContentStore } from '../../src/store/content-store.ts';
import { FaultFs } from '../support/fault-fs.ts';
import { tempDir } from '../support/temp.ts';
import { type OpenStore, storeContract } from './store-suite.ts';

async function openStore(): Promise<OpenStore> {
  const temp = await tempDir();
  const fs = new FaultFs();
  const store = new ContentStore({ root: temp.join('store'), fs });
  return {
    store,
    names: store.names,
    async [Symbol.asyncDispose]() {
      await temp[Symbol.asyncDispose]();
      assert.equal(fs.openHandles, 0, 'a file was left open');
    },
  };
}

storeContract('a directory', openStore);

storeContract('a directory after its names were published', async () => {
  const opened = await openStore();
  const { store, names } = opened;
  assert.ok(store instanceof ContentStore);
  const publish = (): Promise<void> => store.names.publish({ signal: new AbortController().signal });
  return {
    store,
    names: {
      record: async (...args) => {
        await names.record(...args);
        await publish();
      },
      lookup: (...args) => names.lookup(...args),
      list: (...args) => names.list(...args),
      remove: (...args) => names.remove(...args),
    },
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
});
