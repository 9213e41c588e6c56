import { type Refusal, refusal } from '../../errors.ts';
import type { NonceSequence } from './nonce-sequence.ts';

export const SHUTTING_DOWN = refusal('SHUTTING_DOWN', 'the daemon is stopping; ask the next one');

export const CROWDED = refusal(
  'LIMIT',
  'the state keeps apart as many accounts as it can; use the labels of accounts that it knows',
);

export function exhausted(sequence: NonceSequence): Refusal {
  return refusal(
    'LIMIT',
    `sequence ${sequence.name} has reached its highest nonce, ${sequence.max}; a new key is needed`,
  );
}

/** An operator wants a sequence to go on at `next`. */
export function exhaustedBy(sequence: NonceSequence, next: bigint): Refusal {
  return refusal('BAD_REQUEST', `${next} is past the highest nonce of sequence ${sequence.name}, ${sequence.max}`);
}

export function notAbove(account: string, next: bigint, last: bigint): Refusal {
  return refusal('BAD_REQUEST', `${next} is not above what account ${account} has had, ${last}; nothing was changed`);
}

export function notDurable(failure: Error): Refusal {
  return refusal(
    'NOT_DURABLE',
    `the state cannot be written (${failure.message}); nothing was granted: make room on the disk`,
  );
}
