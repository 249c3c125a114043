// @ts-check
/** One run. */
import { useState } from 'preact/hooks';
import { confirmed } from './dialogs.js';
import { bytes, count, counted, duration, rate, shortened, timeLeft, visible } from './format.js';
import { Graph, openNodes } from './graph.js';
import { html } from './html.js';
import { change, read } from './http.js';
import { Images } from './images.js';
import { useLive } from './live.js';
import { announce, complain } from './notices.js';
import { Ago, Failure, ImagesBar, Labels, State, Text, useAnswer } from './parts.js';
import { go, runPath } from './router.js';

/** @import { RunDetailJson } from '../api/schema.ts' */
/** @import { Filter } from './image-list.js' */

/** @param {RunDetailJson} run */
async function cancel({ id, images }) {
  const left = images.total - images.done - images.failed;
  const yes = await confirmed({
    title: `Cancel run ${id}?`,
    text: `${counted(left, 'image')} that are not done yet will not be done, and transfers for them stop. What is done stays. The rest can be retried later.`,
    action: 'Cancel the run',
    isDangerous: true,
  });
  if (!yes) return;
  /** @type {{ cancelled: boolean }} */
  const { cancelled } = await change('POST', `runs/${id}/cancel`);
  announce(cancelled ? `run ${id} is cancelled` : `run ${id} had ended already`);
}

/**
 * @param {RunDetailJson} run
 * @param {string} [code] only what failed with it
 */
async function retry({ id, images, failuresByCode }, code) {
  const n = code === undefined ? images.failed + images.cancelled : (failuresByCode[code] ?? 0);
  const which = code === undefined ? 'failed or were cancelled' : `failed with ${code}`;
  const yes = await confirmed({
    title: `Retry ${counted(n, 'image')}?`,
    text: `A new run starts with the ${counted(n, 'image')} of run ${id} that ${which}. What is there already is not transferred again.`,
    action: 'Start the new run',
  });
  if (!yes) return;
  /** @type {{ id: string | null }} */
  const { id: made } = await change('POST', `runs/${id}/retry`, code === undefined ? {} : { code });
  const what = code === undefined ? 'failed or was cancelled' : `failed with ${code}`;
  announce(made === null ? 'there is nothing to try again' : `run ${made} tries again what ${what} in run ${id}`);
  if (made !== null) go(runPath(made));
}

/** @param {{ run: RunDetailJson }} props */
function Buttons({ run }) {
  if (run.state === 'running') {
    return html`<button type="button" class="danger" onClick=${() => cancel(run).catch(complain)}>Cancel</button>`;
  }
  if (run.images.failed + run.images.cancelled === 0) return null;
  return html`<button type="button" class="primary" onClick=${() => retry(run).catch(complain)}>Retry</button>`;
}

/** @param {{ run: RunDetailJson }} props */
function Counters({ run }) {
  const { images, bytes: moved, bytesPerSecond, bytesPerSecondNow, etaMs, createdAt, endedAt } = run;
  const facts = [
    ['Done', count(images.done)],
    ['Failed', count(images.failed)],
    ['Open', count(images.open)],
    ['Waiting', count(Math.max(0, images.total - images.done - images.failed - images.cancelled - images.open))],
    ['Cancelled', count(images.cancelled)],
    ['Open nodes', count(openNodes(run))],
    ['Moved', bytes(moved)],
    ['Rate', bytesPerSecondNow === null ? `⌀ ${rate(bytesPerSecond)}` : rate(bytesPerSecondNow)],
    endedAt === null ? ['Left', timeLeft(etaMs)] : ['Took', duration(Date.parse(endedAt) - Date.parse(createdAt))],
  ];
  return html`<dl class="counters">
    ${facts.map(
      ([label, value]) =>
        html`<div key=${label}>
          <dt>${label}</dt>
          <dd>${value}</dd>
        </div>`,
    )}
  </dl>`;
}

/** @param {{ run: RunDetailJson, canChange: boolean, onShow: (code: string) => void }} props */
const FailureGroups = ({ run, canChange, onShow }) =>
  html`<section aria-labelledby="failures">
    <h2 id="failures">Failures</h2>
    ${run.failures.map(
      ({ code, origin, count: n, examples }) =>
        html`<article key="${code} ${origin}" class="failure">
          <h3>
            <${Text} class="code" text=${code} /> × ${count(n)}<span class="weak"
              >, fault: <${Text} text=${origin}
            /></span>
          </h3>
          <ul role="list">
            ${examples.map(
              ({ name, message }, i) =>
                html`<li key=${i}><${Text} text=${name} class="name" /> <${Text} text=${message} max=${1000} /></li>`,
            )}
          </ul>
          <div class="buttons">
            <button type="button" onClick=${() => onShow(code)}>Show ${counted(n, 'image')}</button>
            ${
              canChange &&
              run.state !== 'running' &&
              html`<button type="button" onClick=${() => retry(run, code).catch(complain)}>
                Retry only ${visible(shortened(code, 40))}
              </button>`
            }
          </div>
        </article>`,
    )}
  </section>`;

/** @param {{ run: RunDetailJson, canChange: boolean }} props */
function Known({ run, canChange }) {
  const [filter, setFilter] = useState(/** @type {Filter} */ ({ state: '', code: '', q: '' }));
  const show = (/** @type {string} */ code) => {
    setFilter({ ...filter, state: 'failed', code });
    document.querySelector('#images')?.scrollIntoView();
  };
  const { id, state, labels, createdAt, endedAt, waiting, failures } = run;
  const before = labels['retryOf'];
  return html`
    <p class="hint"><a href="#/runs">Runs</a></p>
    <div class="title">
      <h1>Run ${id}</h1>
      <${State} state=${state} />
      ${canChange && html`<${Buttons} run=${run} />`}
    </div>
    <p class="hint">
      Started <${Ago} at=${createdAt} />${endedAt !== null && html`, ended <${Ago} at=${endedAt} />`}
      ${before !== undefined && /^r[0-9a-f]{10}$/.test(before) && html`, a retry of <a href=${runPath(before)}>${before}</a>`}.
    </p>
    <${Labels} labels=${labels} />
    <${ImagesBar} images=${run.images} />
    ${
      waiting.length > 0 &&
      html`<div class="notice warn" role="status">
        <b>Why it waits</b>
        <ul>
          ${waiting.map((reason) => html`<li key=${reason}><${Text} text=${reason} max=${1000} /></li>`)}
        </ul>
      </div>`
    }
    <${Counters} run=${run} />
    <${Graph} run=${run} />
    ${failures.length > 0 && html`<${FailureGroups} run=${run} canChange=${canChange} onShow=${show} />`}
    <${Images} run=${run} filter=${filter} onFilter=${setFilter} />
  `;
}

/** @param {{ id: string, canChange: boolean }} props */
export function Run({ id, canChange }) {
  const first = useAnswer((signal) => askRun(id, signal), [id]);
  const run = useLive('run', id) ?? first.value;
  if (run !== undefined) return html`<${Known} run=${run} canChange=${canChange} />`;
  return html`
    <h1>Run ${id}</h1>
    ${first.problem === undefined ? html`<p class="empty">Asking the server…</p>` : html`<${Failure} problem=${first.problem} />`}
  `;
}

/**
 * @param {string} id
 * @param {AbortSignal} signal
 * @returns {Promise<RunDetailJson>}
 */
const askRun = (id, signal) => read(`runs/${id}`, signal);
