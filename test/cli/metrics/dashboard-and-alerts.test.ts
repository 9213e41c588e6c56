import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { program } from '../../../src/cli/command-line/program.ts';
import { expositionOf } from '../../../src/cli/metrics/exposition.ts';
import { familiesOf } from '../../../src/cli/metrics/families.ts';
import { Terminal } from '../../../src/cli/terminal/terminal.ts';
import { accountAnswer, metricsAnswer } from '../answers.ts';
import { parseStrictly } from './strict-parser.ts';

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly datasource?: { readonly uid: string };
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string; readonly datasource: { readonly uid: string } }[];
}

interface Dashboard {
  readonly panels: readonly Panel[];
  readonly annotations: { readonly list: readonly { readonly expr?: string }[] };
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly type: string; readonly definition?: string }[];
  };
}

const dashboard = JSON.parse(readFileSync('docs/grafana-dashboard.json', 'utf8')) as Dashboard;
const alerts = readFileSync('docs/alerts.yml', 'utf8');

/** Series as they are exposed, by name: of a histogram each of its three. */
const told = parseStrictly(
  expositionOf(familiesOf(metricsAnswer({ accounts: [accountAnswer('A', { pace: { level: 1, max: 15 } })] }), 0)),
);
const names = new Set(
  [...told.values()].flatMap(({ samples }) => [...samples.keys()].map((series) => series.replace(/\{.*/, ''))),
);

const metricsIn = (text: string): string[] => text.match(/\bnonced_\w+/g) ?? [];

const expressions = [
  ...dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
  ...dashboard.annotations.list.flatMap(({ expr }) => expr ?? []),
];

test('every metric that the dashboard asks for exists', () => {
  const asked = [...expressions, ...dashboard.templating.list.map(({ definition = '' }) => definition)].flatMap(
    metricsIn,
  );
  expect(asked.length).toBeGreaterThan(25);
  expect(asked.filter((name) => !names.has(name))).toEqual([]);
});

test('every metric that an alert looks at exists, with the labels it selects', () => {
  const rules = alerts.replaceAll(/^ *#.*$/gm, '');
  const asked = metricsIn(rules);
  expect(asked.length).toBeGreaterThan(20);
  expect(asked.filter((name) => !names.has(name))).toEqual([]);
  for (const [, name = '', label = '', value = ''] of rules.matchAll(/\b(nonced_\w+)\{(\w+)=~?"([^"]*)"\}/g)) {
    for (const one of value.split('|')) {
      const series = [...(told.get(name)?.samples.keys() ?? [])].filter((key) => key.includes(`${label}="${one}"`));
      expect(series, `${name}{${label}="${one}"}`).not.toEqual([]);
    }
  }
});

test('the dashboard leaves the choice of the data source to its reader', () => {
  expect(dashboard.templating.list[0]).toMatchObject({ name: 'datasource', type: 'datasource' });
  const used = dashboard.panels
    .filter(({ type }) => type !== 'row')
    .flatMap(({ datasource, targets = [] }) => [datasource?.uid, ...targets.map((target) => target.datasource.uid)]);
  expect(used.filter((uid) => !/^\$\{datasource\}$/.test(uid ?? ''))).toEqual([]);
});

test('the panels have a number each, do not lie on one another, and say what they show', () => {
  const cells = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, n) => `${x + (n % w)},${y + Math.floor(n / w)}`),
  );
  expect(new Set(cells).size).toBe(cells.length);
  expect(dashboard.panels.every(({ gridPos: { x, w } }) => x + w <= 24)).toBe(true);
  expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
  expect(dashboard.panels.filter(({ type, description }) => type !== 'row' && !description)).toEqual([]);
});

/** Of each alert: its name and its text, up to the next one. */
const rules = alerts
  .split(/^ {6}- alert: /m)
  .slice(1)
  .map((text) => ({ name: text.split('\n')[0] ?? '', text }));

test('each alert has a severity, and says what is so and what to type: a command that there is', () => {
  const known = program(new Terminal(process)).commands.map((command) => command.name());
  for (const { name, text } of rules) {
    expect(text, name).toMatch(/severity: (page|ticket) }/);
    for (const annotation of ['summary', 'description', 'command']) {
      expect(text, `${name}: ${annotation}`).toMatch(new RegExp(`^ {10}${annotation}: \\S`, 'm'));
    }
    const command = /command: (.*)/.exec(text)?.[1] ?? '';
    const words = [...command.matchAll(/\bnonced ([a-z][a-z-]+)/g)].map(([, word]) => word);
    expect(known, name).toEqual(expect.arrayContaining(words));
  }
});

test('each alert is seen to fire by the tests of the rules', () => {
  const tests = readFileSync('test/cli/metrics/alerts.yml', 'utf8');
  for (const { name } of rules) expect(tests, name).toMatch(new RegExp(`alertname="${name}"|alertname: ${name}\\n`));
});
