/** What Grafana is given, as far as it can be checked without it: prometheus.test.ts asks the queries. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Dashboard, dashboards, type Panel } from '../support/dashboards.ts';

const read = (path: string): Promise<string> => readFile(join(import.meta.dirname, '../..', path), 'utf8');

const overlap = ({ gridPos: a }: Panel, { gridPos: b }: Panel): boolean =>
  a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

function assertPanels({ panels, templating }: Dashboard): void {
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  const known = new Set(templating.list.map(({ name }) => name));
  for (const panel of panels) {
    const { title, gridPos, targets = [] } = panel;
    const others = panels.filter((other) => other !== panel && overlap(panel, other)).map((other) => other.title);
    assert.deepEqual(others, [], title);
    assert.ok(gridPos.x + gridPos.w <= 24, title);
    if (panel.type === 'row') continue;
    assert.ok(panel.description && panel.fieldConfig?.defaults.unit && targets.length > 0, title);
    assert.equal(panel.datasource?.uid, '${datasource}', title);
    for (const { expr, legendFormat } of targets) {
      assert.ok(legendFormat, title);
      const used = [...expr.matchAll(/\$(?!__rate_interval\b)(\w+)/g)].map(([, name = '']) => name);
      assert.deepEqual(
        used.filter((name) => !known.has(name)),
        [],
        title,
      );
      // A rate over a fixed time shows nothing where Prometheus scrapes more rarely; what is named after it may be counted so.
      if (/\brate\(/.test(expr)) assert.match(expr, /\[\$__rate_interval\]/, title);
    }
  }
}

test('each panel says what it shows and in which unit, and stands where no other does', async () => {
  const all = await dashboards();
  assert.deepEqual([...all.keys()].toSorted(), ['farm.json', 'registries.json', 'run.json']);
  for (const [file, dashboard] of all) {
    assert.ok(dashboard.schemaVersion >= 39 && dashboard.schemaVersion <= 41, `${file}: of Grafana 11 and 12`);
    assertPanels(dashboard);
  }
});

test('the source of data may be chosen, and is the provisioned one until then', async () => {
  const [, uid] = /uid: (\S+)/.exec(await read('grafana/provisioning/datasources/prometheus.yml')) ?? [];
  for (const [file, { templating }] of await dashboards()) {
    const [first, ...queries] = templating.list;
    assert.deepEqual([first?.name, first?.type, first?.current.value], ['datasource', 'datasource', uid], file);
    for (const { name, type, includeAll, allValue } of queries) {
      assert.equal(type, 'query', `${file}: ${name}`);
      if (includeAll) assert.equal(allValue, '.*', `${file}: ${name}`); // else Grafana names each value it knows
    }
  }
});

test('dashboards lead to each other, and to nothing that is not there', async () => {
  const all = [...(await dashboards()).values()];
  const uids = all.map(({ uid }) => uid);
  assert.equal(new Set(uids).size, all.length);
  for (const { title, tags, links } of all) {
    assert.deepEqual(tags, ['gantry'], title);
    assert.ok(
      links.some((link) => link.type === 'dashboards' && link.tags.includes('gantry')),
      title,
    );
  }
  const urls = all.flatMap(({ panels }) =>
    panels.flatMap(({ fieldConfig }) => (fieldConfig?.defaults.links ?? []).map(({ url }) => url)),
  );
  assert.ok(urls.length > 0);
  for (const url of urls) assert.ok(uids.includes(/^\/d\/([\w-]+)\?/.exec(url)?.[1] ?? ''), url);
  const [, home = ''] =
    /GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH: \S+\/(\S+)/.exec(await read('docker-compose.yml')) ?? [];
  assert.ok((await dashboards()).has(home), home);
});
