// @ts-check
/** Which view is shown: what stands after the # of the address, so that links and the back button work. */
import { Cell } from './cell.js';

export const VIEWS = /** @type {const} */ (['runs', 'ingests', 'lanes', 'workers']);

/** @typedef {(typeof VIEWS)[number]} View */
/** @typedef {{ readonly view: View, readonly run: string | undefined }} Place */

/**
 * `#/runs/r0123456789`
 * @param {string} fragment
 * @returns {Place | undefined}
 */
function placeOf(fragment) {
  const [, name, run] = /^#\/([a-z]+)(?:\/(r[0-9a-f]{10}))?$/.exec(fragment) ?? [];
  const view = VIEWS.find((each) => each === name);
  return view === undefined || (run !== undefined && view !== 'runs') ? undefined : { view, run };
}

/**
 * Undefined: what the address says is nothing that there is.
 * @type {Cell<Place | undefined>}
 */
export const place = new Cell(now());

function now() {
  return location.hash === '' || location.hash === '#/' ? { view: VIEWS[0], run: undefined } : placeOf(location.hash);
}

addEventListener('hashchange', () => place.set(now()));

/** @param {string} run */
export const runPath = (run) => `#/runs/${encodeURIComponent(run)}`;

/** @param {string} path */
export const go = (path) => void (location.hash = path);
