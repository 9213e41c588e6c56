import { type ChildProcess, spawn } from 'node:child_process';
import { describe, expect } from 'vitest';
import { runInProcess } from '../fixtures/command-line.ts';
import { daemonPerFile } from '../fixtures/daemon-test.ts';
import { eventually } from '../fixtures/eventually.ts';
import { hasProgram, shell } from '../fixtures/shell.ts';

const reason = hasProgram('nc') ? '' : ' (skipped: no nc; install netcat-openbsd)';

interface Line {
  readonly jsonrpc: string;
  readonly id?: number | string | null;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: { readonly code: number; readonly message: string; readonly data: { readonly code: string } };
}

const test = daemonPerFile({
  // In milliseconds a few thousand nonces use up the reserve, so that later ones must wait for a write.
  async prepare({ stateDir }) {
    const init = await runInProcess(['state', 'init', '--floor', 'now', '--unit', 'ms', '--state-dir', stateDir]);
    expect(init).toMatchObject({ code: 0, stderr: '' });
  },
})
  // `printf TEXT | nc -N -U SOCKET`, and the lines that come back.
  .extend('say', ({ place }) => async (text: string): Promise<Line[]> => {
    const { code, stdout, stderr } = await shell('printf %b "$TEXT" | timeout 20 nc -N -U "$SOCKET"', {
      TEXT: text,
      SOCKET: place.socket,
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return lines(stdout);
  })
  // Starts an nc whose input stays open.
  .extend('talk', ({ place }, { onCleanup }) => {
    const talkers: ChildProcess[] = [];
    onCleanup(() => {
      for (const talker of talkers) talker.kill('SIGKILL');
    });
    return () => {
      const child = spawn('nc', ['-N', '-U', place.socket], { stdio: ['pipe', 'pipe', 'ignore'] });
      talkers.push(child);
      let stdout = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        stdout += text;
      });
      return {
        say: (text: string) => child.stdin.write(`${text}\n`),
        heard: () => lines(stdout),
        end: () => child.kill('SIGKILL'),
      };
    };
  });

function lines(text: string): Line[] {
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line);
}

describe.skipIf(reason !== '')(`from a shell with nc${reason}`, () => {
  test.beforeEach(async ({ status }) => {
    await eventually('the clients of the test before have left', async () => (await status()).totals.connections === 1);
    expect((await status()).totals).toMatchObject({ leases: 0, waiting: 0 });
  });

  test.afterAll(async ({ daemon }) => {
    expect(await daemon.end('SIGTERM')).toBe(0);
  });

  test('the one-liner for the status prints one line of JSON', async ({ daemon, place }) => {
    const { code, stdout } = await shell(
      `printf '{"jsonrpc":"2.0","id":1,"method":"status"}\\n' | timeout 20 nc -N -U ${place.socket}`,
    );
    expect(code).toBe(0);
    const [status, ...more] = lines(stdout);
    expect(status).toMatchObject({ jsonrpc: '2.0', id: 1, result: { pid: daemon.pid, exclusive: 'global' } });
    expect(more).toEqual([]);
  });

  test('the one-liner for a nonce prints it as a string of digits, and each is higher, I2', async ({ say }) => {
    const request = '{"jsonrpc":"2.0","id":1,"method":"nonce","params":{"account":"MASTER"}}\\n';
    const [first] = await say(request);
    const [second] = await say(request);
    expect(first?.result?.['nonce']).toMatch(/^\d{13}$/);
    expect(BigInt(String(second?.result?.['nonce']))).toBeGreaterThan(BigInt(String(first?.result?.['nonce'])));
  });

  test('a last line without a line end is answered', async ({ say }) => {
    expect(await say('{"jsonrpc":"2.0","id":1,"method":"nonce"}')).toMatchObject([{ id: 1, result: { count: 1 } }]);
  });

  test('params may be left out, an empty list, an object, or a list of one object', async ({ say }) => {
    const requests = ['', ',"params":[]', ',"params":{}', ',"params":[{}]', ',"params":[{"count":2}]'].map(
      (params, id) => `{"jsonrpc":"2.0","id":${id},"method":"nonce"${params}}`,
    );
    const answers = await say(requests.join('\\n'));
    expect(answers.map(({ id, result }) => [id, result?.['count']])).toEqual([
      [0, 1],
      [1, 1],
      [2, 1],
      [3, 1],
      [4, 2],
    ]);
  });

  test('ids come back as they were sent: integers, negative ones, strings, and two that only look alike', async ({
    say,
  }) => {
    const ids = ['1', '-1', '0', '9007199254740991', '"1"', '"order-7"', '""', '"\u00e9"'];
    const answers = await say(ids.map((id) => `{"jsonrpc":"2.0","id":${id},"method":"nonce"}\\n`).join(''));
    expect(answers.map(({ id }) => JSON.stringify(id))).toEqual(ids);
  });

  test('a wrong request gets a JSON-RPC error, with our code and the fix beside its number', async ({ say }) => {
    const [refused] = await say('{"jsonrpc":"2.0","id":1,"method":"nonce","params":{"count":0}}\\n');
    expect(refused?.error).toMatchObject({ code: -32602, data: { code: 'BAD_REQUEST', sent: false } });
    expect(refused?.error?.message).toContain('give a whole number from 1 to 1000');
  });

  test('after a half-close nonces are still answered, also those that need a write of the ceiling, I1', async ({
    status,
    say,
  }) => {
    const { writes } = (await status()).durability;
    const request = (id: number) => `{"jsonrpc":"2.0","id":${id},"method":"nonce","params":{"count":1000}}\\n`;
    const answers = await say(Array.from({ length: 80 }, (_, id) => request(id)).join(''));
    const nonces = answers.map(({ result }) => BigInt(String(result?.['nonce'])));
    expect(answers.map(({ id }) => id)).toEqual(Array.from({ length: 80 }, (_, id) => id));
    for (const [index, nonce] of nonces.entries()) {
      if (index > 0) expect(nonce - (nonces[index - 1] ?? 0n)).toBeGreaterThanOrEqual(1000n);
    }
    expect((await status()).durability.writes).toBeGreaterThan(writes);
  });

  test('a grant is answered before the half-close ends its lease, and the next one gets the lane at once, I8', async ({
    raw,
    say,
  }) => {
    const [grant] = await say('{"jsonrpc":"2.0","id":1,"method":"acquire","params":{"account":"MASTER"}}\\n');
    expect(grant?.result).toMatchObject({ nonce: expect.any(String), token: expect.any(String), ttlMs: 20_000 });
    const next = await raw();
    expect(await next.ask('acquire', { waitMs: 0 })).toMatchObject({ count: 1 });
  });

  test('an acquire that must wait is dropped by a half-close, without an answer, and never granted, I6', async ({
    raw,
    status,
    say,
  }) => {
    const holder = await raw();
    const { token } = await holder.ask('acquire');
    const answers = await say(
      '{"jsonrpc":"2.0","id":1,"method":"acquire"}\\n{"jsonrpc":"2.0","id":2,"method":"nonce"}\\n',
    );
    expect(answers).toMatchObject([{ id: 2, result: { count: 1 } }]);
    expect((await status()).totals).toMatchObject({ leases: 1, waiting: 0 });
    await holder.ask('release', { token });
    expect((await status()).totals).toMatchObject({ leases: 0, waiting: 0 });
  });

  test('a waiting acquire holds the connection of nc open no longer than its input', async ({ raw, say }) => {
    const holder = await raw();
    await holder.ask('acquire');
    expect(await say('{"jsonrpc":"2.0","id":1,"method":"acquire"}\\n')).toEqual([]);
  });

  test('the end of a lease comes as a revoked line, and then its token is worth nothing, I7', async ({ talk }) => {
    const bot = talk();
    bot.say('{"jsonrpc":"2.0","id":1,"method":"acquire","params":{"ttlMs":100}}');
    const [grant, revoked] = await eventually('it is revoked', () => bot.heard().length === 2 && bot.heard());
    const token = grant?.result?.['token'];
    expect(revoked).toEqual({ jsonrpc: '2.0', method: 'revoked', params: { token, reason: 'expired' } });
    bot.say(`{"jsonrpc":"2.0","id":2,"method":"next","params":{"token":"${token}"}}`);
    bot.say(`{"jsonrpc":"2.0","id":3,"method":"release","params":{"token":"${token}"}}`);
    const answers = await eventually('both are answered', () => bot.heard().length === 4 && bot.heard());
    expect(answers.slice(2)).toMatchObject([
      { id: 2, error: { code: -32000, data: { code: 'LEASE_LOST' } } },
      { id: 3, result: { released: false } },
    ]);
  });

  test('a release as a notification gives the lane to the next waiter and has no answer', async ({
    raw,
    status,
    talk,
  }) => {
    const bot = talk();
    bot.say('{"jsonrpc":"2.0","id":1,"method":"acquire"}');
    const [grant] = await eventually('it is granted', () => bot.heard().length === 1 && bot.heard());
    const waiter = await raw();
    const id = waiter.request('acquire');
    await eventually('it waits', async () => (await status()).totals.waiting === 1);
    bot.say(`{"jsonrpc":"2.0","method":"release","params":{"token":"${grant?.result?.['token']}","outcome":"ok"}}`);
    const { nonce } = await waiter.answer(id);
    expect(BigInt(String(nonce))).toBeGreaterThan(BigInt(String(grant?.result?.['nonce'])));
    bot.say('{"jsonrpc":"2.0","id":2,"method":"status"}');
    const heard = await eventually('status is answered', () => bot.heard().length > 1 && bot.heard());
    expect(heard[1]?.id).toBe(2);
  });

  test('a cancel ends the acquire with exactly that id, and the others go on waiting', async ({ raw, talk }) => {
    const holder = await raw();
    const { token } = await holder.ask('acquire');
    const bot = talk();
    bot.say('{"jsonrpc":"2.0","id":"1","method":"acquire"}');
    bot.say('{"jsonrpc":"2.0","id":1,"method":"acquire"}');
    bot.say('{"jsonrpc":"2.0","method":"cancel","params":{"id":"1"}}');
    const [cancelled] = await eventually('one is cancelled', () => bot.heard().length === 1 && bot.heard());
    expect(cancelled).toMatchObject({ id: '1', error: { code: -32000, data: { code: 'CANCELLED', sent: false } } });
    await holder.ask('release', { token });
    const heard = await eventually('the other is granted', () => bot.heard().length === 2 && bot.heard());
    expect(heard[1]).toMatchObject({ id: 1, result: { count: 1 } });
  });

  test('killing an nc that holds the call frees the lane at once, I8', async ({ raw, talk }) => {
    const bot = talk();
    bot.say('{"jsonrpc":"2.0","id":1,"method":"acquire","params":{"ttlMs":600000}}');
    await eventually('it is granted', () => bot.heard().length === 1);
    const waiter = await raw();
    const id = waiter.request('acquire', { waitMs: 600_000 });
    bot.end();
    expect(await waiter.answer(id)).toMatchObject({ count: 1 });
  });
});
