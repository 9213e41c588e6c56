import { describe, expect } from 'vitest';
import { connect } from '../../src/client/index.ts';
import { daemonPerTest } from '../fixtures/daemon-test.ts';
import { rowsOf } from '../fixtures/effort.ts';
import { eventually } from '../fixtures/eventually.ts';
import { RawConnection } from '../fixtures/raw-connection.ts';

const CONNECTIONS = 1_024;
const MEBIBYTE = 1024 * 1024;
/** How far the daemon's memory may lie above its first afterwards: what the runtime has claimed and not given back. */
const MEMORY_SLACK = 128 * MEBIBYTE;

const test = daemonPerTest()
  // Another client gets a lease, and gives it back.
  .extend('served', ({ place }) => async () => {
    const other = await RawConnection.open(place.socket);
    const { token } = await other.ask('acquire', { account: 'OTHER' });
    expect(await other.ask('release', { token })).toEqual({ released: true });
    other.destroy();
  })
  .extend('firstMemory', async ({ daemon, served }) => {
    await served();
    return daemon.residentBytes();
  });

describe.skipIf(process.platform !== 'linux')('a crowd', () => {
  test.beforeEach(({ firstMemory }) => expect(firstMemory).toBeGreaterThan(0));

  test.afterEach(async ({ daemon, raw, served, status, firstMemory }) => {
    for (const connection of raw.opened) connection.destroy();
    await eventually('nothing is left of the crowd', async () => {
      const { connections, leases, waiting } = (await status()).totals;
      return connections === 1 && leases === 0 && waiting === 0;
    });
    await served();
    expect(daemon.residentBytes()).toBeLessThan(firstMemory + MEMORY_SLACK);
    expect(await daemon.end('SIGTERM')).toBe(0);
  });

  test('of 1,000 that send a byte a second holds no lease, delays no other client, and is answered in the end', async ({
    raw,
    status,
    served,
  }) => {
    const drips: { connection: RawConnection; rest: Buffer }[] = [];
    for (let n = 0; n < 1_000; n += 1) {
      const connection = await raw(n % 2 === 0 ? 'json' : 'msgpack');
      drips.push({ connection, rest: Buffer.from(connection.codec.request(1, 'nonce', { account: 'SLOW' })) });
    }
    for (let second = 0; second < 4; second += 1) {
      for (const drip of drips) {
        drip.connection.send(drip.rest.subarray(0, 1));
        drip.rest = drip.rest.subarray(1);
      }
      await served();
      expect((await status()).totals).toMatchObject({ connections: 1_001, leases: 0, waiting: 0 });
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
    expect(drips.every(({ connection }) => connection.messages.length === 0)).toBe(true);
    for (const { connection, rest } of drips) connection.send(rest);
    await Promise.all(drips.map(({ connection }) => connection.answer(1)));
  });

  test('of 5,000 connections gets the 1,024 there are, and those that are idle make room for the next: a lease goes on, and a bot comes back when it needs to', async ({
    daemon,
    place,
    raw,
    status,
    served,
  }) => {
    const holder = await raw();
    const { token } = await holder.ask('acquire', { account: 'HELD', ttlMs: 600_000 });
    const bot = await connect({ socket: place.socket });
    // If they come faster than they are accepted, the kernel refuses them, and the bot tries again.
    const batch = 100;
    for (let opened = 0; opened < 5_000; opened += batch) {
      await Promise.all(
        Array.from({ length: batch }, () => eventually('a connection', () => raw().catch(() => undefined))),
      );
    }
    const open = () => raw.opened.filter(({ isEnded }) => !isEnded);
    await eventually('the others are closed', async () => open().length === CONNECTIONS);
    expect((await status()).totals).toMatchObject({ connections: CONNECTIONS + 1, leases: 1 });
    expect(await bot.nonce()).toBeGreaterThan(0n);
    expect(open()).toHaveLength(CONNECTIONS - 1);
    expect(await holder.ask('release', { token })).toEqual({ released: true });
    await served();
    await bot.close();
    // Its log grows with the powers of two and not with the connections.
    for (const line of ['idle connections closed', 'connections refused']) {
      expect(daemon.log().split(line).length - 1).toBeLessThanOrEqual(13);
    }
    await daemon.says('idle connections closed');
  });

  test.for(rowsOf(['json', 'msgpack'] as const))(
    'one that asks for 100,000 leases in %s at once is answered each time, and others are served',
    async (encoding, { raw, status }) => {
      const greedy = await raw(encoding);
      const asked = 100_000;
      const batch = 250;
      const held: string[] = [];
      let looked = 0;
      for (let id = 1; id <= asked; id += batch) {
        greedy.send(
          Buffer.concat(
            Array.from({ length: batch }, (_, n) =>
              greedy.codec.request(id + n, 'acquire', { account: 'GREEDY', waitMs: 600_000 }),
            ),
          ),
        );
        // All but those that wait are refused at once. A client that read none of it would be cut off at 256 KiB.
        await greedy.count(Math.max(0, id - 1_000));
        for (; looked < greedy.messages.length; looked += 1) {
          const message = greedy.messages[looked];
          if (message?.kind === 'answer') held.push(String((message.result as { token: bigint | string }).token));
        }
      }
      await greedy.count(asked - 999);
      expect(greedy.messages).toHaveLength(asked - 999);
      expect(held).toHaveLength(1);
      expect(
        greedy.messages.filter((message) => message.kind === 'error' && message.error.code === 'LIMIT'),
      ).toHaveLength(asked - 1_000);
      expect((await status()).totals).toMatchObject({ leases: 1, waiting: 999 });
      // Behind 999 others that have waited longer: a client that leaves makes room at once.
      const other = await raw();
      const turn = other.request('acquire');
      await eventually('it waits too', async () => (await status()).totals.waiting === 1_000);
      greedy.destroy();
      expect(await other.answer(turn)).toMatchObject({ count: 1 });
    },
  );

  test.for(rowsOf(['json', 'msgpack'] as const))(
    'of 50 that read nothing of what they ask in %s is cut off, and all others are served meanwhile',
    async (encoding, { daemon, raw, served, status, firstMemory }) => {
      const deaf = await Promise.all(Array.from({ length: 50 }, () => raw(encoding)));
      for (const one of deaf) one.pause();
      const chunk = Buffer.concat(
        Array.from({ length: 400 }, (_, id) => Buffer.from(deaf[0]?.codec.request(id, 'status', {}) ?? [])),
      );
      await eventually('all are cut off', async () => {
        for (const one of deaf) if (one.unsentBytes < 65_536) one.send(chunk);
        await served();
        return (await status()).totals.connections === 1;
      });
      expect(daemon.residentBytes()).toBeLessThan(firstMemory + MEMORY_SLACK);
    },
  );
});
