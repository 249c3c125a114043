import { table } from './report.ts';

/** Something that gantry promises, and what it came to. */
export interface Bound {
  readonly what: string;
  readonly value: number;
  readonly least?: number;
  readonly most?: number;
  /** Of what is printed. */
  readonly digits: number;
}

export const holds = ({ value, least = -Infinity, most = Infinity }: Bound): boolean => value >= least && value <= most;

export const boundRows = (bounds: readonly Bound[]): (Bound & { holds: boolean })[] =>
  bounds.map((bound) => ({ ...bound, holds: holds(bound) }));

export function describeBounds(bounds: readonly Bound[]): string {
  const body = bounds.map((bound) => {
    const { what, value, least, most, digits } = bound;
    const limit = least === undefined ? `<= ${most}` : `>= ${least}`;
    return [what, value.toFixed(digits), limit, holds(bound) ? 'holds' : 'MISSED'];
  });
  return table(['promised', 'measured', 'bound', ''], body);
}
