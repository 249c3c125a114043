/** The shape of a mirror file: what it is checked against, and what `gantry config schema` publishes. */
import { z } from 'zod';
import { judgeSchedule } from './schedule.ts';
import { JUDGES } from './values.ts';

/** Texts of a format of their own; the published schema names it. */
const ALL_JUDGES = { ...JUDGES, schedule: judgeSchedule };

const judged = (format: keyof typeof ALL_JUDGES) =>
  z
    .string()
    .superRefine((text, context) => {
      const message = ALL_JUDGES[format](text);
      if (message !== undefined) context.addIssue({ code: 'custom', message });
    })
    .meta({ format });

const text = () => z.string();
const filled = () => z.string().min(1);
const patterns = () => z.array(judged('pattern'));
const globs = () => z.array(judged('glob'));
const duration = () => judged('duration');
const count = (least: number) => z.int().min(least);

const tagSet = z.strictObject({
  semverRange: z.array(judged('range')).describe('versions to keep: a tag passes when any range holds it').optional(),
  allow: patterns().describe('anchored regular expressions: a tag passes when it matches any').optional(),
  deny: patterns().describe('anchored regular expressions: a tag passes when it matches none').optional(),
});

const tags = z.strictObject({
  ...tagSet.shape,
  latest: count(1).describe('keep this many tags, the newest').optional(),
  sort: z.enum(['semver', 'alphabetical']).describe('what newest means; default semver').optional(),
  minTags: count(1).describe('refuse to mirror when fewer tags are selected').optional(),
  immutable: z
    .union([judged('glob'), globs()])
    .describe('globs of tags that never change: what the target has of them is not looked up at the source')
    .optional(),
});

const repos = z.strictObject({
  allow: patterns().describe('anchored regular expressions: a repository is mirrored when it matches any').optional(),
  deny: patterns().describe('anchored regular expressions: a repository is mirrored when it matches none').optional(),
});

const hook = z.strictObject({ type: text().optional(), params: z.array(text()).optional() });
const hooks = z.strictObject({ pre: hook.optional(), post: hook.optional(), unchanged: hook.optional() });

const shared = {
  backup: text()
    .describe('template of a tag or reference under which the target is kept before it is overwritten')
    .optional(),
  interval: duration().describe('time between two runs of `gantry mirror serve`, such as 60m').optional(),
  schedule: judged('schedule')
    .describe('cron with five or six fields, or @daily and the like; wins over interval')
    .optional(),
  ratelimit: z
    .strictObject({
      min: count(0).describe('requests that the source must have left for a copy to begin').optional(),
      retry: duration().describe('when to look again; at least 5m').optional(),
    })
    .optional(),
  mediaTypes: z.array(filled()).describe('media types of manifests to copy').optional(),
  platforms: z.array(judged('platform')).describe('platforms to copy, such as linux/amd64; default all').optional(),
  index: z
    .enum(['full', 'sparse', 'strip'])
    .describe('what becomes of an index when platforms selects some of it; default sparse')
    .optional(),
  referrers: z.boolean().describe('copy signatures, SBOMs and other referrers; default true').optional(),
  referrerFilters: z
    .array(
      z.strictObject({
        artifactType: text().optional(),
        annotations: z.record(z.string(), text()).optional(),
      }),
    )
    .describe('copy only referrers that match any of these')
    .optional(),
  referrerSource: text().describe('repository to read referrers from, when not the source').optional(),
  referrerTarget: text().describe('repository to copy referrers to, when not the target').optional(),
  referrerSlow: z.boolean().describe('of regsync; has no effect').optional(),
  digestTags: z.boolean().describe('copy tags of the form sha256-<digest>; default true').optional(),
  artifacts: z
    .strictObject({
      include: globs().describe('globs of artifact types; only these are copied').optional(),
      exclude: globs().describe('globs of artifact types that are not copied').optional(),
      require: globs().describe('globs of artifact types that an image must have').optional(),
    })
    .optional(),
  fastCheck: z.boolean().describe('take a target with the right digest for complete, without looking below').optional(),
  forceRecursive: z.boolean().describe('look at everything below a target, also when its digest is right').optional(),
  includeExternal: z.boolean().describe('copy layers that are kept elsewhere').optional(),
  prune: z
    .strictObject({
      mode: z
        .enum(['off', 'report', 'delete'])
        .describe('what to do with tags that are not selected; default off')
        .optional(),
      graceDays: z.number().min(0).describe('how long a tag must be gone before it is pruned; default 7').optional(),
    })
    .optional(),
  hooks: hooks.describe('of regsync; read, and never run').optional(),
};

export const syncSchema = z.strictObject({
  source: filled().describe('image, repository or registry to copy from'),
  target: filled().describe('where to copy to').optional(),
  targets: z.array(filled()).min(1).describe('where to copy to; the source is read once').optional(),
  type: z.enum(['image', 'repository', 'registry']).describe('what source and target name'),
  tags: tags.optional(),
  tagSets: z.array(tagSet).describe('further filters; a tag is kept that passes any of them, or tags').optional(),
  repos: repos.optional(),
  platform: judged('platform').describe('of regsync: platforms with one entry, and index: strip').optional(),
  ...shared,
});

export const defaultsSchema = z.strictObject({
  ...shared,
  parallel: count(0).describe('images to copy at a time').optional(),
  skipDockerConfig: z.boolean().describe('leave the credentials of docker and containers alone').optional(),
  userAgent: text().describe('what requests say they come from').optional(),
  blobLimit: count(0).describe('of regsync; has no effect').optional(),
  cacheCount: count(0).describe('of regsync; has no effect').optional(),
  cacheTime: text().describe('of regsync; has no effect').optional(),
});

export const credsSchema = z.strictObject({
  registry: filled().describe('host[:port] as references name it; docker.io for Docker Hub'),
  hostname: text().describe('host[:port] to connect to, when not the registry').optional(),
  user: text().optional(),
  pass: text().describe('better a template or variable than the password itself').optional(),
  token: text().optional(),
  credHelper: text().describe('a credential helper, such as docker-credential-ecr-login').optional(),
  tls: z.enum(['enabled', 'insecure', 'disabled']).optional(),
  regcert: text().describe('PEM of a CA to trust').optional(),
  clientcert: text().describe('PEM of a client certificate').optional(),
  clientkey: text().describe('PEM of its key').optional(),
  pathPrefix: text().describe('put in front of the path of every image').optional(),
  mirrors: z.array(filled()).describe('registries to read from first').optional(),
  priority: count(0).describe('order among mirrors, the lowest first').optional(),
  reqPerSec: z.number().min(0).describe('requests per second; 0 for no limit').optional(),
  reqConcurrent: count(0).describe('requests at a time; 0 for no limit').optional(),
  repoAuth: z.boolean().describe('of regsync; authentication is always per repository').optional(),
  credExpire: text().describe('of regsync; has no effect').optional(),
  credHost: text().describe('of regsync; has no effect').optional(),
  blobChunk: z.int().describe('of regsync; has no effect').optional(),
  blobMax: z.int().describe('of regsync; has no effect').optional(),
  api: text().describe('of regsync; has no effect').optional(),
  apiOpts: z.record(z.string(), text()).describe('of regsync; has no effect').optional(),
  scheme: text().describe('of regsync; has no effect').optional(),
  dns: z.array(text()).describe('of regsync; has no effect').optional(),
});

export const fileSchema = z.strictObject({
  version: z.literal(1).describe('1, or left out').optional(),
  creds: z.array(credsSchema).describe('credentials and settings of registries').optional(),
  defaults: defaultsSchema.describe('what holds for every entry of sync that does not say otherwise').optional(),
  sync: z.array(syncSchema).min(1).describe('what to mirror'),
});

export type SyncInput = z.output<typeof syncSchema>;
export type DefaultsInput = z.output<typeof defaultsSchema>;
export type CredsInput = z.output<typeof credsSchema>;
export type FileInput = z.output<typeof fileSchema>;

/** JSON Schema of a mirror file. `x-*` is free everywhere. */
export const mirrorJsonSchema = (): Readonly<Record<string, unknown>> => ({
  ...z.toJSONSchema(fileSchema, {
    override: ({ jsonSchema }) => {
      if (jsonSchema.additionalProperties === false) jsonSchema.patternProperties = { '^x-': {} };
    },
  }),
  title: 'gantry mirror file',
});
