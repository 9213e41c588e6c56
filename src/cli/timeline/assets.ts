import { readFileSync } from 'node:fs';

/** What the page consists of besides its data. */
export interface Assets {
  readonly style: string;
  /** In the order in which they run. */
  readonly scripts: readonly string[];
}

const SCRIPTS = ['view', 'calls', 'layout', 'ink', 'painter', 'pointer', 'tip', 'chart'];

const BUILT = new URL('../../../dist/cli/timeline/', import.meta.url);

/** Reads them as the build leaves them, below dist. */
export function readAssets(): Assets {
  const read = (path: string) => readFileSync(new URL(path, BUILT), 'utf8').trim();
  // The page prints durations as every message does. Its scripts are not modules, so this one must not be either.
  const durations = read('../../durations.js').replaceAll(/^export /gm, '');
  return {
    style: read('./browser/page.css'),
    scripts: [durations, ...SCRIPTS.map((name) => read(`./browser/${name}.js`))],
  };
}
