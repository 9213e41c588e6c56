import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { askedBy } from './asked.ts';
import { pieces, specimens } from './corpus.ts';
import { answersById, cpuMsOf, Host, PAST_EVERYTHING_MS } from './host.ts';
import { hostileStream } from './messages.ts';
import { FUZZ_TIMEOUT_MS, runs } from './runs.ts';

vi.setConfig({ testTimeout: FUZZ_TIMEOUT_MS });

/** No message may hold up the others for longer. What is measured is far below: it is to catch what is out of proportion. */
const MOST_CPU_MS = 50;
/** Cut by cut, the same must come of it. */
const CUTS = [Number.MAX_SAFE_INTEGER, 1, 7] as const;

/** Sends a stream in pieces, and returns all that came back until every wait had ended. */
async function heardOf(stream: Uint8Array, cut: number, role: 'bot' | 'admin'): Promise<Buffer> {
  const host = await Host.started();
  const caller = host.connect(role);
  for (const piece of pieces(stream, cut)) caller.send(piece);
  await host.pass(PAST_EVERYTHING_MS);
  const { owed, broken } = askedBy(stream);
  const messages = caller.messages();
  expect(caller.state).toBe(broken ? 'ended' : 'open');
  const answered = answersById(messages);
  // Once a stream is broken, who still waits for a lane hears nothing any more.
  for (const [id, times] of answered) expect(times, `answers to ${id}`).toBeLessThanOrEqual(owed.get(id) ?? 0);
  if (!broken) expect(answered).toEqual(owed);
  else expect(messages.at(-1)).toMatchObject({ kind: 'error', error: { sent: false } });
  await host.expectNothingLeft();
  return Buffer.concat(caller.received);
}

async function survives(stream: Uint8Array): Promise<void> {
  for (const role of ['bot', 'admin'] as const) {
    const [whole, ...others] = await Promise.all(CUTS.map((cut) => heardOf(stream, cut, role)));
    for (const other of others) expect(other.toString('latin1')).toBe(whole?.toString('latin1'));
  }
  expect(Object.keys(Object.prototype)).toEqual([]);
  expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false);
}

/** The least of three: a collection of garbage, or a neighbour on this machine, does not count. */
async function leastCpuMs(stream: Uint8Array): Promise<number> {
  const measured: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    const host = await Host.started();
    const caller = host.connect();
    measured.push(cpuMsOf(() => caller.send(stream)));
    await host.pass(PAST_EVERYTHING_MS);
  }
  return Math.min(...measured);
}

describe('of the corpus', () => {
  test.each(specimens('messages'))(
    '$name is answered or closes the connection, however it is cut',
    async ({ bytes }) => {
      await survives(bytes);
    },
  );

  test('nothing takes over 50 ms of the processor', async () => {
    const slow: string[] = [];
    for (const { name, bytes } of specimens('messages')) {
      const ms = await leastCpuMs(bytes);
      if (ms > MOST_CPU_MS) slow.push(`${name}: ${ms} ms`);
    }
    expect(slow).toEqual([]);
  });
});

describe.each(['msgpack', 'json'] as const)('in %s', (encoding) => {
  test(
    'any input is answered once, or closes the connection, however it is cut',
    async () => {
      await fc.assert(fc.asyncProperty(hostileStream(encoding), survives), runs(80));
    },
    FUZZ_TIMEOUT_MS,
  );
});

test(
  'a specimen with any of its bytes changed is answered or closes the connection too',
  async () => {
    const changed = fc.constantFrom(...specimens('messages').map(({ bytes }) => bytes)).chain((bytes) =>
      fc
        .array(fc.tuple(fc.nat(Math.min(bytes.length, 200) - 1), fc.nat(255)), { minLength: 1, maxLength: 4 })
        .map((changes) => {
          const copy = Buffer.from(bytes);
          for (const [at, byte] of changes) copy[at] = byte;
          return copy;
        }),
    );
    await fc.assert(fc.asyncProperty(changed, survives), runs(80));
  },
  FUZZ_TIMEOUT_MS,
);
