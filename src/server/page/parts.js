// @ts-check
/** Small parts that the views share. */
import { Component } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { useNow } from './clock.js';
import { absolute, bytes, count, duration, shortDigest, shortened, visible } from './format.js';
import { html } from './html.js';
import { Problem } from './http.js';
import { announce } from './notices.js';

/**
 * How long ago something was, the moment itself on hovering.
 * @param {{ at: string, suffix?: string }} props
 */
export function Ago({ at, suffix = ' ago' }) {
  const ms = Math.max(0, Math.floor((useNow() - Date.parse(at)) / 1000) * 1000);
  return html`<time datetime=${at} title=${absolute(at)}>${ms === 0 ? 'now' : `${duration(ms)}${suffix}`}</time>`;
}

/** Longer text of others is cut for the eye; it is whole where it is the matter. */
const MAX_TEXT = 120;

/**
 * Text of others: it stands for itself, in its own direction, and cannot pretend to be something else.
 * @param {{ text: string, max?: number, class?: string }} props
 */
export const Text = ({ text, max = MAX_TEXT, class: name = '' }) =>
  html`<bdi class="text ${name}" title=${text.length > 40 ? visible(text) : undefined}
    >${shortened(visible(text), max)}</bdi
  >`;

/**
 * A bar that also says in words what it shows.
 * @param {{ label: string, text: string, total: number, segments: readonly { kind: string, value: number }[] }} props
 */
export function Bar({ label, text, total, segments }) {
  const done = segments.reduce((sum, { value }) => sum + value, 0);
  const percent = total === 0 ? 0 : Math.min(100, (done * 100) / total);
  return html`<div class="progress">
    <div
      class="bar"
      role="progressbar"
      aria-label=${label}
      aria-valuemin="0"
      aria-valuemax="100"
      aria-valuenow=${Math.floor(percent)}
      aria-valuetext=${text}
    >
      ${segments.map(
        ({ kind, value }) =>
          value > 0 &&
          html`<span class="segment ${kind}" style=${{ width: `${Math.min(100, (value * 100) / total)}%` }}></span>`,
      )}
    </div>
    <span class="bar-text" aria-hidden="true">${text}</span>
  </div>`;
}

/**
 * Puts a digest on the clipboard.
 * @param {{ text: string, what: string }} props
 */
export function Copy({ text, what }) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      announce(`copied ${shortened(text, 30)}`);
    } catch {
      // No clipboard without https, but for this machine: then the text is shown whole, to be marked by hand.
      announce(`this browser does not let the page copy: ${text}`);
    }
  };
  return html`<button type="button" class="quiet copy" onClick=${copy} aria-label="copy ${what}" title=${visible(text)}>
    ${shortened(visible(shortDigest(text)), 40)}
  </button>`;
}

/** @param {{ state: string }} props */
export const State = ({ state }) => html`<span class="state ${state}">${state}</span>`;

/** @param {{ labels: Readonly<Record<string, string>> }} props */
export const Labels = ({ labels }) =>
  html`<ul class="labels" role="list">
    ${Object.entries(labels).map(
      ([name, value]) =>
        html`<li key=${name}>
          <${Text} class="label-name" text=${name} max=${60} /> <${Text} text=${value} max=${100} />
        </li>`,
    )}
  </ul>`;

/**
 * @template Row
 * @typedef {object} Column
 * @property {string} label
 * @property {string} [class]
 * @property {(row: Row) => unknown} cell
 */

/**
 * A row that is rendered again only when what it shows has changed.
 * @template R
 * @extends {Component<{ row: R, columns: readonly Column<R>[] }>}
 */
class Row extends Component {
  /**
   * @override
   * @param {Row<R>['props']} next
   */
  shouldComponentUpdate({ row, columns }) {
    if (columns !== this.props.columns) return true;
    return row !== this.props.row && JSON.stringify(row) !== JSON.stringify(this.props.row);
  }

  /** @override */
  render() {
    const { row, columns } = this.props;
    return html`<tr role="row">
      ${columns.map(({ label, class: name, cell }, i) =>
        i === 0
          ? html`<th scope="row" role="rowheader" class=${name} data-label=${label}>${cell(row)}</th>`
          : html`<td role="cell" class=${name} data-label=${label}>${cell(row)}</td>`,
      )}
    </tr>`;
  }
}

/**
 * A table; on a phone each row is a card. The roles are what tables have anyway, and lose when they are laid out as cards.
 * @template R
 * @param {{ caption: string, columns: readonly Column<R>[], rows: readonly R[], keyOf: (row: R) => string, empty: string }} props
 */
export function Table({ caption, columns, rows, keyOf, empty }) {
  if (rows.length === 0) return html`<p class="empty">${empty}</p>`;
  return html`<div class="scroller">
    <table role="table" class="cards">
      <caption class="hidden">
        ${caption}
      </caption>
      <thead role="rowgroup">
        <tr role="row">
          ${columns.map(({ label, class: name }) => html`<th scope="col" role="columnheader" class=${name}>${label}</th>`)}
        </tr>
      </thead>
      <tbody role="rowgroup">
        ${rows.map((row) => html`<${Row} key=${keyOf(row)} row=${row} columns=${columns} />`)}
      </tbody>
    </table>
  </div>`;
}

const ASK_AGAIN_MS = 3_000;

/** Nobody answered, or not for long. @param {unknown} problem */
const mayPass = (problem) => problem instanceof Problem && (problem.status === 0 || problem.status === 503);

/**
 * What is asked for once; undefined until the answer is there. While it is asked for again the last one stays.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} ask
 * @param {readonly unknown[]} inputs asked again when one of them changes
 * @returns {{ value: T | undefined, problem: unknown }}
 */
export function useAnswer(ask, inputs) {
  const [answer, setAnswer] = useState(
    /** @type {{ value: T | undefined, problem: unknown }} */ ({ value: undefined, problem: undefined }),
  );
  useEffect(() => {
    const stop = new AbortController();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const begin = () => {
      ask(stop.signal).then(
        (value) => !stop.signal.aborted && setAnswer({ value, problem: undefined }),
        (problem) => {
          if (stop.signal.aborted) return;
          setAnswer({ value: undefined, problem });
          if (mayPass(problem)) timer = setTimeout(begin, ASK_AGAIN_MS);
        },
      );
    };
    begin();
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, inputs);
  return answer;
}

/**
 * `12 of 20 images, 1 failed`
 * @param {{ done: number, failed: number, cancelled: number, total: number }} images
 */
export function progressText({ done, failed, cancelled, total }) {
  const bad = [failed > 0 ? `${count(failed)} failed` : '', cancelled > 0 ? `${count(cancelled)} cancelled` : ''];
  return [`${count(done)} of ${count(total)}`, ...bad.filter(Boolean)].join(', ');
}

/** @param {{ images: { done: number, failed: number, cancelled: number, total: number } }} props */
export const ImagesBar = ({ images }) =>
  html`<${Bar}
    label="images"
    text=${progressText(images)}
    total=${images.total}
    segments=${[
      { kind: 'done', value: images.done },
      { kind: 'failed', value: images.failed },
      { kind: 'cancelled', value: images.cancelled },
    ]}
  />`;

/** @param {{ offset: number, total: number | null }} props */
export const TransferBar = ({ offset, total }) =>
  html`<${Bar}
    label="bytes"
    text=${total === null ? bytes(offset) : `${bytes(offset)} of ${bytes(total)}`}
    total=${total ?? 0}
    segments=${[{ kind: 'open', value: total === null ? 0 : offset }]}
  />`;

/**
 * Errors of questions, where the answer would be.
 * @param {{ problem: unknown }} props
 */
export const Failure = ({ problem }) =>
  html`<p class="notice bad" role="alert">${problem instanceof Error ? visible(problem.message) : String(problem)}</p>`;
