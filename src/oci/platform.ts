/** Platforms as users write them and as indexes list them, by the rules of containerd/platforms. */
import { GantryError } from '../errors.ts';
import type { Descriptor, Platform } from './descriptor.ts';
import { showText } from './show.ts';

const KNOWN_OS: ReadonlySet<string> = new Set(
  'aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 solaris windows zos'.split(
    ' ',
  ),
);
const KNOWN_ARCHITECTURE: ReadonlySet<string> = new Set(
  (
    '386 amd64 amd64p32 arm armbe arm64 arm64be loong64 mips mipsle mips64 mips64le mips64p32 mips64p32le ' +
    'ppc ppc64 ppc64le riscv riscv64 s390 s390x sparc sparc64 wasm'
  ).split(' '),
);

const OS = /^([A-Za-z0-9_-]{1,64})(?:\(([A-Za-z0-9_.-]{0,64})((?:\+[A-Za-z0-9_.-]+)*)\))?$/;
const COMPONENT = /^[A-Za-z0-9_.-]{1,64}$/;

const make = (os: string, architecture: string, more: Omit<Partial<Platform>, 'os' | 'architecture'>): Platform => ({
  os,
  architecture,
  ...(more.variant === undefined || more.variant === '' ? {} : { variant: more.variant }),
  ...(more.osVersion === undefined || more.osVersion === '' ? {} : { osVersion: more.osVersion }),
  ...(more.osFeatures === undefined || more.osFeatures.length === 0 ? {} : { osFeatures: more.osFeatures }),
});

const ARCHITECTURE_ALIASES: ReadonlyMap<string, readonly [architecture: string, variant?: string]> = new Map([
  ['i386', ['386', '']],
  ['x86_64', ['amd64']],
  ['x86-64', ['amd64']],
  ['aarch64', ['arm64']],
  ['armhf', ['arm', 'v7']],
  ['armel', ['arm', 'v6']],
]);

function normalizeArchitecture(architecture: string, variant: string): [architecture: string, variant: string] {
  const lower = architecture.toLowerCase();
  const [arch, fixed] = ARCHITECTURE_ALIASES.get(lower) ?? [lower];
  let v = fixed ?? variant.toLowerCase();
  if (arch === 'arm' && v === '') v = 'v7';
  if (arch === 'arm' && /^[5-8]$/.test(v)) v = `v${v}`;
  // The variant that every machine of the architecture has goes unsaid.
  if (arch === 'amd64' && v === 'v1') v = '';
  if (arch === 'arm64' && (v === 'v8' || v === '8')) v = '';
  return [arch, v];
}

/** The one spelling of a platform: `aarch64` is `arm64`, `armhf` is `arm/v7`, `arm64/v8` is `arm64`, `macos` is `darwin`. */
export function normalizePlatform(platform: Platform): Platform {
  const os = platform.os.toLowerCase();
  const [architecture, variant] = normalizeArchitecture(platform.architecture, platform.variant ?? '');
  const osFeatures = [...new Set(platform.osFeatures)].toSorted();
  return make(os === 'macos' ? 'darwin' : os, architecture, { ...platform, variant, osFeatures });
}

const NODE_OS: ReadonlyMap<string, string> = new Map([
  // Nobody runs images of darwin; Docker and its kin on a Mac run those of Linux in a virtual machine.
  ['darwin', 'linux'],
  ['win32', 'windows'],
  ['sunos', 'solaris'],
]);
const NODE_ARCHITECTURE: ReadonlyMap<string, string> = new Map([
  ['x64', 'amd64'],
  ['ia32', '386'],
  ['mipsel', 'mipsle'],
  // Node runs on big-endian POWER only under AIX.
  ['ppc64', 'ppc64le'],
]);

/**
 * The platform whose images this machine runs.
 * @param release the version of Windows, `10.0.20348`; not used elsewhere
 */
export function hostPlatform(
  os: string = process.platform,
  architecture: string = process.arch,
  release?: string,
): Platform {
  const arch = os === 'aix' ? architecture : (NODE_ARCHITECTURE.get(architecture) ?? architecture);
  const osVersion = os === 'win32' && release !== undefined ? { osVersion: release } : {};
  return normalizePlatform({ os: NODE_OS.get(os) ?? os, architecture: arch, ...osVersion });
}

const invalid = (text: string, why: string): GantryError =>
  new GantryError('INVALID', `invalid platform ${showText(text, 80)}: ${why}`, {
    origin: 'user',
    hint: 'write OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, for example linux/amd64 or linux/arm/v7',
  });

/**
 * Reads `os`, `architecture`, `os/architecture[/variant]`; the system may carry a version, `windows(10.0.17763)/amd64`,
 * and features, `windows(10.0.17763+win32k)/amd64`. What is not said is taken from `host`. The answer is normalised.
 * @throws GantryError INVALID
 */
export function parsePlatform(text: string, host: Platform = hostPlatform()): Platform {
  if (text.length > 255) throw invalid(text, 'it is too long');
  if (text.includes('*')) throw invalid(text, 'wildcards are not supported; for all platforms type "all"');
  const [first = '', architecture, variant, ...rest] = text.split('/');
  const system = OS.exec(first);
  if (system === null) throw invalid(text, `${showText(first, 80)} is not an operating system or architecture`);
  for (const part of [architecture, variant]) {
    if (part !== undefined && !COMPONENT.test(part)) throw invalid(text, `${showText(part, 80)} is not allowed`);
  }
  if (rest.length > 0) throw invalid(text, 'it has more than three parts');

  const [, os = '', osVersion = '', features = ''] = system;
  const osFeatures = features.split('+').slice(1);
  if (architecture !== undefined) {
    return normalizePlatform(make(os, architecture, { variant: variant ?? '', osVersion, osFeatures }));
  }
  const alone = normalizePlatform(make(os, os, { osVersion, osFeatures }));
  if (KNOWN_OS.has(alone.os)) {
    return normalizePlatform(make(alone.os, host.architecture, { ...alone, variant: host.variant ?? '' }));
  }
  if (KNOWN_ARCHITECTURE.has(alone.architecture) && os === first) return { ...alone, os: host.os };
  throw invalid(text, 'an unknown operating system or architecture');
}

/** The text that parsePlatform reads. A platform without a system is `unknown`. */
export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant, osVersion = '', osFeatures = [] } = platform;
  if (os === '') return 'unknown';
  const options = `${osVersion}${osFeatures.map((feature) => `+${feature}`).join('')}`;
  const system = options === '' ? os : `${os}(${options})`;
  return [system, architecture, variant].filter((part) => part !== undefined && part !== '').join('/');
}

/** Says which platforms are wanted, and which of several is the best. */
export interface PlatformMatcher {
  /** What parseMatcher reads; empty for everything. Two matchers with one text choose the same. */
  readonly text: string;
  /** One matcher for each wanted platform; none for everything. */
  readonly parts: readonly PlatformMatcher[];
  match(platform: Platform): boolean;
  /** 0 for what was asked for, more for what runs as well, Infinity for what does not match. */
  rank(platform: Platform): number;
}

/** `[major, minor, build]`, as far as they are there. */
const versionOf = (text: string): number[] => text.split('.').slice(0, 3).map(Number);

/** Windows Server 2022, the first whose hosts also run containers of older builds, down to its own. */
const STABLE_ABI_BUILD = 20_348;

function runsWindows(wanted: string | undefined, offered: string | undefined, strict: boolean): boolean {
  if (wanted === undefined || offered === undefined) return true;
  const host = versionOf(wanted);
  const image = versionOf(offered);
  const [, , hostBuild = 0] = host;
  const [, , imageBuild = 0] = image;
  if (!strict && hostBuild >= STABLE_ABI_BUILD) {
    const sameLine = host[0] === image[0] && host[1] === image[1];
    return sameLine && imageBuild >= STABLE_ABI_BUILD && imageBuild <= hostBuild;
  }
  return host.every((part, i) => part === image[i]);
}

function equals(wanted: Platform, offered: Platform, strict: boolean): boolean {
  const features = wanted.osFeatures ?? [];
  return (
    wanted.os === offered.os &&
    wanted.architecture === offered.architecture &&
    wanted.variant === offered.variant &&
    (wanted.os !== 'windows' || runsWindows(wanted.osVersion, offered.osVersion, strict)) &&
    (offered.osFeatures ?? []).every((feature) => features.includes(feature))
  );
}

const variantsDown = (from: number, to: number, name: (n: number) => string): string[] =>
  Array.from({ length: Math.max(0, from - to + 1) }, (_, i) => name(from - i));

/** `v8.3` runs v8.2 to v8; `v9.x` is a superset of `v8.(x+5)`. */
function arm64Variants(variant: string): string[] {
  const [, major = '', minor = '0'] = /^v([89])(?:\.([0-9]))?$/.exec(variant === '' ? 'v8' : variant) ?? [];
  if (major === '') return [variant];
  const v8 = variantsDown(major === '9' ? Number(minor) + 5 : Number(minor), 0, (n) => (n === 0 ? '' : `v8.${n}`));
  return major === '8' ? v8 : [...variantsDown(Number(minor), 0, (n) => (n === 0 ? 'v9' : `v9.${n}`)), ...v8];
}

/** containerd's platformVector: what a machine runs, the best first. */
function fallbacks(wanted: Platform): Platform[] {
  const { variant = '' } = wanted;
  const of = (architecture: string, variants: readonly string[]): Platform[] =>
    variants.map((v) => normalizePlatform(make(wanted.os, architecture, { ...wanted, variant: v })));
  const level = Number(/^v([1-9])$/.exec(variant)?.[1] ?? 0);
  const arm = (from: number): Platform[] =>
    of(
      'arm',
      variantsDown(from, 5, (n) => `v${n}`),
    );
  switch (wanted.architecture) {
    case 'amd64':
      return [
        ...(level > 1
          ? of(
              'amd64',
              variantsDown(level, 1, (n) => `v${n}`),
            )
          : [wanted]),
        ...of('386', ['']),
      ];
    case 'arm':
      return level > 5 ? arm(level) : [wanted];
    case 'arm64':
      return [...of('arm64', arm64Variants(variant)), ...arm(8)];
    default:
      // An image that names no variant asks for nothing beyond the architecture.
      return variant === '' ? [wanted] : [wanted, ...of(wanted.architecture, [''])];
  }
}

function matcherOf(text: string, choices: readonly Platform[], strict: boolean): PlatformMatcher {
  const rank = (platform: Platform): number => {
    const offered = normalizePlatform(platform);
    const found = choices.findIndex((choice) => equals(choice, offered, strict));
    return found < 0 ? Infinity : found;
  };
  const matcher: PlatformMatcher = {
    text,
    get parts() {
      return [matcher];
    },
    match: (platform) => rank(platform) < Infinity,
    rank,
  };
  return matcher;
}

/**
 * What a machine of this platform runs: arm/v7 also v6 and v5; arm64 also arm/v8 and below; amd64/v3 also v2 and v1, and
 * amd64 also 386; a Windows from build 20348 on also older builds down to that one.
 */
export function matchPlatform(wanted: Platform): PlatformMatcher {
  const platform = normalizePlatform(wanted);
  return matcherOf(formatPlatform(platform), fallbacks(platform), false);
}

/** This platform only, however it is spelled. Its text has a `=` in front. */
export function matchPlatformStrict(wanted: Platform): PlatformMatcher {
  const platform = normalizePlatform(wanted);
  return matcherOf(`=${formatPlatform(platform)}`, [platform], true);
}

export const matchAll: PlatformMatcher = { text: '', parts: [], match: () => true, rank: () => 0 };

/**
 * Each of several platforms; the order does not matter.
 * @throws GantryError INVALID for none
 */
export function matchAny(matchers: readonly PlatformMatcher[]): PlatformMatcher {
  if (matchers.length === 0) throw new GantryError('INVALID', 'no platform is given', { origin: 'user' });
  if (matchers.some((matcher) => matcher.parts.length === 0)) return matchAll;
  const byText = new Map(matchers.flatMap((matcher) => matcher.parts).map((part) => [part.text, part]));
  const parts = [...byText.values()].toSorted((a, b) => (a.text < b.text ? -1 : 1));
  const rank = (platform: Platform): number => Math.min(...parts.map((part) => part.rank(platform)));
  return {
    text: parts.map((part) => part.text).join(','),
    parts,
    match: (platform) => parts.some((part) => part.match(platform)),
    rank,
  };
}

/**
 * Reads what `text` of a matcher says: platforms with commas between them, each with a `=` in front if it is strict; `all`
 * or nothing for everything.
 * @throws GantryError INVALID
 */
export function parseMatcher(text: string, host: Platform = hostPlatform()): PlatformMatcher {
  if (text === '' || text === 'all') return matchAll;
  const one = (item: string): PlatformMatcher =>
    item.startsWith('=')
      ? matchPlatformStrict(parsePlatform(item.slice(1), host))
      : matchPlatform(parsePlatform(item, host));
  return matchAny(text.split(',').map(one));
}

/** Whether `a` is the better of two entries of one rank: of Windows images, the newer one. */
function isNewer(a: Platform, b: Platform): boolean {
  if (a.os !== 'windows' || a.osVersion === undefined || b.osVersion === undefined) return false;
  const versions = [a.osVersion, b.osVersion].map((text) => text.split('.').map(Number));
  const [left = [], right = []] = versions;
  const differs = left.findIndex((part, i) => part !== (right[i] ?? 0));
  return differs >= 0 && (left[differs] ?? 0) > (right[differs] ?? 0);
}

function bestOf(entries: readonly Descriptor[], matcher: PlatformMatcher): Descriptor | undefined {
  let best: { readonly entry: Descriptor; readonly platform: Platform; readonly rank: number } | undefined;
  for (const entry of entries) {
    const { platform } = entry;
    if (platform === undefined) continue;
    const rank = matcher.rank(platform);
    if (rank === Infinity) continue;
    if (best === undefined || rank < best.rank || (rank === best.rank && isNewer(platform, best.platform))) {
      best = { entry, platform, rank };
    }
  }
  return best?.entry;
}

/**
 * The entries of an index that are wanted, in its order: for each wanted platform the best one, and as in containerd all
 * that name no platform. Attestations, which say `unknown/unknown`, come only with everything.
 */
export function selectManifests(entries: readonly Descriptor[], matcher: PlatformMatcher): readonly Descriptor[] {
  if (matcher.parts.length === 0) return entries;
  const best = new Set(matcher.parts.map((part) => bestOf(entries, part)));
  return entries.filter((entry) => entry.platform === undefined || best.has(entry));
}
