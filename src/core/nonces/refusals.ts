import { type Refusal, refusal } from '../../errors.ts';
import type { NonceSequence } from './nonce-sequence.ts';

export const SHUTTING_DOWN = refusal('SHUTTING_DOWN', 'the daemon is stopping; ask again when it has restarted');

export const CROWDED = refusal(
  'LIMIT',
  'the state cannot name any more accounts; use the labels of accounts that it knows, or make room with the daemon stopped: nonced state forget',
);

export function exhausted(sequence: NonceSequence): Refusal {
  return refusal(
    'LIMIT',
    `sequence ${sequence.name} has reached its highest nonce, ${sequence.max}; make a new API key`,
  );
}

/** Refuses a request that a sequence goes on at `next`. */
export function exhaustedBy(sequence: NonceSequence, next: bigint): Refusal {
  return refusal(
    'BAD_REQUEST',
    `${next} is above the highest nonce of sequence ${sequence.name}, ${sequence.max}; nothing was changed`,
  );
}

export function notAbove(account: string, next: bigint, last: bigint): Refusal {
  return refusal(
    'BAD_REQUEST',
    `${next} is not above the last nonce of account ${account}, ${last}; nothing was changed`,
  );
}

export function notDurable(failure: Error): Refusal {
  return refusal(
    'NOT_DURABLE',
    `the state cannot be written (${failure.message}), so nothing was granted; make room on the disk`,
  );
}
