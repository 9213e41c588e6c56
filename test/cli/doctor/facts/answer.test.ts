import { afterEach, expect, test } from 'vitest';
import { answerFacts } from '../../../../src/cli/doctor/facts/answer.ts';
import { type FakeSocket, fakeSocket } from '../../fake-socket.ts';

// Far longer than anything here takes, and cancelled by the answer.
const withinMs = 20_000;
const STATUS = {
  version: '0.1.0',
  instance: 'a'.repeat(32),
  epoch: 1,
  pid: 7,
  exclusive: 'global',
  totals: { accounts: 0, leases: 0, waiting: 0 },
  sequences: [{ name: 'default', unit: 'ns', last: 1, ceiling: 2, leadMs: 0 }],
  paused: [],
  exchanges: [],
  accounts: [],
  lanes: [],
  durability: { state: 'durable' },
  clock: { state: 'followed', offMs: 0 },
};
/** It gives one answer to all it is asked: one that serves as that to hello as well. */
const ANSWER = { ...STATUS, protocol: 1, held: [] };

let socket: FakeSocket | undefined;

afterEach(async () => {
  await socket?.close();
  socket = undefined;
});

async function answerOf(answer: object) {
  socket = await fakeSocket('nonced.sock', answer);
  return answerFacts({ path: socket.path, withinMs });
}

test('asks for the hello, the status and why accounts fail, and nothing that draws', async () => {
  const answer = await answerOf({
    ...ANSWER,
    accounts: [{ account: 'MASTER', breaker: null }],
    account: 'MASTER',
    unit: 'ns',
    refusedUnits: { count: 2, unit: 'ms' },
  });
  expect(answer).toMatchObject({
    kind: 'answered',
    status: { pid: 7 },
    refusedUnits: [{ account: 'MASTER', unit: 'ns', asked: { count: 2, unit: 'ms' } }],
  });
  expect(socket?.asked.map(({ method }) => method)).toEqual(['hello', 'status', 'why']);
});

test('a daemon that does not tell of refused units has none', async () => {
  expect(await answerOf({ ...ANSWER, accounts: [{ account: 'MASTER', breaker: null }] })).toMatchObject({
    kind: 'answered',
    refusedUnits: [],
  });
});

test.each([
  ['no hello', { ...STATUS }],
  ['no status', { ...ANSWER, sequences: undefined }],
  ['an instance that is a number', { ...ANSWER, instance: 5 }],
  ['accounts without names', { ...ANSWER, accounts: [{ breaker: null }] }],
  ['accounts that are not a list', { ...ANSWER, accounts: { length: 1 } }],
  ['no clock', { ...ANSWER, clock: null }],
  ['refusals that are not a list', { ...ANSWER, refusals: 5 }],
  ['refusing clients that are not a list', { ...ANSWER, refusingClients: null }],
  ['a refusing client without its instance', { ...ANSWER, refusingClients: [{ name: 'x', pid: 1, forMs: 1 }] }],
  [
    'programs held back that are not a list',
    { ...ANSWER, exchanges: [{ exchange: 'E', downForMs: null, heldBack: 'x' }] },
  ],
])('a program that answers with %s is a stranger', async (_what, answer) => {
  expect(await answerOf(answer)).toEqual({ kind: 'stranger' });
});

test('where nothing listens the reason is the system’s', async () => {
  expect(await answerFacts({ path: '/nonexistent/nonced.sock', withinMs })).toEqual({
    kind: 'refused',
    code: 'ENOENT',
  });
});
