import { afterEach, expect, test } from 'vitest';
import { linesOf, why } from '../../src/cli/commands/why.ts';
import { PLAIN } from '../../src/cli/status/how-to-type.ts';
import type { AccountStatus, WhyCall, WhyResult } from '../../src/protocol/messages.ts';
import { UNPAINTED } from '../fixtures/command-line.ts';
import { type FakeSocket, fakeSocket, told } from './fake-socket.ts';
import { refusalsOf } from './status/statuses.ts';

const call = (over: Partial<WhyCall> = {}): WhyCall => ({
  account: 'MASTER',
  holder: 'grid-bot',
  pid: 4711,
  label: null,
  priority: 'normal',
  nonce: 1_795_365_006_294_000_000n,
  lastNonce: 1_795_365_006_294_000_000n,
  waitedMs: 0,
  heldMs: 150,
  agoMs: 12_000,
  ended: 'released',
  outcome: 'ok',
  late: false,
  ...over,
});

let daemon: FakeSocket | undefined;

afterEach(async () => {
  await daemon?.close();
  daemon = undefined;
});

const status: AccountStatus = {
  account: 'MASTER',
  exchange: 'default',
  sequence: 'default',
  grants: 3,
  nonces: 4,
  waiting: 2,
  idleMs: 10,
  okAgoMs: 20,
  rejected: 0,
  rejectedInARow: 0,
  rejectedLastHour: 0,
  expired: 0,
  paused: false,
  breaker: null,
  pace: null,
};

const result = (over: Partial<WhyResult> = {}): WhyResult => ({
  account: 'MASTER',
  calls: [],
  rejected: null,
  verdict: { kind: 'none', sure: 'certain', text: 'All is well.', fixes: ['Go to bed.'] },
  exclusive: 'global',
  unit: 'ns',
  leadMs: -129,
  held: 1,
  refusedUnits: null,
  isKnown: true,
  paused: false,
  status,
  ...over,
});

test('first come how the account stands and the verdict, with what to do about it', () => {
  expect(linesOf(result(), 10, PLAIN, UNPAINTED)).toEqual([
    'MASTER  sequence default, ns, lead -129 ms, exclusion global, 1 held, 2 waiting',
    '',
    'All is well.',
    '  - Go to bed.',
  ]);
});

test('the verdict says how sure it is', () => {
  const lines = linesOf(
    result({
      verdict: { kind: 'foreign-use', sure: 'likely', text: 'Something else.', fixes: ['Find it.', 'Or not.'] },
    }),
    10,
    PLAIN,
    UNPAINTED,
  );
  expect(lines.slice(2)).toEqual(['foreign-use (likely): Something else.', '  - Find it.', '  - Or not.']);
});

test('a counter has no lead, and an account that is not in use no sequence yet', () => {
  const lines = linesOf(result({ unit: 'counter', leadMs: null, held: 0, status: null }), 10, PLAIN, UNPAINTED);
  expect(lines[0]).toBe('MASTER  counter, exclusion global, 0 held, 0 waiting');
});

test('the calls are a table, the latest first, with a dash for what is not known', () => {
  const calls = [
    call({ agoMs: 900, outcome: 'invalid-nonce', late: true, ended: 'expired', heldMs: 20_000, waitedMs: 65_000 }),
    call({ holder: null, pid: null, label: 'close all', nonce: null, priority: 'urgent', outcome: 'unsettled' }),
  ];
  expect(linesOf(result({ calls }), 10, PLAIN, UNPAINTED).slice(5)).toEqual([
    'AGO     holder    pid   label      priority  nonce                waited     held    ended     outcome',
    '900 ms  grid-bot  4711  -          normal    1795365006294000000  1 min 5 s  20.0 s  expired   invalid-nonce (reported late)',
    '12.0 s  -         -     close all  urgent    -                    0 ms       150 ms  released  unsettled',
  ]);
});

test('no more calls are listed than were asked for', () => {
  const calls = Array.from({ length: 20 }, (_, n) => call({ agoMs: n }));
  const rows = linesOf(result({ calls }), 3, PLAIN, UNPAINTED).filter((line) => line.includes('grid-bot'));
  expect(rows.map((row) => row.split('  ')[0])).toEqual(['0 ms', '1 ms', '2 ms']);
});

test('the rejected call and the one before it get a line each, with an account only if it is another', () => {
  const rejected = {
    call: call({ outcome: 'invalid-nonce', label: 'buy', lastNonce: 1_795_365_006_294_000_003n }),
    before: call({ account: 'USER:alice', holder: null, pid: null, nonce: null, lastNonce: null, agoMs: 61_000 }),
  };
  expect(linesOf(result({ rejected }), 10, PLAIN, UNPAINTED).slice(5)).toEqual([
    'rejected  1795365006294000000 to 1795365006294000003  grid-bot (pid 4711), buy: released after 150 ms, 12.0 s ago, invalid-nonce',
    'before    a nonce from before the restart  unnamed for USER:alice: released after 150 ms, 1 min 1 s ago, ok',
  ]);
  expect(linesOf(result({ rejected: { ...rejected, before: null } }), 10, PLAIN, UNPAINTED).at(-1)).toBe(
    'before    no earlier call is known',
  );
});

test('a paused account and an open breaker are said before anything else, with what ends them', () => {
  const stopped = { ...status, paused: true, breaker: { openFor: 'invalid-nonce', probeInMs: 42_000 } } as const;
  const lines = linesOf(result({ paused: true, status: stopped }), 10, PLAIN, UNPAINTED);
  expect(lines[1]).toBe('! paused: its calls are refused until nonced resume MASTER');
  expect(lines[2]).toBe(
    '! quarantined: its nonces are rejected. Its calls are refused; one is tried in 42.0 s. To end it now: nonced resume MASTER',
  );
  const lockedOut = { ...status, breaker: { openFor: 'locked-out', probeInMs: 0 } } as const;
  expect(linesOf(result({ status: lockedOut }), 10, PLAIN, UNPAINTED)[1]).toContain(
    'locked the key out. Its calls are refused; the next one is tried',
  );
});

test('it asks the socket of the bots, and prints what it gets', async () => {
  daemon = await fakeSocket('nonced.sock', result({ calls: [call()] }));
  const { path } = daemon;
  const { stdout } = await told((terminal) => why('MASTER', { count: 10, json: false, socket: path }, terminal));
  expect(daemon.asked).toEqual([{ method: 'why', params: { account: 'MASTER' } }]);
  expect(stdout).toBe(`${linesOf(result({ calls: [call()] }), 10, PLAIN, UNPAINTED).join('\n')}\n`);
});

test('--json prints the answer as it came, nonces as strings, and no more calls than were asked for', async () => {
  daemon = await fakeSocket('nonced.sock', result({ calls: [call(), call(), call()] }));
  const { path } = daemon;
  const { stdout } = await told((terminal) => why('MASTER', { count: 2, json: true, socket: path }, terminal));
  const answer = JSON.parse(stdout);
  expect(answer.calls).toHaveLength(2);
  expect(answer).toMatchObject({ account: 'MASTER', rejected: null, calls: [{ nonce: '1795365006294000000' }, {}] });
});

test('what was refused lately is listed with what the client was told last', () => {
  const refused = refusalsOf({ count: 200, forMs: 200_000 });
  const lines = linesOf(
    result({ refusals: [{ ...refused, text: 'the key is known as USER:bob' }] }),
    10,
    PLAIN,
    UNPAINTED,
  );
  expect(lines.join('\n')).toContain(
    '\n\n! account MASTER was refused 200 times within 3 min 20 s, 2.0 s ago: KEY_MISMATCH, by grid-bot (pid 4711)\n' +
      '    the key is known as USER:bob',
  );
});
