import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { BrokerEvent } from '../../../src/core/ports.ts';
import { textOf } from '../../../src/core/record/event-text.ts';

const CALL = { account: 'MASTER', holder: 'grid', pid: 7, label: undefined, nonce: undefined };

/** One of each kind, and what docs/log.md explains it by. */
const EVENTS: readonly (readonly [event: BrokerEvent, severity: string, documented: string])[] = [
  [{ kind: 'write-failed', error: new Error('ENOSPC') }, 'error', 'the state cannot be written ('],
  [{ kind: 'write-recovered' }, 'info', 'the state can be written again'],
  [{ kind: 'clock-changed', state: 'not-followed', offMs: 7_200_000 }, 'warn', 'ahead and is not followed'],
  [
    { kind: 'clock-changed', state: 'behind', offMs: -5_000 },
    'warn',
    'the clock is behind the latest time that the state has seen',
  ],
  [{ kind: 'clock-changed', state: 'followed', offMs: 5_000 }, 'info', 'the clock is followed again ('],
  [{ kind: 'ahead', sequence: 'default', leadMs: 61_000 }, 'warn', 'ahead of the clock'],
  [{ kind: 'register-filled', named: 3_277, isFull: false }, 'warn', 'the state names '],
  [{ kind: 'register-filled', named: 4_096, isFull: true }, 'warn', 'no new account gets a name'],
  [{ kind: 'rejected', call: CALL, before: undefined }, 'warn', 'the exchange rejected nonce'],
  [
    { kind: 'breaker-changed', account: 'A', openFor: 'locked-out' },
    'warn',
    'is quarantined, and only probes are let through: ',
  ],
  [{ kind: 'breaker-changed', account: 'A', openFor: undefined }, 'info', 'is no longer quarantined'],
  [{ kind: 'exchange-changed', exchange: 'E', isDown: true }, 'warn', 'does not answer: '],
  [{ kind: 'exchange-changed', exchange: 'E', isDown: false }, 'info', 'answers again'],
  [
    { kind: 'caller-changed', exchange: 'E', holder: 'grid', pid: 7, isHeldBack: true },
    'warn',
    'gets no answer from exchange E: ',
  ],
  [
    { kind: 'caller-changed', exchange: 'E', holder: 'grid', pid: 7, isHeldBack: false },
    'info',
    'gets answers from exchange E again',
  ],
  [
    { kind: 'instance-refused', holder: 'grid', pid: 7, expected: 'b'.repeat(32) },
    'warn',
    'refuses this daemon, because it knew instance ',
  ],
  [{ kind: 'key-changed', account: 'A' }, 'warn', 'has another API key than before'],
  [{ kind: 'paused', account: 'A' }, 'info', 'an operator has paused account'],
  [{ kind: 'resumed', account: 'A' }, 'info', 'an operator has resumed account'],
  [
    { kind: 'exclusion-changed', before: 'global', after: 'off' },
    'info',
    'an operator has changed the exclusion policy',
  ],
  [{ kind: 'advanced', sequence: 'S', before: 1n, after: 2n }, 'info', 'an operator has advanced sequence'],
];

test('each event is one line with its severity, and docs/log.md explains it', () => {
  const docs = readFileSync('docs/log.md', 'utf8');
  for (const [event, severity, documented] of EVENTS) {
    const told = textOf(event);
    expect(told.severity, event.kind).toBe(severity);
    expect(told.text).toContain(documented);
    expect(told.text).not.toMatch(/[\n\r]|undefined|NaN/);
    expect(docs, `docs/log.md explains: ${documented}`).toContain(documented);
  }
});
