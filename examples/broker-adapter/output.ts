import type { CallFailed } from '../kraken/account.ts';
import type { Placed } from '../kraken/orders.ts';

export const Exit = { done: 0, notDone: 1, unknown: 2 } as const;

/** Says what happened to an order, and returns the exit code. */
export function tellPlaced(placed: Placed): number {
  switch (placed.state) {
    case 'placed':
      console.log(`placed ${placed.txid} (${placed.clOrdId})${placed.foundByLookup ? ', found by looking it up' : ''}`);
      return Exit.done;
    case 'refused':
    case 'not-sent':
    case 'not-placed':
      console.error(`${placed.state}: ${placed.why}`);
      return Exit.notDone;
    case 'unknown':
      console.error(`unknown: ${placed.why}; before you place it again, ask: order ${placed.clOrdId}`);
      return Exit.unknown;
  }
}

/** Says why there is no answer, and returns the exit code. */
export function tellFailure(result: CallFailed['result']): number {
  console.error(`${result.state}: ${result.why}`);
  return result.state === 'unknown' ? Exit.unknown : Exit.notDone;
}
