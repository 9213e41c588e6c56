import { describe, expect, test } from 'vitest';
import { Register } from '../../../src/core/nonces/assignments.ts';
import type { DurableAccount } from '../../../src/core/ports.ts';

/** The write under way has become durable. */
const written = (register: Register): void => register.adopt(register.draft());

const MOST = 4_096;

function crowdedRegister(): Register {
  const accounts = Array.from({ length: MOST }, (_, n): [string, DurableAccount] => [
    `USER:${n}`,
    { sequence: 'default', paused: false },
  ]);
  return new Register(new Map(accounts));
}

describe('Register', () => {
  test('I2: an account is known to draw from a sequence once that is durable, and not before', () => {
    const register = new Register(new Map());
    expect(register.enlist('MASTER', 'alt')).toBe(true);
    expect([register.sequenceOf('MASTER'), register.hasNewcomers]).toEqual([undefined, true]);
    const draft = register.draft();
    expect(draft.get('MASTER')).toEqual({ sequence: 'alt', paused: false });
    expect(register.sequenceOf('MASTER')).toBeUndefined();
    register.adopt(draft);
    expect([register.sequenceOf('MASTER'), register.hasNewcomers]).toEqual(['alt', false]);
  });

  test('one that asks while a write is under way stays for the next', () => {
    const register = new Register(new Map());
    register.enlist('MASTER', 'default');
    const draft = register.draft();
    register.enlist('USER:alice', 'default');
    register.adopt(draft);
    expect([register.sequenceOf('USER:alice'), register.hasNewcomers]).toEqual([undefined, true]);
    written(register);
    expect(register.sequenceOf('USER:alice')).toBe('default');
  });

  test('and so does one whose pause alone was in that write', () => {
    const register = new Register(new Map());
    const draft = register.draft(new Map([['MASTER', { paused: true }]]));
    register.enlist('MASTER', 'default');
    register.adopt(draft);
    expect([register.isPaused('MASTER'), register.sequenceOf('MASTER')]).toEqual([true, undefined]);
    expect(register.hasNewcomers).toBe(true);
    written(register);
    expect([register.isPaused('MASTER'), register.sequenceOf('MASTER')]).toEqual([true, 'default']);
  });

  test('a draft that never becomes durable changes nothing', () => {
    const register = new Register(new Map([['MASTER', { sequence: 'default', paused: false }]]));
    register.draft(new Map([['MASTER', { sequence: 'account:MASTER', paused: true }]]));
    expect(register.accounts).toEqual(new Map([['MASTER', { sequence: 'default', paused: false }]]));
  });

  test('a change of one thing leaves the other as it is', () => {
    const register = new Register(new Map([['MASTER', { sequence: 'default', paused: true }]]));
    register.adopt(register.draft(new Map([['MASTER', { sequence: 'account:MASTER' }]])));
    expect(register.accounts.get('MASTER')).toEqual({ sequence: 'account:MASTER', paused: true });
    register.adopt(register.draft(new Map([['MASTER', { paused: false }]])));
    expect(register.accounts.get('MASTER')).toEqual({ sequence: 'account:MASTER', paused: false });
  });

  test('where nothing has changed, what is durable is written again and not copied', () => {
    const register = new Register(new Map([['MASTER', { sequence: 'default', paused: false }]]));
    expect(register.draft()).toBe(register.accounts);
  });

  test('past 4,096 accounts those of the default sequence count as one, and are told apart no more', () => {
    const register = crowdedRegister();
    expect(register.allows('late', 'default')).toBe(false);
    expect(register.enlist('late', 'default')).toBe(true);
    written(register);
    expect(register.accounts.size).toBe(MOST + 1);
    expect([register.allows('late', 'default'), register.allows('later', 'default')]).toEqual([true, true]);
    expect([register.allows('late', 'alt'), register.allows('USER:1', 'alt')]).toEqual([false, false]);
  });

  test('I2: past them no account of another sequence is enlisted, unless it is named already', () => {
    const register = crowdedRegister();
    expect(register.enlist('late', 'alt')).toBe(false);
    expect(register.hasNewcomers).toBe(false);
    const named = new Register(new Map([...register.accounts, ['PAUSED', { sequence: undefined, paused: true }]]));
    expect(named.enlist('PAUSED', 'alt')).toBe(true);
    written(named);
    expect(named.accounts.get('PAUSED')).toEqual({ sequence: 'alt', paused: true });
  });

  test('I2: those who are not told apart are enlisted where they have drawn, and nowhere else', () => {
    const { accounts } = crowdedRegister();
    const register = new Register(new Map([...accounts, ['*', { sequence: 'alt', paused: false }]]));
    expect([register.enlist('late', 'default'), register.enlist('late', 'alt')]).toEqual([false, true]);
  });

  test('I2: one that may have drawn as one of many is not enlisted elsewhere, though its name is known by a pause', () => {
    const crowded = crowdedRegister();
    crowded.enlist('late', 'default');
    written(crowded);
    for (const paused of [true, false]) {
      const register = new Register(new Map([...crowded.accounts, ['late', { sequence: undefined, paused }]]));
      expect(register.enlist('late', 'alt')).toBe(false);
      expect(register.enlist('late', 'default')).toBe(true);
    }
  });

  test('newcomers count against the limit too', () => {
    const register = new Register(new Map());
    for (let n = 0; n < MOST; n += 1) expect(register.enlist(`USER:${n}`, 'alt')).toBe(true);
    expect(register.enlist('late', 'alt')).toBe(false);
  });

  test('one that is asked for again while it is a newcomer is one newcomer', () => {
    const register = new Register(new Map());
    for (let n = 0; n < MOST - 1; n += 1) register.enlist(`USER:${n}`, 'alt');
    register.enlist('last', 'alt');
    expect(register.enlist('last', 'alt')).toBe(true);
  });
});
