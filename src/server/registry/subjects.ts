/**
 * What is about what: the manifests of a repository that have a `subject`, by it. All manifests that a name leads to are read for that, each once,
 * as content does not change.
 */
import { setImmediate } from 'node:timers/promises';
import type { CallOptions } from '../../call.ts';
import { GantryError } from '../../errors.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Manifest } from '../../oci/manifest.ts';
import type { ManifestFiles } from './manifest-files.ts';
import type { Names, NameTable } from './name-table.ts';

/** What is remembered of a manifest. */
interface Facts {
  readonly entries: readonly Digest[];
  readonly subject: Digest | undefined;
  /** As a list of referrers has it; only with a subject. */
  readonly referrer: Descriptor | undefined;
}

type Subjects = ReadonlyMap<string, ReadonlyMap<Digest, readonly Descriptor[]>>;

/** Manifests that are looked at: a bound on memory, some 200 bytes each. */
const MAX_MANIFESTS = 500_000;
/** Manifests between two chances for other requests. */
const TURN = 200;

const NOTHING: Facts = { entries: [], subject: undefined, referrer: undefined };

export class SubjectIndex {
  readonly #names: NameTable;
  readonly #manifests: ManifestFiles;
  #facts: ReadonlyMap<Digest, Facts> = new Map();
  #built: { readonly names: Names; readonly subjects: Promise<Subjects> } | undefined;

  constructor(names: NameTable, manifests: ManifestFiles) {
    this.#names = names;
    this.#manifests = manifests;
  }

  async referrers(repository: string, subject: Digest): Promise<readonly Descriptor[]> {
    const names = await this.#names.read();
    if (this.#built?.names !== names) this.#built = { names, subjects: this.#build(names, this.#built?.subjects) };
    return (await this.#built.subjects).get(repository)?.get(subject) ?? [];
  }

  async #build(names: Names, before: Promise<Subjects> | undefined): Promise<Subjects> {
    await before?.catch(() => {}); // one after the other: what it reads need not be read again
    const known = this.#facts;
    const facts = new Map<Digest, Facts>();
    const subjects = new Map<string, Map<Digest, Descriptor[]>>();
    for (const [repository, { roots }] of names.byRepository) {
      const found = await this.#below(roots, known, facts);
      if (found.size > 0) subjects.set(repository, found);
    }
    this.#facts = facts;
    return subjects;
  }

  async #below(
    roots: readonly Descriptor[],
    known: ReadonlyMap<Digest, Facts>,
    facts: Map<Digest, Facts>,
  ): Promise<Map<Digest, Descriptor[]>> {
    const found = new Map<Digest, Descriptor[]>();
    const seen = new Set<Digest>();
    const open = roots.map(({ digest }) => digest);
    for (let digest = open.pop(); digest !== undefined; digest = open.pop()) {
      if (seen.has(digest)) continue;
      seen.add(digest);
      if (seen.size % TURN === 0) await setImmediate();
      const { entries, subject, referrer } = facts.get(digest) ?? (await this.#look(digest, known, facts));
      open.push(...entries);
      if (subject === undefined || referrer === undefined) continue;
      const of = found.get(subject);
      if (of === undefined) found.set(subject, [referrer]);
      else of.push(referrer);
    }
    for (const list of found.values()) list.sort((a, b) => (a.digest < b.digest ? -1 : 1));
    return found;
  }

  async #look(digest: Digest, known: ReadonlyMap<Digest, Facts>, facts: Map<Digest, Facts>): Promise<Facts> {
    if (facts.size >= MAX_MANIFESTS) return NOTHING;
    const before = known.get(digest);
    const now = before ?? (await this.#read(digest));
    // What is not here may come.
    if (now !== undefined) facts.set(digest, now);
    return now ?? NOTHING;
  }

  async #read(digest: Digest): Promise<Facts | undefined> {
    const call: CallOptions = { signal: new AbortController().signal };
    try {
      const found = await this.#manifests.readOnce(digest, call);
      return found === undefined ? undefined : factsOf(digest, found.bytes.length, found.manifest);
    } catch (err) {
      // A damaged one is told to those who ask for it; the others are not to go without their list.
      if (err instanceof GantryError) return undefined;
      throw err;
    }
  }
}

function factsOf(digest: Digest, size: number, manifest: Manifest): Facts {
  const entries = manifest.kind === 'index' ? manifest.manifests.map((entry) => entry.digest) : [];
  const subject = manifest.subject?.digest;
  if (subject === undefined) return entries.length === 0 ? NOTHING : { ...NOTHING, entries };
  // distribution-spec, "Listing Referrers": the config's media type where the manifest has none of its own.
  const artifactType = manifest.artifactType ?? (manifest.kind === 'manifest' ? manifest.config.mediaType : undefined);
  const referrer = {
    mediaType: manifest.mediaType,
    digest,
    size,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(manifest.annotations === undefined ? {} : { annotations: manifest.annotations }),
  };
  return { entries, subject, referrer };
}
