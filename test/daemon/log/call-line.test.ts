import { expect, test } from 'vitest';
import type { Nonce, ObservedEnd } from '../../../src/core/ports.ts';
import { callFields, isNoteworthy } from '../../../src/daemon/log/call-line.ts';

const CALL: ObservedEnd = {
  account: 'MASTER',
  holder: 'grid bot',
  pid: 7,
  label: undefined,
  nonce: 1_795_365_006_294_000_000n as Nonce,
  lastNonce: 1_795_365_006_294_000_000n as Nonce,
  lane: 'default',
  exclusive: true,
  priority: 'normal',
  waitedMs: 12.4,
  grantedAtMs: 1_000,
  endedAtMs: 1_120.2,
  ended: 'released',
  outcome: 'ok',
  late: false,
};

test('its line says whose call it was, how it ended and how long it took, and nothing else', () => {
  expect(callFields(CALL)).toEqual({
    account: 'MASTER',
    outcome: 'ok',
    ended: 'released',
    waited_ms: 12,
    held_ms: 120,
    priority: 'normal',
    lane: 'default',
    holder: 'grid bot',
    pid: 7,
    label: undefined,
    nonce: '1795365006294000000',
  });
});

test('an outcome that was told after the end is marked, and a call of before a restart has no nonce', () => {
  expect(callFields({ ...CALL, outcome: 'unsettled', late: true, nonce: undefined })).toMatchObject({
    outcome: 'unsettled-late',
    nonce: undefined,
  });
});

test('it gets a line if it went wrong, was not given back, or was slow', () => {
  for (const outcome of ['ok', 'unknown', 'unused'] as const) expect(isNoteworthy({ ...CALL, outcome })).toBe(false);
  expect(isNoteworthy({ ...CALL, outcome: 'unsettled' })).toBe(true);
  expect(isNoteworthy({ ...CALL, ended: 'expired', outcome: 'unknown' })).toBe(true);
  expect(isNoteworthy({ ...CALL, waitedMs: 5_001 })).toBe(true);
  expect(isNoteworthy({ ...CALL, endedAtMs: 6_001 })).toBe(true);
  expect(isNoteworthy({ ...CALL, waitedMs: 5_000, endedAtMs: 6_000 })).toBe(false);
});
