import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { settled } from '../core/simulation.ts';
import { pieces, specimens } from './corpus.ts';
import { codecOf, Host, PAST_EVERYTHING_MS } from './host.ts';
import { FUZZ_TIMEOUT_MS } from './runs.ts';

const MEBIBYTE = 1024 * 1024;
/** What is left when all clients have gone: code that was compiled, the last calls, the accounts that are remembered. */
const SLACK = 12 * MEBIBYTE;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function bytesInUse(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Does something again and again with one daemon, and checks that its memory returns to that of the first time. */
async function expectNoGrowth(host: Host, rounds: number, work: (round: number) => Promise<void>): Promise<void> {
  const round = async (n: number) => {
    await work(n);
    for (const caller of host.callers.splice(0)) caller.hangUp();
    host.machine.sent.length = 0;
    await settled();
  };
  await round(0);
  const first = bytesInUse();
  for (let n = 1; n < rounds; n += 1) await round(n);
  expect(bytesInUse() - first).toBeLessThan(SLACK);
  await host.expectNothingLeft();
}

test(
  '100,000 acquires without waiting, most of them refused, leave nothing in memory',
  async () => {
    const host = await Host.started();
    host.machine.listen = () => {
      host.machine.sent.length = 0;
    };
    await expectNoGrowth(host, 4, async () => {
      for (const encoding of ['json', 'msgpack'] as const) {
        const codec = codecOf(encoding);
        const bot = host.connect();
        for (let id = 1; id <= 12_500; id += 1) {
          bot.send(codec.request(id, 'acquire', { account: `A${id % 1_500}`, waitMs: 60_000 }));
          if (id % 500 === 0) await settled();
        }
        // One is granted, 999 wait, and all the others have heard that.
        const messages = bot.messages();
        expect(messages.filter(({ kind }) => kind === 'answer')).toHaveLength(1);
        expect(messages).toHaveLength(12_500 - 999);
        bot.hangUp();
      }
    });
  },
  FUZZ_TIMEOUT_MS,
);

test(
  'a byte at a time on 1,000 connections takes no more than the bytes, and they are given back',
  async () => {
    const host = await Host.started();
    const message = codecOf('msgpack').request(1, 'acquire', { label: 'x'.repeat(60), account: 'y'.repeat(64) });
    await expectNoGrowth(host, 3, async () => {
      const drips = Array.from({ length: 1_000 }, () => host.connect());
      const before = bytesInUse();
      // All but the last byte, so that none is a message yet.
      for (const byte of pieces(message.subarray(0, -1), 1)) for (const drip of drips) drip.send(byte);
      expect(bytesInUse() - before).toBeLessThan(SLACK);
      expect(host.machine.broker.status().totals).toMatchObject({ leases: 0, waiting: 0 });
    });
  },
  FUZZ_TIMEOUT_MS,
);

test(
  'the corpus, over and over, leaves nothing in memory',
  async () => {
    const host = await Host.started();
    const all = specimens('messages');
    await expectNoGrowth(host, 8, async () => {
      for (const { bytes } of all) host.connect().send(bytes);
      await host.pass(PAST_EVERYTHING_MS);
    });
  },
  FUZZ_TIMEOUT_MS,
);
