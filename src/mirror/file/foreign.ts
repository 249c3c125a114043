/** Files of other tools, which are easily taken for a mirror file. */
import { isRecord } from './document.ts';

interface Foreign {
  readonly tool: string;
  /** The command that translates it. */
  readonly hint: string;
}

const isText = (value: unknown): boolean => typeof value === 'string';
const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every(isText);
/** What can be a registry or image, and is no word of a mirror file. */
const isName = (key: string): boolean => /[./:]/.test(key);
const SKOPEO_KEYS = ['images', 'images-by-tag-regex', 'images-by-semver'];

const noImport = (tool: string): Foreign => ({
  tool,
  hint: 'there is no import for it; write its images as entries of sync',
});

/** Undefined for what may be a mirror file, however wrong. */
export function foreignTool(value: Readonly<Record<string, unknown>>): Foreign | undefined {
  const entries = Object.entries(value);
  if ('sync' in value || entries.length === 0) return undefined;
  if (entries.every(([, each]) => isRecord(each) && SKOPEO_KEYS.some((key) => key in each))) {
    return { tool: 'skopeo sync', hint: '`gantry import skopeo FILE > mirror.yml` translates it' };
  }
  const rules = isRecord(value['images']) ? Object.entries(value['images']) : entries;
  if (rules.length > 0 && rules.every(([key, each]) => isName(key) && (isText(each) || isTexts(each)))) {
    return { tool: 'image-syncer', hint: '`gantry import image-syncer FILE > mirror.yml` translates it' };
  }
  if ('relay' in value && 'tasks' in value) return noImport('dregsy');
  if ('scripts' in value) return noImport('regbot');
  if ('apiVersion' in value && 'kind' in value) return noImport('Kubernetes or one of its kin');
  return undefined;
}
