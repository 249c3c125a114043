/** What a report says is still to be done. */
import { itemOf, type JobItem } from './job.ts';
import { type JsonReader, readDocument } from './json-document.ts';
import { REPORT_VERSION } from './report.ts';

export interface Retry {
  /** The mirror file of the run. */
  readonly file: string;
  readonly items: readonly JobItem[];
  /** How many failed because of the mirror file or the configuration: only a new run of the file knows what is right now. */
  readonly left: number;
  /** Rules of which something could not even be listed. */
  readonly rules: readonly string[];
}

/**
 * The images of a report that failed or were cancelled.
 * @param path how the report is called in messages
 * @throws GantryError INVALID for what is no report
 */
export function readRetry(text: string, path: string): Retry {
  const report = readDocument(text, path, { noun: 'mirror-report', version: REPORT_VERSION });
  const images = report.list('images', (image) => ({ image, what: whatOf(image) }));
  const rules = report.list('rules', (rule) => ({ id: rule.text('rule'), failed: hasFailed(rule) }));
  return {
    file: report.text('file'),
    items: images.flatMap(({ image, what }) => (what === 'open' ? itemAt(image) : [])),
    left: images.filter(({ what }) => what === 'left').length,
    rules: rules.filter(({ failed }) => failed).map(({ id }) => id),
  };
}

/** What the mirror file or the configuration has wrong stays wrong: two rules, say, that write one name. */
function whatOf(image: JsonReader): 'open' | 'left' | 'ended' {
  const outcome = image.text('outcome');
  if (outcome === 'cancelled') return 'open';
  if (outcome !== 'failed') return 'ended';
  return image.object('error')?.text('origin') === 'user' ? 'left' : 'open';
}

const hasFailed = (rule: JsonReader): boolean =>
  rule.has('error') || rule.list('repositories', (repository) => repository.has('error')).includes(true);

/** An image as reports and plans have it. @throws GantryError INVALID */
export function itemAt(image: JsonReader): JobItem {
  const [tag, backup] = [image.maybeText('tag'), image.maybeText('backup')];
  return itemOf({
    rule: image.text('rule'),
    source: image.text('source'),
    target: image.text('target'),
    selection: image.text('selection'),
    ...(tag === undefined ? {} : { tag }),
    ...(backup === undefined ? {} : { backup }),
  });
}
