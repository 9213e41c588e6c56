import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { hasProgram } from '../fixtures/shell.ts';

const withoutPromtool = hasProgram('promtool') ? '' : ' (skipped: no promtool)';

function promtool(...args: readonly string[]): void {
  const { status, stdout, stderr } = spawnSync('promtool', args, { encoding: 'utf8' });
  expect({ status, said: status === 0 ? '' : stdout + stderr }).toEqual({ status: 0, said: '' });
}

describe.skipIf(withoutPromtool !== '')(`Prometheus${withoutPromtool}`, () => {
  test('takes the alerts, each of which fires when it should and not before', () => {
    promtool('check', 'rules', 'docs/alerts.yml');
    promtool('test', 'rules', 'test/cli/metrics/alerts.yml');
  });

  test('takes every expression of the dashboard', () => {
    const { panels } = JSON.parse(readFileSync('docs/grafana-dashboard.json', 'utf8')) as {
      readonly panels: readonly { readonly targets?: readonly { readonly expr: string }[] }[];
    };
    const rules = panels
      .flatMap(({ targets = [] }) => targets)
      .map(({ expr }, index) => ({
        record: `dashboard:${index}`,
        expr: expr.replaceAll('$__rate_interval', '5m').replaceAll(/\$\w+/g, '.*'),
      }));
    expect(rules.length).toBeGreaterThan(20);
    const dir = mkdtempSync(join(tmpdir(), 'nonced-rules-'));
    try {
      // JSON is YAML as well.
      writeFileSync(join(dir, 'rules.yml'), JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
      promtool('check', 'rules', join(dir, 'rules.yml'));
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});
