import type { Refusal } from '../../errors.ts';
import type { ExclusionPolicy } from '../../terms.ts';
import type { BootAnchor } from '../ports.ts';
import type { AccountChange } from './assignments.ts';
import type { NonceSequence } from './nonce-sequence.ts';

/** A change of the state that an operator asked for. It takes effect as a whole when it is durable. */
export interface DurableChange {
  readonly exclusive?: ExclusionPolicy;
  readonly anchor?: BootAnchor;
  /** Sequences that the state does not have yet. */
  readonly added?: readonly NonceSequence[];
  /** The next nonces of these sequences are at least these. */
  readonly lifts?: ReadonlyMap<NonceSequence, bigint>;
  readonly limits?: ReadonlyMap<NonceSequence, bigint>;
  readonly accounts?: ReadonlyMap<string, AccountChange>;
  /** Called as soon as the change is durable, before anything else is drawn. */
  readonly inEffect?: () => void;
}

/**
 * Returns what a change comes to, or why it is refused. It is called again when the write of the change begins. From then
 * until the change is durable, nothing is handed out above the ceilings that it saw.
 */
export type ChangePlan = () => DurableChange | Refusal;

export type Committed =
  | { readonly kind: 'durable' }
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  /** Nothing has changed. */
  | { readonly kind: 'failed'; readonly error: Error };

export function isRefusal(planned: DurableChange | Refusal): planned is Refusal {
  return 'code' in planned;
}
