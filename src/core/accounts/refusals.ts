import { formatDuration } from '../../durations.ts';
import { type Refusal, refusal } from '../../errors.ts';
import type { Unit } from '../../terms.ts';
import { describeUnit } from '../nonces/sequence-clock.ts';
import type { Account } from './account.ts';
import type { BreakerRefusal } from './breaker.ts';
import { DEFAULT_EXCHANGE } from './policies.ts';

export function unitMismatch(account: Account, unit: Unit): Refusal {
  return refusal(
    'UNIT_MISMATCH',
    `account ${account.name} draws ${describeUnit(account.sequence.unit)} and not ${describeUnit(unit)}. Do not just ` +
      'change the unit: a key that has once seen the longer nonces never takes the shorter again. If the key has had ' +
      `${unit} so far, this is the wrong daemon for it; read "a one-way door" in the README`,
  );
}

export function keyMismatch(account: Account, owner: Account): Refusal {
  return refusal(
    'KEY_MISMATCH',
    `the key of account ${account.name} is known as account ${owner.name}: under two labels its calls would overtake ` +
      `each other; use one label for it everywhere. If ${owner.name} was the mistake, correct it in all bots and ` +
      'restart the daemon, which forgets it',
  );
}

export function paused(account: string): Refusal {
  return refusal('PAUSED', `an operator has paused account ${account}; \`nonced resume ${account}\` lets it go on`);
}

export function quarantined(account: string, { trouble, inARow, retryAfterMs }: BreakerRefusal): Refusal {
  const fact =
    trouble === 'locked-out'
      ? 'the exchange has locked its key out, probably after too many failed calls'
      : inARow > 1
        ? `the exchange has rejected its last ${inARow} nonces: probably another program uses its key, or the key has seen higher ones`
        : 'the exchange has rejected too many of its nonces lately: probably another program uses its key';
  return refusal(
    'QUARANTINED',
    `account ${account} is let through only to probe: ${fact}. See \`nonced why ${account}\`; ` +
      `next try in ${formatDuration(retryAfterMs)}, or at once after \`nonced resume ${account}\``,
    Math.ceil(retryAfterMs),
  );
}

export function exchangeDown(exchange: string, retryAfterMs: number): Refusal {
  const which = exchange === DEFAULT_EXCHANGE ? 'the exchange' : `exchange ${exchange}`;
  return refusal(
    'EXCHANGE_DOWN',
    `${which} has not answered its last calls; until it does, urgent calls and a probe every few seconds are let ` +
      `through: ask again in ${formatDuration(retryAfterMs)}`,
    Math.ceil(retryAfterMs),
  );
}

/** A further nonce under a lease is never waited for by the daemon: others wait for that lane. */
export function paced(account: string, retryAfterMs: number): Refusal {
  return refusal(
    'PACED',
    `account ${account} has used up its pace; ask again in ${formatDuration(retryAfterMs)}`,
    Math.ceil(retryAfterMs),
  );
}

export function costTooHigh(account: string, cost: number, max: number): Refusal {
  return refusal('BAD_REQUEST', `a cost of ${cost} is over what account ${account} may ever use at once, ${max}`);
}
