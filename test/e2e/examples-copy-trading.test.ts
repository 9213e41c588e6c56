import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ApiKey } from '../../src/rehearsal/exchange-keys.ts';
import { rowsOf } from '../fixtures/effort.ts';
import { eventually } from '../fixtures/eventually.ts';
import { type ExampleHost, startExampleHost } from '../fixtures/example-host.ts';
import { type ExampleProgram, startExample } from '../fixtures/example-program.ts';

const USERS = ['USER:alice', 'USER:bob', 'USER:carol', 'USER:dave', 'USER:erin'] as const;

let host: ExampleHost;
let program: ExampleProgram;

// Each test has its own daemon, or it would remember which account was in trouble before.
beforeEach(async () => {
  host = await startExampleHost({ lockout: { afterInvalidNonces: 1, lockoutMs: 3_600_000 } });
  await host.setExclusive('account');
});

afterEach(async () => {
  program?.child.kill('SIGKILL');
  await program?.ended;
  await host.close();
});

/** A master and its users, with a key each. */
function issue(users: readonly string[] = USERS, more = {}): { master: ApiKey; userKeys: ApiKey[] } {
  const [master, ...userKeys] = host.issue(['MASTER', ...users], more);
  if (!master) throw new Error('no master');
  return { master, userKeys };
}

const start = (...args: string[]) => {
  program = startExample('copy-trading', args, host.env);
  return program;
};

const reportsOf = (keys: readonly ApiKey[]) => {
  const { keys: seen } = host.exchange.report();
  return keys.map(({ key }) => seen[key]);
};

const newOrders = () => {
  const before = host.exchange.orders().length;
  return () => host.exchange.orders().slice(before);
};

describe('every order of the master is mirrored to all users, and none is rejected', () => {
  test.each(rowsOf(['global', 'account'] as const))('twenty orders to five users, policy %s', async (policy) => {
    await host.setExclusive(policy);
    const { master, userKeys } = issue();
    const orders = newOrders();
    const copying = start('--max-age', '50');
    for (let order = 1; order <= 20; order++) copying.type(`buy 0.${order + 10} XBTUSD ${30_000 + order}`);
    copying.endInput();
    expect(await copying.ended).toBe(0);
    for (const seen of reportsOf([master, ...userKeys])) {
      expect(seen).toMatchObject({ calls: 20, accepted: 20, invalidNonce: 0, repeatedNonces: 0, maxInFlight: 1 });
    }
    expect(copying.lines().filter((line) => line.endsWith(': 5 of 5 got it'))).toHaveLength(20);
    // Each account got the orders in the master's sequence, although no account waited for another.
    for (const { account } of [master, ...userKeys]) {
      const volumes = orders()
        .filter((order) => order.account === account)
        .map(({ volume }) => volume);
      expect(volumes).toEqual(Array.from({ length: 20 }, (_, index) => `0.${index + 11}`));
    }
  });

  test.each(rowsOf(['global', 'account'] as const))(
    'one order to a hundred users at once, policy %s',
    async (policy) => {
      await host.setExclusive(policy);
      const { userKeys } = issue(Array.from({ length: 100 }, (_, index) => `USER:${index}`));
      const copying = start('--max-age', '50');
      copying.type('sell 1 XBTUSD');
      copying.endInput();
      expect(await copying.ended).toBe(0);
      expect(copying.lines().at(-1)).toBe('order 1: 100 of 100 got it');
      for (const seen of reportsOf(userKeys)) expect(seen).toMatchObject({ calls: 1, accepted: 1 });
    },
  );
});

test('a user trades in a scale of their own, with eight decimals', async () => {
  issue(['USER:alice', 'USER:bob'], { 'USER:bob': { scale: 0.1 } });
  const orders = newOrders();
  const copying = start();
  copying.type('buy 0.5 XBTUSD');
  copying.endInput();
  expect(await copying.ended).toBe(0);
  expect(Object.fromEntries(orders().map(({ account, volume }) => [account, volume]))).toEqual({
    MASTER: '0.5',
    'USER:alice': '0.5',
    'USER:bob': '0.05000000',
  });
});

describe('an account in trouble holds up no other, and the report says what each got', () => {
  test('refused, locked out, lost and found, lost and not there, slow: the others are placed before the slow one', async () => {
    const { userKeys } = issue();
    const [alice, bob, carol, dave, erin] = userKeys.map(({ key }) => key);
    // Alice is locked out: the fixture does so after one invalid nonce.
    host.exchange.injectFault({ kind: 'invalid-nonce', calls: 1, key: alice ?? '' });
    host.exchange.injectFault({ kind: 'reset', carriedOut: true, calls: 1, key: bob ?? '' });
    host.exchange.injectFault({ kind: 'reset', calls: 1, key: carol ?? '' });
    host.exchange.injectFault({ kind: 'hang', calls: 1, key: dave ?? '' });
    const orders = newOrders();
    const copying = start('--timeout', '4');
    copying.type('buy 1 XBTUSD');
    copying.type('sell 1 XBTUSD 40000');
    copying.endInput();
    expect(await copying.ended).toBe(1);

    const line = (pattern: RegExp) => {
      const at = copying.lines().findIndex((text) => pattern.test(text));
      expect(at, `${pattern} in\n${copying.lines().join('\n')}`).toBeGreaterThanOrEqual(0);
      return at;
    };
    line(/^order 1: USER:alice refused: EAPI:Invalid nonce/);
    line(/^order 2: USER:alice refused: EGeneral:Temporary lockout/);
    line(/^order 1: USER:bob placed 1, O.*, found by looking it up$/);
    line(/^order 1: USER:carol not-placed: no answer/);
    // Dave's call hangs for four seconds. No other account waits for it, not even with the second order.
    const daveGaveUp = line(/^order 1: USER:dave not-placed: no answer before the lease ended/);
    for (const name of ['bob', 'carol', 'erin']) {
      expect(line(new RegExp(`^order 2: USER:${name} placed`))).toBeLessThan(daveGaveUp);
    }
    line(/^order 1: 2 of 5 got it; USER:alice refused, USER:carol not-placed, USER:dave not-placed$/);
    line(/^order 2: 4 of 5 got it; USER:alice refused$/);
    const counts = new Map<string, number>();
    for (const { account } of orders()) counts.set(account, (counts.get(account) ?? 0) + 1);
    expect(Object.fromEntries(counts)).toEqual({
      MASTER: 2,
      'USER:bob': 2,
      'USER:carol': 1,
      'USER:dave': 1,
      'USER:erin': 2,
    });
    expect(erin && host.exchange.report().duplicateOrders).toBe(0);
  });

  test('an order of the master that does not stand is not mirrored', async () => {
    const { master } = issue();
    host.exchange.injectFault({ kind: 'invalid-nonce', calls: 1, key: master.key });
    const orders = newOrders();
    const copying = start();
    copying.type('buy 1 XBTUSD');
    copying.endInput();
    expect(await copying.ended).toBe(1);
    expect(copying.lines().at(-1)).toBe('order 1: not mirrored, because the order of MASTER is refused');
    expect(orders()).toEqual([]);
  });

  test('one whose lease comes too late is left out, with nothing sent', async () => {
    await host.setExclusive('global');
    const { userKeys } = issue(['USER:alice', 'USER:bob']);
    host.exchange.injectFault({ kind: 'hang', calls: 1, key: userKeys[0]?.key ?? '' });
    const copying = start('--timeout', '3', '--max-age', '1');
    copying.type('buy 1 XBTUSD');
    copying.endInput();
    expect(await copying.ended).toBe(1);
    const { 'USER:bob': bob } = Object.fromEntries(reportsOf(userKeys).map((seen) => [seen?.account, seen]));
    expect(copying.lines().join('\n')).toMatch(/^order 1: USER:bob not-sent: /m);
    expect(bob?.calls).toBe(0);
  });

  test('balances are shown of every account that has one', async () => {
    const { userKeys } = issue(['USER:alice', 'USER:bob']);
    host.exchange.injectFault({ kind: 'unavailable', key: userKeys[0]?.key ?? '' });
    const copying = start();
    copying.type('balances');
    copying.endInput();
    expect(await copying.ended).toBe(0);
    expect(copying.lines().slice(1)).toEqual([
      expect.stringMatching(/^MASTER {2}\{"ZUSD":/),
      'USER:alice  unknown: EService:Unavailable',
      expect.stringMatching(/^USER:bob {2}\{"ZUSD":/),
    ]);
  });
});

test('Ctrl-C takes no more orders, and mirrors the one that stands to its end', async () => {
  await host.setExclusive('global');
  const { userKeys } = issue(['USER:alice', 'USER:bob']);
  host.exchange.injectFault({ kind: 'delay', delayMs: 500, calls: 1, key: userKeys[0]?.key ?? '' });
  const copying = start();
  copying.type('buy 1 XBTUSD');
  await eventually('alice is asked, and bob waits', () => reportsOf(userKeys)[0]?.inFlight === 1);
  copying.child.kill('SIGINT');
  expect(await copying.ended).toBe(0);
  expect(copying.lines().at(-1)).toBe('order 1: 2 of 2 got it');
  expect(copying.complaints()).toContain('once more to end at once');
});

test('a line that is not an order is reported and changes nothing; a wrong scale or master exits 64', async () => {
  issue(['USER:alice']);
  const orders = newOrders();
  const copying = start();
  for (const line of ['buy', 'hold 1 XBTUSD', 'buy -1 XBTUSD', 'buy 1 XBTUSD 0', 'buy 1 XBTUSD 5 x', ''])
    copying.type(line);
  copying.endInput();
  expect(await copying.ended).toBe(1);
  expect(copying.complaints().match(/not understood/g)).toHaveLength(5);
  expect(orders()).toEqual([]);
  expect(await start('--master', 'NOBODY').ended).toBe(64);
  issue(['USER:alice'], { 'USER:alice': { scale: -1 } });
  expect(await start().ended).toBe(64);
});
