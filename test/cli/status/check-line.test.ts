import { expect, test } from 'vitest';
import { checkOf } from '../../../src/cli/status/check-line.ts';
import type { StatusResult } from '../../../src/protocol/messages.ts';
import { accountOf, holderOf, laneOf, sequenceOf, statusOf, waiterOf } from './statuses.ts';

const check = (over: Partial<StatusResult> = {}, unlistedQuarantined: readonly string[] = []) =>
  checkOf({ status: statusOf(over), unlistedQuarantined });

test('a daemon that is well is OK, and the figures follow in the format of plugins', () => {
  const { result, line } = check({
    totals: { ...statusOf().totals, leases: 1, waiting: 2, grants: 40, nonces: 41 },
    accounts: [accountOf('A', { rejected: 2 }), accountOf('B', { rejected: 1, expired: 4 })],
    lanes: [laneOf({ holders: [holderOf({ heldMs: 1_200 })], waiters: [waiterOf()], oldestWaitMs: 900 })],
    sequences: [sequenceOf({ leadMs: -618 }), sequenceOf({ leadMs: -700 }), sequenceOf({ leadMs: null })],
  });
  expect(result).toBe('ok');
  expect(line).toBe(
    'NONCED OK - 1 held, 2 waiting | held=1;;;0 longest_hold=1.200s;;;0 waiting=2;;;0 oldest_wait=0.900s;10;;0 ' +
      'lead=-0.618s;~:60 rejected_1h=0;0;;0 rejected=3c expired=4c grants=40c nonces=41c writes=3c',
  );
});

test('each figure is a label and a value with the unit and bounds that a plugin may give', () => {
  const [, figures = ''] = check({ sequences: [sequenceOf()] }).line.split(' | ');
  for (const figure of figures.split(' ')) {
    expect(figure).toMatch(/^[a-z_0-9]+=-?\d+(\.\d+)?(s|c)?(;[~:\d.]*){0,3}$/);
  }
});

test('if every sequence is a counter there is no lead to show', () => {
  expect(check({ sequences: [sequenceOf({ leadMs: null })] }).line).not.toContain('lead');
});

test.each([
  ['a drain', { drainingForMs: 5_000 }],
  ['a configuration that was refused', { configurationProblem: 'no' }],
  ['a nonce rejected within the hour', { accounts: [accountOf('A', { rejectedLastHour: 1 })] }],
  ['a pause', { paused: ['A'] }],
  ['a wait of over ten seconds', { lanes: [laneOf({ oldestWaitMs: 10_001, waiting: 1 })] }],
] as const)('%s is a warning', (_what, over) => {
  const { result, line } = check(over);
  expect(result).toBe('warning');
  expect(line).toMatch(/^NONCED WARNING - /);
});

test('what is critical is said before what is a warning', () => {
  const { result, line } = check({ paused: ['A'], exchanges: [{ exchange: 'kraken', downForMs: 1_000 }] });
  expect(result).toBe('critical');
  expect(line).toMatch(/^NONCED CRITICAL - exchange kraken .*; account A is paused \| /);
});

test('a call that is held for long is not an alarm by itself: a lease may be renewed', () => {
  const lanes = [laneOf({ holders: [holderOf({ heldMs: 50_000 })] })];
  expect(check({ lanes })).toMatchObject({ result: 'ok', line: expect.stringContaining('longest_hold=50.000s') });
});

test('a quarantined account that the status does not list is critical as well', () => {
  expect(check({}, ['USER:u101']).result).toBe('critical');
});

test('it stays one line with one bar in it, for any error message of the system', () => {
  const { line } = check({ durability: { state: 'retrying', problem: 'a | b\nc\td', writes: 0 } });
  expect(line).toContain('the state cannot be written: a / b c d | held=');
  expect(line.split('|')).toHaveLength(2);
});

test('many findings are counted, not listed', () => {
  const paused = Array.from({ length: 50 }, (_, n) => `USER:u${n}`);
  const { line } = check({ paused });
  expect(line).toContain('account USER:u7 is paused; and 42 more | ');
});
