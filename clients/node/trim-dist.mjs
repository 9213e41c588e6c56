// Leaves in dist what the package's entries need, each by its own imports: the program, and of the declarations only
// those that the public ones mention. Files of an earlier build go too.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';

process.chdir(import.meta.dirname);
const { exports } = JSON.parse(readFileSync('package.json', 'utf8'));
const needed = new Set();

function need(file) {
  if (needed.has(file)) return;
  needed.add(file);
  const written = readFileSync(file, 'utf8');
  // Declarations name the sources that they are made from; what is packed lies beside them.
  const text = file.endsWith('.d.ts') ? written.replaceAll(/(from '\.[^']*)\.ts'/g, "$1.js'") : written;
  if (text !== written) writeFileSync(file, text);
  for (const [, target] of text.matchAll(/(?:from |require\()['"](\.[^'"]+)['"]/g)) {
    const found = resolve(file, '..', target);
    need(file.endsWith('.d.ts') ? found.replace(/\.js$/, '.d.ts') : found);
  }
}

for (const { require: entry } of Object.values(exports)) {
  need(resolve(entry.types));
  need(resolve(entry.default));
}
const built = readdirSync('dist', { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
for (const { parentPath, name } of built) {
  const file = resolve(parentPath, name);
  if (!needed.has(file)) rmSync(file);
}
