/** The accounts that the bots use, and the configuration of the daemon. */

export const ACCOUNTS = ['MASTER', 'USER:a', 'USER:b', 'MS:a', 'PACED', 'BAD', 'CNT:a', 'CNT:b'] as const;

/** Besides nanoseconds: a clock so coarse that use runs ahead of it, and numbers without any clock. */
export const SEQUENCES = [
  { name: 'short', unit: 'ms', floor: 'now' },
  { name: 'plain', unit: 'counter', floor: '1000' },
] as const;

export function configuration(pacePerSecond: number): string {
  return JSON.stringify({
    sequences: Object.fromEntries(SEQUENCES.map(({ name, unit }) => [name, { unit }])),
    exchanges: { other: { sequence: 'plain' } },
    accounts: {
      'CNT:*': { exchange: 'other' },
      'MS:*': { sequence: 'short' },
      PACED: { pacing: { max: 20, perSecond: pacePerSecond } },
    },
  });
}

export function sequenceOf(account: string): string {
  if (account.startsWith('CNT:')) return 'plain';
  return account.startsWith('MS:') ? 'short' : 'default';
}

export function unitOf(account: string): 'ns' | 'ms' | 'counter' {
  if (account.startsWith('CNT:')) return 'counter';
  return account.startsWith('MS:') ? 'ms' : 'ns';
}

/** Returns the lane of an account, which two leases may not share; undefined if nothing is exclusive. */
export function laneOf(account: string, policy: string): string | undefined {
  if (policy === 'off') return undefined;
  if (policy === 'account') return account;
  return account.startsWith('CNT:') ? 'exchange other' : 'exchange default';
}
