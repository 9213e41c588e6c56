/** Reads the text format as its specification has it, and throws at the first line that is not so. */
export interface ParsedFamily {
  readonly type: string;
  readonly help: string;
  readonly samples: ReadonlyMap<string, number>;
  /** Names of the labels, but for `le`. */
  readonly labels: ReadonlySet<string>;
}

const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  counter: [''],
  gauge: [''],
  histogram: ['_bucket', '_sum', '_count'],
};
const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(?:,|$)/;

interface Reading {
  help: string;
  type: string | undefined;
  readonly samples: Map<string, number>;
  readonly labels: Set<string>;
}

export function parseStrictly(text: string): ReadonlyMap<string, ParsedFamily> {
  const families = new Map<string, Reading>();
  let current: { readonly name: string; readonly family: Reading } | undefined;
  if (text !== '' && !text.endsWith('\n')) throw new Error('the last line has no end');
  for (const line of text.split('\n').slice(0, -1)) {
    const fail = (why: string): never => {
      throw new Error(`${why}: ${line}`);
    };
    const [, keyword, named = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (keyword === 'HELP') {
      if (!NAME.test(named) || families.has(named)) fail('a bad name, or one that was there before');
      if (rest === '' || /\\[^\\n]/.test(rest.replaceAll('\\\\', ''))) fail('a bad help text');
      current = { name: named, family: { help: rest, type: undefined, samples: new Map(), labels: new Set() } };
      families.set(named, current.family);
      continue;
    }
    if (current === undefined) return fail('no HELP before it');
    const { name, family } = current;
    if (keyword === 'TYPE') {
      if (named !== name || family.type !== undefined || !(rest in SUFFIXES)) fail('a bad type');
      family.type = rest;
      continue;
    }
    const [, sampleName = '', , labelText, value = ''] =
      /^([a-zA-Z0-9_:]+)(\{(.*)\})? (\S+)$/.exec(line) ?? fail('no sample');
    const suffix = sampleName.slice(name.length);
    if (!sampleName.startsWith(name) || !SUFFIXES[family.type ?? '']?.includes(suffix))
      fail('another name than its TYPE');
    for (const label of labelNames(labelText ?? '', fail)) family.labels.add(label);
    const series = line.slice(0, line.lastIndexOf(' '));
    if (family.samples.has(series)) fail('a series twice');
    family.samples.set(series, numberOf(value, fail));
  }
  for (const [name, family] of families) check(name, family);
  return families as unknown as ReadonlyMap<string, ParsedFamily>;
}

function labelNames(text: string, fail: (why: string) => never): string[] {
  const names: string[] = [];
  for (let rest = text; rest !== ''; ) {
    const [whole, label = ''] = LABEL.exec(rest) ?? fail('a bad label');
    if (names.includes(label)) fail('a label twice');
    names.push(label);
    rest = rest.slice(whole.length);
  }
  return names.filter((label) => label !== 'le');
}

function numberOf(text: string, fail: (why: string) => never): number {
  if (text === '+Inf') return Number.POSITIVE_INFINITY;
  if (!/^-?\d+(\.\d+)?(e[+-]\d+)?$/.test(text)) fail('no number');
  return Number(text);
}

function check(name: string, { type, samples }: Reading): void {
  if (type === undefined || samples.size === 0) throw new Error(`${name} has no type or no sample`);
  if ((type === 'counter') !== name.endsWith('_total')) throw new Error(`${name} is a ${type}`);
  if (type === 'counter' && [...samples.values()].some((value) => value < 0)) throw new Error(`${name} is below zero`);
  if (type !== 'histogram') return;
  const buckets = [...samples].filter(([series]) => series.startsWith(`${name}_bucket{`));
  const bounds = buckets
    .map(([series]) => /le="([^"]+)"/.exec(series)?.[1] ?? '')
    .map((le) => Number(le.replace('+Inf', 'Infinity')));
  const counts = buckets.map(([, count]) => count);
  const rises = (numbers: readonly number[], strictly: boolean) =>
    numbers.every((number, index) => index === 0 || number > (numbers[index - 1] ?? 0) - (strictly ? 0 : 1e-9));
  if (!rises(bounds, true) || !rises(counts, false) || bounds.at(-1) !== Number.POSITIVE_INFINITY) {
    throw new Error(`the buckets of ${name} do not rise to +Inf`);
  }
  if (counts.at(-1) !== samples.get(`${name}_count`) || !samples.has(`${name}_sum`)) {
    throw new Error(`${name} has no sum, or another count than its last bucket`);
  }
}
