// @ts-check
/** The runs of the farm. */
import { useState } from 'preact/hooks';
import { count, rate, timeLeft } from './format.js';
import { html } from './html.js';
import { read } from './http.js';
import { useLive } from './live.js';
import { Ago, Failure, ImagesBar, Labels, State, Table, Text, useAnswer } from './parts.js';
import { runPath } from './router.js';

/** @import { RunJson } from '../api/schema.ts' */
/** @import { Column } from './parts.js' */

const STATES = ['running', 'done', 'cancelled'];
/** The most that the server tells at a time. */
const MOST = 500;

/** @param {{ failures: Readonly<Record<string, number>> }} props */
export const Failures = ({ failures }) =>
  html`<ul class="reasons" role="list">
    ${Object.entries(failures)
      .toSorted(([, a], [, b]) => b - a)
      .map(([code, n]) => html`<li key=${code}><${Text} class="code" text=${code} /> × ${count(n)}</li>`)}
  </ul>`;

/** @type {readonly Column<RunJson>[]} */
const COLUMNS = [
  { label: 'Run', class: 'id', cell: ({ id }) => html`<a href=${runPath(id)}>${id}</a>` },
  { label: 'State', cell: ({ state }) => html`<${State} state=${state} />` },
  { label: 'What', class: 'wide', cell: ({ labels }) => html`<${Labels} labels=${labels} />` },
  { label: 'Images', class: 'wide', cell: ({ images }) => html`<${ImagesBar} images=${images} />` },
  {
    label: 'Rate now',
    class: 'number',
    cell: ({ bytesPerSecondNow, bytesPerSecond, state }) =>
      state === 'running'
        ? rate(bytesPerSecondNow ?? 0)
        : html`<span title="over the life of the run">⌀ ${rate(bytesPerSecond)}</span>`,
  },
  { label: 'Left', class: 'number', cell: ({ etaMs }) => timeLeft(etaMs) },
  { label: 'Failures', cell: ({ failuresByCode }) => html`<${Failures} failures=${failuresByCode} />` },
  { label: 'Age', class: 'number', cell: ({ createdAt }) => html`<${Ago} at=${createdAt} suffix="" />` },
];

/** Those that go on come first, and the newest of each. @param {readonly RunJson[]} runs */
const sorted = (runs) =>
  runs.toSorted(
    (a, b) => Number(b.state === 'running') - Number(a.state === 'running') || b.createdAt.localeCompare(a.createdAt),
  );

/**
 * What was asked for, made newer by what came since.
 * @param {readonly RunJson[]} asked
 * @param {readonly RunJson[]} live
 */
const merged = (asked, live) => [...new Map([...asked, ...live].map((run) => [run.id, run])).values()];

export function Runs() {
  const [state, setState] = useState('');
  const [hasAll, setHasAll] = useState(false);
  const live = useLive('runs');
  const older = useAnswer((signal) => askRuns(state, hasAll, signal), [state, hasAll]);
  const isKnown = live !== undefined || older.value !== undefined;
  const runs = merged(older.value?.runs ?? [], live?.runs ?? []).filter((run) => state === '' || run.state === state);
  return html`
    <div class="title">
      <h1>Runs</h1>
      <label class="inline">
        State
        <select
          value=${state}
          onChange=${(/** @type {Event & { currentTarget: HTMLSelectElement }} */ event) => setState(event.currentTarget.value)}
        >
          <option value="">all</option>
          ${STATES.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
        </select>
      </label>
    </div>
    ${older.problem !== undefined && html`<${Failure} problem=${older.problem} />`}
    ${
      isKnown
        ? html`<${Table}
            caption="Runs, those that go on first"
            columns=${COLUMNS}
            rows=${sorted(runs)}
            keyOf=${(/** @type {RunJson} */ { id }) => id}
            empty=${state === '' ? 'No runs yet. Start one with gantry pull --redis or gantry copy --redis.' : `No run is ${state}.`}
          />`
        : older.problem === undefined && html`<p class="empty">Asking the server…</p>`
    }
    ${!hasAll && runs.length >= 50 && html`<button type="button" onClick=${() => setHasAll(true)}>Show older runs</button>`}
  `;
}

/**
 * @param {string} state
 * @param {boolean} hasAll
 * @param {AbortSignal} signal
 * @returns {Promise<{ runs: RunJson[] }>}
 */
async function askRuns(state, hasAll, signal) {
  if (state === '' && !hasAll) return { runs: [] }; // the stream brings these
  const query = new URLSearchParams({ limit: String(hasAll ? MOST : 50), ...(state === '' ? {} : { state }) });
  return read(`runs?${query}`, signal);
}
