import type { WriteStream } from 'node:tty';
import { elapsedLine, rowLine } from './lines.ts';
import type { ProgressModel, Row, RowState } from './model.ts';

const FRAME_MS = 100;
const FALLBACK_ROWS = 24;
const FALLBACK_COLUMNS = 80;

/** What deserves a line when there are not enough for all: what moves, then what waits, then what has ended. */
const RANK: Readonly<Record<RowState, number>> = {
  downloading: 0,
  copying: 0,
  busy: 1,
  failed: 2,
  waiting: 3,
  done: 4,
  mounted: 5,
  exists: 6,
};

/** A block of rows at the bottom of a terminal, drawn anew ten times a second at most; other lines scroll by above it. */
export class Screen {
  readonly #out: Pick<WriteStream, 'write' | 'rows' | 'columns'>;
  readonly #model: ProgressModel;
  readonly #timer: NodeJS.Timeout;
  /** The lines of the last frame. */
  #drawn: readonly string[] = [];
  #above: string[] = [];

  constructor(out: Pick<WriteStream, 'write' | 'rows' | 'columns'>, model: ProgressModel) {
    this.#out = out;
    this.#model = model;
    this.#timer = setInterval(() => this.#draw(), FRAME_MS);
    this.#timer.unref();
  }

  /** Prints a line above the block, with the next frame. */
  print(line: string): void {
    this.#above.push(line);
  }

  /** The last frame stays, with the closing lines below it. */
  end(closing: readonly string[]): void {
    clearInterval(this.#timer);
    this.#draw(closing);
  }

  #draw(closing: readonly string[] = [elapsedLine(this.#model)]): void {
    const columns = this.#out.columns || FALLBACK_COLUMNS;
    const room = Math.max(1, (this.#out.rows || FALLBACK_ROWS) - 2);
    const block = [...this.#visible(room).map(rowLine), ...closing].map((line) => line.slice(0, columns - 1));
    const above = this.#above.map((line) => `${line}\u001b[K\n`);
    // A terminal that became narrower has wrapped what was drawn.
    const height = this.#drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / columns)), 0);
    const up = height === 0 ? '' : `\u001b[${height}A`;
    this.#out.write(`${up}\r${above.join('')}${block.map((line) => `${line}\u001b[K\n`).join('')}\u001b[J`);
    this.#above = [];
    this.#drawn = block;
  }

  /** All rows in the order in which they came, or where there are too many, those that matter most. */
  #visible(room: number): Row[] {
    const rows = [...this.#model.rows.values()];
    if (rows.length <= room) return rows;
    const chosen = new Set(rows.toSorted((a, b) => RANK[a.state] - RANK[b.state]).slice(0, room));
    return rows.filter((row) => chosen.has(row));
  }
}
