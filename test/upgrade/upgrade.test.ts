import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../fixtures/eventually.ts';
import { type Exchange, startExchange } from '../fixtures/exchange.ts';
import { cannotBoot, Machine } from '../systemd/machine.ts';
import { Bot, isIncreasing, LANGUAGES, withoutPython } from './bots.ts';
import { BUILD_MS, cannotBuild, type Installed, installCheckout, installLastRelease } from './releases.ts';

const SOCKET = '/run/nonced/nonced.sock';
const STATE_DIR = '/var/lib/nonced';
const CONFIGURATION_FILE = '/etc/nonced/config.json';
const CALL_LOG = '/var/log/nonced/calls.jsonl';
/** Where `npm install -g` puts things; the service sees them, even if it cannot see the checkout and its Node. */
const NODE = '/usr/local/bin/node';
const PACKAGE = '/usr/local/lib/node_modules/nonced';

const CONFIGURATION = { sequences: { fine: { unit: 'us' } } };
const STAYS = 'account FINE stays on sequence fine';

/** What must be the same for ever, whichever version runs. */
interface Kept {
  readonly instance: string;
  readonly exclusive: string;
  readonly sequences: Readonly<Record<string, { readonly unit: string }>>;
  readonly accounts: Readonly<Record<string, { readonly sequence?: string; readonly paused: boolean }>>;
}

const unitsOf = ({ sequences }: Kept): object =>
  Object.fromEntries(Object.entries(sequences).map(([name, { unit }]) => [name, unit]));

const cannot = cannotBoot || cannotBuild;
const skipped = cannot && ` (skipped: ${cannot})`;

describe.skipIf(cannot !== '')(`an upgrade from the last release, and back${skipped}${withoutPython}`, () => {
  let lastRelease: Installed;
  let checkout: Awaited<ReturnType<typeof installCheckout>>;
  let machine: Machine;
  let exchange: Exchange;
  const bots: Bot[] = [];

  /** As `npm install -g` does, which replaces the files of a daemon that runs from them. */
  async function npmInstall({ packageDir }: Installed): Promise<void> {
    await machine.must(['rm', '-rf', PACKAGE]);
    await machine.must(['mkdir', '-p', dirname(PACKAGE)]);
    await machine.must(['cp', '-a', packageDir, PACKAGE]);
  }

  /** What is installed there now, as its user types it. */
  const nonced = (...args: string[]): string[] => [NODE, `${PACKAGE}/dist/cli/main.js`, ...args];

  const inspect = async (): Promise<Kept> =>
    JSON.parse(await machine.must(nonced('inspect', '--json', '--state-dir', STATE_DIR)));

  const configure = (configuration: object): Promise<string> =>
    machine.must(['sh', '-c', 'printf %s "$0" >"$1"', JSON.stringify(configuration), CONFIGURATION_FILE]);

  const logged = (): Promise<string> => machine.must(['journalctl', '--no-pager', '-o', 'cat', '-u', 'nonced.service']);

  async function countOfCallsLogged(): Promise<number> {
    const text = await machine.must(['cat', CALL_LOG]);
    return text.split('\n').filter((line) => line.startsWith('{"type":"call"')).length;
  }

  /** A host that has been used for a while, in ways that a later version must take as they are. */
  async function live(): Promise<void> {
    await npmInstall(lastRelease);
    await machine.must(nonced('systemd', 'install', '--unit', 'ms'));
    await machine.must(['systemctl', 'stop', 'nonced.socket', 'nonced-admin.socket', 'nonced.service']);
    await machine.must(
      nonced('init', '--sequence', 'fine', '--unit', 'us', '--floor', 'now', '--state-dir', STATE_DIR),
      {
        user: 'nonced',
      },
    );
    await configure({ ...CONFIGURATION, accounts: { FINE: { sequence: 'fine' } } });
    // As docs/timeline.md said.
    await machine.must(['mkdir', '-p', '/etc/systemd/system/nonced.service.d']);
    const variables = `Environment=NONCED_JOURNAL=${CALL_LOG} NONCED_JOURNAL_SIZE=64M`;
    const dropIn = `[Service]\nLogsDirectory=nonced\nLogsDirectoryMode=0750\n${variables}\n`;
    await machine.must(['sh', '-c', 'printf %s "$0" >/etc/systemd/system/nonced.service.d/override.conf', dropIn]);
    await machine.must(['systemctl', 'daemon-reload']);
    await machine.must(['systemctl', 'start', 'nonced.service']);

    for (const account of ['FINE', 'OWN', 'PAUSED']) await machine.must(nonced('nonce', '--account', account));
    await machine.must(nonced('advance', '--account', 'OWN', '--by', '10m', '--yes'));
    await machine.must(nonced('pause', 'PAUSED'));
    await machine.must(nonced('set-exclusive', 'account'));
    // FINE would come to a sequence whose nonces are shorter.
    await configure(CONFIGURATION);
    await machine.must(['systemctl', 'reload', 'nonced.service']);
    await eventually('it stays', async () => (await logged()).includes(STAYS));
  }

  beforeAll(async () => {
    lastRelease = await installLastRelease();
    checkout = await installCheckout();
    machine = await Machine.boot();
    await machine.must(['cp', process.execPath, NODE]);
    await live();
    exchange = await startExchange();
    const socket = machine.path(SOCKET);
    const accounts = { node: ['MASTER', 'OWN'], python: ['FINE', 'USER'] };
    for (const language of LANGUAGES) {
      const keys = accounts[language].map((account) => exchange.addKey({ account }));
      const options = { name: `${language}-bot`, socket, url: exchange.url, keys, hold: `${language}-HELD` };
      bots.push(await Bot.start(language, lastRelease, options));
    }
  }, BUILD_MS);

  afterAll(async () => {
    for (const bot of bots) bot.kill();
    await exchange?.close();
    await machine?.end();
    checkout?.remove();
  });

  /** Everything goes on as before, with that version. */
  async function goesOn(version: string, before: Kept, callsLogged: number): Promise<void> {
    await Promise.all(bots.map((bot) => bot.goesOn()));
    const status = JSON.parse(await machine.must(nonced('status', '--json')));
    expect(status).toMatchObject({ version, exclusive: 'account' });
    const after = await inspect();
    expect(after).toMatchObject({ instance: before.instance, exclusive: before.exclusive, accounts: before.accounts });
    expect(unitsOf(after)).toEqual(unitsOf(before));
    expect(after.accounts['PAUSED']?.paused).toBe(true);
    const refused = await machine.run(nonced('exec', '--account', 'PAUSED', '--', 'true'));
    expect(refused.stderr).toContain('PAUSED');
    await eventually(`${CALL_LOG} is written`, async () => (await countOfCallsLogged()) > callsLogged);
  }

  const toCheckout = () => npmInstall(checkout);
  const toLastRelease = () => npmInstall(lastRelease);
  const install = (...args: string[]) => machine.must(nonced('systemd', 'install', ...args));
  const rollback = () => machine.must(nonced('systemd', 'rollback'));

  test('a configuration that does not fit is refused before the old daemon stops, and the upgrade goes on once it does', async () => {
    const pid = await machine.property('MainPID');
    await toCheckout();
    await configure({ sequences: { fine: { unit: 'ns' } } });
    const refused = await machine.run(nonced('systemd', 'install'));
    expect(refused).toMatchObject({ code: 78, stderr: expect.stringContaining('a unit never changes') });
    expect(await machine.property('MainPID')).toBe(pid);
    expect(await machine.property('ActiveState', 'nonced.socket')).toBe('active');
    await configure(CONFIGURATION);
    await toLastRelease();
  });

  test.each<[what: string, step: () => Promise<unknown>, version: () => string]>([
    [
      'a crash between npm install -g and nonced systemd install starts the new version',
      async () => {
        await toCheckout();
        await machine.must(['systemctl', 'kill', '-s', 'KILL', 'nonced.service']);
        await machine.until('SubState', 'running');
      },
      () => checkout.version,
    ],
    ['nonced systemd install finishes the upgrade', () => install(), () => checkout.version],
    [
      'the last release, installed in the same way, goes on',
      () => toLastRelease().then(() => install()),
      () => lastRelease.version,
    ],
    ['upgraded again', () => toCheckout().then(() => install()), () => checkout.version],
    ['the last release, from a copy', () => toLastRelease().then(() => install('--copy')), () => lastRelease.version],
    ['upgraded from a copy to a copy', () => toCheckout().then(() => install('--copy')), () => checkout.version],
    ['nonced systemd rollback goes back', rollback, () => lastRelease.version],
    ['nonced systemd rollback goes forward again', rollback, () => checkout.version],
  ])('%s', async (_, step, version) => {
    const before = await inspect();
    const warnings = (await logged()).split(STAYS).length;
    await step();
    // Only now: until it ended, the daemon of before wrote to it too.
    const callsLogged = await countOfCallsLogged();
    await goesOn(version(), before, callsLogged);
    expect((await logged()).split(STAYS).length).toBeGreaterThan(warnings);
  });

  test('the old names go on working: the call log that NONCED_JOURNAL names has the calls of both versions', async () => {
    expect(await logged()).toContain("'NONCED_JOURNAL' is now 'NONCED_CALL_LOG'");
    const incident = JSON.parse(
      await machine.must(nonced('timeline', '--since', '1h', '--journal', CALL_LOG, '--json')),
    );
    const versions = incident.lives.map((life: { version: string }) => life.version);
    expect([versions.at(0), versions.at(-1)]).toEqual([lastRelease.version, checkout.version]);
    expect(incident.calls.length).toBeGreaterThan(100);
  });

  test('no nonce was ever lower, no lease was lost, and no call failed', async () => {
    for (const bot of bots) {
      expect(await bot.release()).toBe(true);
      await bot.stop();
      expect(bot.failures).toEqual([]);
      expect(isIncreasing(bot.held)).toBe(true);
    }
    expect(exchange.report()).toMatchObject({ invalidNonce: 0, repeatedNonces: 0, maxInFlightPerKey: 1, abandoned: 0 });
    const digits = new Map([['FINE', 16]]);
    for (const { account, nonce } of exchange.ledger())
      expect(nonce, account).toHaveLength(digits.get(account ?? '') ?? 13);
  });
});
