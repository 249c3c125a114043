// @ts-check
/** The token: typed by the user, kept until the tab is closed, sent to this server and nobody else. */
import { Cell } from './cell.js';

const KEY = 'gantry-token';

/** @type {Cell<string | undefined>} */
export const token = new Cell(sessionStorage.getItem(KEY) ?? undefined);

/**
 * Why the dialog is open, and whom to tell; undefined when it is not.
 * @type {Cell<{ readonly why: string, readonly answer: (token: string | undefined) => void } | undefined>}
 */
export const asked = new Cell(undefined);

/** @type {Promise<boolean> | undefined} */
let asking;

/**
 * Opens the dialog. Whoever asks meanwhile shares the answer: false when the user does not want to.
 * @param {string} why
 * @returns {Promise<boolean>}
 */
export function askToken(why) {
  asking ??= new Promise((resolve) => {
    const put = {
      why,
      answer: (/** @type {string | undefined} */ given) => {
        // A dialog tells that it was closed later on, when it may be open again.
        if (asked.get() !== put) return;
        asking = undefined;
        asked.set(undefined);
        if (given !== undefined) keepToken(given);
        resolve(given !== undefined);
      },
    };
    asked.set(put);
  });
  return asking;
}

/** @param {string} given */
function keepToken(given) {
  sessionStorage.setItem(KEY, given);
  token.set(given);
}

export function forgetToken() {
  sessionStorage.removeItem(KEY);
  token.set(undefined);
}
