// @ts-check
import { Cell, useCell } from './cell.js';
import { serverNow } from './http.js';

/** Moves once a second, for all ages on the page. */
const clock = new Cell(serverNow());
setInterval(() => clock.set(serverNow()), 1000);

/** Milliseconds since 1970, by the server's clock. */
export const useNow = () => useCell(clock);
