// @ts-check
/** The lanes: what waits for each registry, what limits it, and the buttons for that. */
import { useState } from 'preact/hooks';
import { useNow } from './clock.js';
import { Dialog } from './dialogs.js';
import { count, duration, shortened, visible } from './format.js';
import { html } from './html.js';
import { change } from './http.js';
import { useLive } from './live.js';
import { announce, complain } from './notices.js';
import { Ago, Bar, Table, Text } from './parts.js';

/** @import { LaneJson } from '../api/schema.ts' */
/** @import { Column } from './parts.js' */

/** @param {string} name */
const lanePath = (name) => `lanes/${encodeURIComponent(name)}`;

/** @param {{ until: string, because: string | null }} props */
function Blocked({ until, because }) {
  const left = Date.parse(until) - useNow();
  return html`<div class="state blocked">blocked, ${duration(Math.max(0, Math.ceil(left / 1000)) * 1000)} left</div>
    ${because !== null && html`<${Text} class="small because" text=${because} />`}`;
}

/** @param {{ lane: LaneJson }} props */
const LaneState = ({ lane }) => html`
  ${lane.paused && html`<div class="state paused">paused</div>`}
  ${lane.blockedUntil !== null && html`<${Blocked} until=${lane.blockedUntil} because=${lane.blockedBecause} />`}
  ${!lane.paused && lane.blockedUntil === null && html`<span class="state open">open</span>`}
`;

/** @param {{ lane: LaneJson }} props */
const Limits = ({ lane: { active, concurrency, quota, headroom } }) => html`
  ${
    concurrency !== null &&
    html`<${Bar}
      label="tickets at a time"
      text="${count(active)} of ${count(concurrency)} at a time"
      total=${concurrency}
      segments=${[{ kind: 'open', value: active }]}
    />`
  }
  ${quota !== null && html`<div class="small">${count(quota.requests)} requests in ${duration(quota.periodMs)}</div>`}
  ${headroom.map(
    ({ identity, limit, remaining }) =>
      html`<${Bar}
        key=${identity}
        label="requests left for ${shortened(visible(identity), 80)}"
        text="${count(Math.floor(remaining))} of ${count(limit)} left: ${shortened(visible(identity), 80)}"
        total=${limit}
        segments=${[{ kind: remaining < limit / 10 ? 'failed' : 'done', value: Math.max(0, remaining) }]}
      />`,
  )}
  ${concurrency === null && quota === null && headroom.length === 0 && html`<span class="weak">none</span>`}
`;

/** @param {{ lane: LaneJson, onEdit: () => void }} props */
function Actions({ lane: { name, paused }, onEdit }) {
  const verb = paused ? 'resume' : 'pause';
  const toggle = () =>
    change('POST', `${lanePath(name)}/${verb}`).then(() => announce(`lane ${name} is ${verb}d`), complain);
  return html`<div class="buttons">
    <button type="button" onClick=${toggle} aria-label="${verb} ${name}">${paused ? 'Resume' : 'Pause'}</button>
    <button type="button" onClick=${onEdit} aria-label="limits of ${name}">Limits…</button>
  </div>`;
}

/**
 * @param {(lane: LaneJson) => void} edit
 * @param {boolean} canChange
 * @returns {readonly Column<LaneJson>[]}
 */
const columnsOf = (edit, canChange) => [
  { label: 'Lane', cell: ({ name }) => html`<${Text} text=${name} />` },
  { label: 'State', cell: (lane) => html`<${LaneState} lane=${lane} />` },
  { label: 'Waiting', class: 'number', cell: ({ waiting }) => count(waiting) },
  { label: 'Active', class: 'number', cell: ({ active }) => count(active) },
  { label: 'Delayed', class: 'number', cell: ({ delayed }) => count(delayed) },
  {
    label: 'Oldest',
    class: 'number',
    cell: ({ oldestAt }) => (oldestAt === null ? '–' : html`<${Ago} at=${oldestAt} suffix="" />`),
  },
  {
    label: 'Workers',
    class: 'number',
    cell: ({ workers }) => (workers === 0 ? html`<span class="state failed">none</span>` : count(workers)),
  },
  { label: 'Limits', class: 'wide', cell: (lane) => html`<${Limits} lane=${lane} />` },
  ...(canChange
    ? [
        {
          label: 'Change',
          cell: (/** @type {LaneJson} */ lane) => html`<${Actions} lane=${lane} onEdit=${() => edit(lane)} />`,
        },
      ]
    : []),
];

const PERIODS = /** @type {const} */ ([
  ['seconds', 1000],
  ['minutes', 60_000],
  ['hours', 3_600_000],
]);

/** @param {number} ms */
const unitOf = (ms) => PERIODS.findLast(([, size]) => ms % size === 0) ?? PERIODS[0];

/**
 * A number of a form; null: left empty.
 * @param {FormData} form
 * @param {string} name
 */
const numberOf = (form, name) => {
  const text = form.get(name);
  return typeof text === 'string' && text.trim() !== '' ? Number(text) : null;
};

/** @param {{ lane: LaneJson, onClose: () => void }} props */
function LimitsForm({ lane: { name, concurrency, quota }, onClose }) {
  const [unit, unitMs] = unitOf(quota?.periodMs ?? 3_600_000);
  const submit = (/** @type {SubmitEvent & { currentTarget: HTMLFormElement }} */ event) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const requests = numberOf(form, 'requests');
    const [, size = 1000] = PERIODS.find(([each]) => each === form.get('unit')) ?? [];
    const periodMs = (numberOf(form, 'period') ?? 1) * size;
    const limits = {
      concurrency: numberOf(form, 'concurrency'),
      quota: requests === null ? null : { requests, periodMs },
    };
    onClose();
    change('PATCH', lanePath(name), limits).then(() => announce(`limits of ${name} are set`), complain);
  };
  return html`<${Dialog} title="Limits of ${name}" onClose=${onClose}>
    <form onSubmit=${submit}>
      <p class="hint">They hold over all workers. Empty: no limit.</p>
      <label>
        Tickets at a time
        <input type="number" name="concurrency" min="1" max="100000" value=${concurrency ?? ''} autofocus />
      </label>
      <fieldset>
        <legend>Requests that the registry counts</legend>
        <label
          >Requests <input type="number" name="requests" min="1" max="1000000000" value=${quota?.requests ?? ''}
        /></label>
        <label
          >in
          <input
            type="number"
            name="period"
            min="1"
            max="2592000"
            value=${quota === null ? 1 : quota.periodMs / unitMs}
            required
        /></label>
        <label>
          <span class="hidden">unit of the period</span>
          <select name="unit" value=${unit}>
            ${PERIODS.map(([each]) => html`<option key=${each} value=${each}>${each}</option>`)}
          </select>
        </label>
      </fieldset>
      <div class="buttons">
        <button type="button" onClick=${onClose}>Cancel</button>
        <button type="submit" class="primary">Set limits</button>
      </div>
    </form>
  <//>`;
}

/** @param {{ canChange: boolean }} props */
export function Lanes({ canChange }) {
  const live = useLive('lanes');
  const [edited, setEdited] = useState(/** @type {LaneJson | undefined} */ (undefined));
  const [columns] = useState(() => columnsOf(setEdited, canChange));
  return html`
    <div class="title"><h1>Lanes</h1></div>
    ${!canChange && html`<p class="hint">Nothing can be changed here: the server was started without --token-file.</p>`}
    ${
      live === undefined
        ? html`<p class="empty">Asking the server…</p>`
        : html`<${Table}
            caption="Lanes, one for each registry"
            columns=${columns}
            rows=${live.lanes}
            keyOf=${(/** @type {LaneJson} */ { name }) => name}
            empty="No lane yet. A registry gets one with the first run that needs it."
          />`
    }
    ${edited !== undefined && html`<${LimitsForm} lane=${edited} onClose=${() => setEdited(undefined)} />`}
  `;
}
