import { expect } from 'vitest';
import { runBots, startBot } from '../fixtures/bot-processes.ts';
import { daemonPerFile } from '../fixtures/daemon-test.ts';
import { krakenCall } from '../fixtures/kraken-client.ts';

const test = daemonPerFile({ exchange: { delayMs: [0, 5] } }).extend(
  'setExclusive',
  ({ nonced }) =>
    async (policy: string) =>
      expect(await nonced('set-exclusive', policy)).toMatchObject({ code: 0, stderr: '' }),
);

test.beforeEach(({ setExclusive }) => setExclusive('global'));

test('I2: a hundred concurrent callers get unique nonces of 19 digits, each greater than those granted before', async ({
  client,
}) => {
  const nonced = await client('hundred');
  const granted: bigint[] = [];
  await Promise.all(
    Array.from({ length: 100 }, () =>
      nonced.exclusive({ account: 'MASTER' }, async (grant) => granted.push(grant.nonce)),
    ),
  );
  expect(granted).toHaveLength(100);
  expect(granted.every((nonce) => String(nonce).length === 19)).toBe(true);
  expect(granted.every((nonce, index) => index === 0 || nonce > (granted[index - 1] ?? 0n))).toBe(true);
});

test('one sequence serves bare nonces and grants of all accounts, over several connections', async ({ client }) => {
  const first = await client('first');
  const second = await client('second');
  const drawn: bigint[] = [];
  for (let round = 0; round < 20; round++) {
    drawn.push(await first.nonce({ account: 'A' }));
    drawn.push(await second.exclusive({ account: 'B' }, async (grant) => grant.nonce));
    const three = await second.nonce({ account: 'C', count: 3 });
    drawn.push(three, three + 1n, three + 2n);
  }
  expect(drawn.every((nonce, index) => index === 0 || nonce > (drawn[index - 1] ?? 0n))).toBe(true);
});

test('five accounts with twenty calls each, from five processes, are served one call at a time and none is rejected', async ({
  place,
  exchange,
}) => {
  const bots = Array.from({ length: 5 }, (_, index) => {
    const account = exchange.addKey({ account: `USER:${index}` });
    return {
      name: `bot-${index}`,
      socket: place.socket,
      url: exchange.url,
      accounts: [account],
      calls: 20,
      concurrency: 4,
    };
  });
  const reports = await runBots(bots);
  const seen = exchange.report();
  expect(reports.flatMap((report) => report.errors)).toEqual([]);
  expect(seen).toMatchObject({ calls: 100, accepted: 100, invalidNonce: 0, repeatedNonces: 0, maxInFlightOverall: 1 });
});

test('processes that share one key are put in order; without the daemon the same calls are rejected', async ({
  place,
  exchange,
}) => {
  const shared = exchange.addKey({ account: 'MASTER' });
  const bot = (index: number, socket: string | undefined) => ({
    name: `bot-${index}`,
    socket,
    url: exchange.url,
    accounts: [shared],
    calls: 25,
    concurrency: 5,
  });
  await runBots([0, 1, 2, 3].map((index) => bot(index, place.socket)));
  expect(exchange.report()).toMatchObject({ accepted: 100, invalidNonce: 0, repeatedNonces: 0, maxInFlightPerKey: 1 });
  await runBots([0, 1, 2, 3].map((index) => bot(index, undefined)));
  expect(exchange.report().invalidNonce).toBeGreaterThan(0);
});

test('under the policy account each account has its own call under way, and never two', async ({
  place,
  exchange,
  setExclusive,
}) => {
  await setExclusive('account');
  const bots = ['A', 'A', 'B', 'B'].map((account, index) => ({ account, index }));
  const keys = { A: exchange.addKey({ account: 'A' }), B: exchange.addKey({ account: 'B' }) };
  await runBots(
    bots.map(({ account, index }) => ({
      name: `bot-${index}`,
      socket: place.socket,
      url: exchange.url,
      accounts: [keys[account as 'A' | 'B']],
      calls: 25,
      concurrency: 3,
    })),
  );
  const seen = exchange.report();
  expect(seen).toMatchObject({ accepted: 100, invalidNonce: 0, maxInFlightPerKey: 1 });
  expect(seen.maxInFlightOverall).toBe(2);
});

test('exclusion is switched off and on while calls are made, and no waiter is lost', async ({
  client,
  setExclusive,
}) => {
  const nonced = await client('switching');
  const running = Promise.all(
    Array.from({ length: 60 }, (_, index) =>
      nonced.exclusive({ account: `A${index % 3}` }, async (grant) => {
        await new Promise((resolve) => setTimeout(resolve, 10));
        return grant.nonce;
      }),
    ),
  );
  for (const policy of ['off', 'global', 'account', 'off', 'global']) await setExclusive(policy);
  const nonces = await running;
  expect(new Set(nonces).size).toBe(60);
  expect((await nonced.status()).exclusive).toBe('global');
});

test('status shows the last nonce, how many were issued and at what rate, the uptime and the policy', async ({
  daemon,
  client,
}) => {
  const nonced = await client('statistics');
  const before = await nonced.status();
  const nonce = await nonced.nonce({ count: 10 });
  const after = await nonced.status();
  const [sequence] = after.sequences;
  expect(sequence).toMatchObject({ name: 'default', unit: 'ns', last: nonce + 9n });
  expect(after.totals.nonces - before.totals.nonces).toBe(10);
  expect(after.totals.noncesPerSecond).toBeGreaterThan(0);
  expect(after.uptimeMs).toBeGreaterThan(0);
  expect(after).toMatchObject({ exclusive: 'global', pid: daemon.pid, epoch: 1 });
  expect(JSON.stringify(after, (_key, value) => (typeof value === 'bigint' ? String(value) : value))).not.toContain(
    'token',
  );
});

test('SIGKILL of a holder frees its lane at once, although its lease would have lasted ten minutes', async ({
  place,
  client,
  exchange,
}) => {
  const nonced = await client('survivor');
  const key = exchange.addKey({ account: 'MASTER' });
  exchange.injectFault({ kind: 'hang' });
  const holder = await startBot({
    name: 'holder',
    socket: place.socket,
    url: exchange.url,
    accounts: [key],
    calls: 1,
    concurrency: 1,
  });
  holder.go();
  await expect.poll(async () => (await nonced.status()).totals.leases).toBe(1);
  const waiting = nonced.exclusive({ account: 'MASTER', waitMs: 15_000 }, async (grant) => grant.waitedMs);
  await expect.poll(async () => (await nonced.status()).totals.waiting).toBe(1);
  holder.child.kill('SIGKILL');
  // Well below the holder's TTL of 20 s.
  expect(await waiting).toBeLessThan(15_000);
  exchange.clearFaults();
});

test('the lane of a holder that does nothing is free when its lease ends, and its late call rejects', async ({
  client,
}) => {
  const nonced = await client('next');
  const holder = await client('holder');
  const grant = await holder.acquire({ account: 'MASTER', ttlMs: 300 });
  const next = await nonced.exclusive({ account: 'MASTER' }, async (later) => later.nonce);
  expect(next).toBeGreaterThan(grant.nonce);
  await expect.poll(() => grant.signal.aborted).toBe(true);
  expect(grant.signal.reason).toMatchObject({ code: 'LEASE_LOST' });
  await expect(grant.renew()).rejects.toMatchObject({ code: 'LEASE_LOST' });
  expect(await grant.release()).toBe(false);
});

test('I7: SIGSTOP and SIGCONT of the daemon end no lease whose renewal had arrived', async ({ daemon, raw }) => {
  const holder = await raw();
  const rival = await raw();
  const { token } = await holder.ask('acquire', { ttlMs: 1_000 });
  const waiting = rival.request('acquire', { waitMs: 20_000 });
  await expect.poll(async () => ((await holder.ask('status'))['totals'] as { waiting: number }).waiting).toBe(1);
  daemon.child.kill('SIGSTOP');
  // Sent within the lease's time, and read a second after it.
  const renewed = holder.ask('renew', { token, ttlMs: 60_000 });
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  daemon.child.kill('SIGCONT');
  expect(await renewed).toEqual({ ttlMs: 60_000 });
  expect(rival.messages).toEqual([]);
  expect(await holder.ask('release', { token })).toEqual({ released: true });
  expect(await rival.answer(waiting)).toMatchObject({ count: 1 });
});

test('a bot that shares its call with a fresh nonce for a retry, and hands the lane on, is accepted every time', async ({
  client,
  exchange,
}) => {
  const nonced = await client('retrying');
  const key = exchange.addKey({ account: 'MASTER' });
  const answers = await nonced.exclusive({ account: 'MASTER' }, async (grant) => [
    await krakenCall({ url: exchange.url, ...key }, 'Balance', {}, { nonce: grant.nonce }),
    await krakenCall({ url: exchange.url, ...key }, 'Balance', {}, { nonce: await grant.next() }),
    await nonced.exclusive({ account: 'MASTER' }, (inner) =>
      krakenCall({ url: exchange.url, ...key }, 'Balance', {}, { nonce: inner.nonce }),
    ),
  ]);
  expect(answers.map((answer) => answer.error)).toEqual([[], [], []]);
});
