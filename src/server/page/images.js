// @ts-check
/** The images of a run. Only those that are visible are in the document, however many there are. */
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { Dialog } from './dialogs.js';
import { absolute, bytes, count, counted, duration, shortened, visible } from './format.js';
import { html } from './html.js';
import { ImageList } from './image-list.js';
import { Copy, Failure, State, Text } from './parts.js';

/** @import { ImageJson, RunDetailJson } from '../api/schema.ts' */
/** @import { Filter } from './image-list.js' */

const STATES = ['waiting', 'open', 'done', 'failed', 'cancelled'];
/** Rows beyond the edges, so that a small scroll shows no hole. */
const MARGIN = 8;
/** While somebody types. */
const TYPING_MS = 250;

const HEADINGS = ['Image', 'State', 'Digest', 'Bytes', 'Took', 'Error'];

/** @param {{ image: ImageJson | undefined, place: number, onOpen: (image: ImageJson) => void }} props */
function ImageRow({ image, place, onOpen }) {
  if (image === undefined) {
    return html`<tr role="row" aria-rowindex=${place + 2} class="unknown">
      <td role="cell">…</td>
    </tr>`;
  }
  const { name, state, digest, error, tookMs } = image;
  return html`<tr role="row" aria-rowindex=${place + 2}>
    <th role="rowheader" scope="row" class="name">
      <button type="button" class="link" onClick=${() => onOpen(image)}><${Text} text=${name} max=${300} /></button>
    </th>
    <td role="cell" class="image-state"><${State} state=${state} /></td>
    <td role="cell" class="digest">
      ${digest !== null && html`<${Copy} text=${digest} what="digest of ${visible(name)}" />`}
    </td>
    <td role="cell" class="number bytes">${image.bytes === null ? '' : bytes(image.bytes)}</td>
    <td role="cell" class="number took">${tookMs === null ? '' : duration(tookMs)}</td>
    <td role="cell" class="error">
      ${error !== null && html`<${Text} class="code" text=${error.code} /> <${Text} text=${error.message} max=${300} />`}
    </td>
  </tr>`;
}

/** Everything about one image. @param {{ image: ImageJson, onClose: () => void }} props */
function Details({ image: { name, index, state, digest, mediaType, bytes: moved, tookMs, endedAt, error }, onClose }) {
  const facts = [
    ['State', state],
    ['Place in the request', count(index + 1)],
    ['Digest', digest],
    ['Media type', mediaType],
    ['Moved', moved === null ? null : bytes(moved)],
    ['Took', tookMs === null ? null : duration(tookMs)],
    ['Ended', endedAt === null ? null : absolute(endedAt)],
    ['Error', error?.code],
    ['Message', error?.message],
    ['Whose fault', error?.origin],
    ['Host', error?.host],
    ['Content', error?.digest],
    ['What to do', error?.hint],
  ];
  return html`<${Dialog} title=${visible(name)} onClose=${onClose}>
    <dl class="facts">
      ${facts.map(
        ([label, value]) =>
          typeof value === 'string' &&
          html`<dt key="${label} name">${label}</dt>
            <dd key=${label}><bdi>${visible(value)}</bdi></dd>`,
      )}
    </dl>
    <div class="buttons">
      ${digest !== null && html`<${Copy} text=${digest} what="digest" />`}
      <button type="button" class="primary" onClick=${onClose} autofocus>Close</button>
    </div>
  <//>`;
}

/** As the style sheet has it for this width and this size of text. @param {Element} element */
const rowHeight = (element) =>
  Number.parseFloat(getComputedStyle(element).getPropertyValue('--row')) *
  Number.parseFloat(getComputedStyle(document.documentElement).fontSize);

/** @param {{ list: ImageList, total: number, onOpen: (image: ImageJson) => void }} props */
function Rows({ list, total, onOpen }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const [{ top, height, rowPx }, setView] = useState({ top: 0, height: 600, rowPx: 34 });
  const hadFocus = useRef(false);
  useEffect(() => {
    const element = box.current;
    if (element === null) return undefined;
    const look = () => setView({ top: element.scrollTop, height: element.clientHeight, rowPx: rowHeight(element) });
    const resized = new ResizeObserver(look);
    resized.observe(element);
    return () => resized.disconnect();
  }, []);
  const from = Math.max(0, Math.min(Math.floor(top / rowPx) - MARGIN, total - 1));
  const to = Math.min(total, Math.ceil((top + height) / rowPx) + MARGIN);
  useEffect(() => list.show(from, to), [list, from, to]);
  // A button that was scrolled out of sight takes the focus with it: then the arrow keys would move another thing.
  useLayoutEffect(() => {
    if (hadFocus.current && document.activeElement === document.body) box.current?.focus({ preventScroll: true });
    hadFocus.current = box.current?.contains(document.activeElement) ?? false;
  });
  const places = Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
  return html`<div
    class="window"
    role="region"
    aria-label="Images, ${counted(total, 'row')}"
    tabindex="0"
    ref=${box}
    onScroll=${(/** @type {Event & { currentTarget: HTMLElement }} */ { currentTarget }) =>
      setView({ top: currentTarget.scrollTop, height: currentTarget.clientHeight, rowPx })}
    onFocusIn=${() => (hadFocus.current = true)}
    onFocusOut=${(/** @type {FocusEvent} */ { relatedTarget }) => relatedTarget !== null && (hadFocus.current = false)}
  >
    <table role="table" aria-rowcount=${total + 1} class="images">
      <caption class="hidden">
        Images of the run
      </caption>
      <thead role="rowgroup">
        <tr role="row" aria-rowindex="1">
          ${HEADINGS.map((label) => html`<th role="columnheader" scope="col" key=${label}>${label}</th>`)}
        </tr>
      </thead>
      <tbody
        role="rowgroup"
        style=${{ paddingTop: `${from * rowPx}px`, paddingBottom: `${Math.max(0, total - to) * rowPx}px` }}
      >
        ${places.map((place) => html`<${ImageRow} key=${place} place=${place} image=${list.at(place)} onOpen=${onOpen} />`)}
      </tbody>
    </table>
  </div>`;
}

/** @param {{ filter: Filter, onChange: (filter: Filter) => void, codes: readonly string[] }} props */
function Filters({ filter, onChange, codes }) {
  const typing = useRef(/** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined));
  const newest = useRef(filter);
  newest.current = filter;
  useEffect(() => () => clearTimeout(typing.current), []);
  /** @typedef {Event & { currentTarget: HTMLInputElement | HTMLSelectElement }} Change */
  const search = (/** @type {Change} */ { currentTarget: { value } }) => {
    clearTimeout(typing.current);
    typing.current = setTimeout(() => onChange({ ...newest.current, q: value.trim() }), TYPING_MS);
  };
  const choose = (/** @type {string} */ name) => (/** @type {Change} */ event) =>
    onChange({ ...filter, [name]: event.currentTarget.value });
  return html`<form role="search" class="filters" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
    <label class="inline"
      >Name <input type="search" maxlength="200" placeholder="any part of it" onInput=${search}
    /></label>
    <label class="inline">
      State
      <select value=${filter.state} onChange=${choose('state')}>
        <option value="">all</option>
        ${STATES.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
      </select>
    </label>
    ${
      (codes.length > 0 || filter.code !== '') &&
      html`<label class="inline">
        Error
        <select value=${filter.code} onChange=${choose('code')}>
          <option value="">any</option>
          ${[...new Set([...codes, filter.code].filter(Boolean))].map(
            (each) => html`<option key=${each} value=${each}>${shortened(visible(each), 40)}</option>`,
          )}
        </select>
      </label>`
    }
  </form>`;
}

/** @param {{ run: RunDetailJson, filter: Filter, onFilter: (filter: Filter) => void }} props */
export function Images({ run, filter, onFilter }) {
  const [, render] = useState(0);
  const [list, setList] = useState(/** @type {ImageList | undefined} */ (undefined));
  const [opened, setOpened] = useState(/** @type {ImageJson | undefined} */ (undefined));
  useEffect(() => {
    const made = new ImageList(run.id, filter, () => render((n) => n + 1));
    setList(made);
    return () => made.close();
  }, [run.id, filter]);
  const moved = JSON.stringify([run.state, run.images]);
  const isFirst = useRef(true);
  useEffect(() => {
    if (!isFirst.current) list?.refresh();
    isFirst.current = false;
  }, [moved]);
  const total = list?.total;
  return html`<section aria-labelledby="images">
    <h2 id="images">Images</h2>
    <${Filters} filter=${filter} onChange=${onFilter} codes=${Object.keys(run.failuresByCode)} />
    <p role="status" class="hint">${total === undefined ? 'Asking the server…' : counted(total, 'image')}</p>
    ${list?.problem !== undefined && html`<${Failure} problem=${list.problem} />`}
    ${list !== undefined && total !== undefined && total > 0 && html`<${Rows} list=${list} total=${total} onOpen=${setOpened} />`}
    ${opened !== undefined && html`<${Details} image=${opened} onClose=${() => setOpened(undefined)} />`}
  </section>`;
}
