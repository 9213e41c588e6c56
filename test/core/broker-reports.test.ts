import { expect, test } from 'vitest';
import type { Nonce, Token } from '../../src/core/ports.ts';
import { type Bot, Machine, settled } from './simulation.ts';

/** A bot that holds a lease of account A. */
async function holder() {
  const machine = await Machine.started();
  const bot = machine.connect('grid');
  const id = bot.acquire({ account: 'A' });
  await settled();
  const { token, nonce } = bot.grant(id);
  return { machine, bot, token, nonce };
}

async function drawn(bot: Bot, token: Token, account: string): Promise<Nonce> {
  const id = bot.next(token, account);
  await settled();
  const answer = bot.answer(id);
  if (answer?.kind !== 'drawn') throw new Error(`not drawn: ${JSON.stringify(answer)}`);
  return answer.nonce;
}

test('rejected calls under one lease open the breaker of their own account, and of no other', async () => {
  const { machine, bot, token } = await holder();
  for (let n = 0; n < 3; n += 1) {
    expect(bot.report(token, await drawn(bot, token, 'B'), 'invalid-nonce')).toBe(true);
  }
  expect(bot.code(bot.next(token, 'B'))).toBe('QUARANTINED');
  await drawn(bot, token, 'A');
  expect(bot.release(token, false, 'ok')).toBe(true);
  expect(machine.observed).toContain('breaker-changed');
});

test('calls under one lease that get no answer count for their exchange', async () => {
  const { machine, bot, token } = await holder();
  for (let n = 0; n < 3; n += 1) bot.report(token, await drawn(bot, token, 'B'), 'unavailable');
  expect(machine.observed).toContain('caller-changed');
});

test('an outcome counts once for each nonce', async () => {
  const { machine, bot, token } = await holder();
  const nonce = await drawn(bot, token, 'B');
  expect(bot.report(token, nonce, 'invalid-nonce')).toBe(true);
  for (let n = 0; n < 5; n += 1) expect(bot.report(token, nonce, 'invalid-nonce')).toBe(false);
  expect(machine.broker.why('B').status).toMatchObject({ rejected: 1, rejectedInARow: 1 });
});

test('the first nonce may be reported before a retry, and the release tells of the last', async () => {
  const { machine, bot, token, nonce } = await holder();
  expect(bot.report(token, nonce, 'invalid-nonce')).toBe(true);
  await drawn(bot, token, 'A');
  bot.release(token, false, 'ok');
  const { calls, status } = machine.broker.why('A');
  expect(calls.map(({ outcome }) => outcome)).toEqual(['ok', 'invalid-nonce']);
  expect(status).toMatchObject({ rejected: 1, rejectedInARow: 0 });
});

test('I5: only the holder reports, under a live lease, and a nonce that was drawn under it', async () => {
  const { machine, bot, token, nonce } = await holder();
  const further = await drawn(bot, token, 'B');
  expect(machine.connect('stranger').report(token, further, 'invalid-nonce')).toBe(false);
  expect(bot.report((token + 1) as Token, further, 'invalid-nonce')).toBe(false);
  expect(bot.report(token, further + 1n, 'invalid-nonce')).toBe(false);
  bot.release(token, false, 'ok');
  expect(bot.report(token, further, 'invalid-nonce')).toBe(false);
  expect(bot.report(token, nonce, 'invalid-nonce')).toBe(false);
  expect(machine.broker.why('B').status).toMatchObject({ rejected: 0 });
});

test('a call that was reported is listed with its account and its own nonces', async () => {
  const { machine, bot, token } = await holder();
  await machine.advance(100);
  const nonce = await drawn(bot, token, 'B');
  await machine.advance(50);
  bot.report(token, nonce, 'unsettled');
  const [call] = machine.broker.why('B').calls;
  expect(call).toMatchObject({
    account: 'B',
    holder: 'grid',
    nonce,
    lastNonce: nonce,
    heldMs: 50,
    outcome: 'unsettled',
  });
  expect(machine.broker.why('B').held).toBe(0);
});

test('the lease remembers the last 64 calls: an older one is not counted', async () => {
  const { bot, token, nonce } = await holder();
  const calls = [nonce];
  for (let n = 0; n < 64; n += 1) calls.push(await drawn(bot, token, 'B'));
  expect(bot.report(token, nonce, 'ok')).toBe(false);
  for (const call of calls.slice(1)) expect(bot.report(token, call, 'ok')).toBe(true);
});

test('a probe of which nothing was sent is given back, and the next call is the probe', async () => {
  const { machine, bot, token } = await holder();
  for (let n = 0; n < 3; n += 1) bot.report(token, await drawn(bot, token, 'B'), 'invalid-nonce');
  for (let n = 0; n < 5; n += 1) {
    await machine.advance(15_000);
    bot.renew(token, 20_000);
  }
  const probe = await drawn(bot, token, 'B');
  expect(bot.code(bot.next(token, 'B'))).toBe('QUARANTINED');
  bot.report(token, probe, 'unused');
  await drawn(bot, token, 'B');
});
