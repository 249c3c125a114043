// The two parts of undici that gantry uses, by their files: its index loads fetch, caches and web sockets with them, which took
// 40 of the 160 ms that passed before the first request. undici is pinned exactly, so the paths stay.
declare module 'undici/lib/dispatcher/agent.js' {
  export { Agent as default } from 'undici';
}

declare module 'undici/lib/core/connect.js' {
  export { buildConnector as default } from 'undici';
}
