import { AsyncLocalStorage } from 'node:async_hooks';

const entered = new Set<AsyncLocalStorage<unknown>>();
const { run } = AsyncLocalStorage.prototype;

/**
 * Remembers which storages are entered. Node 20 keeps each of them for ever, in a list that every new promise walks
 * along: after the thousands of clients of a simulation that is most of what there is to do.
 */
export function rememberStorages(): void {
  AsyncLocalStorage.prototype.run = function (this: AsyncLocalStorage<unknown>, ...given: Parameters<typeof run>) {
    entered.add(this);
    return run.apply(this, given);
  } as typeof run;
}

/** Takes those of a run that is over out of that list. */
export function forgetStorages(): void {
  for (const storage of entered) storage.disable();
  entered.clear();
}
