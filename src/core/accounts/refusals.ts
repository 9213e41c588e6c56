import { formatDuration } from '../../durations.ts';
import { type Refusal, refusal } from '../../errors.ts';
import { processText } from '../../process-text.ts';
import type { Unit } from '../../terms.ts';
import { describeUnit } from '../nonces/sequence-clock.ts';
import type { Account } from './account.ts';
import type { BreakerRefusal } from './breaker.ts';
import type { ExchangeRefusal } from './exchange.ts';
import { DEFAULT_EXCHANGE } from './policies.ts';

export function unitMismatch(account: Account, unit: Unit): Refusal {
  return refusal(
    'UNIT_MISMATCH',
    `account ${account.name} uses ${describeUnit(account.sequence.unit)}, not ${describeUnit(unit)}. Do not simply change ` +
      'the unit of the bot: a key that has seen longer nonces never takes shorter ones again. If the key has had ' +
      `${unit} so far, this is the wrong daemon for it. Read "a one-way door" in the README of nonced first`,
  );
}

export function keyMismatch(account: Account, owner: Account): Refusal {
  return refusal(
    'KEY_MISMATCH',
    `the key of account ${account.name} is already known as account ${owner.name}, and under two labels its calls would ` +
      `overtake each other; use one label for the key in all bots. If ${owner.name} was the mistake, correct it in all ` +
      'bots and restart the daemon, which then forgets it',
  );
}

export function paused(account: string): Refusal {
  return refusal('PAUSED', `an operator has paused account ${account}; to resume it: \`nonced resume ${account}\``);
}

export function quarantined(account: string, { trouble, inARow, retryAfterMs }: BreakerRefusal): Refusal {
  const fact =
    trouble === 'locked-out'
      ? 'the exchange has locked its key out, probably after too many failed calls'
      : inARow > 1
        ? `the exchange has rejected its last ${inARow} nonces; probably another program uses its key, or the key has seen higher nonces`
        : 'the exchange has rejected too many of its nonces lately; probably another program uses its key';
  return refusal(
    'QUARANTINED',
    `account ${account} is quarantined, and only probes are let through: ${fact}. To see why: \`nonced why ${account}\`. ` +
      `The next probe is due in ${formatDuration(retryAfterMs)}; to end the quarantine now: \`nonced resume ${account}\``,
    Math.ceil(retryAfterMs),
  );
}

export function exchangeDown(exchange: string, { retryAfterMs, only }: ExchangeRefusal): Refusal {
  const which = exchange === DEFAULT_EXCHANGE ? 'the exchange' : `exchange ${exchange}`;
  const again = `Ask again in ${formatDuration(retryAfterMs)}`;
  const text =
    only === undefined
      ? `${which} did not answer the last calls; until it does, only urgent calls and a probe every few seconds are let ` +
        `through. ${again}`
      : `of the programs on this host, only ${processText(only.name, only.pid)} gets no answer from ${which}: look at its ` +
        'proxy, DNS and URL first. Until it gets one, only its urgent calls and a probe every few seconds are let ' +
        `through. ${again}`;
  return refusal('EXCHANGE_DOWN', text, Math.ceil(retryAfterMs));
}

/** The daemon never waits with a further nonce under a lease, because other requests wait for that lane. */
export function paced(account: string, retryAfterMs: number): Refusal {
  return refusal(
    'PACED',
    `account ${account} has used up its pace; ask again in ${formatDuration(retryAfterMs)}`,
    Math.ceil(retryAfterMs),
  );
}

export function costTooHigh(account: string, cost: number, max: number): Refusal {
  return refusal('BAD_REQUEST', `a cost of ${cost} is more than account ${account} may ever use at once, ${max}`);
}
