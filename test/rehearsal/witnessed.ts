import type { WitnessedCall } from '../../src/rehearsal/exchange-witness.ts';

let calls = 0;

/** A call of MASTER that was accepted within 10 ms, but for what is said otherwise. */
export function called(atMs: number, call: Partial<WitnessedCall> = {}): WitnessedCall {
  return {
    number: calls++,
    arrivedAtMs: atMs,
    completedAtMs: atMs + 10,
    account: 'MASTER',
    key: `key of ${call.account ?? 'MASTER'}`,
    method: 'Balance',
    nonce: String(1_000 + calls),
    verdict: 'accepted',
    inFlight: 1,
    ...call,
  };
}

/** The same for an order; the digest is that of its id unless it is given. */
export function ordered(atMs: number, id: string | undefined, call: Partial<WitnessedCall> = {}): WitnessedCall {
  const order = { digest: id ?? 'the same', ...(id !== undefined && { reference: id }) };
  return called(atMs, { method: 'AddOrder', order, ...call });
}
