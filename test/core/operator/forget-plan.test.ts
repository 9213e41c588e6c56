import { expect, test } from 'vitest';
import { planForget } from '../../../src/core/operator/forget-plan.ts';
import { stateWith } from '../configured.ts';

const state = stateWith({
  sequences: { old: 'ms', 'account:order-own': 'ns' },
  accounts: {
    'order-1': 'default',
    'order-2': 'old',
    'order-own': 'account:order-own',
    'order-paused': { sequence: 'default', paused: true },
    'order-kept': { sequence: 'old', paused: false, placed: 'kept' },
    'order-unknown': { sequence: 'old', paused: false, placed: 'unknown' },
    MASTER: 'default',
    '*': 'default',
  },
});

test('I2: accounts that would go on in the same sequence are forgotten, and any others stay', () => {
  const { forgotten, staying, state: after } = planForget(state, 'order-*');
  expect(forgotten).toEqual(['order-1', 'order-2', 'order-own']);
  expect(staying.map(({ account }) => account)).toEqual(['order-paused', 'order-kept', 'order-unknown']);
  expect([...after.accounts.keys()]).toEqual(['order-paused', 'order-kept', 'order-unknown', 'MASTER', '*']);
  expect(after.sequences).toEqual(state.sequences);
});

test('one account is meant by its name alone, and those that are too many to be named by nothing', () => {
  expect(planForget(state, 'MASTER').forgotten).toEqual(['MASTER']);
  expect(planForget(state, 'MAST').forgotten).toEqual([]);
  expect(planForget(state, 'MASTER', true).forgotten).toEqual(['MASTER', '*']);
  expect(planForget(state, '*').forgotten).toEqual(['order-1', 'order-2', 'order-own', 'MASTER']);
});
