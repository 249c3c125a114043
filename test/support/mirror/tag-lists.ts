/** Tags as docker.io has them for some official images: releases by the hundred, each under many names. */

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** `7.2.0` ... `7.2.7` */
const patches = (line: string, last: number, first = 0): string[] => range(first, last).map((n) => `${line}.${n}`);

const under = (versions: readonly string[], suffixes: readonly string[]): string[] =>
  versions.flatMap((version) => suffixes.map((suffix) => `${version}${suffix}`));

const REDIS_LINES: readonly (readonly [line: string, last: number, suffixes: readonly string[]])[] = [
  ['2.8', 23, ['', '-32bit']],
  ['3.0', 7, ['', '-32bit', '-alpine']],
  ['3.2', 12, ['', '-32bit', '-alpine', '-alpine3.8', '-stretch']],
  ['4.0', 14, ['', '-32bit', '-alpine', '-alpine3.9', '-stretch']],
  ['5.0', 14, ['', '-32bit', '-alpine', '-alpine3.16', '-buster', '-bullseye']],
  ['6.0', 20, ['', '-alpine', '-alpine3.18', '-bookworm']],
  ['6.2', 17, ['', '-alpine', '-alpine3.21', '-bookworm']],
  ['7.0', 15, ['', '-alpine', '-alpine3.20', '-bookworm']],
  ['7.2', 7, ['', '-alpine', '-alpine3.21', '-bookworm']],
  ['7.4', 2, ['', '-alpine', '-alpine3.21', '-bookworm']],
];

export const REDIS: readonly string[] = [
  ...'latest alpine 32bit bookworm bullseye buster stretch alpine3.21 alpine3.20 nanoserver'.split(' '),
  ...REDIS_LINES.flatMap(([line, last, suffixes]) => under([...patches(line, last), line], suffixes)),
  ...under(['2', '3', '4', '5', '6', '7'], ['', '-alpine', '-bookworm']),
  ...under(['7.0-rc', '7.0-rc1', '7.0-rc2', '7.0-rc3', '7.2-rc', '7.2-rc1', '7.2-rc2', '7.2-rc3'], ['', '-alpine']),
  ...under(['7.4-rc1', '7.4-rc2', '8.0-M01', '8.0-rc1'], ['', '-alpine', '-bookworm']),
];

const DEBIAN_NAMES = [
  'bookworm',
  'bullseye',
  'buster',
  'experimental',
  'sid',
  'stable',
  'testing',
  'trixie',
  'unstable',
];
const DEBIAN_DATES = [
  ...'20230109 20230208 20230227 20230320 20230411 20230502 20230522 20230612 20230725'.split(' '),
  ...'20230814 20230904 20230919 20231009 20231030 20231120 20231218 20240110 20240130'.split(' '),
  ...'20240211 20240311 20240408 20240423 20240513 20240612 20240701 20240722 20240812'.split(' '),
];

export const DEBIAN: readonly string[] = [
  'latest',
  ...under(DEBIAN_NAMES, ['', '-slim', '-backports']),
  ...DEBIAN_NAMES.flatMap((name) =>
    under(
      DEBIAN_DATES.map((date) => `${name}-${date}`),
      ['', '-slim'],
    ),
  ),
  ...under(['6', '7', '8', '9', '10', '11', '12', '13'], ['', '-slim']),
  ...under(
    ['10.13', '11.6', '11.7', '11.8', '11.9', '11.10', '12.0', '12.1', '12.2', '12.4', '12.5', '12.6'],
    ['', '-slim'],
  ),
  ...'rc-buggy rc-buggy-20240812 oldstable oldoldstable 7.11 8.11 9.13'.split(' '),
];

const PYTHON_SUFFIXES = [
  '',
  '-slim',
  '-bookworm',
  '-slim-bookworm',
  '-alpine',
  '-alpine3.21',
  '-windowsservercore-ltsc2022',
];

export const PYTHON: readonly string[] = [
  ...'latest slim alpine bookworm slim-bookworm alpine3.21 windowsservercore-ltsc2022'.split(' '),
  ...under(['2', '2.7', ...patches('2.7', 18, 7), '3'], ['', '-slim', '-alpine']),
  ...[
    ['3.9', 21],
    ['3.10', 16],
    ['3.11', 11],
    ['3.12', 9],
    ['3.13', 2],
  ].flatMap(([line, last]) => under([String(line), ...patches(String(line), Number(last))], PYTHON_SUFFIXES)),
  ...under(['3.13-rc', '3.13.0a1', '3.13.0b4', '3.13.0rc3', '3.14-rc', '3.14.0a5', '3.14.0a6'], PYTHON_SUFFIXES),
];
