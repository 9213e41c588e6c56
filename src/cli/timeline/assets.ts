import { readFileSync } from 'node:fs';

/** What the page is made of beside its data. */
export interface Assets {
  readonly style: string;
  /** In the order in which they are to be run. */
  readonly scripts: readonly string[];
}

const SCRIPTS = ['view', 'calls', 'layout', 'ink', 'painter', 'pointer', 'tip', 'chart'];

/** As they lie beside this file once it is built. */
export function readAssets(): Assets {
  const read = (name: string) => readFileSync(new URL(`./browser/${name}`, import.meta.url), 'utf8').trim();
  return { style: read('page.css'), scripts: SCRIPTS.map((name) => read(`${name}.js`)) };
}
