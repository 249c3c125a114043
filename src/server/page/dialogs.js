// @ts-check
/** Questions to the user, in dialogs that the browser keeps the keyboard in. */
import { useLayoutEffect, useRef } from 'preact/hooks';
import { asked } from './access.js';
import { Cell, useCell } from './cell.js';
import { html } from './html.js';

/**
 * @typedef {object} Question
 * @property {string} title
 * @property {string} text what will happen
 * @property {string} action the word on the button
 * @property {boolean} [isDangerous]
 */

/**
 * A question is itself the key of its dialog: one that follows within a frame must not get the dialog of the last, which is closed.
 * @type {Cell<(Question & { readonly answer: (yes: boolean) => void }) | undefined>}
 */
const question = new Cell(undefined);

/**
 * @param {Question} asking
 * @returns {Promise<boolean>}
 */
export function confirmed(asking) {
  question.get()?.answer(false);
  return new Promise((resolve) => {
    const put = {
      ...asking,
      answer: (/** @type {boolean} */ yes) => {
        // A dialog tells that it was closed later on, when there may be another question.
        if (question.get() === put) question.set(undefined);
        resolve(yes);
      },
    };
    question.set(put);
  });
}

/**
 * Open as long as it is rendered.
 * @param {{ title: string, onClose: () => void, children?: unknown }} props
 */
export function Dialog({ title, onClose, children }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useLayoutEffect(() => {
    const before = document.activeElement;
    const element = dialog.current;
    element?.showModal();
    return () => {
      // While it is open nothing else takes the focus, and when it is taken away open the browser does not give it back.
      element?.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return html`<dialog ref=${dialog} onClose=${onClose} aria-labelledby="dialog-title">
    <h2 id="dialog-title">${title}</h2>
    ${children}
  </dialog>`;
}

function Confirm() {
  const asking = useCell(question);
  if (asking === undefined) return null;
  const { title, text, action, isDangerous = false, answer } = asking;
  return html`<${Dialog} key=${asking} title=${title} onClose=${() => answer(false)}>
    <p>${text}</p>
    <div class="buttons">
      <button type="button" onClick=${() => answer(false)} autofocus>Keep it as it is</button>
      <button type="button" class=${isDangerous ? 'danger' : 'primary'} onClick=${() => answer(true)}>${action}</button>
    </div>
  <//>`;
}

function TokenQuestion() {
  const asking = useCell(asked);
  if (asking === undefined) return null;
  const submit = (/** @type {SubmitEvent & { currentTarget: HTMLFormElement }} */ event) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget).get('token');
    if (typeof given === 'string' && given.trim() !== '') asking.answer(given.trim());
  };
  return html`<${Dialog} key=${asking} title="Token" onClose=${() => asking.answer(undefined)}>
    <form onSubmit=${submit}>
      <p>${asking.why}</p>
      <label>
        Token of the server
        <input type="password" name="token" required autocomplete="off" pattern="[!-~]+" autofocus />
      </label>
      <p class="hint">
        It is in the file that the server was started with (--token-file), and is kept until this tab is closed.
      </p>
      <div class="buttons">
        <button type="button" onClick=${() => asking.answer(undefined)}>Cancel</button>
        <button type="submit" class="primary">Use token</button>
      </div>
    </form>
  <//>`;
}

export const Dialogs = () => html`<${Confirm} /><${TokenQuestion} />`;
