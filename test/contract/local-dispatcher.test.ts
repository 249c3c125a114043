import { LocalDispatcher } from '../../src/flow/local-dispatcher.ts';
import { dispatcherContract } from './dispatcher-suite.ts';

dispatcherContract('local', async (handler, options) => ({
  dispatcher: new LocalDispatcher({ handler, ...options }),
  [Symbol.asyncDispose]: () => Promise.resolve(),
}));
