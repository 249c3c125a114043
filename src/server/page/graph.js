// @ts-check
/** Bytes a second and open nodes of a run over time. */
import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import { bytes, count, rate } from './format.js';
import { html } from './html.js';
import { read, serverNow } from './http.js';

/** @import { HistoryJson, RunDetailJson } from '../api/schema.ts' */

/** As many as the server keeps, and some: an hour at one each few seconds. */
const MAX_POINTS = 1500;
/** Closer points than this are one. */
const STEP_S = 2;
const MIN_SPAN_S = 60;
const HEIGHT = 220;
/** Steps of the axis that come out even in KiB, MiB, ... */
const BINARY = Array.from({ length: 50 }, (_, i) => 2 ** i);
const WHOLE = Array.from({ length: 12 }, (_, i) => [1, 2, 5].map((step) => step * 10 ** i)).flat();
const DARK = matchMedia('(prefers-color-scheme: dark)');

/** Seconds since 1970, bytes a second, open nodes. @typedef {[number[], number[], number[]]} Points */

/** @param {HistoryJson} history @returns {Points} */
const pointsOf = ({ points }) => [
  points.map(({ at }) => Date.parse(at) / 1000),
  points.map(({ bytesPerSecond }) => bytesPerSecond),
  points.map(({ openNodes }) => openNodes),
];

/** Those of a run that has ended will not be done. @param {RunDetailJson} run */
export const openNodes = ({ state, nodes: { known, done, failed, skipped } }) =>
  state === 'running' ? Math.max(0, known - done - failed - skipped) : 0;

/**
 * Adds a point at the end, unless it comes too soon after the last.
 * @param {Points} points
 * @param {RunDetailJson} run
 */
function extend([times, rates, open], run) {
  const at = serverNow() / 1000;
  if (run.bytesPerSecondNow === null || at - (times.at(-1) ?? 0) < STEP_S) return;
  times.push(at);
  rates.push(run.bytesPerSecondNow);
  open.push(openNodes(run));
  if (times.length > MAX_POINTS) for (const list of [times, rates, open]) list.shift();
}

/**
 * @param {HTMLElement} box
 * @param {Points} data
 */
function draw(box, data) {
  const style = getComputedStyle(box);
  const color = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  const axis = {
    stroke: color('--weak'),
    grid: { stroke: color('--line'), width: 1 },
    ticks: { stroke: color('--line') },
  };
  /** @type {uPlot.Options} */
  const options = {
    width: box.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { drag: { x: false, y: false } },
    scales: { x: { range: someTime }, bytes: { range: fromZero }, nodes: { range: fromZero } },
    series: [
      {},
      { scale: 'bytes', stroke: color('--accent'), width: 2, points },
      { scale: 'nodes', stroke: color('--second'), width: 2, dash: [6, 3], points },
    ],
    axes: [
      { ...axis, size: 30, values: (_, ticks) => ticks.map(timeOf) },
      { ...axis, scale: 'bytes', size: 76, incrs: BINARY, values: (_, ticks) => ticks.map((tick) => bytes(tick)) },
      {
        ...axis,
        scale: 'nodes',
        side: 1,
        incrs: WHOLE,
        size: 56,
        grid: { show: false },
        values: (_, ticks) => ticks.map((tick) => count(tick)),
      },
    ],
  };
  return new uPlot(options, data, box);
}

/** @param {number} seconds since 1970 */
const timeOf = (seconds) =>
  new Date(seconds * 1000).toLocaleTimeString(undefined, {
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
    ...(seconds % 60 === 0 ? {} : { second: '2-digit' }),
  });

const points = { show: false };
/** @type {uPlot.Range.Function} */
const someTime = (_, min, max) => [Math.min(min, max - MIN_SPAN_S), max];
/** @type {uPlot.Range.Function} */
const fromZero = (_, __, max) => [0, Math.max(1, max * 1.1)];

/** @param {{ run: RunDetailJson }} props */
export function Graph({ run }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const plot = useRef(/** @type {uPlot | undefined} */ (undefined));
  const [points, setPoints] = useState(/** @type {Points | undefined} */ (undefined));
  useEffect(() => {
    const stop = new AbortController();
    const start = (/** @type {Points} */ found) => !stop.signal.aborted && setPoints(found);
    // Without what was before, the graph starts now.
    read(`runs/${run.id}/history`, stop.signal).then(
      (history) => start(pointsOf(history)),
      () => start([[], [], []]),
    );
    return () => stop.abort();
  }, [run.id]);
  useEffect(() => {
    const element = box.current;
    if (element === null || points === undefined) return undefined;
    const redraw = () => {
      plot.current?.destroy();
      plot.current = draw(element, points);
    };
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
    redraw();
    resized.observe(element);
    DARK.addEventListener('change', redraw);
    return () => {
      resized.disconnect();
      DARK.removeEventListener('change', redraw);
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, [points]);
  useEffect(() => {
    if (points === undefined) return;
    extend(points, run);
    plot.current?.setData(points);
  }, [run, points]);
  const isRunning = run.state === 'running';
  // A line begins with the second point.
  const isEmpty = points !== undefined && points[0].length < 2;
  return html`<figure class="graph">
    <figcaption>
      <span class="key bytes">Bytes per second${isRunning && html`: <b>${rate(run.bytesPerSecondNow ?? 0)}</b>`}</span>
      <span class="key nodes">Open nodes${isRunning && html`: <b>${count(openNodes(run))}</b>`}</span>
    </figcaption>
    ${isEmpty && html`<p class="empty">${isRunning ? 'Not measured yet.' : 'This server did not see the run go on.'}</p>`}
    <div class="plot" ref=${box} aria-hidden="true" hidden=${isEmpty}></div>
  </figure>`;
}
