import type { ErrorRecord } from './farm-status.ts';

/** Failures of a run that have code and origin in common. */
export interface FailureGroup extends Pick<ErrorRecord, 'code' | 'origin'> {
  readonly count: number;
  readonly examples: readonly { readonly name: string; readonly error: ErrorRecord }[];
}

const MAX_EXAMPLES = 5;

/** Puts failures into groups as they come. Keeps no more of them than examples, however many there are. */
export class FailureGroups {
  readonly #groups = new Map<string, FailureGroup>();

  add(name: string, error: ErrorRecord): void {
    const { code, origin } = error;
    const { count = 0, examples = [] } = this.#groups.get(`${code} ${origin}`) ?? {};
    const kept = count < MAX_EXAMPLES ? [...examples, { name, error }] : examples;
    this.#groups.set(`${code} ${origin}`, { code, origin, count: count + 1, examples: kept });
  }

  /** The largest first. */
  list(): FailureGroup[] {
    return [...this.#groups.values()].toSorted((a, b) => b.count - a.count);
  }
}
