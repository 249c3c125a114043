/** The shape of a file of pull-through rules. */
import { z } from 'zod';
import { credsSchema } from '../file/schema.ts';
import { judgeDuration } from '../file/values.ts';

const duration = () =>
  z.string().superRefine((text, context) => {
    const message = judgeDuration(text);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  });

const fresh = () => duration().describe('how long a tag is answered without asking again, such as 5m').optional();

export const ruleSchema = z.strictObject({
  match: z.string().min(1).describe('repositories, such as docker.io/library/* or ghcr.io/**'),
  fresh: fresh(),
  upstream: z.string().min(1).describe('host[:port][/prefix] to ask in the place of the registry').optional(),
});

export const defaultsSchema = z.strictObject({ fresh: fresh() });

export const pullThroughSchema = z.strictObject({
  version: z.literal(1).describe('1, or left out').optional(),
  creds: z.array(credsSchema).describe('credentials and settings of registries').optional(),
  defaults: defaultsSchema.describe('what holds for every rule that does not say otherwise').optional(),
  rules: z.array(ruleSchema).min(1).describe('which repositories are fetched; the first rule that matches counts'),
});

export type RuleInput = z.output<typeof ruleSchema>;
export type DefaultsInput = z.output<typeof defaultsSchema>;
