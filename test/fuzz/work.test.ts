import { expect, test, vi } from 'vitest';
import type { Codec } from '../../src/protocol/messages.ts';
import type { ExclusionPolicy } from '../../src/terms.ts';
import { settled } from '../core/simulation.ts';
import { answersById, type Caller, codecOf, cpuMsOf, Host } from './host.ts';
import { FUZZ_TIMEOUT_MS } from './runs.ts';

// What one message costs is bounded in every state: everything that a daemon may hold at once is there, and
// the processor's time is taken, the least of three. No clock on the wall, which others on the machine would slow down.

// On a busy machine it takes long to set this up.
vi.setConfig({ testTimeout: FUZZ_TIMEOUT_MS });

const MOST_CPU_MS = 50;
const ENCODINGS = ['json', 'msgpack'] as const;
const TURNS = 3;

/** A daemon that remembers 1,000 ended calls of one account, each with this outcome. */
async function busyHost(encoding: Codec['encoding'], exclusive: ExclusionPolicy, outcome: string): Promise<Host> {
  const host = await Host.started({ exclusive });
  const codec = codecOf(encoding);
  const bot = host.connect();
  bot.send(codec.request(1, 'hello', { name: 'x'.repeat(64), pid: 1 }));
  await settled();
  // All at once if possible, because an account whose nonces are rejected gets no further grants.
  const atOnce = exclusive === 'off' ? 500 : 1;
  for (let ended = 0; ended < 1_000; ended += atOnce) {
    bot.received.length = 0;
    for (let id = 1; id <= atOnce; id += 1)
      bot.send(codec.request(id, 'acquire', { account: 'A', label: 'y'.repeat(64) }));
    await settled();
    for (const message of bot.messages()) {
      if (message.kind !== 'answer') throw new Error('not granted');
      const { token } = message.result as { token: bigint | string };
      bot.send(codec.notification('release', { token: BigInt(token), outcome }));
    }
    await settled();
    const operator = host.connect('admin');
    operator.send(codec.request(1, 'resume-account', { account: 'A' }));
    await settled();
    operator.hangUp();
  }
  bot.hangUp();
  return host;
}

/** Milliseconds of the processor for one message. */
async function costOf(host: Host, caller: Caller, bytes: Uint8Array): Promise<number> {
  const measured: number[] = [];
  for (let turn = 0; turn < TURNS; turn += 1) {
    measured.push(cpuMsOf(() => caller.send(bytes)));
    await settled();
    caller.received.length = 0;
  }
  expect(host.machine.observed).not.toContain('failed');
  return Math.min(...measured);
}

test.each(ENCODINGS)(
  '%s: status and why cost little with 1,000 accounts, 1,000 calls that ended and 10,000 waiting',
  async (encoding) => {
    const codec = codecOf(encoding);
    const host = await busyHost(encoding, 'account', 'ok');
    for (let crowd = 0; crowd < 11; crowd += 1) {
      const one = host.connect();
      for (let n = 0; n < 1_000; n += 1)
        one.send(codec.request(n + 1, 'acquire', { account: `A${n % 999}`, waitMs: 600_000 }));
      await settled();
    }
    expect(host.machine.broker.status().totals).toMatchObject({ accounts: 1_000, waiting: 10_000 });
    const asker = host.connect();
    for (const [method, params] of [
      ['status', {}],
      ['why', { account: 'A' }],
      ['acquire', { account: 'A5', waitMs: 0 }],
      ['nonce', { account: 'A5' }],
      ['nonce', { account: 'new' }],
    ] as const) {
      const ms = await costOf(host, asker, codec.request(1, method, params));
      expect(ms, method).toBeLessThan(MOST_CPU_MS);
    }
  },
);

// 500 leases of one account at once make no sense, but under `off` they are allowed.
test('why costs little when the exchange has rejected 1,000 calls of an account', async () => {
  const host = await busyHost('json', 'off', 'invalid-nonce');
  const ms = await costOf(host, host.connect(), codecOf('json').request(1, 'why', { account: 'A' }));
  expect(ms).toBeLessThan(MOST_CPU_MS);
});

// A read of a socket may bring ten times as many.
test.each(ENCODINGS)(
  '%s: 100 requests for why in one read let other connections be served in between',
  async (encoding) => {
    const host = await busyHost(encoding, 'account', 'ok');
    const why = codecOf(encoding).request(1, 'why', { account: 'A' });
    const asker = host.connect();
    const chunk = Buffer.concat(Array.from({ length: 100 }, () => why));
    // All that is done in one turn of the event loop.
    expect(cpuMsOf(() => asker.send(chunk))).toBeLessThan(5 * MOST_CPU_MS);
  },
);

test('one event that answers a thousand requests of a connection does not cut off a client that reads from then on', async () => {
  for (const encoding of ENCODINGS) {
    const codec = codecOf(encoding);
    const host = await Host.started({ exclusive: 'account' });
    const account = 'A'.repeat(64);
    const [holder, crowd] = [host.connect(), host.connect()];
    holder.send(codec.request(1, 'acquire', { account, ttlMs: 600_000 }));
    await settled();
    const [granted] = holder.messages();
    if (granted?.kind !== 'answer') throw new Error('not granted');
    const { token } = granted.result as { token: bigint | string };
    for (let id = 1; id <= 1_000; id += 1) crowd.send(codec.request(id, 'acquire', { account, waitMs: 600_000 }));
    await settled();
    // Its socket takes no more until the next turn of the event loop.
    crowd.deaf = true;
    holder.send(codec.notification('release', { token: BigInt(token), outcome: 'locked-out' }));
    await settled();
    expect([crowd.state, crowd.unsentBytes > 262_144]).toEqual(['open', true]);
    crowd.send(codec.request(2_000, 'acquire', { account }));
    expect(crowd.state).toBe('open');
    // It does not read on.
    for (let id = 3_000; id < 5_000; id += 1) crowd.send(codec.request(id, 'acquire', { account }));
    expect(crowd.isPaused).toBe(true);
    await host.pass(10_000);
    expect(crowd.state).toBe('cut');
  }
});

test('a client that leaves its answers unread is not read any more in the same turn of the event loop, and soon cut off', async () => {
  for (const encoding of ENCODINGS) {
    const host = await busyHost(encoding, 'account', 'ok');
    const why = codecOf(encoding).request(1, 'why', { account: 'A' });
    const deaf = host.connect();
    deaf.deaf = true;
    deaf.send(Buffer.concat(Array.from({ length: Math.floor(65_536 / why.length) }, () => why)));
    await settled();
    expect(deaf.isPaused).toBe(true);
    const unsent = deaf.unsentBytes;
    await host.pass(10_000);
    expect([deaf.state, deaf.unsentBytes]).toEqual(['cut', unsent]);
    // 256 KiB, what comes together before it is handed over, twice, and one answer.
    expect(deaf.unsentBytes).toBeLessThan(262_144 + 3 * 65_536);
    await host.expectNothingLeft();
  }
});

test('a client that asks for much at once and reads as fast as it can gets all of it, and keeps its lease', async () => {
  for (const encoding of ENCODINGS) {
    const host = await busyHost(encoding, 'account', 'ok');
    const codec = codecOf(encoding);
    const busy = host.connect();
    busy.send(codec.request(1, 'acquire', { account: 'KEPT', ttlMs: 600_000 }));
    await settled();
    // Each time its socket's buffers are full, and it takes five seconds to read what is in them.
    busy.deaf = true;
    const asks = Array.from({ length: 200 }, (_, id) => codec.request(10 + id, 'why', { account: 'A' }));
    busy.send(Buffer.concat(asks));
    let pauses = 0;
    for (; busy.isPaused; pauses += 1) {
      await host.pass(5_000);
      busy.readOn();
    }
    busy.readOn();
    expect(pauses).toBeGreaterThan(1);
    expect(busy.state).toBe('open');
    expect(answersById(busy.messages()).size).toBe(1 + asks.length);
    expect(host.machine.broker.status().totals.leases).toBe(1);
  }
});
