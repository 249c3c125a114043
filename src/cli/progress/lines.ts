/** The text of progress, without any terminal. */
import { bytesText, durationText } from '../units.ts';
import type { ProgressModel, Row } from './model.ts';

const BAR_WIDTH = 28;
/** `manifest-sha256:` and twelve digits. */
const REF_WIDTH = 28;
const STATE_WIDTH = 11;

/** One blob: ref key, state, bar, bytes. */
export function rowLine(row: Row): string {
  const ref = row.ref.slice(0, row.ref.indexOf(':') + 13).padEnd(REF_WIDTH);
  return `${ref} ${row.state.padEnd(STATE_WIDTH)} |${bar(row)}| ${amount(row)}`.trimEnd();
}

const isHere = ({ state }: Row): boolean => state === 'done' || state === 'exists' || state === 'mounted';

function bar(row: Row): string {
  const share = isHere(row) ? 1 : row.total === 0 ? 0 : row.offset / row.total;
  const filled = Math.min(BAR_WIDTH, Math.floor(share * BAR_WIDTH));
  return '+'.repeat(filled) + '-'.repeat(BAR_WIDTH - filled);
}

function amount(row: Row): string {
  if (isHere(row)) return bytesText(row.total).padStart(10);
  if (row.offset === 0) return '';
  const [done, total] = [bytesText(row.offset), bytesText(row.total)];
  const [, unit = ''] = total.split(' ');
  const shown = done.endsWith(` ${unit}`) ? done.slice(0, -unit.length - 1) : done;
  return `${shown} / ${total}`.padStart(10);
}

export const elapsedLine = (model: ProgressModel): string =>
  `elapsed: ${durationText(model.elapsedMs)}  total: ${bytesText(model.transferred)} (${bytesText(Math.round(model.rate))}/s)`;

/** Totals for those who only look now and then. */
export function heartbeatLine(model: ProgressModel): string {
  const { total, ended, failed } = model.images;
  const images = `${ended}/${total} images${failed === 0 ? '' : `, ${failed} failed`}`;
  const eta =
    model.etaMs === undefined || model.here >= model.known
      ? ''
      : `, about ${durationText(model.etaMs)} left of what is known`;
  const bytes = `${bytesText(model.here)} of ${bytesText(model.known)}`;
  return `${images}, ${bytes}, ${bytesText(Math.round(model.rate))}/s, ${durationText(model.elapsedMs)}${eta}`;
}
