import { afterEach, expect, test } from 'vitest';
import { read, readWhole } from '../../../src/cli/status/reading.ts';
import { systemClock } from '../../../src/clock.ts';
import type { StatusResult } from '../../../src/protocol/messages.ts';
import { type FakeSocket, fakeSocket } from '../fake-socket.ts';
import { accountOf, endedOf, statusOf } from './statuses.ts';

let daemon: FakeSocket | undefined;

afterEach(async () => {
  await daemon?.close();
  daemon = undefined;
});

/** A daemon with two accounts, of which its status lists one. */
async function crowded(): Promise<FakeSocket> {
  const accounts = [accountOf('LISTED')];
  const status = statusOf({ accounts, totals: { ...statusOf().totals, accounts: 3 } });
  daemon = await fakeSocket('nonced.sock', (method) => {
    if (method === 'status') return status;
    return {
      accounts: [
        { account: 'LISTED', quarantined: true },
        { account: 'HIDDEN', quarantined: true },
        { account: 'WELL', quarantined: false },
      ],
    };
  });
  return daemon;
}

test('if a status does not list all accounts, the other quarantined ones are asked for', async () => {
  const { path, asked } = await crowded();
  expect((await readWhole(path, systemClock())).unlistedQuarantined).toEqual(['HIDDEN']);
  expect(asked.map(({ method }) => method)).toEqual(['status', 'metrics']);
});

/** What the screen asks for, of a daemon that lists all its accounts. */
async function askedOf(status: StatusResult) {
  const call = endedOf();
  daemon = await fakeSocket('nonced.sock', (method) => (method === 'status' ? status : { calls: [call] }));
  const { calls, unlistedQuarantined } = await read(daemon.path, systemClock());
  expect(unlistedQuarantined).toEqual([]);
  expect(calls).toHaveLength(daemon.asked.length - 1);
  return daemon.asked;
}

test('the last calls are asked for where accounts may wait for each other', async () => {
  const accounts = [accountOf('A'), accountOf('B')];
  expect(await askedOf(statusOf({ accounts }))).toEqual([
    { method: 'status', params: {} },
    { method: 'calls', params: { limit: 500 } },
  ]);
});

test.each([
  ['there is one account', { accounts: [accountOf('A')] }],
  ['each account has a lane', { accounts: [accountOf('A'), accountOf('B')], exclusive: 'account' }],
] as const)('they are not where %s', async (_what, over) => {
  expect(await askedOf(statusOf(over))).toEqual([{ method: 'status', params: {} }]);
});
