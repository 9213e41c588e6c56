import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { rowsOf } from '../fixtures/effort.ts';
import { eventually } from '../fixtures/eventually.ts';
import { type ExampleHost, startExampleHost } from '../fixtures/example-host.ts';
import { type ExampleProgram, startExample } from '../fixtures/example-program.ts';

/** Has to leave ten seconds between its calls. */
const PACED = 'USER:paced';
const OTHERS = ['USER:alice', 'USER:bob', 'USER:carol', 'USER:dave'] as const;

let host: ExampleHost;
let program: ExampleProgram;

beforeAll(async () => {
  const pacing = { max: 1, perSecond: 0.1 };
  host = await startExampleHost({}, { accounts: { [PACED]: { pacing } } });
});

afterAll(() => host.close());

afterEach(async () => {
  program?.child.kill('SIGKILL');
  await program?.ended;
  host.exchange.clearFaults();
});

const start = (...args: string[]) => {
  program = startExample('broker-manager', args, host.env);
  return program;
};

/** The events it printed, in order and without their times: `USER:bob  poll 1  waits`. */
const events = () =>
  program
    .lines()
    .slice(1)
    .map((line) => line.trim().replace(/^\S+ {2}/, ''));

/** Returns the position of the event. */
function at(event: string): number {
  const index = events().indexOf(event);
  expect(index, `${event} in\n${events().join('\n')}`).toBeGreaterThanOrEqual(0);
  return index;
}

/** A slow account, asked first because it stands first, whose first poll is never answered; and four others. */
async function withOneThatHangs(policy: 'global' | 'account'): Promise<void> {
  await host.setExclusive(policy);
  const [slow] = host.issue(['USER:slow', ...OTHERS]);
  host.exchange.injectFault({ kind: 'hang', calls: 1, ...(slow && { key: slow.key }) });
}

describe('no call is rejected', () => {
  test.each(rowsOf(['global', 'account'] as const))(
    'of five accounts with twenty polls each, policy %s',
    async (policy) => {
      await host.setExclusive(policy);
      const keys = host.issue(['USER:slow', ...OTHERS]);
      expect(await start('--rounds', '20', '--pause', '0.001').ended).toBe(0);
      const seen = host.exchange.report().keys;
      for (const { key } of keys) expect(seen[key]).toMatchObject({ calls: 20, accepted: 20, maxInFlight: 1 });
    },
  );

  test.each(rowsOf(['global', 'account'] as const))('of a hundred accounts at once, policy %s', async (policy) => {
    await host.setExclusive(policy);
    const keys = host.issue(Array.from({ length: 100 }, (_, index) => `USER:${index}`));
    expect(await start('--rounds', '1').ended).toBe(0);
    const seen = host.exchange.report().keys;
    for (const { key } of keys) expect(seen[key]).toMatchObject({ calls: 1, accepted: 1 });
    expect(events().filter((event) => event.endsWith('answered'))).toHaveLength(100);
  });
});

describe('an account that hangs', () => {
  const GAVE_UP = 'USER:slow  poll 1  unknown: no answer before the lease ended';

  test('delays no other under the policy account: all their polls are answered before it gives up', async () => {
    await withOneThatHangs('account');
    expect(await start('--rounds', '3', '--pause', '0.01', '--timeout', '8').ended).toBe(0);
    expect(program.lines()[0]).toBe('5 accounts, exclusion account: a call that hangs holds up its own account only');
    for (const other of OTHERS) expect(at(`${other}  poll 3  answered`)).toBeLessThan(at(GAVE_UP));
    expect(at('USER:slow  poll 2  answered')).toBeGreaterThan(at(GAVE_UP));
  });

  test('delays all others under the policy global, up to its deadline, and then they are served', async () => {
    await withOneThatHangs('global');
    expect(await start('--rounds', '1', '--timeout', '2').ended).toBe(0);
    expect(program.lines()[0]).toBe(
      '5 accounts, exclusion global: a call that hangs holds up all of them, until it is over',
    );
    for (const other of OTHERS) {
      expect(at(`${other}  poll 1  waits`)).toBeLessThan(at(GAVE_UP));
      expect(at(`${other}  poll 1  is sent`)).toBeGreaterThan(at(GAVE_UP));
      at(`${other}  poll 1  answered`);
    }
  });
});

test('an account that the daemon paces waits outside of the lane: the others are polled meanwhile, policy global', async () => {
  await host.setExclusive('global');
  host.issue([PACED, ...OTHERS]);
  const managing = start('--rounds', '3', '--pause', '0.01');
  for (const other of OTHERS) await managing.said(new RegExp(`${other} {2}poll 3 {2}answered`));
  at(`${PACED}  poll 1  waits`);
  expect(events()).not.toContain(`${PACED}  poll 2  is sent`);
  managing.type('quit');
  expect(await managing.ended).toBe(0);
  expect(events().at(-1)).toMatch(/^USER:paced {2}poll \d {2}(not-sent|answered)/);
});

describe('an exit', () => {
  test('goes before all polls that have waited longer, and ends a poll that hangs after 3 s', async () => {
    await withOneThatHangs('global');
    const managing = start('--rounds', '1', '--timeout', '50');
    for (const other of OTHERS) await managing.said(new RegExp(`${other} {2}poll 1 {2}waits`));
    await managing.said(/USER:slow {2}poll 1 {2}is sent/);
    managing.type('exit USER:alice sell 0.25 XBTUSD');
    expect(await managing.ended).toBe(0);
    const exit = at('USER:alice  exit  is sent');
    expect(at('USER:alice  exit  waits')).toBeLessThan(exit);
    // Long before its own deadline, because the exit took its lease away.
    at('USER:slow  poll 1  unknown: no answer before the lease ended');
    for (const other of OTHERS) {
      expect(at(`${other}  poll 1  waits`)).toBeLessThan(exit);
      expect(at(`${other}  poll 1  is sent`)).toBeGreaterThan(exit);
    }
    expect(host.exchange.orders().at(-1)).toMatchObject({ account: 'USER:alice', type: 'sell', volume: '0.25' });
  });

  test('that was ordered is carried out despite Ctrl-C; polls that wait are given up with nothing sent', async () => {
    await host.setExclusive('global');
    const [slow, alice] = host.issue(['USER:slow', 'USER:alice']);
    host.exchange.injectFault({ kind: 'delay', delayMs: 1_000, calls: 1, ...(slow && { key: slow.key }) });
    const managing = start();
    await managing.said(/USER:slow {2}poll 1 {2}is sent/);
    managing.type('exit USER:alice sell 1 XBTUSD');
    await managing.said(/USER:alice {2}exit {2}waits/);
    managing.child.kill('SIGINT');
    expect(await managing.ended).toBe(0);
    expect(events().at(-1)).toMatch(/^USER:alice {2}exit {2}placed O/);
    expect(events().some((event) => event.startsWith('USER:alice  poll 1  not-sent'))).toBe(true);
    expect(host.exchange.report().keys[alice?.key ?? '']?.calls).toBe(1);
    // The one under way was not cut off.
    at('USER:slow  poll 1  answered');
  });

  test('that is refused makes it exit 1', async () => {
    await host.setExclusive('account');
    const [alice] = host.issue(['USER:alice']);
    host.exchange.injectFault({ kind: 'invalid-nonce', method: 'AddOrder', ...(alice && { key: alice.key }) });
    const managing = start();
    managing.type('exit USER:alice sell 1 XBTUSD');
    await managing.said(/USER:alice {2}exit {2}refused: EAPI:Invalid nonce/);
    managing.type('quit');
    expect(await managing.ended).toBe(1);
  });
});

test('it reports a line that it does not understand, and goes on', async () => {
  await host.setExclusive('account');
  host.issue(['USER:alice']);
  const orders = host.exchange.orders().length;
  const managing = start();
  const lines = [
    'sell everything',
    'exit USER:nobody sell 1 XBTUSD',
    'exit USER:alice hold 1 XBTUSD',
    'exit USER:alice sell x XBTUSD',
  ];
  for (const line of lines) managing.type(line);
  await eventually('all are told', () => managing.complaints().match(/not understood/g)?.length === lines.length);
  managing.type('quit');
  expect(await managing.ended).toBe(0);
  expect(host.exchange.orders()).toHaveLength(orders);
});

test('a second Ctrl-C ends it at once, although a call is under way', async () => {
  await withOneThatHangs('account');
  const managing = start('--timeout', '600');
  await managing.said(/USER:slow {2}poll 1 {2}is sent/);
  managing.child.kill('SIGINT');
  await eventually('it says how', () => managing.complaints().includes('once more'));
  managing.child.kill('SIGINT');
  expect(await managing.ended).toBe('SIGINT');
});
