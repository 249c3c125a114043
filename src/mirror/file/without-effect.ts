/** Keys that are read so that a file of regsync works, and that do nothing; with the reason. */
export const WITHOUT_EFFECT: Readonly<Record<string, string>> = {
  hooks: 'hooks are never run',
  referrerSlow: 'it has no effect',
  blobLimit: 'it has no effect',
  cacheCount: 'it has no effect',
  cacheTime: 'it has no effect',
  credExpire: 'it has no effect; helpers are asked by every process',
  credHost: 'it has no effect; credentials are looked up by the name in registry',
  blobChunk: 'it has no effect',
  blobMax: 'it has no effect',
  api: 'it has no effect',
  apiOpts: 'it has no effect',
  scheme: 'it has no effect; write tls: disabled for http',
  dns: 'it has no effect; write hostname',
};
