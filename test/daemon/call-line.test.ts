import { expect, test } from 'vitest';
import type { Nonce, ObservedEnd } from '../../src/core/ports.ts';
import { callLine, isNoteworthy } from '../../src/daemon/call-line.ts';

const CALL: ObservedEnd = {
  account: 'MASTER',
  holder: 'grid bot',
  pid: 7,
  label: undefined,
  nonce: 1_795_365_006_294_000_000n as Nonce,
  lane: 'default',
  priority: 'normal',
  waitedMs: 12.4,
  grantedAtMs: 1_000,
  endedAtMs: 1_120.2,
  ended: 'released',
  outcome: 'ok',
  late: false,
};

test('a call is a line of keys and values, and a value that is no plain word is quoted', () => {
  expect(callLine(CALL)).toBe(
    'call account=MASTER outcome=ok ended=released waited_ms=12 held_ms=120 priority=normal lane=default ' +
      'holder="grid bot" pid=7 nonce=1795365006294000000',
  );
  expect(callLine({ ...CALL, holder: 'a"b\\c=d', label: 'x=y' })).toContain('holder="a\\"b\\\\c=d" pid=7 label="x=y"');
  expect(callLine({ ...CALL, outcome: 'unsettled', late: true, nonce: undefined })).toContain('outcome=unsettled-late');
});

test('it is worth a line where it went wrong, was not given back, or was slow', () => {
  for (const outcome of ['ok', 'unknown', 'unused'] as const) expect(isNoteworthy({ ...CALL, outcome })).toBe(false);
  expect(isNoteworthy({ ...CALL, outcome: 'unsettled' })).toBe(true);
  expect(isNoteworthy({ ...CALL, ended: 'expired', outcome: 'unknown' })).toBe(true);
  expect(isNoteworthy({ ...CALL, waitedMs: 5_001 })).toBe(true);
  expect(isNoteworthy({ ...CALL, endedAtMs: 6_001 })).toBe(true);
  expect(isNoteworthy({ ...CALL, waitedMs: 5_000, endedAtMs: 6_000 })).toBe(false);
});
