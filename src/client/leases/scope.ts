import { AsyncLocalStorage } from 'node:async_hooks';
import { NoncedError } from '../../errors.ts';
import { MAX_WITHIN } from '../../terms.ts';
import type { Grant } from '../api.ts';
import type { Request } from '../calls/request.ts';
import type { Lease, LeaseWatcher } from './lease.ts';
import { LossSignal } from './loss-signal.ts';

/** How the function of an `exclusive` ended. */
export type FunctionEnd<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown };

/** What a nested call is rejected with that has not begun when the function around it has settled. It asks again. */
export const OUTER_ENDED = new Error('the call around this one has ended');

/** One for all clients of a process: Node copies each such storage to every promise there is. */
const scopes = new AsyncLocalStorage<Scope>();

/** Returns the scope around the caller, whether or not it still runs. */
export function currentScope(): Scope | undefined {
  return scopes.getStore();
}

/** Returns the nearest call around `scope`, of any client, that still runs and has not given its lease back by itself. */
export function living(scope: Scope | undefined): Scope | undefined {
  let around = scope;
  while (around !== undefined && (around.ended || around.lease.state === 'released')) around = around.parent;
  return around;
}

/** Returns the nearest of these calls that is of this client. */
export function enclosing(scope: Scope | undefined, client: object): Scope | undefined {
  let around = living(scope);
  while (around !== undefined && around.client !== client) around = living(around.parent);
  return around;
}

/** Nearly every call has none around it. */
const NONE: readonly bigint[] = [];

/** Returns the tokens of the leases around `scope` that other clients of this process hold: this one cannot share them. */
export function tokensOfOthers(scope: Scope | undefined, client: object): readonly bigint[] {
  let around = living(scope);
  if (around === undefined) return NONE;
  const tokens = new Set<bigint>();
  for (; around !== undefined && tokens.size < MAX_WITHIN; around = living(around.parent)) {
    if (around.client !== client) tokens.add(around.lease.token);
  }
  return [...tokens];
}

/**
 * The time in which the function of an `exclusive` runs, which calls inside it find in their async context. Ends with
 * the function, or with the lease if that is sooner.
 */
export class Scope implements LeaseWatcher {
  /** The client whose call it is. */
  readonly client: object;
  readonly lease: Lease;
  readonly parent: Scope | undefined;
  /** Whether the function of this scope has settled. What it left running is on its own then. */
  ended = false;
  readonly #holds: 'own lease' | 'shared lease';
  readonly #loss = new LossSignal(() => this.lease.catchUp());
  #lost: NoncedError | undefined;
  #reject: ((error: unknown) => void) | undefined;
  /** The nested call that runs, or asks for its nonce. */
  #nested: Request<unknown> | undefined;
  /** Nested calls that wait for it. */
  #queue: Request<unknown>[] | undefined;
  /** To be called once the function has settled and no nested call runs. */
  #settled: (() => void) | undefined;

  constructor(client: object, lease: Lease, parent: Scope | undefined, holds: 'own lease' | 'shared lease') {
    this.client = client;
    this.lease = lease;
    this.parent = parent;
    this.#holds = holds;
  }

  /** For a nested call: aborts also when the outer call is done, and the lease with it. */
  get signal(): AbortSignal {
    return this.#loss.signal;
  }

  /**
   * Runs the function, and returns what it returns. `settled` hears how it ended, also when that is too late for the
   * caller, and not before the nested calls that run have ended too: the lane must not be given away under them.
   */
  run<T>(fn: (grant: Grant) => Promise<T> | T, grant: Grant, settled: (end: FunctionEnd<T>) => void): Promise<T> | T {
    this.lease.watch(this);
    let result: Promise<T> | T;
    try {
      result = scopes.run(this, fn, grant);
    } catch (error) {
      this.#end(() => settled({ ok: false, error }));
      throw this.#lost ?? afterBeginning(error);
    }
    if (typeof result !== 'object' && typeof result !== 'function') {
      this.#end(() => settled({ ok: true, value: result as T }));
      if (this.#lost !== undefined) throw this.#lost;
      return result;
    }
    return new Promise<T>((resolve, reject) => {
      // The function may hang for ever. Its caller must not.
      this.#reject = reject;
      if (this.#lost !== undefined) reject(this.#lost);
      Promise.resolve(result).then(
        (value) => {
          this.#end(() => settled({ ok: true, value }));
          resolve(value);
        },
        (error: unknown) => {
          this.#end(() => settled({ ok: false, error }));
          reject(afterBeginning(error));
        },
      );
    });
  }

  /** Returns whether a nested call can ask for its nonce now. Otherwise it waits for the others. `leave` must follow. */
  enter(nested: Request<unknown>): boolean {
    if (this.#nested === undefined) {
      this.#nested = nested;
      return true;
    }
    if (this.#queue === undefined) this.#queue = [nested];
    else this.#queue.push(nested);
    return false;
  }

  /** Ends a nested call, or its wait, and returns the next one, which can ask for its nonce now. */
  leave(nested: Request<unknown>): Request<unknown> | undefined {
    if (this.#nested !== nested) {
      const at = this.#queue?.indexOf(nested) ?? -1;
      if (at >= 0) this.#queue?.splice(at, 1);
      return undefined;
    }
    let next = this.#queue?.shift();
    // Those whose callers have left are about to leave by themselves.
    while (next !== undefined && !next.wanted) next = this.#queue?.shift();
    this.#nested = next;
    if (next === undefined) this.#settle();
    return next;
  }

  /** Called by the lease. */
  leaseOver(error: NoncedError, how: 'lost' | 'released'): void {
    // Released by the function itself: it has what it wanted and goes on without.
    if (how === 'released' && this.#holds === 'own lease') return;
    this.#lost = error;
    this.#loss.abort(error);
    this.#reject?.(error);
  }

  #end(settled: () => void): void {
    this.ended = true;
    this.lease.unwatch(this);
    this.#settled = settled;
    const queue = this.#queue;
    this.#queue = undefined;
    // They have not begun, and are on their own from now on.
    if (queue !== undefined) for (const nested of queue) nested.leave(OUTER_ENDED);
    // There is nothing to keep if the lease is over.
    const { state } = this.lease;
    if (this.#nested === undefined || state === 'lost' || state === 'released') this.#settle();
  }

  #settle(): void {
    const settled = this.#settled;
    this.#settled = undefined;
    settled?.();
  }
}

/** Returns what a function threw that had begun: whatever it asked for may have failed unsent, but not what it did before. */
function afterBeginning(error: unknown): unknown {
  if (!(error instanceof NoncedError) || error.sent !== false) return error;
  return new NoncedError(error, { cause: error, sent: 'unknown' });
}
