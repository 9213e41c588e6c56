/** What a caller says of its account, which the daemon compares with what it knows. */
import type { Refusal } from '../../errors.ts';
import type { Unit } from '../../terms.ts';
import type { Account } from '../accounts/account.ts';
import { keyMismatch, unitMismatch } from '../accounts/refusals.ts';
import type { BrokerParts } from './broker-parts.ts';

/** Returns why a call that is signed in `unit` is refused, if so, and counts it for the account. */
export function refusalOfUnit(account: Account, unit: Unit | undefined): Refusal | undefined {
  if (unit === undefined || unit === account.sequence.unit) return undefined;
  account.refusedUnits = { count: (account.refusedUnits?.count ?? 0) + 1, unit };
  return unitMismatch(account, unit);
}

/** Binds the key to the account, or returns why it cannot be. To be asked last: a refused call binds nothing. */
export function refusalOfKey(
  { accounts, observer }: BrokerParts,
  account: Account,
  key: string | undefined,
): Refusal | undefined {
  const claim = key === undefined ? undefined : accounts.claim(account, key);
  if (claim?.kind === 'changed') observer.observe({ kind: 'key-changed', account: account.name });
  return claim?.kind === 'taken' ? keyMismatch(account, claim.by) : undefined;
}
