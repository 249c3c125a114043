// @ts-check
/** What happened: the last thing that was done, and whether the data is live. */
import { Cell, useCell } from './cell.js';
import { useNow } from './clock.js';
import { duration, visible } from './format.js';
import { html } from './html.js';
import { link } from './live.js';

/** @type {Cell<{ readonly text: string, readonly isBad: boolean } | undefined>} */
const notice = new Cell(undefined);

/** @param {string} text */
export const announce = (text) => notice.set({ text, isBad: false });

/** @param {unknown} err */
export const complain = (err) => notice.set({ text: err instanceof Error ? err.message : String(err), isBad: true });

/** How old what is shown is; outside of what is announced, or each second would be. */
function Age() {
  const now = useNow();
  const { dataAt } = useCell(link);
  if (dataAt === undefined) return null;
  return html`<span class="age"
    >What is shown is ${duration(Math.max(1, Math.round((now - dataAt) / 1000)) * 1000)} old.</span
  >`;
}

const WORDS = {
  open: '',
  live: '',
  away: 'The server cannot reach its data',
  lost: 'The connection to the server is lost',
  gone: 'The server does not know this any more',
  denied: 'The server shows nothing without its token',
};

export function Connection() {
  const { state, message } = useCell(link);
  const words = WORDS[state];
  return html`<div class=${words === '' ? 'hidden' : 'notice warn'} id="connection">
    <span role="status" aria-live="polite"
      >${words === '' ? '' : `${words}: ${visible(message)}.${state === 'gone' ? '' : ' It is tried again.'}`}</span
    >
    ${words !== '' && html` <${Age} />`}
  </div>`;
}

export function Notice() {
  const told = useCell(notice);
  return html`<div class=${told === undefined ? 'hidden' : `notice ${told.isBad ? 'bad' : 'good'}`} id="notice">
    <span role="status" aria-live="polite">${told === undefined ? '' : visible(told.text)}</span>
    ${told !== undefined && html`<button type="button" class="quiet" onClick=${() => notice.set(undefined)}>Dismiss</button>`}
  </div>`;
}
