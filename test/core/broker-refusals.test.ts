import { describe, expect, test } from 'vitest';
import type { ErrorCode } from '../../src/errors.ts';
import { pacedBy, stateWith } from './configured.ts';
import { Machine, type MachineOptions, noSpace, settled } from './simulation.ts';

/** The fingerprint of a key. */
const KEY = 'fedcba9876543210';

/** What the status says of the refusals, and whether the bot was told the same. */
const refusals = (machine: Machine) =>
  machine.broker.status().refusals.map(({ account, code, count }) => `${account} ${code} ${count}`);

describe('every request that ends without a nonce or lease leaves a trace', () => {
  const ways: readonly (readonly [
    what: string,
    code: ErrorCode | 'DISCONNECTED',
    refuse: (machine: Machine) => void | Promise<void>,
    options?: MachineOptions,
  ])[] = [
    [
      'a key under a second label',
      'KEY_MISMATCH',
      (machine) => {
        const bot = machine.connect('grid');
        bot.acquire({ account: 'OTHER', key: KEY });
        bot.acquire({ key: KEY });
      },
    ],
    ['another unit', 'UNIT_MISMATCH', (machine) => void machine.connect('grid').acquire({ unit: 'ms' })],
    [
      'a paused account',
      'PAUSED',
      async (machine) => {
        await machine.broker.setPaused('MASTER', true);
        machine.connect('grid').acquire();
      },
    ],
    [
      'a bare nonce of a paused account',
      'PAUSED',
      async (machine) => {
        await machine.broker.setPaused('MASTER', true);
        machine.connect('grid').nonce();
      },
    ],
    [
      'a drain',
      'DRAINING',
      (machine) => {
        machine.broker.setDraining(true);
        machine.connect('grid').acquire();
      },
    ],
    [
      'an open breaker',
      'QUARANTINED',
      (machine) => {
        const bot = machine.connect('grid');
        for (let n = 0; n < 3; n += 1) bot.release(bot.grant(bot.acquire()).token, false, 'invalid-nonce');
        bot.acquire();
      },
    ],
    [
      'an exchange that is down',
      'EXCHANGE_DOWN',
      (machine) => {
        for (const name of ['grid', 'copy', 'poll']) {
          const bot = machine.connect(name);
          bot.release(bot.grant(bot.acquire({ account: name })).token, false, 'unavailable');
        }
        machine.connect('grid').acquire();
      },
    ],
    [
      'a wait that ran out',
      'WAIT_TIMEOUT',
      async (machine) => {
        machine.connect('copy').acquire({ account: 'OTHER', ttlMs: 600_000 });
        machine.connect('grid').acquire({ waitMs: 30_000 });
        await machine.advance(30_000);
      },
    ],
    [
      'a lane that is not free at once',
      'WAIT_TIMEOUT',
      (machine) => {
        machine.connect('copy').acquire({ account: 'OTHER' });
        machine.connect('grid').acquire({ waitMs: 0 });
      },
    ],
    [
      'a request that its client takes back',
      'CANCELLED',
      (machine) => {
        machine.connect('copy').acquire({ account: 'OTHER' });
        const bot = machine.connect('grid');
        bot.cancel(bot.acquire());
      },
    ],
    [
      'a client that goes away while it waits',
      'DISCONNECTED',
      (machine) => {
        machine.connect('copy').acquire({ account: 'OTHER' });
        const bot = machine.connect('grid');
        bot.acquire();
        bot.disconnect();
      },
    ],
    [
      'a further nonce without pace',
      'PACED',
      (machine) => {
        const bot = machine.connect('grid');
        const { token } = bot.grant(bot.acquire({ cost: 2 }));
        bot.next(token);
      },
      { policies: pacedBy(2, 1) },
    ],
    [
      'a cost that never fits',
      'BAD_REQUEST',
      (machine) => void machine.connect('grid').acquire({ cost: 3 }),
      { policies: pacedBy(2, 1) },
    ],
    [
      'a further nonce in another lane',
      'NESTED_LANE',
      (machine) => {
        const bot = machine.connect('grid');
        bot.next(bot.grant(bot.acquire({ account: 'OTHER' })).token, 'MASTER');
      },
      { exclusive: 'account' },
    ],
    [
      'a further nonce under a lease that is over',
      'LEASE_LOST',
      (machine) => {
        const bot = machine.connect('grid');
        const { token } = bot.grant(bot.acquire());
        bot.release(token);
        bot.next(token, 'MASTER');
      },
    ],
    [
      'more requests than a connection may have',
      'LIMIT',
      (machine) => {
        const bot = machine.connect('grid');
        bot.acquire({ account: 'OTHER' });
        bot.acquire();
      },
      { limits: { waitingPerClient: 1 } },
    ],
    [
      'a nonce that the disk keeps back',
      'NOT_DURABLE',
      async (machine) => {
        machine.store.failing = noSpace();
        machine.connect('grid').nonce();
        await settled();
      },
      { state: stateWith() },
    ],
  ];
  for (const [what, code, act, options] of ways) {
    test(`${what}: ${code}`, async () => {
      const machine = await Machine.started(options);
      await act(machine);
      expect(refusals(machine)).toContain(`MASTER ${code} 1`);
    });
  }
});

describe('what the trace says', () => {
  test('is who asked, how often, for how long and what it was told, in the status and in `why`', async () => {
    const machine = await Machine.started();
    machine.connect('copy').acquire({ account: 'OTHER', ttlMs: 600_000 });
    const bot = machine.connect('grid');
    for (let n = 0; n < 15; n += 1) bot.acquire({ waitMs: 30_000, label: 'AddOrder' });
    await machine.advance(30_000);
    const said = {
      account: 'MASTER',
      code: 'WAIT_TIMEOUT',
      count: 15,
      forMs: 0,
      agoMs: 0,
      longestWaitMs: 30_000,
      lastAccount: 'MASTER',
      holder: 'grid',
      pid: 4711,
      label: 'AddOrder',
    };
    expect(machine.broker.status().refusals).toEqual([said]);
    expect(machine.broker.refusals({ after: 0, limit: 10 })).toEqual({
      refusals: [{ serial: 1, ...said }],
      after: 1,
      missed: 0,
    });
    const { refusals: ofMaster } = machine.broker.why('MASTER');
    expect(ofMaster).toMatchObject([said]);
    expect(ofMaster[0]?.text).toMatch(/^not granted within 30.0 s: copy \(OTHER\) has held the lane/);
    expect(machine.broker.why('OTHER').refusals).toEqual([]);
  });

  test('is over ten minutes after the last', async () => {
    const machine = await Machine.started();
    machine.connect('grid').acquire({ unit: 'ms' });
    await machine.advance(600_000);
    expect(refusals(machine)).toEqual(['MASTER UNIT_MISMATCH 1']);
    await machine.advance(1);
    expect(refusals(machine)).toEqual([]);
  });

  test('is of the requests that reached no account, too', async () => {
    const machine = await Machine.started();
    const bot = machine.connect('grid');
    machine.broker.traceRefusal(bot.client, { code: 'TOO_LARGE', message: 'the message is too large' });
    expect(machine.broker.status().refusals).toMatchObject([{ account: null, code: 'TOO_LARGE', holder: 'grid' }]);
  });

  test('does not grow with accounts that a bot makes up', async () => {
    const machine = await Machine.started({ state: stateWith({ accounts: { MASTER: 'default' } }) });
    const bot = machine.connect('liar');
    for (let n = 0; n < 500; n += 1) bot.acquire({ account: `order-${n}`, unit: 'ms' });
    machine.connect('grid').acquire({ unit: 'ms' });
    const { refusals: listed } = machine.broker.status();
    expect(listed).toHaveLength(10);
    expect(listed.find(({ account }) => account === null)).toMatchObject({ count: 492, lastAccount: 'order-499' });
    expect(machine.broker.why('order-499').refusals).toHaveLength(1);
    expect(machine.broker.why('MASTER').refusals).toMatchObject([{ count: 1 }]);
  });
});
