/** The dashboards of grafana/, and what Grafana makes of their queries. */
import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');

export interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly fieldConfig?: {
    readonly defaults: { readonly unit?: string; readonly links?: readonly { readonly url: string }[] };
  };
  readonly datasource?: { readonly uid: string };
  readonly targets?: readonly { readonly expr: string; readonly legendFormat?: string }[];
}

export interface Variable {
  readonly name: string;
  readonly type: string;
  readonly definition?: string;
  readonly includeAll: boolean;
  readonly allValue?: string;
  readonly current: { readonly value?: string | readonly string[] };
}

export interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly tags: readonly string[];
  readonly schemaVersion: number;
  readonly links: readonly { readonly type: string; readonly tags: readonly string[] }[];
  readonly templating: { readonly list: readonly Variable[] };
  readonly panels: readonly Panel[];
}

/** By file name. */
export async function dashboards(): Promise<ReadonlyMap<string, Dashboard>> {
  const found = new Map<string, Dashboard>();
  for await (const path of glob('*.json', { cwd: join(ROOT, 'grafana/dashboards') })) {
    const parsed: Dashboard = JSON.parse(await readFile(join(ROOT, 'grafana/dashboards', path), 'utf8'));
    found.set(path, parsed);
  }
  return found;
}

export interface Asked {
  /** `farm.json: Workers` */
  readonly where: string;
  readonly expr: string;
}

/** Every query of every panel. */
export const queriesOf = (all: ReadonlyMap<string, Dashboard>): Asked[] =>
  [...all].flatMap(([file, { panels }]) =>
    panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ where: `${file}: ${title}`, expr }))),
  );

/** A query with its variables replaced, those that are not named by all there is. */
export const resolved = (expr: string, rate: string, values: Readonly<Record<string, string>> = {}): string =>
  expr
    .replaceAll('$__rate_interval', rate)
    .replaceAll(/\$(?<name>[a-z]+)\b/g, (_, name: string) => values[name] ?? '.*');
