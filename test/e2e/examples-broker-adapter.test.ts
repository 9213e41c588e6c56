import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CallEnd, connect, type ExclusiveOptions, type Grant, type Nonced } from 'nonced-client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { KrakenBroker } from '../../examples/broker-adapter/broker.ts';
import { type AccountOptions, CallFailed, KrakenAccount } from '../../examples/kraken/account.ts';
import { type Placed, placeOrder } from '../../examples/kraken/orders.ts';
import { mayHaveArrived, outcomeOf, termsOf } from '../../examples/kraken/terms.ts';
import { termsOf as termsOfAdapter } from '../../src/client/adapters/kraken.ts';
import { outcomeOfKrakenErrors } from '../../src/client/exchanges/answers.ts';
import type { FaultAction } from '../../src/rehearsal/exchange-faults.ts';
import type { ApiKey } from '../../src/rehearsal/exchange-keys.ts';
import { rowsOf } from '../fixtures/effort.ts';
import { eventually } from '../fixtures/eventually.ts';
import { type ExampleHost, startExampleHost } from '../fixtures/example-host.ts';
import { runExample, startExample } from '../fixtures/example-program.ts';
import { type Answer, RawConnection } from '../fixtures/raw-connection.ts';

let host: ExampleHost;
let nonced: Nonced;

beforeAll(async () => {
  host = await startExampleHost();
  nonced = await connect({ name: 'broker-adapter', socket: host.place.socket });
});

afterAll(async () => {
  await nonced.close();
  await host.close();
});

beforeEach(() => host.setExclusive('account'));
afterEach(async () => {
  host.exchange.clearFaults();
  // An exchange that was found to be down is up again after an urgent call that is accepted.
  await accountOf(host.exchange.addKey()).ask('Balance', {}, { priority: 'urgent' });
});

const PATIENT = 20_000;
const IMPATIENT = 300;
const AT_ONCE = { lookAfterMs: [0, 0, 0] } as const;

function accountOf(apiKey: ApiKey, options: Partial<AccountOptions> = {}): KrakenAccount {
  return new KrakenAccount(nonced, apiKey, { url: host.exchange.url, unit: 'ns', timeoutMs: PATIENT, ...options });
}

/** As the operator. */
async function operate(method: string, params: object): Promise<Answer> {
  const operator = await RawConnection.open(host.place.adminSocket);
  try {
    return await operator.ask(method, params);
  } finally {
    operator.destroy();
  }
}

/** A broker with a key of its own. */
function newBroker(timeoutMs = PATIENT): { broker: KrakenBroker; apiKey: ApiKey } {
  const apiKey = host.exchange.addKey();
  return { broker: new KrakenBroker(accountOf(apiKey, { timeoutMs })), apiKey };
}

const ordersOf = ({ account }: ApiKey) => host.exchange.orders().filter((order) => order.account === account);

/** One of each kind of call that a bot makes, ten in all with those that look up. */
async function oneOfEach(broker: KrakenBroker): Promise<void> {
  await broker.connect();
  await broker.balance();
  const market = await broker.market('buy', '0.1', 'XBTUSD');
  const limit = await broker.limit('sell', '0.1', 'XBTUSD', '90000');
  if (market.state !== 'placed' || limit.state !== 'placed') throw new Error(`${market.state}, ${limit.state}`);
  expect(await broker.orderStatus(market.txid)).toMatchObject({ result: { txid: market.txid, status: 'closed' } });
  expect(await broker.orderStatus(limit.clOrdId)).toMatchObject({ result: { txid: limit.txid, status: 'open' } });
  expect(await broker.orderStatus(market.clOrdId)).toMatchObject({ result: { txid: market.txid } });
  expect(await broker.cancel(limit.txid)).toEqual({ state: 'answered', result: 'cancelled' });
  expect(await broker.positions()).toEqual({});
}

describe('the broker', () => {
  test.each(rowsOf(['global', 'account'] as const))(
    'five accounts with twenty calls each are all accepted, policy %s',
    async (policy) => {
      await host.setExclusive(policy);
      const brokers = Array.from({ length: 5 }, () => newBroker());
      await Promise.all(
        brokers.map(async ({ broker }) => {
          await oneOfEach(broker);
          await oneOfEach(broker);
        }),
      );
      const { keys } = host.exchange.report();
      for (const { apiKey } of brokers) {
        expect(keys[apiKey.key]).toMatchObject({ calls: 20, accepted: 20, invalidNonce: 0, maxInFlight: 1 });
      }
    },
  );

  test.each(rowsOf(['global', 'account'] as const))(
    'a hundred calls at once on one key are all accepted, policy %s',
    async (policy) => {
      await host.setExclusive(policy);
      const { broker, apiKey } = newBroker();
      const calls = Array.from({ length: 25 }, () => [
        broker.balance(),
        broker.market('buy', '0.1', 'XBTUSD'),
        broker.limit('sell', '0.1', 'XBTUSD', '90000'),
        broker.positions(),
      ]);
      await Promise.all(calls.flat());
      expect(host.exchange.report().keys[apiKey.key]).toMatchObject({ calls: 100, accepted: 100, maxInFlight: 1 });
      expect(ordersOf(apiKey)).toHaveLength(50);
    },
  );

  test('every nonce comes from the daemon, which is five minutes ahead of the clock here', async () => {
    const { broker, apiKey } = newBroker();
    const { after } = await operate('advance', { by: String(5n * 60n * 1_000_000_000n) });
    await oneOfEach(broker);
    const nonces = host.exchange
      .ledger()
      .filter(({ key }) => key === apiKey.key)
      .map(({ nonce = '0' }) => BigInt(nonce));
    expect(nonces).toHaveLength(10);
    expect(nonces.every((nonce) => nonce >= BigInt(String(after)))).toBe(true);
  });

  test('a call that fails is a CallFailed that says how, and never an empty balance', async () => {
    const { broker, apiKey } = newBroker();
    host.exchange.injectFault({ kind: 'invalid-nonce', calls: 1, key: apiKey.key });
    const refused = await broker.balance().catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(CallFailed);
    expect(refused).toMatchObject({ result: { state: 'refused', outcome: 'invalid-nonce' } });
    host.exchange.injectFault({ kind: 'reset', calls: 1, key: apiKey.key });
    await expect(broker.positions()).rejects.toMatchObject({ result: { state: 'unknown' } });
    expect(await broker.balance()).toHaveProperty('ZUSD');
  });

  test('a daemon that counts in another unit is noticed before anything is sent', async () => {
    const apiKey = host.exchange.addKey();
    const result = await accountOf(apiKey, { unit: 'ms' }).call('Balance');
    expect(result).toMatchObject({ state: 'not-sent', code: 'UNIT_MISMATCH' });
    expect(host.exchange.report().keys[apiKey.key]?.calls).toBe(0);
  });

  test('a call that stops waiting for its lease has sent nothing, and a call under way is not cut off', async () => {
    const { broker, apiKey } = newBroker();
    host.exchange.injectFault({ kind: 'delay', delayMs: 200, calls: 1, key: apiKey.key });
    const stop = new AbortController();
    const first = broker.market('buy', '1', 'XBTUSD', { signal: stop.signal });
    await eventually('it is under way', () => host.exchange.report().keys[apiKey.key]?.inFlight === 1);
    const second = broker.market('buy', '2', 'XBTUSD', { signal: stop.signal });
    stop.abort();
    expect(await second).toMatchObject({ state: 'not-sent' });
    expect(await first).toMatchObject({ state: 'placed' });
    expect(ordersOf(apiKey)).toMatchObject([{ volume: '1' }]);
  });
});

describe('an order whose answer is lost', () => {
  const LOSSES: readonly Extract<FaultAction, { carriedOut?: boolean }>[] = [
    { kind: 'hang' },
    { kind: 'reset' },
    { kind: 'status', status: 502 },
    { kind: 'unavailable' },
    { kind: 'busy' },
  ];

  const place = (apiKey: ApiKey, timeoutMs = IMPATIENT): Promise<Placed> =>
    placeOrder(accountOf(apiKey, { timeoutMs }), { side: 'buy', volume: '1', pair: 'XBTUSD' }, AT_ONCE);

  test.each(LOSSES)('is found when it stands, and not sent again: $kind', async (loss) => {
    const apiKey = host.exchange.addKey();
    host.exchange.injectFault({ ...loss, carriedOut: true, calls: 1, method: 'AddOrder', key: apiKey.key });
    const placed = await place(apiKey);
    expect(placed).toMatchObject({ state: 'placed', foundByLookup: true });
    expect(ordersOf(apiKey)).toMatchObject([{ clOrdId: placed.clOrdId }]);
  });

  test.each(LOSSES)('is said not to stand when it does not, and not sent again: $kind', async (loss) => {
    const apiKey = host.exchange.addKey();
    host.exchange.injectFault({ ...loss, calls: 1, method: 'AddOrder', key: apiKey.key });
    expect(await place(apiKey)).toMatchObject({ state: 'not-placed' });
    expect(
      host.exchange.ledger().filter(({ key, method }) => key === apiKey.key && method === 'AddOrder'),
    ).toHaveLength(1);
    expect(ordersOf(apiKey)).toEqual([]);
  });

  test('is refused if it arrives late, because looking it up took a higher nonce', async () => {
    const apiKey = host.exchange.addKey();
    host.exchange.injectFault({ kind: 'delay', delayMs: 3_000, calls: 1, method: 'AddOrder', key: apiKey.key });
    expect(await place(apiKey)).toMatchObject({ state: 'not-placed' });
    const late = () => host.exchange.ledger().find(({ key, method }) => key === apiKey.key && method === 'AddOrder');
    await eventually('it is looked at', () => late()?.lookedAtMs !== undefined);
    expect(late()?.verdict).toBe('invalid-nonce');
    expect(ordersOf(apiKey)).toEqual([]);
  });

  test('is unknown, with the id to look for, if the exchange does not answer the look-up either', async () => {
    const apiKey = host.exchange.addKey();
    host.exchange.injectFault({ kind: 'reset', carriedOut: true, calls: 1, method: 'AddOrder', key: apiKey.key });
    host.exchange.injectFault({ kind: 'unavailable', calls: 3, method: 'OpenOrders', key: apiKey.key });
    const placed = await place(apiKey);
    expect(placed).toMatchObject({ state: 'unknown', why: expect.stringContaining('EService:Unavailable') });
    expect(ordersOf(apiKey)).toMatchObject([{ clOrdId: placed.clOrdId }]);
  });

  test('that the exchange refused is not looked up, because it cannot stand', async () => {
    const apiKey = host.exchange.addKey();
    host.exchange.injectFault({ kind: 'invalid-nonce', calls: 1, key: apiKey.key });
    expect(await place(apiKey)).toMatchObject({ state: 'refused', why: 'EAPI:Invalid nonce' });
    expect(host.exchange.report().keys[apiKey.key]?.calls).toBe(1);
  });
});

test('a cancel whose answer is lost is repeated, and says that the order is gone', async () => {
  const { broker, apiKey } = newBroker(IMPATIENT);
  const limit = await broker.limit('buy', '1', 'XBTUSD', '10000');
  host.exchange.injectFault({ kind: 'reset', carriedOut: true, calls: 1, method: 'CancelOrder', key: apiKey.key });
  expect(await broker.cancel(limit.clOrdId)).toEqual({ state: 'answered', result: 'gone' });
  expect(await broker.cancel(limit.clOrdId)).toMatchObject({ state: 'refused', why: 'EOrder:Unknown order' });
  expect(ordersOf(apiKey)).toMatchObject([{ status: 'canceled' }]);
});

describe('what the daemon learns', () => {
  test('of each call: its account and label, by the method its priority, and how it ended', async () => {
    const apiKey = host.exchange.addKey();
    const told: unknown[] = [];
    const options = { url: host.exchange.url, unit: 'ns', timeoutMs: IMPATIENT } as const;
    const account = new KrakenAccount(overheard(told), apiKey, options);
    const endings: readonly [fault: FaultAction | undefined, outcome: string][] = [
      [undefined, 'ok'],
      [{ kind: 'invalid-nonce' }, 'invalid-nonce'],
      [{ kind: 'unavailable' }, 'unavailable'],
      [{ kind: 'status', status: 503 }, 'unavailable'],
      [{ kind: 'status', status: 429 }, 'rate-limited'],
      [{ kind: 'status', status: 404 }, 'unknown'],
      [{ kind: 'reset' }, 'unsettled'],
      [{ kind: 'hang' }, 'unsettled'],
      [{ kind: 'stall-body' }, 'unsettled'],
    ];
    for (const [fault] of endings) {
      if (fault) host.exchange.injectFault({ ...fault, calls: 1, key: apiKey.key });
      await account.call('Ledgers');
      // Otherwise the daemon would hold back the next calls, as for an exchange or a key in trouble.
      await accountOf(apiKey).ask('Balance', {}, { priority: 'urgent' });
    }
    // The last of them was given up on before it had ended.
    await eventually('all are told', () => told.length === endings.length);
    const terms = { account: apiKey.account, label: 'Ledgers', priority: 'background', cost: 2, ttlMs: IMPATIENT };
    expect(told).toEqual(
      endings.map(([, outcome]) => ({ ...terms, key: expect.stringMatching(/^[0-9a-f]{16}$/), outcome })),
    );
  });

  /** A client that notes what goes to the daemon with each call, and the outcome that is reported. */
  function overheard(told: unknown[]): Nonced {
    const exclusive = <T>(options: ExclusiveOptions, fn: (grant: Grant) => Promise<T>): Promise<T> => {
      const { account, key, label, priority, cost, ttlMs } = options;
      const outcome = (end: CallEnd) => {
        const said = options.outcome?.(end);
        told.push({ account, key, label, priority, cost, ttlMs, outcome: said });
        return said;
      };
      return nonced.exclusive({ ...options, outcome }, fn);
    };
    return { exclusive } as Nonced;
  }

  test.each([
    [[], 'ok'],
    [['EOrder:Insufficient funds'], 'ok'],
    [['EOrder:Unknown order'], 'ok'],
    [['EOrder:Rate limit exceeded'], 'ok'],
    [['EAPI:Invalid nonce'], 'invalid-nonce'],
    [['EGeneral:Temporary lockout', 'EAPI:Invalid nonce'], 'locked-out'],
    [['EAPI:Rate limit exceeded'], 'rate-limited'],
    [['EService: Throttled: 1700000000'], 'rate-limited'],
    [['EService:Unavailable'], 'unavailable'],
    [['EService:Busy'], 'unavailable'],
    [['EService:Deadline elapsed'], 'unsettled'],
    [['EGeneral:Internal error'], 'unknown'],
    [['EAPI:Invalid signature'], 'unknown'],
  ] as const)('%j is %s, as the adapters of the client have it', (errors, outcome) => {
    expect(outcomeOf(errors)).toBe(outcome);
    expect(outcomeOfKrakenErrors(errors)).toBe(outcome);
  });

  test('the costs are those of the adapters', () => {
    for (const method of [
      'AddOrder',
      'CancelOrder',
      'CancelAll',
      'Balance',
      'OpenOrders',
      'ClosedOrders',
      'Ledgers',
      'Other',
    ]) {
      expect([method, termsOf(method).cost]).toEqual([method, termsOfAdapter(method).cost]);
    }
  });

  test('only errors after which a call may stand all the same ask for a look', () => {
    expect(
      ['EService:Unavailable', 'EService:Busy', 'EGeneral:Internal error'].every((error) => mayHaveArrived([error])),
    ).toBe(true);
    expect(
      ['EAPI:Invalid nonce', 'EAPI:Rate limit exceeded', 'EOrder:Insufficient funds'].some((error) =>
        mayHaveArrived([error]),
      ),
    ).toBe(false);
  });
});

describe('its command line', () => {
  const broker = (...args: string[]) => runExample('broker-adapter', args, host.env);

  test('places, finds and cancels an order, and prints so', async () => {
    host.issue(['MASTER', 'USER:alice']);
    const { code, stdout } = await broker('--account', 'USER:alice', 'limit', 'sell', '0.5', 'XBTUSD', '90000');
    const [, txid = '', clOrdId = ''] = /^placed (\S+) \((\S+)\)\n$/.exec(stdout) ?? [];
    expect({ code, stdout }).toEqual({ code: 0, stdout: `placed ${txid} (${clOrdId})\n` });
    const found = `${txid} open, executed 0.00000000 of 0.5\n`;
    expect((await broker('--account', 'USER:alice', 'order', clOrdId)).stdout).toBe(found);
    expect(await broker('order', txid)).toMatchObject({ code: 1, stderr: 'refused: EOrder:Unknown order\n' });
    expect(await broker('--account', 'USER:alice', 'cancel', txid)).toMatchObject({
      code: 0,
      stdout: `cancelled ${txid}\n`,
    });
    expect(JSON.parse((await broker('connect')).stdout)).toHaveProperty('ZUSD');
    expect(await broker('positions')).toMatchObject({ code: 0, stdout: '{}\n' });
  });

  test('for an order of unknown fate it prints what to do, and exits 2', async () => {
    const [key] = host.issue(['MASTER']);
    host.exchange.injectFault({ kind: 'reset', ...(key && { key: key.key }) });
    const running = startExample('broker-adapter', ['market', 'buy', '1', 'XBTUSD'], host.env);
    expect(await running.ended).toBe(2);
    expect(running.complaints()).toMatch(/^unknown: .*; before you place it again, ask: order [0-9a-f-]{36}\n$/);
  });

  test('Ctrl-C ends the wait for the lease, with nothing sent', async () => {
    await host.setExclusive('global');
    const [key] = host.issue(['MASTER']);
    const grant = await nonced.acquire({ account: 'OTHER', ttlMs: 600_000 });
    const running = startExample('broker-adapter', ['market', 'buy', '1', 'XBTUSD'], host.env);
    await eventually('it waits', async () => (await nonced.status()).totals.waiting === 1);
    running.child.kill('SIGINT');
    expect(await running.ended).toBe(1);
    await grant.release();
    expect(running.complaints()).toContain('not-sent:');
    expect(host.exchange.report().keys[key?.key ?? '']?.calls).toBe(0);
  });

  test.each([
    [[], 'no command'],
    [['buy'], 'buy; give connect'],
    [['market', 'buy', '1'], 'takes 3 words'],
    [['market', 'hold', '1', 'XBTUSD'], 'hold is not a side'],
    [['market', 'buy', '-1', 'XBTUSD'], "Unknown option '-1'"],
    [['market', 'buy', '1e3', 'XBTUSD'], '1e3 is not an amount'],
    [['--timeout', 'soon', 'balance'], '--timeout soon is not a number'],
    [['--unit', 'ps', 'balance'], '--unit ps is not a unit'],
    [['--url', 'kraken', 'balance'], 'kraken is not a URL'],
    [['--account', 'NOBODY', 'balance'], 'no key for NOBODY; there are MASTER'],
    [['--keys', '/nowhere', 'balance'], '/nowhere cannot be read'],
  ])('a mistake is reported in one line and exits 64: %j', async (args, message) => {
    host.issue(['MASTER']);
    const { code, stdout, stderr } = await broker(...args);
    expect({ code, stdout }).toEqual({ code: 64, stdout: '' });
    expect(stderr).toContain(message);
    expect(stderr).not.toMatch(/^ {4}at /m);
  });

  test('keys that others may read are refused, and a broken file of keys is not quoted', async () => {
    host.issue(['MASTER']);
    const file = host.env['KRAKEN_KEYS'] ?? '';
    chmodSync(file, 0o640);
    expect(await broker('balance')).toMatchObject({
      code: 64,
      stderr: `${file} may be read by others; run: chmod 600 ${file}\n`,
    });
    const broken = join(host.place.dir, 'broken.json');
    for (const text of [
      '{"keys": [{"account": "A", "key": "k", "secret": "hush',
      '[]',
      'null',
      '{"keys":[{"account":"A","key":"hush"}]}',
    ]) {
      writeFileSync(broken, text, { mode: 0o600 });
      const { code, stderr } = await broker('--keys', broken, 'balance');
      expect(code).toBe(64);
      expect(stderr).toContain('holds no keys');
      expect(stderr).not.toContain('hush');
    }
  });

  test('without a daemon it exits 69; --help needs neither daemon nor keys', async () => {
    host.issue(['MASTER']);
    const nobody = await runExample('broker-adapter', ['--socket', join(host.place.dir, 'none'), 'balance'], host.env);
    expect(nobody).toMatchObject({ code: 69, stdout: '', stderr: expect.stringContaining('no daemon answers') });
    for (const name of ['broker-adapter', 'copy-trading', 'broker-manager']) {
      const help = await runExample(name, ['--help'], {});
      expect(help).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining(`usage: ${name}`) });
    }
  });
});
