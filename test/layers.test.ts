import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { expect, test } from 'vitest';

const SRC = resolve('src');

/** Which layer may import what. All may import the files at the top of src. */
const MAY_IMPORT: Readonly<Record<string, readonly RegExp[]>> = {
  core: [/^core\//],
  protocol: [/^protocol\//],
  store: [/^store\//, /^core\/ports\.ts$/],
  daemon: [/^daemon\//, /^core\//, /^protocol\//, /^store\//],
  client: [/^client\//, /^protocol\//],
  rehearsal: [/^rehearsal\//],
  cli: [/^cli\//, /^client\//, /^protocol\//, /^rehearsal\//],
};

/**
 * The rooms of the core, the client and the command line, the ground first: a room may take from those before it and
 * from none after. What stands in one line knows nothing of each other.
 */
const ROOMS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  core: [
    ['ports'],
    ['record', 'lanes'],
    ['nonces'],
    ['accounts'],
    ['leases'],
    ['operator', 'reports'],
    // The face, which takes from all.
    ['broker'],
  ],
  client: [['api'], ['connection', 'calls', 'exchanges'], ['leases'], ['client', 'ask'], ['index'], ['adapters']],
  cli: [
    ['terminal'],
    ['directories'],
    ['systemd', 'status', 'state', 'serve', 'drain', 'metrics', 'timeline'],
    ['doctor', 'top', 'rehearsal'],
    ['command-line'],
    ['commands'],
    ['main'],
  ],
};

/** The command line names the code of a command, which is loaded when it runs. */
const LATE_ROOMS: Readonly<Record<string, readonly string[]>> = { 'command-line': ['commands'] };

/** The commands that work on the state or run the daemon, and what that takes. */
const CLI_EXCEPTIONS: Readonly<Record<string, readonly RegExp[]>> = {
  'cli/directories.ts': [/^daemon\/host\/directories\.ts$/],
  'cli/commands/serve.ts': [/^daemon\/(daemon|log\/log|host\/systemd)\.ts$/, /^core\/accounts\/policies\.ts$/],
  'cli/serve/systemd-report.ts': [/^daemon\/(daemon|log\/log|host\/systemd)\.ts$/],
  // The policies alone, as the daemon would read and apply them.
  'cli/serve/configuration.ts': [
    /^core\//,
    /^daemon\/configuration\/policy-file\.ts$/,
    /^store\/(directories|state\/state-file)\.ts$/,
  ],
  'cli/state/inspect.ts': [/^store\//],
  // How a socket is bound, and nothing of the daemon.
  'cli/metrics/exporter.ts': [/^daemon\/sockets\/unix-listener\.ts$/],
  'cli/doctor/facts/storage.ts': [/^store\//, /^daemon\/host\/machine\.ts$/],
  'cli/state/offline-state.ts': [/^store\//, /^core\/ports\.ts$/],
  'cli/state/noted.ts': [/^store\//, /^core\/ports\.ts$/, /^daemon\/host\/machine\.ts$/],
  'cli/state/moving.ts': [/^store\//, /^core\//, /^daemon\/host\/machine\.ts$/],
  'cli/state/move.ts': [/^store\//, /^core\//],
  'cli/state/forget.ts': [/^store\//, /^core\//],
  'cli/state/init.ts': [/^store\//, /^core\//, /^daemon\/(host\/directories|host\/machine|opening)\.ts$/],
};

/** What may not be had from outside, by layer: input, output, time and randomness come in through parameters. */
const BUILTINS: Readonly<Record<string, readonly string[]>> = {
  core: [],
  protocol: [],
};

const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  protocol: ['msgpackr/pack', 'msgpackr/unpack'],
  store: ['proper-lockfile', 'write-file-atomic'],
  daemon: ['valibot'],
  cli: ['commander'],
};

/** The SDKs that have an adapter, each an optional peer dependency. */
const ADAPTED: readonly string[] = ['ccxt', 'node-kraken-api', 'kraken-api'];

interface Import {
  readonly from: string;
  readonly to: string;
  /** Loaded when it is needed, and not before. */
  readonly isLate: boolean;
}

function sources(root = SRC): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
}

function importsOf(file: string, root = SRC): Import[] {
  const text = readFileSync(join(root, file), 'utf8');
  const found = text.matchAll(
    /(?:^|\n)\s*(?:import|export)\b[^'";]*?from\s*'([^']+)'|\bimport\(\s*'([^']+)'\s*\)|(?:^|\n)import\s*'([^']+)'/g,
  );
  return [...found].map(([, a, b, c]) => {
    const specifier = a ?? b ?? c ?? '';
    const local = specifier.startsWith('.');
    const to = local
      ? relative(root, resolve(root, dirname(file), specifier))
          .split(sep)
          .join('/')
      : specifier;
    return { from: file.split(sep).join('/'), to, isLate: b !== undefined };
  });
}

const layerOf = (file: string): string => file.split('/')[0] ?? '';
const all = sources().flatMap((file) => importsOf(file));
const local = all.filter(({ to }) => to.endsWith('.ts'));

test('every import stays within what its layer may know', () => {
  const wrong = local.filter(({ from, to }) => {
    if (!to.includes('/') || !from.includes('/')) return false;
    const allowed = [...(MAY_IMPORT[layerOf(from)] ?? []), ...(CLI_EXCEPTIONS[from] ?? [])];
    return !allowed.some((pattern) => pattern.test(to));
  });
  expect(wrong).toEqual([]);
});

test.each(Object.entries(ROOMS))(
  'inside the %s no room imports from one above it, or from its neighbour',
  (layer, rooms) => {
    const roomOf = (file: string): string => (file.split('/')[1] ?? '').replace(/\.ts$/, '');
    const floorOf = (file: string): number => rooms.findIndex((neighbours) => neighbours.includes(roomOf(file)));
    const isLateRoom = ({ from, to, isLate }: Import) => isLate && LATE_ROOMS[roomOf(from)]?.includes(roomOf(to));
    const inside = local
      .filter(({ from, to }) => layerOf(from) === layer && layerOf(to) === layer)
      .filter((each) => !isLateRoom(each));
    expect(inside.length).toBeGreaterThan(20);
    expect(inside.filter(({ from, to }) => floorOf(from) < 0 || floorOf(to) < 0)).toEqual([]);
    expect(inside.filter(({ from, to }) => roomOf(from) !== roomOf(to) && floorOf(from) <= floorOf(to))).toEqual([]);
  },
);

test('the files that all layers may import import no layer', () => {
  expect(local.filter(({ from, to }) => !from.includes('/') && to.includes('/'))).toEqual([]);
});

test('the core and the protocol do no input or output', () => {
  const wrong = all.filter(({ from, to }) => to.startsWith('node:') && BUILTINS[layerOf(from)]?.includes(to) === false);
  expect(wrong).toEqual([]);
});

/** Time, chance and the environment, and the composition roots that may take them from the process. */
const AMBIENT: readonly { readonly what: RegExp; readonly allowed: readonly RegExp[] }[] = [
  { what: /\bDate\.now\b|new Date\(\)|\bperformance\b|\bhrtime\b|\buptime\(\)/, allowed: [/^clock\.ts$/] },
  { what: /\b(setTimeout|setInterval)\b/, allowed: [/^clock\.ts$/] },
  { what: /\bsetImmediate\b/, allowed: [/^daemon\/daemon\.ts$/] },
  {
    what: /\b(Math\.random|randomBytes|randomUUID)\b/,
    allowed: [/^daemon\/daemon\.ts$/, /^client\/index\.ts$/, /^cli\//],
  },
  { what: /\bprocess\.env\b/, allowed: [/^client\/connection\/host\.ts$/, /^cli\//] },
];

test('time, chance and the environment come in through the composition roots', () => {
  const wrong = AMBIENT.flatMap(({ what, allowed }) =>
    sources()
      .map((file) => file.split(sep).join('/'))
      .filter((file) => !allowed.some((pattern) => pattern.test(file)))
      .filter((file) => what.test(withoutComments(readFileSync(join(SRC, file), 'utf8'))))
      .map((file) => `${file}: ${what.source}`),
  );
  expect(wrong).toEqual([]);
});

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, '');
}

test('each package is used by one layer alone, and an SDK by its own adapter', () => {
  const wrong = all.filter(({ from, to }) => {
    if (to.endsWith('.ts') || to.startsWith('node:')) return false;
    const sdk = ADAPTED.find(
      (name) => from === `client/adapters/${name}.ts` || from.startsWith(`client/adapters/${name}-`),
    );
    return to !== sdk && !(PACKAGES[layerOf(from)] ?? []).includes(to);
  });
  expect(wrong).toEqual([]);
});

test('nothing but its own subpath leads to an adapter, so that nonced loads no SDK', () => {
  const isAdapter = (file: string) => file.startsWith('client/adapters/');
  expect(local.filter(({ from, to }) => isAdapter(to) && !isAdapter(from))).toEqual([]);
});

test.each([['src'], ['simulate'], ['torture'], ['bench'], ['examples'], ['test']])(
  'no two files of %s import each other, not even round several corners',
  (folder) => {
    const root = resolve(folder);
    const found = sources(root).flatMap((file) => importsOf(file, root));
    expect(found.length).toBeGreaterThan(10);
    expect(circlesIn(found)).toEqual([]);
  },
);

function circlesIn(imports: readonly Import[]): string[] {
  const next = new Map<string, string[]>();
  for (const { from, to } of imports) next.set(from, [...(next.get(from) ?? []), to]);
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) {
      circles.push([...path.slice(path.indexOf(file)), file].join(' -> '));
      return;
    }
    if (done.has(file)) return;
    for (const to of next.get(file) ?? []) visit(to, [...path, file]);
    done.add(file);
  };
  for (const file of next.keys()) visit(file, []);
  return circles;
}

test('the layers are read from real sources', () => {
  for (const layer of Object.keys(MAY_IMPORT)) {
    expect(local.filter(({ from }) => layerOf(from) === layer).length, layer).toBeGreaterThan(3);
  }
});

test('the packages, the program and the client for Python have the same version, and the packages the same license', () => {
  const [version, ofClient] = ['package.json', 'clients/node/package.json'].map(
    (file) => (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version,
  );
  expect(ofClient).toBe(version);
  expect(readFileSync('clients/node/LICENSE', 'utf8')).toBe(readFileSync('LICENSE', 'utf8'));
  expect(readFileSync(join(SRC, 'version.ts'), 'utf8')).toContain(`VERSION = '${version}'`);
  expect(readFileSync('clients/python/nonced.py', 'utf8')).toContain(`__version__ = '${version}'`);
});

test('the client of a bot needs one package, and takes nothing of the daemon or the command line', () => {
  const { dependencies } = JSON.parse(readFileSync('clients/node/package.json', 'utf8')) as { dependencies: object };
  expect(Object.keys(dependencies)).toEqual(['msgpackr']);
  const { dependencies: ofDaemon } = JSON.parse(readFileSync('package.json', 'utf8')) as { dependencies: object };
  expect(ofDaemon).toMatchObject(dependencies);
  const reached = new Set(['client/index.ts', ...ADAPTED.map((name) => `client/adapters/${name}.ts`)]);
  for (const file of reached) for (const { from, to } of all) if (from === file) reached.add(to);
  const layers = new Set([...reached].filter((file) => file.endsWith('.ts') && file.includes('/')).map(layerOf));
  expect([...layers].sort()).toEqual(['client', 'protocol']);
});
