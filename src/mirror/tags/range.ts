/** Ranges of versions, as in regsync's `semverRange` and Masterminds/semver: `>=1.2 <2`, `^1`, `~1.2`, `1.x`, `a || b`. */
import { GantryError } from '../../errors.ts';
import { showText } from '../../oci/show.ts';
import { comparePrecedence, parseVersion, type Version } from './version.ts';

type Operator = '=' | '!=' | '<' | '<=' | '>' | '>=';

interface Comparator {
  readonly operator: Operator;
  readonly version: Version;
}

/** Any of these, each of which is all of those. */
export type Range = readonly (readonly Comparator[])[];

const OPERATORS = ['>=', '<=', '!=', '~>', '=', '>', '<', '~', '^'] as const;
/** After it, `x` and `*` stand for any number, and only at the end. */
const WILDCARD = /^[vV]?(?:(\d+(?:\.\d+)*)\.)?[xX*](?:\.[xX*])*$/;

const invalid = (text: string, why: string): GantryError =>
  new GantryError('INVALID', `invalid range of versions ${showText(text)}: ${why}`, {
    origin: 'user',
    hint: 'write for example ">=1.2 <2", "^1.4", "~1.4", "1.x" or "1.x || >=3"',
  });

const plain = (numbers: readonly number[]): Version => ({ numbers, prerelease: '', variant: '' });

/** The first version above all that begin with `numbers`, up to their place `at`. */
const above = (numbers: readonly number[], at: number): Version =>
  plain(numbers.slice(0, at + 1).map((part, i) => (i === at ? part + 1 : part)));

const between = (version: Version, end: Version): Comparator[] => [
  { operator: '>=', version },
  { operator: '<', version: end },
];

/** `^1.2` is below 2, `^0.3` below 0.4: up to the first number that is not zero, or the last that is said. */
function caret(version: Version): Comparator[] {
  const first = version.numbers.findIndex((part) => part !== 0);
  return between(version, above(version.numbers, first === -1 ? version.numbers.length - 1 : first));
}

/** `~1.2.3` and `~1.2` are below 1.3, `~1` below 2. */
const tilde = (version: Version): Comparator[] =>
  between(version, above(version.numbers, Math.min(1, version.numbers.length - 1)));

/** `1.x`, with the operator in front of it. */
function wildcard(operator: (typeof OPERATORS)[number] | '', prefix: string | undefined): Comparator[] | undefined {
  if (prefix === undefined) return operator === '' || operator === '=' || operator === '>=' ? [] : undefined;
  const numbers = prefix.split('.').map(Number);
  const [start, end] = [plain(numbers), above(numbers, numbers.length - 1)];
  switch (operator) {
    case '>=':
      return [{ operator: '>=', version: start }];
    case '<':
      return [{ operator: '<', version: start }];
    case '>':
      return [{ operator: '>=', version: end }];
    case '<=':
      return [{ operator: '<', version: end }];
    case '^':
      return caret(start);
    case '!=':
      return undefined;
    case '':
    case '=':
    case '~':
    case '~>':
      return between(start, end);
  }
}

function comparators(whole: string, operator: (typeof OPERATORS)[number] | '', text: string): Comparator[] {
  const any = WILDCARD.exec(text);
  if (any !== null) {
    const found = wildcard(operator, any[1]);
    if (found === undefined) throw invalid(whole, `${showText(operator + text)} selects nothing that can be said`);
    return found;
  }
  const version = parseVersion(text);
  if (version === undefined) {
    throw invalid(whole, text === '' ? `a version is missing after "${operator}"` : `${showText(text)} is no version`);
  }
  if (operator === '^') return caret(version);
  if (operator === '~' || operator === '~>') return tilde(version);
  return [{ operator: operator === '' ? '=' : operator, version }];
}

function alternative(whole: string, text: string): Comparator[] {
  // `1.2 - 1.4`, both ends included
  const [, from, to] = /^\s*(\S+)\s+-\s+(\S+)\s*$/.exec(text) ?? [];
  if (from !== undefined && to !== undefined) {
    return [...comparators(whole, '>=', from), ...comparators(whole, '<=', to)];
  }
  // A space may stand between an operator and its version.
  const words = text.replaceAll(/([<>=!~^])\s+/g, '$1').split(/[\s,]+/);
  const said = words.filter((word) => word !== '');
  if (said.length === 0) throw invalid(whole, 'a part of it is empty');
  return said.flatMap((word) => {
    const operator = OPERATORS.find((each) => word.startsWith(each)) ?? '';
    return comparators(whole, operator, word.slice(operator.length));
  });
}

/** @throws GantryError INVALID */
export const parseRange = (text: string): Range => text.split('||').map((each) => alternative(text, each));

function holds({ operator, version }: Comparator, tag: Version): boolean {
  const order = comparePrecedence(tag, version);
  switch (operator) {
    case '=':
      return order === 0;
    case '!=':
      return order !== 0;
    case '<':
      return order < 0;
    case '<=':
      return order <= 0;
    case '>':
      return order > 0;
    case '>=':
      return order >= 0;
  }
}

export const inRange = (version: Version, range: Range): boolean =>
  range.some((all) => all.every((each) => holds(each, version)));

/** Whether a tag is a version within a range. @throws GantryError INVALID for the range */
export function satisfies(tag: string, range: string): boolean {
  const parsed = parseRange(range);
  const version = parseVersion(tag);
  return version !== undefined && inRange(version, parsed);
}
