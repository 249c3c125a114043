/** Progress on stderr, in the form that suits whoever reads it. */
import type { DispatchEvent } from '../../flow/dispatcher.ts';
import { nodeLabel } from '../../flow/handler.ts';
import type { Cli } from '../cli.ts';
import { errorLine } from '../print-error.ts';
import { bytesText, durationText } from '../units.ts';
import { elapsedLine, heartbeatLine } from './lines.ts';
import { ProgressModel } from './model.ts';
import { Screen } from './screen.ts';

export type ProgressMode = 'auto' | 'tty' | 'plain' | 'json' | 'quiet';

export interface Progress extends Disposable {
  readonly model: ProgressModel;
  onEvent(event: DispatchEvent): void;
}

const HEARTBEAT_MS = 10_000;

export interface ProgressOptions {
  /** No line for an image that is as it should be: there may be fifty thousand. */
  readonly onlyNews?: boolean;
}

export function openProgress(
  cli: Cli,
  mode: ProgressMode,
  images: number,
  { onlyNews = false }: ProgressOptions = {},
): Progress {
  const model = new ProgressModel(images);
  const news =
    (lineOf: (event: DispatchEvent, model: ProgressModel) => string | undefined) =>
    (event: DispatchEvent): string | undefined =>
      onlyNews && isAsItShouldBe(event) ? undefined : lineOf(event, model);
  switch (mode === 'auto' ? detect(cli) : mode) {
    case 'tty':
      return terminal(cli, model, news(terminalLine));
    case 'json':
      return lines(cli, model, news(jsonLine), () => JSON.stringify({ kind: 'totals', ...totals(model) }));
    case 'quiet':
      return { model, onEvent: (event) => model.apply(event), [Symbol.dispose]: () => undefined };
    case 'plain':
      return lines(
        cli,
        model,
        news(plainLine),
        () => heartbeatLine(model),
        () => (model.images.ended === 0 || failedAlone(model) ? undefined : elapsedLine(model)),
      );
  }
}

/** A terminal that can move its cursor, and nobody who records the output. */
function detect(cli: Cli): 'tty' | 'plain' {
  const recorded = !['', '0', 'false'].includes(cli.env['CI'] ?? '');
  return cli.stderr.isTTY && cli.env['TERM'] !== 'dumb' && !recorded ? 'tty' : 'plain';
}

function isAsItShouldBe(event: DispatchEvent): boolean {
  if (event.kind === 'image') return event.result.state === 'done' && event.result.isEqual;
  return event.kind === 'node' && event.event.kind === 'resolved' && event.event.isEqual === true;
}

function terminal(cli: Cli, model: ProgressModel, lineOf: (event: DispatchEvent) => string | undefined): Progress {
  const screen = new Screen(cli.stderr, model);
  const log = cli.log;
  cli.log = (line) => screen.print(line);
  return {
    model,
    onEvent: (event) => {
      model.apply(event);
      const line = lineOf(event);
      if (line !== undefined) screen.print(line);
    },
    [Symbol.dispose]: () => {
      screen.end(model.rows.size === 0 ? [] : [elapsedLine(model)]);
      cli.log = log;
    },
  };
}

function lines(
  cli: Cli,
  model: ProgressModel,
  lineOf: (event: DispatchEvent) => string | undefined,
  totalsLine: () => string,
  endLine: () => string | undefined = totalsLine,
): Progress {
  const timer = setInterval(() => cli.log(totalsLine()), HEARTBEAT_MS);
  timer.unref();
  return {
    model,
    onEvent: (event) => {
      model.apply(event);
      const line = lineOf(event);
      if (line !== undefined) cli.log(line);
    },
    [Symbol.dispose]: () => {
      clearInterval(timer);
      const line = endLine();
      if (line !== undefined) cli.log(line);
    },
  };
}

function terminalLine(event: DispatchEvent): string | undefined {
  if (event.kind === 'node' && event.event.kind === 'resolved') {
    return `${nodeLabel(event.node)}: resolved ${event.event.desc.digest}`;
  }
  return undefined;
}

/** Of one image that failed its error tells all, and comes last. */
const failedAlone = ({ images: { total, failed } }: ProgressModel): boolean => total === 1 && failed === 1;

function plainLine(event: DispatchEvent, model: ProgressModel): string | undefined {
  if (event.kind !== 'image' || event.result.state === 'cancelled' || failedAlone(model)) return undefined;
  const { root, state, desc, error } = event.result;
  const { ended, total } = model.images;
  const where = total === 1 ? '' : ` (${ended}/${total}, ${bytesText(model.here)}, ${durationText(model.elapsedMs)})`;
  if (state === 'done') return `${nodeLabel(root)}: done ${desc?.digest ?? ''}${where}`;
  return `${nodeLabel(root)}: ${state}: ${errorLine(error)}${where}`;
}

function jsonLine(event: DispatchEvent): string | undefined {
  if (event.kind === 'image') {
    const { root, state, desc, error } = event.result;
    return JSON.stringify({
      kind: 'image',
      name: nodeLabel(root),
      state,
      digest: desc?.digest,
      code: error?.code,
      error: error?.message,
    });
  }
  if (event.kind === 'node' && event.event.kind === 'resolved') {
    return JSON.stringify({ kind: 'resolved', name: nodeLabel(event.node), digest: event.event.desc.digest });
  }
  return undefined;
}

const totals = (model: ProgressModel) => ({
  images: model.images,
  bytes: { transferred: model.transferred, here: model.here, known: model.known },
  bytesPerSecond: Math.round(model.rate),
  elapsedMs: Math.round(model.elapsedMs),
});
