import { describe, expect, test } from 'vitest';
import { type Ask, Feed } from '../../../src/cli/top/feed.ts';
import type { EndedCallRecord } from '../../../src/protocol/messages.ts';
import { callAnswer, statusAnswer } from '../answers.ts';

/** A daemon that remembers its last calls, as the real one does. */
class PretendedDaemon {
  epoch = 1;
  asked: string[] = [];
  #calls: EndedCallRecord[] = [];
  #ended = 0;

  readonly ask: Ask = async <Result>(method: string, params: object) => {
    this.asked.push(`${method} ${JSON.stringify(params)}`);
    return (method === 'status' ? statusAnswer({ epoch: this.epoch }) : this.#page(params)) as Result;
  };

  end(count: number, account = 'A'): void {
    for (let n = 0; n < count; n += 1) {
      this.#ended += 1;
      this.#calls.push(callAnswer(this.#ended, { account }));
    }
    this.#calls = this.#calls.slice(-1_000);
  }

  restart(): void {
    this.epoch += 1;
    this.#calls = [];
    this.#ended = 0;
  }

  #page({ after, limit, account }: { after?: number; limit?: number; account?: string }) {
    const of = this.#calls.filter((call) => account === undefined || call.account === account);
    if (after === undefined) return { calls: of.slice(-(limit ?? 100)), after: this.#ended, missed: 0 };
    const calls = of.filter(({ serial }) => serial > after).slice(0, limit);
    const oldest = this.#ended - this.#calls.length;
    return { calls, after: calls.at(-1)?.serial ?? this.#ended, missed: Math.max(0, oldest - after) };
  }
}

const serials = (calls: readonly EndedCallRecord[]) => calls.map(({ serial }) => serial);

test('each call is read once, in the order in which they ended', async () => {
  const daemon = new PretendedDaemon();
  const feed = new Feed(daemon.ask);
  daemon.end(2);
  expect(serials((await feed.read(undefined)).calls)).toEqual([1, 2]);
  expect((await feed.read(undefined)).calls).toEqual([]);
  daemon.end(1);
  expect(await feed.read(undefined)).toMatchObject({ calls: [{ serial: 3 }], missed: 0, past: 'goes on' });
});

describe('the first reading', () => {
  test('knows all calls since the daemon started, if they are few', async () => {
    const daemon = new PretendedDaemon();
    daemon.end(500);
    expect((await new Feed(daemon.ask).read(undefined)).past).toBe('since its start');
  });

  test('knows the last ones, if they are many', async () => {
    const daemon = new PretendedDaemon();
    daemon.end(501);
    const { past, calls, missed } = await new Feed(daemon.ask).read(undefined);
    expect({ past, missed }).toEqual({ past: 'last calls', missed: 0 });
    expect(serials(calls).slice(0, 2)).toEqual([2, 3]);
  });
});

test('a busy second is read page by page, and what was forgotten meanwhile is counted', async () => {
  const daemon = new PretendedDaemon();
  const feed = new Feed(daemon.ask);
  await feed.read(undefined);
  daemon.end(1_200);
  const { calls, missed } = await feed.read(undefined);
  expect({ first: calls[0]?.serial, last: calls.at(-1)?.serial, missed }).toEqual({
    first: 201,
    last: 1_200,
    missed: 200,
  });
  expect((await feed.read(undefined)).calls).toEqual([]);
});

test('another daemon is read from its beginning, although it numbers its calls from 1 again', async () => {
  const daemon = new PretendedDaemon();
  const feed = new Feed(daemon.ask);
  daemon.end(5);
  await feed.read(undefined);
  daemon.restart();
  daemon.end(2);
  expect(await feed.read(undefined)).toMatchObject({ calls: [{ serial: 1 }, { serial: 2 }], past: 'since its start' });
});

test('an account that is open has its last calls read, the latest first', async () => {
  const daemon = new PretendedDaemon();
  const feed = new Feed(daemon.ask);
  daemon.end(2, 'B');
  daemon.end(1, 'A');
  const { opened } = await feed.read('B');
  expect(opened?.account).toBe('B');
  expect(serials(opened?.calls ?? [])).toEqual([2, 1]);
  daemon.asked = [];
  expect((await feed.read(undefined)).opened).toBeUndefined();
  expect(daemon.asked).toEqual(['status {}', 'calls {"after":3,"limit":500}']);
});

test('if the daemon does not answer, it rejects, and later goes on from where it was', async () => {
  const daemon = new PretendedDaemon();
  let isDown = false;
  const feed = new Feed((method, params) => (isDown ? Promise.reject(new Error('down')) : daemon.ask(method, params)));
  daemon.end(1);
  await feed.read(undefined);
  isDown = true;
  daemon.end(1);
  await expect(feed.read(undefined)).rejects.toThrow('down');
  isDown = false;
  expect(serials((await feed.read(undefined)).calls)).toEqual([2]);
});
