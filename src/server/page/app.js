// @ts-check
/** The frame around the views. */
import { options, render } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { askToken, forgetToken, token } from './access.js';
import { useCell } from './cell.js';
import { Dialogs } from './dialogs.js';
import { html } from './html.js';
import { read } from './http.js';
import { Ingests } from './ingests.js';
import { Lanes } from './lanes.js';
import { Connection, Notice } from './notices.js';
import { Failure, Text, useAnswer } from './parts.js';
import { place, VIEWS } from './router.js';
import { Run } from './run.js';
import { Runs } from './runs.js';
import { Workers } from './workers.js';

/** @import { InfoJson } from '../api/schema.ts' */
/** @import { View } from './router.js' */

// Whatever comes in within a frame is rendered once; and nothing while the page is hidden, since there are no frames then.
options.debounceRendering = (renderAll) => void requestAnimationFrame(renderAll);

const TITLES = { runs: 'Runs', ingests: 'Transfers', lanes: 'Lanes', workers: 'Workers' };

function TokenButton() {
  const known = useCell(token);
  return known === undefined
    ? html`<button
        type="button"
        class="quiet"
        onClick=${() => askToken('Changing something takes the token of this server.')}
      >
        Enter token
      </button>`
    : html`<button type="button" class="quiet" onClick=${forgetToken}>Forget token</button>`;
}

/** @param {{ info: InfoJson | undefined, views: readonly View[], current: View | undefined }} props */
const Header = ({ info, views, current }) =>
  html`<header>
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <span class="brand">gantry</span>
    <nav aria-label="Views">
      <ul role="list">
        ${views.map(
          (view) =>
            html`<li key=${view}>
              <a href="#/${view}" aria-current=${view === current ? 'page' : undefined}>${TITLES[view]}</a>
            </li>`,
        )}
      </ul>
    </nav>
    <${Text} class="version" text=${info?.version ?? ''} max=${40} />
    ${(info === undefined || info.changes) && html`<${TokenButton} />`}
  </header>`;

/** The address is the view's, so the link cannot lead to a place in the page. @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.querySelector('main')?.focus();
}

/** @param {{ info: InfoJson }} props */
function Main({ info }) {
  const where = useCell(place);
  if (where === undefined)
    return html`<h1>Nothing here</h1>
      <p>There is no such view; <a href="#/runs">runs</a> are one.</p>`;
  if (!info.farm && where.view !== 'ingests')
    return html`<h1>${TITLES[where.view]}</h1>
      <${NoFarm} />`;
  const canChange = info.changes;
  if (where.run !== undefined) return html`<${Run} key=${where.run} id=${where.run} canChange=${canChange} />`;
  switch (where.view) {
    case 'runs':
      return html`<${Runs} />`;
    case 'ingests':
      return html`<${Ingests} hasFarm=${info.farm} />`;
    case 'lanes':
      return html`<${Lanes} canChange=${canChange} />`;
    case 'workers':
      return html`<${Workers} />`;
  }
}

const NoFarm = () =>
  html`<p class="notice">
    This server shows no farm: it was started without --redis. It shows the transfers of its store under
    <a href="#/ingests">Transfers</a>.
  </p>`;

function App() {
  const known = useCell(token);
  // With reads protected the first question waits for the token; when the user declined, one entered later asks again.
  const { value: info, problem } = useAnswer((signal) => readInfo(signal), [known === undefined]);
  const where = useCell(place);
  const main = useRef(/** @type {HTMLElement | null} */ (null));
  const path = where === undefined ? '' : `${where.view}/${where.run ?? ''}`;
  const isFirst = useRef(true);
  useEffect(() => {
    document.title = `${where?.run ?? (where === undefined ? 'Nothing here' : TITLES[where.view])} · gantry`;
    // Who follows a link is told where he is; who has just come is told by the browser.
    if (!isFirst.current) main.current?.focus();
    isFirst.current = false;
  }, [path]);
  const views = VIEWS.filter((view) => info?.farm !== false || view === 'ingests');
  return html`
    <${Header} info=${info} views=${views} current=${where?.view} />
    <main id="main" tabindex="-1" ref=${main}>
      <${Connection} />
      <${Notice} />
      ${problem !== undefined && html`<${Failure} problem=${problem} />`}
      ${info !== undefined && html`<${Main} info=${info} />`}
      ${info === undefined && problem === undefined && html`<p class="empty">Asking the server…</p>`}
    </main>
    <${Dialogs} />
  `;
}

/**
 * @param {AbortSignal} signal
 * @returns {Promise<InfoJson>}
 */
const readInfo = (signal) => read('info', signal);

const root = document.querySelector('#app');
if (root !== null) render(html`<${App} />`, root);
