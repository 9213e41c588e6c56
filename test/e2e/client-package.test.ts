import { afterAll, beforeAll, expect, test } from 'vitest';
import { runInProcess } from '../fixtures/command-line.ts';
import { type DaemonProcess, daemonPlace, startDaemonProcess } from '../fixtures/daemon-process.ts';
import { run } from '../fixtures/shell.ts';

const place = daemonPlace();
let daemon: DaemonProcess;

beforeAll(async () => {
  daemon = await startDaemonProcess(place);
  await runInProcess(['set-exclusive', 'account', '--socket', place.socket]);
});

afterAll(async () => {
  await daemon.end('SIGTERM');
  place.remove();
});

test('import and require in one process give one client: the same errors, and calls that find each other’s lease', async () => {
  const { code, stdout, stderr } = await run(process.execPath, [
    'build/test/fixtures/client-forms-process.js',
    place.socket,
  ]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const client = ['ERROR_CODES', 'NoncedError', 'connect', 'krakenOutcome'];
  const { entries, ...found } = JSON.parse(stdout) as { readonly entries: readonly object[] };
  expect(entries).toEqual(
    [client, ['withNonced'], ['withNonced'], ['withNonced']].map((names) => ({ names, imported: names, same: true })),
  );
  expect(found).toEqual({
    scopes: 1,
    requiredInImported: { shares: true, refusal: true },
    importedInRequired: { shares: true, refusal: true },
  });
});

test.each([
  "import 'nonced'",
  "import { connect, NoncedError, ERROR_CODES } from 'nonced'",
  "import { withNonced } from 'nonced/ccxt'",
  "import { withNonced } from 'nonced/kraken-api'",
  "import { withNonced } from 'nonced/node-kraken-api'",
  "await import('nonced')",
  "require('nonced')",
  "require('nonced/ccxt')",
])('%s says where the client is now', async (line) => {
  const kind = line.startsWith('require') ? 'commonjs' : 'module';
  const { code, stdout, stderr } = await run(process.execPath, [`--input-type=${kind}`, '--eval', line]);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toContain(
    "\nError: the client is now the package nonced-client; it is not on the npm registry: make it in a checkout of nonced with npm pack --workspace nonced-client, install the tarball, and import { connect } from 'nonced-client'\n",
  );
});
