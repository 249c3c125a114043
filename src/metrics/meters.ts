import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Exposition } from './exposition.ts';

type Labels<L extends string> = Readonly<Record<L, string>>;

/** Counts one, or `by`. */
export type Count<L extends string> = (labels: Labels<L>, by?: number) => void;
export type Observe<L extends string> = (labels: Labels<L>, value: number) => void;

export interface Level<L extends string> {
  set(labels: Labels<L>, value: number): void;
  add(labels: Labels<L>, by: number): void;
  /** Forgets all values. */
  reset(): void;
}

/** prom-client throws for a negative count, and takes NaN, which no counter ever recovers from. */
const isAmount = (value: number): boolean => Number.isFinite(value) && value >= 0;

/**
 * Makes metrics in a registry of its own, so that two users in one process do not collide. Using them never throws: an
 * observer must not break what it observes. A number that is no amount is left out, and a missing label is an error of types.
 */
export class Meters {
  readonly registry = new Registry();

  counter<const L extends string = never>(name: string, help: string, labelNames: readonly L[] = []): Count<L> {
    const counter = new Counter<L>({ name, help, labelNames, registers: [this.registry] });
    return (labels, by = 1) => {
      if (isAmount(by)) counter.inc(labels, by);
    };
  }

  gauge<const L extends string = never>(name: string, help: string, labelNames: readonly L[] = []): Level<L> {
    const gauge = new Gauge<L>({ name, help, labelNames, registers: [this.registry] });
    return {
      set: (labels, value) => {
        if (Number.isFinite(value)) gauge.set(labels, value);
      },
      add: (labels, by) => {
        if (Number.isFinite(by)) gauge.inc(labels, by);
      },
      reset: () => gauge.reset(),
    };
  }

  /** `buckets` are the upper bounds, ascending. */
  histogram<const L extends string = never>(
    name: string,
    help: string,
    buckets: readonly number[],
    labelNames: readonly L[] = [],
  ): Observe<L> {
    const histogram = new Histogram<L>({ name, help, labelNames, buckets: [...buckets], registers: [this.registry] });
    return (labels, value) => {
      if (isAmount(value)) histogram.observe(labels, value);
    };
  }

  async text(): Promise<Exposition> {
    return { type: this.registry.contentType, body: await this.registry.metrics() };
  }
}
