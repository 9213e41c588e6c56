/**
 * How a request ends without a nonce or lease. Each of these ends is remembered and observed, so that what was refused
 * leaves a trace.
 */
import type { Refusal } from '../../errors.ts';
import type { ObservedRefusal, RequestId } from '../ports.ts';
import type { BrokerParts } from './broker-parts.ts';
import type { Client, Draw, Waiter } from './lease.ts';

/** What a request was about, as far as it is known. */
export interface Asked {
  readonly account: string | undefined;
  readonly label?: string | undefined;
  /** Since when it had waited; undefined if it is refused at once. */
  readonly sinceMs?: number;
}

type Traced = Pick<BrokerParts, 'clock' | 'ledger' | 'observer' | 'recentRefusals'>;

/** Tells the client that its request is refused. */
export function refuse(parts: Traced, client: Client, id: RequestId, why: Refusal, asked: Asked): void {
  traceRefusal(parts, client, why, asked);
  client.peer.refused(id, why);
}

/** Remembers that a request was refused, by whatever told its client. */
export function traceRefusal(parts: Traced, client: Client, { code, message }: Refusal, asked: Asked): void {
  trace(parts, client, code, message, asked);
}

/** Remembers that a request waited until its client went away. */
export function traceDisconnected(parts: Traced, waiting: Waiter | Draw): void {
  trace(parts, waiting.client, 'DISCONNECTED', 'the client went away while its request waited', askedBy(waiting));
}

/** Returns what a request was about that waits. */
export function askedBy(waiting: Waiter | Draw): Asked {
  const { account, sinceMs } = waiting;
  return { account: account.name, label: waiting.kind === 'waiter' ? waiting.label : undefined, sinceMs };
}

function trace(
  { clock, ledger, observer, recentRefusals }: Traced,
  { name, pid }: Client,
  code: ObservedRefusal['code'],
  text: string,
  { account, label, sinceMs }: Asked,
): void {
  const nowMs = clock.monotonicMs();
  const refusal: ObservedRefusal = {
    account,
    isKnown: account !== undefined && ledger.isKnown(account),
    code,
    text,
    holder: name,
    pid,
    label,
    waitedMs: nowMs - (sinceMs ?? nowMs),
  };
  observer.refused?.(refusal, recentRefusals.add(refusal, nowMs));
}
