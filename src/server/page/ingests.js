// @ts-check
/** Transfers that go on. */
import { rate } from './format.js';
import { html } from './html.js';
import { useLive } from './live.js';
import { Ago, Copy, Table, Text, TransferBar } from './parts.js';
import { runPath } from './router.js';

/** @import { IngestJson } from '../api/schema.ts' */
/** @import { Column } from './parts.js' */

/** `layer-sha256:...` -> what it is, and its digest. @param {string} ref */
export function partsOf(ref) {
  const [, kind = '', digest = ref] = /^([a-z]+)-(.+:.+)$/.exec(ref) ?? [];
  return { kind, digest };
}

/** @param {{ ingest: IngestJson }} props */
export function Content({ ingest }) {
  const { kind, digest } = partsOf(ingest.ref);
  return html`<span class="content">${kind} <${Copy} text=${digest} what="digest" /></span>`;
}

/** @type {readonly Column<IngestJson>[]} */
const COLUMNS = [
  { label: 'Content', cell: (ingest) => html`<${Content} ingest=${ingest} />` },
  {
    label: 'Bytes',
    class: 'wide',
    cell: (ingest) => html`<${TransferBar} offset=${ingest.offset} total=${ingest.total} />`,
  },
  {
    label: 'Rate',
    class: 'number',
    cell: ({ bytesPerSecond }) => (bytesPerSecond === null ? '–' : rate(bytesPerSecond)),
  },
  { label: 'Lane', cell: ({ lane }) => (lane === null ? '–' : html`<${Text} text=${lane} />`) },
  { label: 'Worker', cell: ({ worker }) => (worker === null ? 'no worker' : html`<${Text} text=${worker} />`) },
  { label: 'Run', cell: ({ run }) => (run === null ? '–' : html`<a href=${runPath(run)}><${Text} text=${run} /></a>`) },
  { label: 'Since', class: 'number', cell: ({ startedAt }) => html`<${Ago} at=${startedAt} suffix="" />` },
];

/** @param {{ hasFarm: boolean }} props */
export function Ingests({ hasFarm }) {
  const live = useLive('ingests');
  return html`
    <div class="title"><h1>Transfers</h1></div>
    ${!hasFarm && html`<p class="notice">This server shows no farm: these are the transfers of its store alone.</p>`}
    ${
      live === undefined
        ? html`<p class="empty">Asking the server…</p>`
        : html`<${Table}
            caption="Transfers that go on"
            columns=${COLUMNS}
            rows=${live.ingests}
            keyOf=${(/** @type {IngestJson} */ { ref, worker }) => `${ref} ${worker}`}
            empty="Nothing is being transferred."
          />`
    }
  `;
}
