import type { WitnessedCall } from './exchange-witness.ts';

/** The calls by which a bot finds out what happened to an order, or makes sure that it does not stand. */
const LOOKS = new Set([
  'OpenOrders',
  'ClosedOrders',
  'QueryOrders',
  'TradesHistory',
  'OpenPositions',
  'CancelOrder',
  'CancelAll',
]);

/**
 * Returns the orders that were sent a second time. They were placed under a `cl_ord_id` that was already used; or the
 * answer was lost and they were sent again, under that id or else word for word, before the bot had looked for the
 * first.
 */
export function repeatedOrders(calls: readonly WitnessedCall[]): WitnessedCall[] {
  const looks = calls.filter((call) => LOOKS.has(call.method) && call.verdict === 'accepted' && !answerWasLost(call));
  const placed = new Set<string>();
  const lost = new Map<string, WitnessedCall>();
  return calls.filter((call) => {
    if (call.order === undefined) return false;
    // Many orders may share a `userref`. A `cl_ord_id` belongs to one order.
    const id = call.order.reference?.startsWith('cl_ord_id ') ? call.order.reference : undefined;
    const name = `${call.account} ${id ?? call.order.digest}`;
    const first = lost.get(name);
    const isBlind = first !== undefined && !looks.some((look) => isBetween(first, look, call));
    const isPlaced = call.verdict === 'accepted';
    const stoodAlready = id !== undefined && isPlaced && placed.has(name);
    if (isPlaced) placed.add(name);
    lost.delete(name);
    if (answerWasLost(call)) lost.set(name, call);
    return isBlind || stoodAlready;
  });
}

/** Whether the bot cannot know if the call was carried out. */
export function answerWasLost({ fault, abandoned, completedAtMs }: WitnessedCall): boolean {
  switch (fault) {
    case 'hang':
    case 'stall-body':
    case 'reset-body':
    case 'reset':
    case 'status':
    case 'unavailable':
    case 'busy':
      return true;
    default:
      return abandoned === true || completedAtMs === undefined;
  }
}

function isBetween(first: WitnessedCall, look: WitnessedCall, again: WitnessedCall): boolean {
  return (
    look.account === again.account &&
    look.number > first.number &&
    (look.completedAtMs ?? Infinity) <= again.arrivedAtMs
  );
}
