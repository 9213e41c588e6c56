import { afterEach, expect, test } from 'vitest';
import { read, readWhole } from '../../../src/cli/status/reading.ts';
import { systemClock } from '../../../src/clock.ts';
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

test('where a status does not list all accounts, those of the rest that are quarantined are asked for', async () => {
  const { path, asked } = await crowded();
  expect((await readWhole(path, systemClock())).unlistedQuarantined).toEqual(['HIDDEN']);
  expect(asked.map(({ method }) => method)).toEqual(['status', 'metrics']);
});

test('where it lists all, nothing more is asked, but for the calls that the screen needs', async () => {
  const call = endedOf();
  daemon = await fakeSocket('nonced.sock', (method) => (method === 'status' ? statusOf() : { calls: [call] }));
  const reading = await read(daemon.path, systemClock());
  expect(reading).toMatchObject({ unlistedQuarantined: [], calls: [{ serial: call.serial }] });
  expect(daemon.asked).toEqual([
    { method: 'status', params: {} },
    { method: 'calls', params: { limit: 500 } },
  ]);
});
