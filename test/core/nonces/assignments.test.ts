import { describe, expect, test } from 'vitest';
import { Assignments } from '../../../src/core/nonces/assignments.ts';
import type { DurableAccount } from '../../../src/core/ports.ts';

/** The write under way has become durable. */
const written = (assignments: Assignments): void => assignments.adopt(assignments.draft());

const MOST = 4_096;

function crowdedAssignments(): Assignments {
  const accounts = Array.from({ length: MOST }, (_, n): [string, DurableAccount] => [
    `USER:${n}`,
    { sequence: 'default', paused: false },
  ]);
  return new Assignments(new Map(accounts));
}

describe('Assignments', () => {
  test('I2: an account is known to draw from a sequence once that is durable, and not before', () => {
    const assignments = new Assignments(new Map());
    expect(assignments.enlist('MASTER', 'alt')).toBe(true);
    expect([assignments.sequenceOf('MASTER'), assignments.hasNewcomers]).toEqual([undefined, true]);
    const draft = assignments.draft();
    expect(draft.get('MASTER')).toEqual({ sequence: 'alt', paused: false });
    expect(assignments.sequenceOf('MASTER')).toBeUndefined();
    assignments.adopt(draft);
    expect([assignments.sequenceOf('MASTER'), assignments.hasNewcomers]).toEqual(['alt', false]);
  });

  test('one that asks while a write is under way stays for the next', () => {
    const assignments = new Assignments(new Map());
    assignments.enlist('MASTER', 'default');
    const draft = assignments.draft();
    assignments.enlist('USER:alice', 'default');
    assignments.adopt(draft);
    expect([assignments.sequenceOf('USER:alice'), assignments.hasNewcomers]).toEqual([undefined, true]);
    written(assignments);
    expect(assignments.sequenceOf('USER:alice')).toBe('default');
  });

  test('and so does one whose pause alone was in that write', () => {
    const assignments = new Assignments(new Map());
    const draft = assignments.draft(new Map([['MASTER', { paused: true }]]));
    assignments.enlist('MASTER', 'default');
    assignments.adopt(draft);
    expect([assignments.isPaused('MASTER'), assignments.sequenceOf('MASTER')]).toEqual([true, undefined]);
    expect(assignments.hasNewcomers).toBe(true);
    written(assignments);
    expect([assignments.isPaused('MASTER'), assignments.sequenceOf('MASTER')]).toEqual([true, 'default']);
  });

  test('a draft that never becomes durable changes nothing', () => {
    const assignments = new Assignments(new Map([['MASTER', { sequence: 'default', paused: false }]]));
    assignments.draft(new Map([['MASTER', { sequence: 'account:MASTER', paused: true }]]));
    expect(assignments.accounts).toEqual(new Map([['MASTER', { sequence: 'default', paused: false }]]));
  });

  test('a change of one thing leaves the other as it is', () => {
    const assignments = new Assignments(new Map([['MASTER', { sequence: 'default', paused: true }]]));
    assignments.adopt(assignments.draft(new Map([['MASTER', { sequence: 'account:MASTER' }]])));
    expect(assignments.accounts.get('MASTER')).toEqual({ sequence: 'account:MASTER', paused: true });
    assignments.adopt(assignments.draft(new Map([['MASTER', { paused: false }]])));
    expect(assignments.accounts.get('MASTER')).toEqual({ sequence: 'account:MASTER', paused: false });
  });

  test('if nothing has changed, what is durable is written again and not copied', () => {
    const assignments = new Assignments(new Map([['MASTER', { sequence: 'default', paused: false }]]));
    expect(assignments.draft()).toBe(assignments.accounts);
  });

  test('past 4,096 accounts those of the default sequence count as one, and are no longer told apart', () => {
    const assignments = crowdedAssignments();
    expect(assignments.allows('late', 'default')).toBe(false);
    expect(assignments.enlist('late', 'default')).toBe(true);
    written(assignments);
    expect(assignments.accounts.size).toBe(MOST + 1);
    expect([assignments.allows('late', 'default'), assignments.allows('later', 'default')]).toEqual([true, true]);
    expect([assignments.allows('late', 'alt'), assignments.allows('USER:1', 'alt')]).toEqual([false, false]);
  });

  test('I2: past them no account of another sequence is enlisted, unless it is named already', () => {
    const assignments = crowdedAssignments();
    expect(assignments.enlist('late', 'alt')).toBe(false);
    expect(assignments.hasNewcomers).toBe(false);
    const named = new Assignments(
      new Map([...assignments.accounts, ['PAUSED', { sequence: undefined, paused: true }]]),
    );
    expect(named.enlist('PAUSED', 'alt')).toBe(true);
    written(named);
    expect(named.accounts.get('PAUSED')).toEqual({ sequence: 'alt', paused: true });
  });

  test('I2: accounts that are not told apart are enlisted where they have drawn, and nowhere else', () => {
    const { accounts } = crowdedAssignments();
    const assignments = new Assignments(new Map([...accounts, ['*', { sequence: 'alt', paused: false }]]));
    expect([assignments.enlist('late', 'default'), assignments.enlist('late', 'alt')]).toEqual([false, true]);
  });

  test('I2: one that may have drawn as one of many is not enlisted elsewhere, though its name is known by a pause', () => {
    const crowded = crowdedAssignments();
    crowded.enlist('late', 'default');
    written(crowded);
    for (const paused of [true, false]) {
      const assignments = new Assignments(new Map([...crowded.accounts, ['late', { sequence: undefined, paused }]]));
      expect(assignments.enlist('late', 'alt')).toBe(false);
      expect(assignments.enlist('late', 'default')).toBe(true);
    }
  });

  test('newcomers count against the limit too', () => {
    const assignments = new Assignments(new Map());
    for (let n = 0; n < MOST; n += 1) expect(assignments.enlist(`USER:${n}`, 'alt')).toBe(true);
    expect(assignments.enlist('late', 'alt')).toBe(false);
  });

  test('one that is asked for again while it is a newcomer is one newcomer', () => {
    const assignments = new Assignments(new Map());
    for (let n = 0; n < MOST - 1; n += 1) assignments.enlist(`USER:${n}`, 'alt');
    assignments.enlist('last', 'alt');
    expect(assignments.enlist('last', 'alt')).toBe(true);
  });
});
