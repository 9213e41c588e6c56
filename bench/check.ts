import { SaxesParser } from 'saxes';
import { chart } from './chart.ts';
import { tablesOf } from './report.ts';
import { type Results, readResults } from './results.ts';
import { asMarkdown, asText } from './tables.ts';

/** Throws unless a run has all results that it must have, with any figures. */
export function check(results: Results): void {
  const { peers, cells } = readResults(JSON.stringify(results));
  const idle = peers.filter(({ name }) => !cells.some(({ peer }) => peer === name));
  if (idle.length > 0) throw new Error(`nothing was measured of ${idle.map(({ name }) => name).join(', ')}`);
  const tables = tablesOf(results);
  if (tables.length === 0) throw new Error('nothing was measured');
  for (const table of tables)
    if (/NaN|undefined/.test(asText(table) + asMarkdown(table))) throw new Error(asText(table));
  // Throws at the first character that is not as it should be.
  new SaxesParser({ xmlns: true }).write(chart(results)).close();
}
