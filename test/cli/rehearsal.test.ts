import { expect, test } from 'vitest';
import { botEnvironment, realExchangeIn } from '../../src/cli/rehearsal/environment.ts';
import { type RehearsalReport, reportLines } from '../../src/cli/rehearsal/report-text.ts';
import { UNPAINTED } from '../fixtures/command-line.ts';

const GIVEN = { socket: 's', url: 'u', key: 'k', secret: 'x', keysFile: 'f', keyFile: 'kf', secretFile: 'xf' };

test('a bot gets what was made up, and nothing that could lead to a real exchange', () => {
  const { variables, withheld } = botEnvironment(
    {
      PATH: '/bin',
      NONCED_SOCKET: '/run/nonced/nonced.sock',
      KRAKEN_KEY: 'real',
      KRAKEN_HOST: 'real',
      aws_secret_access: 'real',
      GITHUB_TOKEN: 'real',
      DB_PASSWD: 'real',
      EXCHANGE: 'https://API.Kraken.com',
      MY_TOKEN: 'asked for',
    },
    GIVEN,
    ['MY_TOKEN'],
  );
  expect(variables).toEqual({
    PATH: '/bin',
    MY_TOKEN: 'asked for',
    NONCED_SOCKET: 's',
    NONCED_REHEARSAL_URL: 'u',
    KRAKEN_URL: 'u',
    KRAKEN_KEYS: 'f',
    KRAKEN_KEY: 'k',
    KRAKEN_SECRET: 'x',
    KRAKEN_KEY_FILE: 'kf',
    KRAKEN_SECRET_FILE: 'xf',
    KRAKEN_API_KEY: 'k',
    KRAKEN_API_SECRET: 'x',
  });
  expect(withheld).toEqual(['KRAKEN_HOST', 'aws_secret_access', 'GITHUB_TOKEN', 'DB_PASSWD', 'EXCHANGE']);
});

test('not even what was asked for replaces what was made up', () => {
  expect(botEnvironment({ KRAKEN_SECRET: 'real' }, GIVEN, ['KRAKEN_SECRET']).variables['KRAKEN_SECRET']).toBe('x');
});

test('a command that names the exchange is noticed', () => {
  expect(realExchangeIn(['bot', '--host=api.kraken.com'])).toBe('--host=api.kraken.com');
  expect(realExchangeIn(['bot', '--url', 'http://127.0.0.1:1', 'kraken'])).toBeUndefined();
});

const ACT = {
  act: 'hang',
  title: '',
  happened: true,
  calls: 7,
  accepted: 6,
  rejectedNonces: 0,
  ordersTwice: 1,
  withoutGrant: 0,
  overlaps: 0,
  longestStallMs: 2_000,
  recoveredMs: 1_500,
} as const;
const REPORT: RehearsalReport = {
  ending: 'complete',
  durationMs: 65_000,
  acts: [ACT],
  findings: [],
  notes: [],
  restarts: 0,
};

test('a report without findings says what was looked at', () => {
  expect(reportLines(REPORT, UNPAINTED)).toEqual([
    '1 act in 1 min 5 s',
    '',
    'ACT   calls  accepted  rejected  orders twice  no lease  overlaps  longest stall  back after',
    'hang  7      6         0         1             0         0         2.0 s          1.5 s',
    '',
    'Nothing wrong: of 7 calls, none was rejected for its nonce, sent twice or made without a lease.',
  ]);
});

test('a finding is the fact, where it was, and the fix; an act may have had no call, or none after it', () => {
  const lines = reportLines(
    {
      ...REPORT,
      ending: 'gone',
      restarts: 1,
      acts: [
        { ...ACT, act: 'reset', happened: false, recoveredMs: null },
        { ...ACT, act: 'kill', recoveredMs: null },
        { ...ACT, act: 'lockout', recoveredMs: null },
      ],
      findings: [{ kind: 'ended', count: 1, acts: ['kill'], fact: 'it ended', fix: 'Let it live.' }],
      notes: ['a note'],
    },
    UNPAINTED,
  );
  expect(lines[0]).toBe('3 acts in 1 min 5 s, and then the bot was gone; the bot was started again once');
  expect(lines.slice(3, 6).map((line) => / {2}(\S.*)$/.exec(line.slice(-14))?.[1])).toEqual([
    'no call came',
    'never',
    '-',
  ]);
  expect(lines.slice(-5)).toEqual(['note: a note', '', '1 finding', '! it ended (kill)', '  Let it live.']);
});

test('a long finding is wrapped, with nothing lost', () => {
  const fix = Array.from({ length: 40 }, (_, index) => `word${index}`).join(' ');
  const lines = reportLines(
    { ...REPORT, findings: [{ kind: 'ended', count: 1, acts: [], fact: 'it ended', fix }] },
    UNPAINTED,
  );
  const told = lines.slice(lines.indexOf('! it ended') + 1);
  expect(told.length).toBeGreaterThan(1);
  expect(told.every((line) => line.length <= 100 && line.startsWith('  word'))).toBe(true);
  expect(told.map((line) => line.trim()).join(' ')).toBe(fix);
});
