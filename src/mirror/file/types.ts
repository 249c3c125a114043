/** What a mirror file says, after defaults, templates and variables. */
import type { Secret } from '../../secret.ts';

/** A place in a file; line and column begin at 1. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** Something that is wrong, or that has no effect, in a mirror file. */
export interface Problem {
  readonly place: Place;
  /** `sync.0.type`; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
  /** The line and a caret below the place. Values that may be secret are left out of it. */
  readonly excerpt: string;
}

export type MirrorType = 'image' | 'repository' | 'registry';
export type PruneMode = 'off' | 'report' | 'delete';
/**
 * What becomes of an index when only some of its platforms are wanted: `sparse` keeps it byte for byte and copies what is
 * wanted below it, `strip` copies one that lists only what is wanted, `full` copies all platforms.
 */
export type IndexMode = 'full' | 'sparse' | 'strip';

/** Filters that a tag must pass, all of them. Empty: everything passes. */
export interface TagSet {
  /** A tag passes when any range holds it. */
  readonly semverRange: readonly string[];
  /** Anchored regular expressions; any of them. */
  readonly allow: readonly string[];
  /** Anchored regular expressions; none of them. */
  readonly deny: readonly string[];
}

export interface TagRules extends TagSet {
  /**
   * `tagSets`: a tag is selected when it passes any of these, or the filters of these rules if there are some. regsync
   * makes a union of them; put into one set, the filters of one would hold for the tags of another.
   */
  readonly sets?: readonly TagSet[];
  /** How many tags to keep, of the newest. */
  readonly latest: number | undefined;
  readonly sort: 'semver' | 'alphabetical';
  /** Fewer selected tags than this are refused. */
  readonly minTags: number | undefined;
  /** Globs of tags that never change. */
  readonly immutable: readonly string[];
}

/** Anchored regular expressions for names of repositories. */
export interface RepositoryRules {
  readonly allow: readonly string[];
  readonly deny: readonly string[];
}

export interface ReferrerFilter {
  readonly artifactType: string | undefined;
  readonly annotations: Readonly<Record<string, string>>;
}

/** The reference that a backup template sees as `.Ref`. */
export interface BackupRef {
  readonly Scheme: string;
  readonly Registry: string;
  readonly Repository: string;
  readonly Tag: string;
  readonly Digest: string;
}

export interface MirrorRule {
  /** `sync.0` */
  readonly id: string;
  readonly place: Place;
  readonly type: MirrorType;
  /** Templates and variables are expanded; defaults such as docker.io are not filled in. */
  readonly source: string;
  /** One or more. */
  readonly targets: readonly string[];
  readonly tags: TagRules;
  readonly repos: RepositoryRules;
  /** Empty: all. */
  readonly platforms: readonly string[];
  readonly index: IndexMode;
  /** Of manifests. Empty: all that gantry handles. */
  readonly mediaTypes: readonly string[];
  readonly referrers: boolean;
  readonly referrerFilters: readonly ReferrerFilter[];
  readonly referrerSource: string | undefined;
  readonly referrerTarget: string | undefined;
  readonly digestTags: boolean;
  /** Globs of artifact types. */
  readonly artifacts: {
    readonly include: readonly string[];
    readonly exclude: readonly string[];
    readonly require: readonly string[];
  };
  readonly fastCheck: boolean;
  readonly forceRecursive: boolean;
  readonly includeExternal: boolean;
  /** Cron, of five or six fields, or `@daily` and its like. */
  readonly schedule: string | undefined;
  readonly intervalMs: number | undefined;
  readonly rateLimit: { readonly min: number; readonly retryMs: number } | undefined;
  /** A tag, or with `:` or `/` in it a reference, for what is about to be overwritten. */
  readonly backup: ((ref: BackupRef) => string) | undefined;
  /** The text of it. */
  readonly backupTemplate?: string | undefined;
  readonly prune: { readonly mode: PruneMode; readonly graceDays: number };
}

/** Credentials and settings for one registry. */
export interface MirrorCreds {
  readonly place: Place;
  /** As references name it. */
  readonly registry: string;
  /** Where it is, `host[:port]`, when not there. */
  readonly hostname: string | undefined;
  readonly user: string | undefined;
  readonly pass: Secret | undefined;
  readonly token: Secret | undefined;
  /** `docker-credential-ecr-login`, as regsync has it. */
  readonly credHelper: string | undefined;
  readonly tls: 'enabled' | 'insecure' | 'disabled' | undefined;
  /** PEM, not a path; so are the next two. */
  readonly regcert: string | undefined;
  readonly clientCert: string | undefined;
  readonly clientKey: Secret | undefined;
  /** Put in front of the path of every image. */
  readonly pathPrefix: string | undefined;
  /** Registries to read from first. */
  readonly mirrors: readonly string[];
  readonly priority: number;
  /** Undefined: no limit; so is the next one. */
  readonly reqPerSec: number | undefined;
  readonly reqConcurrent: number | undefined;
}

export interface MirrorFile {
  readonly file: string;
  readonly creds: readonly MirrorCreds[];
  /** How many images to copy at a time. */
  readonly parallel: number | undefined;
  /** Credentials of docker and containers are left alone. */
  readonly skipDockerConfig: boolean;
  readonly userAgent: string | undefined;
  readonly rules: readonly MirrorRule[];
  readonly warnings: readonly Problem[];
}
