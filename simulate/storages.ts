import { AsyncLocalStorage } from 'node:async_hooks';

const entered = new Set<AsyncLocalStorage<unknown>>();
const { run } = AsyncLocalStorage.prototype;

/**
 * Remembers which storages are entered. Node 20 keeps each of them for ever in a list, and every new promise walks
 * along it: after the thousands of clients of a simulation this takes most of the time.
 */
export function rememberStorages(): void {
  AsyncLocalStorage.prototype.run = function (this: AsyncLocalStorage<unknown>, ...given: Parameters<typeof run>) {
    entered.add(this);
    return run.apply(this, given);
  } as typeof run;
}

/** Removes the storages of a run that is over from that list. */
export function forgetStorages(): void {
  for (const storage of entered) storage.disable();
  entered.clear();
}
