// @ts-check
/** The workers, and what each of them does. */
import { count } from './format.js';
import { html } from './html.js';
import { Content } from './ingests.js';
import { useLive } from './live.js';
import { Ago, Bar, Table, Text, TransferBar } from './parts.js';

/** @import { WorkerJson } from '../api/schema.ts' */
/** @import { Column } from './parts.js' */

/** Of one worker at a time; all are under Transfers. */
const MAX_SHOWN = 5;

/** @param {{ worker: WorkerJson }} props */
const Doing = ({ worker: { ingests } }) =>
  ingests.length === 0
    ? html`<span class="weak">no transfer</span>`
    : html`<ul class="plain" role="list">
        ${ingests
          .slice(0, MAX_SHOWN)
          .map(
            (ingest) =>
              html`<li key=${ingest.ref}>
                <${Content} ingest=${ingest} /> <${TransferBar} offset=${ingest.offset} total=${ingest.total} />
              </li>`,
          )}
        ${ingests.length > MAX_SHOWN && html`<li class="weak">and ${count(ingests.length - MAX_SHOWN)} more</li>`}
      </ul>`;

/** @type {readonly Column<WorkerJson>[]} */
const COLUMNS = [
  {
    label: 'Worker',
    cell: ({ id, host, pid }) =>
      html`<${Text} text=${host} /> <span class="weak">process ${pid}</span><br /><${Text}
          class="weak small"
          text=${id}
        />`,
  },
  {
    label: 'Slots',
    cell: ({ running, concurrency }) =>
      html`<${Bar}
        label="busy slots"
        text="${count(running)} of ${count(concurrency)} busy"
        total=${concurrency}
        segments=${[{ kind: 'open', value: running }]}
      />`,
  },
  { label: 'Does', class: 'does', cell: (worker) => html`<${Doing} worker=${worker} />` },
  { label: 'Lanes', cell: ({ lanes }) => (lanes === null ? 'all' : html`<${Text} text=${lanes.join(', ')} />`) },
  { label: 'Store', cell: ({ store }) => (store === null ? '–' : html`<${Text} class="small uuid" text=${store} />`) },
  { label: 'Version', cell: ({ version }) => html`<${Text} text=${version} />` },
  { label: 'Up', class: 'number', cell: ({ startedAt }) => html`<${Ago} at=${startedAt} suffix="" />` },
  { label: 'Seen', class: 'number', cell: ({ seenAt }) => html`<${Ago} at=${seenAt} />` },
];

export function Workers() {
  const live = useLive('workers');
  return html`
    <div class="title"><h1>Workers</h1></div>
    ${
      live === undefined
        ? html`<p class="empty">Asking the server…</p>`
        : html`<${Table}
            caption="Workers"
            columns=${COLUMNS}
            rows=${live.workers}
            keyOf=${(/** @type {WorkerJson} */ { id }) => id}
            empty="No worker is connected. Start one with gantry worker."
          />`
    }
  `;
}
